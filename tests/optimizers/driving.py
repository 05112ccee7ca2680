"""Drives one optimizer of the package, and the reference's, over given gradients."""

from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from typing import Any

import numpy as np

from optbench.arrays import Stacked, Tensor, stack
from optbench.device.base import Device
from optbench.device.cpu import NumpyDevice
from optbench.optimizers.base import Elementwise, UpdateContext
from optbench.optimizers.registry import OPTIMIZERS, complete_hyperparameters, get_optimizer
from tests.reference import optimizers as reference

REFERENCE = {
    "sgd": reference.SGD,
    "momentum": reference.Momentum,
    "adagrad": reference.AdaGrad,
    "rmsprop": reference.RMSprop,
    "adam": reference.Adam,
}

ELEMENTWISE = [name for name, kind in OPTIMIZERS.items() if issubclass(kind, Elementwise)]
"""Optimizers whose rule is traced to a program."""

Gradient = Callable[[np.ndarray, int], np.ndarray]
"""Gradients at positions (lanes, parameters), or (parameters,), for update t from 1."""


def textbook(name: str, hyperparameters: Mapping[str, Any]) -> Any:
    """Return the reference's optimizer; what is no hyperparameter of its is left out."""
    taken = signature(REFERENCE[name]).parameters
    return REFERENCE[name](**{key: each for key, each in hyperparameters.items() if key in taken})


class Driver:
    """The arrays that one optimizer works on; a lane for each of the configurations."""

    def __init__(
        self,
        name: str,
        configurations: Sequence[Mapping[str, float]],
        start: np.ndarray,
        *,
        dtype: str = "float64",
        by_coordinate: bool = False,
        device: Device | None = None,
        tensors: tuple[Tensor, ...] = (),
    ) -> None:
        self._given = tensors
        self.optimizer = get_optimizer(name)
        self.device = device or NumpyDevice()
        self.dtype = dtype
        self._by_coordinate = by_coordinate
        complete = [complete_hyperparameters(self.optimizer, dict(each)) for each in configurations]
        self.hyperparameters = {
            each.name: np.array([[[each.number(lane[each.name])] for lane in complete]])
            for each in self.optimizer.hyperparameters
        }
        self._shape = (len(complete), start.shape[-1])
        self.params, self.grads = self._zeros(), self._zeros()
        self.state = {slot: self._zeros().rows for slot in self.optimizer.slots}
        self.params.rows[...] = start
        xp = self.device.xp
        for copied in self.optimizer.copies:
            self.state[copied][...] = self.params.rows
        for name in self.optimizer.scalars:
            self.state[name] = xp.zeros((len(complete), 1), dtype=getattr(xp, dtype))
        self._elementwise = self.device.elementwise()
        self._t = 0

    @property
    def _tensors(self) -> tuple[Tensor, ...]:
        return self._given or (Tensor("w", (self._shape[1],)),)

    def _zeros(self) -> Stacked:
        rows = self.device.rows(*self._shape, self.dtype, by_coordinate=self._by_coordinate)
        return stack(rows, self._tensors, self.device.xp)

    def step(self, gradient: np.ndarray) -> np.ndarray:
        """Make an update and return the positions after it."""
        self._t += 1
        columns = self.optimizer.columns(self.hyperparameters, range(self._t, self._t + 1))
        self.grads.rows[...] = gradient
        self.optimizer.step(
            UpdateContext(
                self.params,
                self.grads,
                self.state,
                {name: column[0].astype(self.dtype) for name, column in columns.items()},
                self._elementwise,
                self._tensors,
                self.device.xp,
            )
        )
        return self.params.rows.copy()

    def path(self, gradient: Gradient, steps: int) -> np.ndarray:
        """Return the positions after each step, shape (steps, lanes, parameters)."""
        return np.array([self.step(gradient(self.params.rows, t)) for t in range(1, steps + 1)])


def reference_path(
    name: str,
    hyperparameters: Mapping[str, float],
    start: np.ndarray,
    gradient: Gradient,
    steps: int,
) -> np.ndarray:
    """Return the positions after each step of the reference, shape (steps, parameters)."""
    optimizer = textbook(name, hyperparameters)
    params = {"w": np.array(start, dtype=np.float64)}
    path = []
    for t in range(1, steps + 1):
        optimizer.update(params, {"w": gradient(params["w"], t)})
        path.append(params["w"].copy())
    return np.array(path)
