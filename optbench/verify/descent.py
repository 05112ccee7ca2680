"""An optimizer led along given gradients, called as :mod:`optbench.engine.stepper` calls it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeAlias

import numpy as np

from optbench import rng
from optbench.arrays import Array, Stacked, Tensor, stack
from optbench.device.base import Device
from optbench.device.cpu import NumpyDevice
from optbench.optimizers.base import (
    ALL_LANES,
    Lanes,
    Optimizer,
    StackedUpdater,
    Task,
    UpdateContext,
    host_columns,
)

NOISES = 256
"""Updates after which the noise of gradients begins anew."""

Configuration: TypeAlias = Mapping[str, float | str]
"""All hyperparameters of a lane."""

Gradient: TypeAlias = Callable[[np.ndarray, int], np.ndarray]
"""Gradients (lanes, parameters) at parameters of that shape, for an update counted from 1; as a
loss, numbers (lanes,)."""


class Descent:
    """Lanes that an optimizer updates.

    Parameters
    ----------
    optimizer
        An instance that has not begun anything, so that what it hides in itself comes to light.
    configurations
        All hyperparameters of each lane.
    starts
        Parameters of each lane, shape (lanes, parameters), or (parameters,) for all.
    state
        What the optimizer carried when they were taken; None at the start.
    tensors
        The parameters of one lane; by default one tensor ``w`` of one axis.
    dtype
        Their precision.
    by_coordinate
        How lanes are stored; see :meth:`optbench.device.base.Device.rows`.
    device
        What computes; by default the CPU.
    problem
        What the optimizer is told that it minimises.
    loss
        What has these gradients, for optimizers that look at it: losses (lanes,) at parameters, for
        an update counted from 1. None where gradients are given.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        configurations: Sequence[Configuration],
        starts: np.ndarray,
        state: Mapping[str, np.ndarray] | None = None,
        *,
        tensors: tuple[Tensor, ...] = (),
        dtype: str = "float64",
        by_coordinate: bool = False,
        device: Device | None = None,
        problem: str = "given gradients",
        loss: Gradient | None = None,
    ) -> None:
        self._device = device or NumpyDevice()
        self._shape = (len(configurations), starts.shape[-1])
        self._tensors = tensors or (Tensor("w", starts.shape[-1:]),)
        self._dtype = dtype
        self._by_coordinate = by_coordinate
        self._params, self._grads = self._zeros(), self._zeros()
        self._params.rows[...] = self._put(np.broadcast_to(starts, self._shape))
        self._hyperparameters = host_columns(optimizer, configurations)
        optimizer.fit(Task(optimizer.name, problem, self._tensors, dtype, False, configurations))
        context = UpdateContext(
            self._params,
            self._grads,
            state={},
            columns={},
            elementwise=self._device.elementwise(),
            tensors=self._tensors,
            xp=self._device.xp,
            work=self._device.workspace(),
        )
        if loss is not None:
            context = replace(context, loss=self._step_loss, evaluate=self._evaluate)
        self._loss = loss
        self._step: tuple[Gradient, int] | None = None
        lanes = Lanes(
            context,
            configurations,
            lambda: self._zeros().rows,
            self._put,
            dtype,
            [0] * len(configurations),
        )
        put = self._device.put
        slots = None if state is None else {name: put(array) for name, array in state.items()}
        self._updater = optimizer.begin(lanes, slots)

    def _zeros(self) -> Stacked:
        rows = self._device.rows(*self._shape, self._dtype, by_coordinate=self._by_coordinate)
        return stack(rows, self._tensors, self._device.xp)

    def _put(self, array: np.ndarray) -> Array:
        return self._device.put(array.astype(self._dtype, copy=False))

    def advance(self, gradient: Gradient, updates: range) -> None:
        """Make some updates, whose numbers are counted from 1; none in an empty range."""
        if not updates:
            return
        self._updater.plan(self._hyperparameters, updates)
        for row, update in enumerate(updates):
            self._step = (gradient, update)
            grads = gradient(self._device.get(self._params.rows), update)
            self._grads.rows[...] = self._put(np.broadcast_to(grads, self._shape))
            self._updater.update(row)

    def _evaluate(
        self, params: Array, lanes: slice | np.ndarray = ALL_LANES
    ) -> tuple[Array, Array]:
        """Return losses and gradients of some lanes at other parameters, in this update."""
        assert self._loss is not None
        assert self._step is not None
        gradient, update = self._step
        with self._device.quiet():  # in a thread of the library's
            rows = self.params
            rows[lanes] = self._device.get(params)
            slopes = np.broadcast_to(gradient(rows, update), self._shape)
            return self._put(self._loss(rows, update)[lanes]), self._put(slopes[lanes])

    def _step_loss(self) -> Array:
        return self._evaluate(self._params.rows)[0]

    def path(self, gradient: Gradient, update_count: int) -> np.ndarray:
        """Make updates from the first on; return the parameters after each.

        Returns
        -------
        ndarray
            Shape (updates, lanes, parameters).
        """
        positions = np.empty((update_count, *self._shape), self._dtype)
        for row in range(update_count):
            self.advance(gradient, range(row + 1, row + 2))
            positions[row] = self._device.get(self._params.rows)
        return positions

    @property
    def is_stacked(self) -> bool:
        """Whether one rule updates all lanes at once, so that each keeps its bits in company."""
        return isinstance(self._updater, StackedUpdater)

    @property
    def params(self) -> np.ndarray:
        """A copy of the parameters, shape (lanes, parameters)."""
        return np.array(self._device.get(self._params.rows))

    @property
    def eval_params(self) -> np.ndarray:
        """A copy of the parameters that evaluations take."""
        return np.array(self._device.get(self._updater.eval_params()))

    @property
    def state(self) -> dict[str, np.ndarray]:
        """A copy of what the optimizer carries to the next update."""
        state = self._updater.state
        return {name: np.array(self._device.get(array)) for name, array in state.items()}

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """Copies of all of these, by what messages call them."""
        return self._called(self.state)

    def arrays_of(self, lane: int) -> dict[str, np.ndarray]:
        """Return what one lane has of them, without what only others have."""
        state = self.state
        present = {
            name: state[f"{name}?"][lane] if f"{name}?" in state else not name.endswith("?")
            for name in state
        }
        own = {name: array for name, array in state.items() if present[name]}
        return {name: array[lane : lane + 1] for name, array in self._called(own).items()}

    def _called(self, state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {
            "the parameters": self.params,
            "what evaluations take": self.eval_params,
            **{f"state '{name}'": array for name, array in state.items()},
        }


@dataclass(frozen=True)
class Quadratic:
    """f(w) = Σ c·(w − 1)²/2, with curvatures c from 0.01 to 1 that rise by a constant factor.

    Attributes
    ----------
    title
        What it is called in messages.
    tensors, dtype, by_coordinate
        The parameters of one lane, their precision, and how lanes are stored.
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
    def curvature(self) -> np.ndarray:
        """The curvatures c, shape (parameters,)."""
        return np.geomspace(0.01, 1.0, self.parameters)

    def starts(self, seeds: Sequence[int]) -> np.ndarray:
        """Return where lanes of these seeds start, shape (lanes, parameters)."""
        streams = [rng.stream(seed, "verify/start") for seed in seeds]
        return np.stack([stream.normal(size=self.parameters) for stream in streams])

    def loss(self, params: np.ndarray) -> np.ndarray:
        """Return the loss of each lane, shape (lanes,)."""
        # NumPy orders a sum by how lanes are stored, which differs between one and several.
        squares = np.ascontiguousarray(self.curvature * (params - 1.0) ** 2)
        losses: np.ndarray = squares.sum(axis=1) / 2.0
        return losses

    def gradient(self, params: np.ndarray, update: int) -> np.ndarray:
        """Return the gradients, without noise."""
        slopes: np.ndarray = self.curvature * (params - 1.0)
        return slopes

    def noisy_gradient(self, seeds: Sequence[int]) -> Gradient:
        """Return a function for gradients with a normal noise of 0.1, which depends on the seed."""
        noises = np.stack([_noises(seed, self.parameters) for seed in seeds])

        def gradient(params: np.ndarray, update: int) -> np.ndarray:
            noisy: np.ndarray = self.gradient(params, update) + noises[:, update % NOISES]
            return noisy

        return gradient

    def task(self, optimizer: Optimizer, configurations: Sequence[Configuration]) -> Task:
        """Return what an optimizer is told of it."""
        return Task(optimizer.name, self.title, self.tensors, self.dtype, False, configurations)

    def descent(
        self,
        optimizer: Optimizer,
        configurations: Sequence[Configuration],
        starts: np.ndarray,
        state: Mapping[str, np.ndarray] | None = None,
    ) -> Descent:
        """Return lanes of this function that an optimizer updates; see :class:`Descent`."""
        return Descent(
            optimizer,
            configurations,
            starts,
            state,
            tensors=self.tensors,
            dtype=self.dtype,
            by_coordinate=self.by_coordinate,
            problem=self.title,
            loss=lambda params, _: self.loss(params),
        )


@lru_cache(maxsize=32)
def _noises(seed: int, parameters: int) -> np.ndarray:
    return rng.stream(seed, "verify/noise").normal(scale=0.1, size=(NOISES, parameters))
