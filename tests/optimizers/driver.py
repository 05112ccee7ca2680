"""Drives optimizers over gradients that are given, and compares their paths with others'.

One driver for rules of the package, plug-ins and other libraries' optimizers alike: it begins and
updates lanes as the engine does, through :meth:`Optimizer.begin`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from optbench.arrays import Stacked, Tensor, stack
from optbench.device.base import Device
from optbench.device.cpu import NumpyDevice
from optbench.optimizers.base import Elementwise, Lanes, Optimizer, UpdateContext
from optbench.optimizers.registry import OPTIMIZERS, complete_hyperparameters, get_optimizer

UPDATES = (1, 7, 50)
"""Updates after which paths are compared."""

BOUNDS = {"float64": 1e-10, "float32": 1e-5}
"""The largest difference allowed at each precision, as :func:`worst` measures it."""

ELEMENTWISE = [name for name, kind in OPTIMIZERS.items() if issubclass(kind, Elementwise)]
"""Optimizers whose rule is traced to a program."""

Configuration = Mapping[str, Any]
"""Hyperparameters, as a suite gives them."""


@dataclass(frozen=True)
class Recording:
    """Tensors, a start (parameters,), and the gradients of each update, (updates, parameters)."""

    tensors: tuple[Tensor, ...]
    start: np.ndarray
    gradients: np.ndarray

    def split(self, row: np.ndarray) -> dict[str, np.ndarray]:
        """Return the tensors in a row (parameters,) by name, copied."""
        ends = np.cumsum([tensor.size for tensor in self.tensors])[:-1]
        parts = zip(self.tensors, np.split(np.array(row), ends), strict=True)
        return {tensor.name: part.reshape(tensor.shape) for tensor, part in parts}


def settings(optimizer: type[Optimizer], configuration: Configuration) -> dict[str, Any]:
    """Return all hyperparameters of an optimizer, checked."""
    return complete_hyperparameters(optimizer(), dict(configuration))


def hyperparameters_of(
    optimizer: Optimizer | type[Optimizer], complete: Sequence[Configuration]
) -> dict[str, np.ndarray]:
    """Return the hyperparameters of lanes that have all of them, (1, lanes, 1) each."""
    return {
        each.name: np.array([[[each.number(lane[each.name])] for lane in complete]])
        for each in optimizer.hyperparameters
    }


def begun(optimizer: str | type[Optimizer] | Optimizer) -> Optimizer:
    if isinstance(optimizer, str):
        return get_optimizer(optimizer)
    return optimizer() if isinstance(optimizer, type) else optimizer


class Driver:
    """Lanes of one optimizer, one for each configuration.

    Parameters
    ----------
    optimizer
        Its name, its class, or itself.
    start
        Of all lanes, (parameters,), or (lanes, parameters); a recording brings its tensors.
    state, updates
        The state to go on from, and how many updates led to it.
    seeds
        Of the lanes; by default all 0.
    """

    def __init__(
        self,
        optimizer: str | type[Optimizer] | Optimizer,
        configurations: Sequence[Configuration],
        start: np.ndarray | Recording,
        *,
        tensors: Sequence[Tensor] = (),
        dtype: str = "float64",
        by_coordinate: bool = False,
        device: Device | None = None,
        state: Mapping[str, Any] | None = None,
        updates: int = 0,
        seeds: Sequence[int] | None = None,
    ) -> None:
        if isinstance(start, Recording):
            start, tensors = start.start, start.tensors
        self.optimizer = begun(optimizer)
        self.device = device or NumpyDevice()
        self.complete = [
            complete_hyperparameters(self.optimizer, dict(each)) for each in configurations
        ]
        self.hyperparameters = hyperparameters_of(self.optimizer, self.complete)
        self.seeds = [0] * len(configurations) if seeds is None else seeds
        self._dtype, self._by_coordinate, self._updates = dtype, by_coordinate, updates
        self._shape = len(configurations), start.shape[-1]
        self._tensors = tuple(tensors) or (Tensor("w", (start.shape[-1],)),)
        self.params, self.grads = self._zeros(), self._zeros()
        self.params.rows[...] = self._put(np.broadcast_to(start, self._shape))
        self.resume(state)

    def resume(self, state: Mapping[str, Any] | None) -> None:
        """Go on from a state, as another updater."""
        step = UpdateContext(
            self.params,
            self.grads,
            {},
            {},
            self.device.elementwise(),
            self._tensors,
            self.device.xp,
            self.device.workspace(),
        )
        lanes = Lanes(
            step,
            self.complete,
            lambda: self._zeros().rows,
            self._put,
            self._dtype,
            self.seeds,
        )
        self.updater = self.optimizer.begin(lanes, state)

    def _zeros(self) -> Stacked:
        rows = self.device.rows(*self._shape, self._dtype, by_coordinate=self._by_coordinate)
        return stack(rows, self._tensors, self.device.xp)

    def _put(self, array: np.ndarray) -> Any:
        return self.device.put(array.astype(self._dtype))

    @property
    def state(self) -> Mapping[str, Any]:
        return self.updater.state

    def rows(self) -> np.ndarray:
        """Return the positions, (lanes, parameters)."""
        return np.array(self.device.get(self.params.rows))

    def evaluated(self) -> np.ndarray:
        """Return the positions that are evaluated, (lanes, parameters)."""
        return np.array(self.device.get(self.updater.eval_params()))

    def plan(self, count: int, schedule: float = 1.0) -> None:
        """Make ready for the next updates, at ``schedule`` times the learning rate."""
        hyperparameters = dict(self.hyperparameters)
        if schedule != 1.0:
            hyperparameters["lr"] = hyperparameters["lr"] * schedule
        self.updater.plan(hyperparameters, range(self._updates + 1, self._updates + 1 + count))
        self._updates += count

    def update(self, row: int, gradient: np.ndarray) -> np.ndarray:
        """Make a planned update with gradients (lanes, parameters), or (parameters,) for all."""
        self.grads.rows[...] = self._put(np.broadcast_to(gradient, self._shape))
        self.updater.update(row)
        return self.rows()

    def step(self, gradient: np.ndarray, schedule: float = 1.0) -> np.ndarray:
        """Make one update and return the positions after it."""
        self.plan(1, schedule)
        return self.update(0, gradient)

    def path(self, gradients: np.ndarray) -> np.ndarray:
        """Return the positions after each update of a stretch, (updates, lanes, parameters)."""
        self.plan(len(gradients))
        return np.array([self.update(row, gradient) for row, gradient in enumerate(gradients)])


Reference = Callable[[dict[str, Any], Recording, str], np.ndarray]
"""Returns (updates, parameters), positions or what is evaluated, of all hyperparameters, a
recording and a precision."""


def worst(recording: Recording, ours: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest max|a − b| / max|b| over the tensors of two rows."""
    theirs = recording.split(expected)
    return max(
        float(np.abs(tensor - theirs[name]).max() / np.abs(theirs[name]).max())
        for name, tensor in recording.split(ours).items()
    )


def largest_difference(
    optimizer: type[Optimizer],
    configurations: Sequence[Configuration],
    reference: Reference,
    recording: Recording,
    dtype: str,
    *,
    evaluated: bool = False,
) -> float:
    """Return the largest difference of all lanes from their references, as :func:`worst` has it.

    ``evaluated`` compares what is evaluated, not the positions.
    """
    lanes = Driver(optimizer, configurations, recording, dtype=dtype)
    path = []
    for gradient in recording.gradients:
        after = lanes.step(gradient)
        path.append(lanes.evaluated() if evaluated else after)
        assert path[-1].dtype == dtype
    differences = []
    for lane, configuration in enumerate(configurations):
        expected = reference(settings(optimizer, configuration), recording, dtype)
        assert expected.shape == recording.gradients.shape
        assert np.abs(expected[-1] - recording.start).max() > 1e-4  # it went somewhere
        differences += [
            worst(recording, path[update - 1][lane], expected[update - 1]) for update in UPDATES
        ]
    return max(differences)
