"""An optimizer on quadratics, called as :mod:`optbench.engine.stepper` calls it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np

from optbench import rng
from optbench.arrays import Array, Stacked, Tensor, stack
from optbench.device.cpu import NumpyDevice
from optbench.optimizers.base import Lanes, Optimizer, StackedUpdater, Task, UpdateContext

NOISES = 256
"""Updates after which the noise of gradients begins anew."""

Configuration: TypeAlias = Mapping[str, float | str]

Gradient: TypeAlias = Callable[[np.ndarray, int], np.ndarray]
"""Gradients (lanes, parameters) at parameters of that shape, for an update counted from 1."""


@dataclass(frozen=True)
class Quadratic:
    """f(w) = Σ c·(w − 1)²/2, with curvatures c from 0.01 to 1 that rise by a constant factor.

    Attributes
    ----------
    title
        What it is called in messages.
    tensors, dtype
        The parameters of one lane, and their precision.
    by_coordinate
        How lanes are stored; see :meth:`optbench.device.base.Device.rows`.
    """

    title: str
    tensors: tuple[Tensor, ...]
    dtype: str
    by_coordinate: bool

    @property
    def parameters(self) -> int:
        """Number of parameters of one lane."""
        return sum(tensor.size for tensor in self.tensors)

    @property
    def _curvature(self) -> np.ndarray:
        return np.geomspace(0.01, 1.0, self.parameters)

    @property
    def task(self) -> tuple[str, tuple[Tensor, ...], str, bool]:
        """What an optimizer is told of it: see :class:`~optbench.optimizers.base.Task`."""
        return self.title, self.tensors, self.dtype, False

    def starts(self, seeds: Sequence[int]) -> np.ndarray:
        """Return where lanes of these seeds start, shape (lanes, parameters)."""
        streams = [rng.stream(seed, "verify/start") for seed in seeds]
        return np.stack([each.normal(size=self.parameters) for each in streams])

    def loss(self, params: np.ndarray) -> np.ndarray:
        """Return the loss of each lane, shape (lanes,)."""
        losses: np.ndarray = (self._curvature * (params - 1.0) ** 2).sum(axis=1) / 2.0
        return losses

    def gradient(self, params: np.ndarray, update: int) -> np.ndarray:
        """Return the gradients, without noise."""
        slopes: np.ndarray = self._curvature * (params - 1.0)
        return slopes

    def noisy_gradient(self, seeds: Sequence[int]) -> Gradient:
        """Return a function for gradients with a normal noise of 0.1, which depends on the seed."""
        noises = np.stack([_noises(seed, self.parameters) for seed in seeds])

        def gradient(params: np.ndarray, update: int) -> np.ndarray:
            noisy: np.ndarray = self.gradient(params, update) + noises[:, update % NOISES]
            return noisy

        return gradient


@lru_cache(maxsize=32)
def _noises(seed: int, parameters: int) -> np.ndarray:
    return rng.stream(seed, "verify/noise").normal(scale=0.1, size=(NOISES, parameters))


def no_gradient(params: np.ndarray, update: int) -> np.ndarray:
    """Return gradients that are 0."""
    return np.zeros_like(params)


class Descent:
    """Lanes of a quadratic that an optimizer updates, on the CPU.

    Parameters
    ----------
    optimizer
        An instance that has not begun anything, so that what it hides in itself comes to light.
    quadratic
        What is minimised.
    configurations
        All hyperparameters of each lane.
    starts
        Parameters of each lane, shape (lanes, parameters).
    state
        What the optimizer carried when they were taken; None at the start.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        quadratic: Quadratic,
        configurations: Sequence[Configuration],
        starts: np.ndarray,
        state: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self._device = NumpyDevice()
        self._quadratic = quadratic
        self._lanes = len(configurations)
        self._params, self._grads = self._zeros(), self._zeros()
        self._params.rows[...] = starts
        self._hyperparameters = {
            each.name: np.array([each.number(one[each.name]) for one in configurations])[
                None, :, None
            ]
            for each in optimizer.hyperparameters
        }
        optimizer.fit(Task(optimizer.name, *quadratic.task, configurations))
        step = UpdateContext(
            *(self._params, self._grads, {}, {}),
            *(self._device.elementwise(), quadratic.tensors, np),
        )
        lanes = Lanes(step, configurations, lambda: self._zeros().rows, self._put, quadratic.dtype)
        self._updates = optimizer.begin(lanes, state)

    def _zeros(self) -> Stacked:
        quadratic = self._quadratic
        rows = self._device.rows(
            self._lanes,
            quadratic.parameters,
            quadratic.dtype,
            by_coordinate=quadratic.by_coordinate,
        )
        return stack(rows, quadratic.tensors, np)

    def _put(self, column: np.ndarray) -> Array:
        return self._device.put(column.astype(self._quadratic.dtype, copy=False))

    def advance(self, gradient: Gradient, updates: range) -> None:
        """Make some updates, whose numbers are counted from 1; none in an empty range."""
        if not updates:
            return
        self._updates.plan(self._hyperparameters, updates)
        for row, update in enumerate(updates):
            self._grads.rows[...] = gradient(self._params.rows, update)
            self._updates.update(row)

    @property
    def stacked(self) -> bool:
        """Whether one rule updates all lanes at once, so that each keeps its bits in company."""
        return isinstance(self._updates, StackedUpdater)

    @property
    def params(self) -> np.ndarray:
        """A copy of the parameters, shape (lanes, parameters)."""
        return np.array(self._params.rows)

    @property
    def eval_params(self) -> np.ndarray:
        """A copy of the parameters that evaluations take."""
        return np.array(self._updates.eval_params())

    @property
    def state(self) -> dict[str, np.ndarray]:
        """A copy of what the optimizer carries to the next update."""
        return {name: np.array(array) for name, array in self._updates.state.items()}

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """Copies of all of these, by what messages call them."""
        return {
            "the parameters": self.params,
            "what evaluations take": self.eval_params,
            **{f"state '{name}'": array for name, array in self.state.items()},
        }
