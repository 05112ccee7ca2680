"""Runs rules that look at tensors as such, over recorded gradients of problems with several."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from optbench.arrays import Stacked, Tensor, stack
from optbench.device.base import Device
from optbench.device.cpu import NumpyDevice
from optbench.optimizers.base import Optimizer, UpdateContext
from tests.reference.network import MultiLayerNet

STEPS = 50


@dataclass(frozen=True)
class Recording:
    """Tensors, a start, and the gradients of each update, (updates, parameters)."""

    tensors: tuple[Tensor, ...]
    start: np.ndarray
    gradients: np.ndarray

    def split(self, row: np.ndarray) -> dict[str, np.ndarray]:
        """Return the tensors in a row (parameters,), copied."""
        ends = np.cumsum([tensor.size for tensor in self.tensors])[:-1]
        parts = zip(self.tensors, np.split(np.array(row), ends), strict=True)
        return {tensor.name: part.reshape(tensor.shape) for tensor, part in parts}


Stepper = Callable[[np.ndarray], np.ndarray]
"""Takes the gradients of an update, (parameters,), and returns the positions after it."""


def quadratic(follow: Callable[["Recording"], Stepper]) -> Recording:
    """Record gradients of Σ aᵢ(wᵢ − bᵢ)²/2, most of them far from the minimum."""
    rng = np.random.default_rng(11)
    shapes = {"a.weight": (3, 4), "b.weight": (4, 6), "b.bias": (6,), "c.weight": (6, 2), "d": ()}
    tensors = tuple(Tensor(name, shape) for name, shape in shapes.items())
    size = sum(tensor.size for tensor in tensors)
    curvatures, target = np.geomspace(0.05, 1.5, size), rng.normal(size=size)
    start = rng.normal(size=size) * 3.0
    return _record(tensors, start, lambda w: curvatures * (w - target), follow)


def network(follow: Callable[["Recording"], Stepper]) -> Recording:
    """Record gradients of a network on random batches; many are 0, and biases start at 0."""
    rng = np.random.default_rng(12)
    net = MultiLayerNet(5, [6, 4, 7], 3, seed=3)
    tensors = tuple(Tensor(name, each.shape) for name, each in net.params.items())

    def gradient(w: np.ndarray) -> np.ndarray:
        for name, values in Recording(tensors, w, w).split(w).items():
            net.params[name][...] = values
        grads = net.gradient(rng.normal(size=(6, 5)), rng.integers(3, size=6))
        return np.concatenate([each.ravel() for each in grads.values()])

    start = np.concatenate([each.ravel() for each in net.params.values()])
    return _record(tensors, start, gradient, follow)


def _record(
    tensors: tuple[Tensor, ...],
    start: np.ndarray,
    gradient: Callable[[np.ndarray], np.ndarray],
    follow: Callable[["Recording"], Stepper],
) -> Recording:
    gradients = np.zeros((STEPS, start.size))
    recording = Recording(tensors, start, gradients)
    step, w = follow(recording), start
    for row in gradients:
        row[...] = gradient(w)
        w = step(row.copy())
    return recording


def gradient_descent(recording: Recording) -> Stepper:
    """Return plain steps, with a learning rate of 0.2."""
    w = recording.start.copy()

    def step(gradient: np.ndarray) -> np.ndarray:
        w[...] -= 0.2 * gradient
        return w.copy()

    return step


RECORDINGS = {"quadratic": quadratic(gradient_descent), "network": network(gradient_descent)}


def settings(optimizer: type[Optimizer], given: Mapping[str, float]) -> dict[str, float]:
    """Return all hyperparameters of an optimizer, checked."""
    known = {each.name: each for each in optimizer.hyperparameters}
    assert set(given) <= set(known)
    return {name: each.check(given.get(name, each.default)) for name, each in known.items()}


def following(
    plain: Callable[..., Any], optimizer: type[Optimizer], given: Mapping[str, float]
) -> Callable[[Recording], Stepper]:
    """Return what steps along the path of a plain implementation with all hyperparameters."""

    def follow(recording: Recording) -> Stepper:
        rule = plain(recording.split(recording.start), **settings(optimizer, given))

        def step(gradient: np.ndarray) -> np.ndarray:
            rule.step(recording.split(gradient))
            return np.concatenate([each.ravel() for each in rule.w.values()])

        return step

    return follow


class Lanes:
    """Lanes of one optimizer, a configuration each, on a recording."""

    def __init__(
        self,
        optimizer: type[Optimizer],
        configurations: Sequence[Mapping[str, float]],
        recording: Recording,
        *,
        dtype: str = "float64",
        by_coordinate: bool = False,
        device: Device | None = None,
    ) -> None:
        self.optimizer = optimizer()
        self.recording = recording
        self.device = device or NumpyDevice()
        self._dtype = dtype
        self._by_coordinate = by_coordinate
        complete = [settings(optimizer, each) for each in configurations]
        self.hyperparameters = {
            each.name: np.array([[[each.number(lane[each.name])] for lane in complete]])
            for each in optimizer.hyperparameters
        }
        self.lanes = len(complete)
        self.params, self.grads = self._zeros(), self._zeros()
        self.params.rows[...] = self._put(np.broadcast_to(recording.start, self._shape))
        self.state = {slot: self._zeros().rows for slot in self.optimizer.slots}
        for slot in self.optimizer.copies:
            self.state[slot][...] = self.params.rows
        kind = getattr(self.device.xp, dtype)
        for name in self.optimizer.scalars:
            self.state[name] = self.device.xp.zeros((self.lanes, 1), dtype=kind)
        self._elementwise = self.device.elementwise()
        self._t = 0

    @property
    def _shape(self) -> tuple[int, int]:
        return self.lanes, len(self.recording.start)

    def _zeros(self) -> Stacked:
        rows = self.device.rows(*self._shape, self._dtype, by_coordinate=self._by_coordinate)
        return stack(rows, self.recording.tensors, self.device.xp)

    def _put(self, array: np.ndarray):
        return self.device.put(array.astype(self._dtype))

    def step(self, gradient: np.ndarray, schedule: float = 1.0) -> np.ndarray:
        """Make an update at ``schedule`` times the learning rate; return the positions after."""
        self._t += 1
        given = {**self.hyperparameters, "lr": self.hyperparameters["lr"] * schedule}
        columns = self.optimizer.columns(given, range(self._t, self._t + 1))
        self.grads.rows[...] = self._put(np.broadcast_to(gradient, self._shape))
        self.optimizer.step(
            UpdateContext(
                params=self.params,
                grads=self.grads,
                state=self.state,
                columns={name: self._put(column[0]) for name, column in columns.items()},
                elementwise=self._elementwise,
                tensors=self.recording.tensors,
                xp=self.device.xp,
            )
        )
        return self.rows()

    def rows(self) -> np.ndarray:
        """Return the positions, (lanes, parameters)."""
        return np.array(self.device.get(self.params.rows))

    def evaluated(self) -> np.ndarray:
        """Return the positions that are evaluated, (lanes, parameters)."""
        params = self.optimizer.eval_params(self.params.rows, self.state, self.device.xp)
        return np.array(self.device.get(params))

    def path(self, steps: int = STEPS) -> np.ndarray:
        """Return the positions after each update, (updates, lanes, parameters)."""
        return np.array([self.step(row) for row in self.recording.gradients[:steps]])


def worst(recording: Recording, found: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest max|a − b| / max|b| over the tensors of two rows."""
    theirs = recording.split(expected)
    return max(
        float(np.abs(ours - theirs[name]).max() / np.abs(theirs[name]).max())
        for name, ours in recording.split(found).items()
    )


UPDATES = (1, 7, 50)
"""Updates after which paths are compared."""

BOUNDS = {"float64": 1e-10, "float32": 1e-5}
"""The largest difference allowed at each precision, as :func:`worst` measures it."""

Reference = Callable[[dict[str, float], Recording, str], np.ndarray]
"""Returns (updates, parameters), positions or what is evaluated, of all hyperparameters, a
recording and a precision."""


def largest_difference(
    optimizer: type[Optimizer],
    configurations: Sequence[Mapping[str, float]],
    reference: Reference,
    recording: Recording,
    dtype: str,
    *,
    evaluated: bool = False,
) -> float:
    """Return the largest difference between all lanes and their references.

    ``evaluated`` compares what is evaluated, not the positions.
    """
    lanes = Lanes(optimizer, configurations, recording, dtype=dtype)
    path = []
    for row in recording.gradients:
        lanes.step(row)
        path.append(lanes.evaluated() if evaluated else lanes.rows())
        assert path[-1].dtype == dtype
    differences = []
    for lane, given in enumerate(configurations):
        expected = reference(settings(optimizer, given), recording, dtype)
        assert np.abs(expected[-1] - recording.start).max() > 1e-4  # it went somewhere
        differences += [
            worst(recording, path[updates - 1][lane], expected[updates - 1]) for updates in UPDATES
        ]
    return max(differences)
