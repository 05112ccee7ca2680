"""Lanes that an optimizer updates: what it is given of them, and how it is led."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from optbench.arrays import Array, Namespace, Stacked, Tensor

if TYPE_CHECKING:
    from optbench.optimizers.base import Optimizer

HostColumns: TypeAlias = Mapping[str, np.ndarray]
"""Hyperparameters of all lanes on the host: name to float64 of shape (1 or updates, lanes, 1)."""

RunElementwise: TypeAlias = Callable[
    [Callable[..., tuple[Array, ...]], Sequence[Array], Mapping[str, Array]], None
]


@dataclass(frozen=True)
class Step:
    """What an optimizer sees of one step.

    Attributes
    ----------
    params, grads
        Parameters, to be updated in place, and gradients of the loss; rows and named views.
    state
        The optimizer's own arrays by name, updated in place.
    columns
        What :meth:`Optimizer.columns` gave for this update, on the device: (lanes, 1) each, or
        (1, 1) where all lanes share it.
    elementwise
        Runs an element-wise rule in place; see :meth:`optbench.device.Device.elementwise`.
    tensors
        The parameters' tensors in the order in which they lie in a row.
    xp
        The array namespace.
    """

    params: Stacked
    grads: Stacked
    state: dict[str, Array]
    columns: Mapping[str, Array]
    elementwise: RunElementwise
    tensors: tuple[Tensor, ...]
    xp: Namespace


@dataclass(frozen=True)
class Task:
    """What an optimizer entry is to do on a problem.

    Attributes
    ----------
    label, problem
        Titles of the entry and of the problem.
    tensors
        The problem's parameters in the order in which they lie in a row.
    dtype
        Of the parameters: ``"float32"`` or ``"float64"``.
    minibatch
        Whether its gradients are those of parts of the data.
    configurations
        All hyperparameters of each configuration.
    """

    label: str
    problem: str
    tensors: tuple[Tensor, ...]
    dtype: str
    minibatch: bool
    configurations: Sequence[Mapping[str, float | str]]


@dataclass(frozen=True)
class Lanes:
    """What an optimizer is given of the lanes of a block when they begin.

    Attributes
    ----------
    step
        A step without columns; its state is empty.
    hyperparameters
        All hyperparameters of each lane.
    zeros
        Returns a new array (lanes, parameters), stored like the parameters.
    put
        Brings float64 from the host to the device, in the parameters' precision.
    dtype
        That precision: ``"float32"`` or ``"float64"``.
    """

    step: Step
    hyperparameters: Sequence[Mapping[str, float | str]]
    zeros: Callable[[], Array]
    put: Callable[[np.ndarray], Array]
    dtype: str


class Updates(ABC):
    """An optimizer at work on the lanes of a block."""

    @abstractmethod
    def plan(self, hyperparameters: HostColumns, updates: range) -> None:
        """Make ready for some updates, whose numbers are counted from 1."""

    @abstractmethod
    def update(self, row: int) -> None:
        """Make one of the planned updates, the first with ``row`` = 0, in place."""

    @property
    @abstractmethod
    def state(self) -> Mapping[str, Array]:
        """All that the optimizer carries to the next update: arrays (lanes, …) by name."""

    @abstractmethod
    def eval_params(self) -> Array:
        """Return the parameters that evaluations take, shape (lanes, parameters)."""


class StackedUpdates(Updates):
    """Updates by a rule that is written for stacked lanes.

    Parameters
    ----------
    optimizer
        The rule.
    lanes
        The lanes, their parameters as they stand.
    state
        The rule's state; None at the start.
    """

    def __init__(
        self, optimizer: "Optimizer", lanes: Lanes, state: Mapping[str, Array] | None
    ) -> None:
        params, xp = lanes.step.params.rows, lanes.step.xp
        own: dict[str, Array] = {name: lanes.zeros() for name in optimizer.slots}
        for name in optimizer.scalars:
            own[name] = xp.zeros((params.shape[0], 1), dtype=params.dtype)
        begun = dict.fromkeys(optimizer.copies, params) if state is None else state
        for name, array in begun.items():
            own[name][...] = array
        self._optimizer = optimizer
        self._step = replace(lanes.step, state=own)
        self._put = lanes.put
        self._columns: dict[str, Array] = {}

    def plan(self, hyperparameters: HostColumns, updates: range) -> None:
        """Compute the rule's columns on the host and bring them to the device."""
        columns = self._optimizer.columns(hyperparameters, updates)
        self._columns = {name: self._put(column) for name, column in columns.items()}

    def update(self, row: int) -> None:
        """Make one of the planned updates."""
        self._optimizer.step(replace(self._step, columns=at_row(self._columns, row)))

    @property
    def state(self) -> Mapping[str, Array]:
        """The rule's own arrays by name."""
        return self._step.state

    def eval_params(self) -> Array:
        """Return the parameters that evaluations take."""
        step = self._step
        return self._optimizer.eval_params(step.params.rows, step.state, step.xp)


def at_row(columns: Mapping[str, Array], row: int) -> dict[str, Array]:
    """Return what of columns (updates, lanes, 1) belongs to one; all updates may share one."""
    return {name: each[row if each.shape[0] > 1 else 0, ...] for name, each in columns.items()}
