"""The contract of an optimizer.

An optimizer is an update rule with named hyperparameters. It works on all lanes of a block at once:
parameters, gradients and slots have shape (lanes, parameters), hyperparameters are columns of shape
(lanes, 1). An element-wise rule is one pure function of arrays, :meth:`Elementwise.rule`; the
device decides how to run it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, ClassVar, NoReturn, Protocol, TypeAlias

import numpy as np
from typing_extensions import override

from optbench.arrays import Array, Namespace, Stacked, Tensor, Workspace, stack
from optbench.errors import SuiteError, argument
from optbench.plugins import Plugin
from optbench.settings import Setting

HostColumns: TypeAlias = Mapping[str, np.ndarray]
"""Hyperparameters of all lanes on the host: name to float64 of shape (1 or updates, lanes, 1)."""

RunElementwise: TypeAlias = Callable[
    [Callable[..., tuple[Array, ...]], Sequence[Array], Mapping[str, Array]], None
]

ALL_LANES = slice(None)


class Evaluate(Protocol):
    """Evaluates lanes at parameters of an optimizer's choice; see :class:`UpdateContext`."""

    def __call__(self, params: Array, lanes: slice | np.ndarray = ALL_LANES) -> tuple[Array, Array]:
        """Return losses (lanes,) and gradients (lanes, parameters) at parameters of that shape.

        Parameters
        ----------
        lanes
            Which of the lanes they are of: a slice, or indices.
        """


def _no_loss(params: Array = None, lanes: slice | np.ndarray = ALL_LANES) -> NoReturn:
    raise SuiteError("gradients that are given have no loss; run the optimizer on a problem")


@dataclass
class UpdateContext:
    """What an optimizer sees of one update.

    Attributes
    ----------
    params, grads
        Parameters, to be updated in place, and gradients of the loss; rows and named views.
    state
        The optimizer's own arrays by name, updated in place.
    columns
        What :meth:`Optimizer.columns` returned for this update, on the device: (lanes, 1) each, or
        (1, 1) where all lanes share it.
    elementwise
        Runs an element-wise rule in place; see :meth:`optbench.device.base.Device.elementwise`.
    tensors
        The parameters' tensors in the order in which they lie in a row.
    xp
        The array namespace.
    work
        Work arrays, which other updates share.
    loss
        Returns the losses that came with the gradients, shape (lanes,).
    evaluate
        Returns losses (lanes,) and gradients (lanes, parameters) of these lanes, or of some, at
        other parameters of that shape, on the batch of the step and with the same masks. Nothing
        else changes. Each lane's counts as a gradient, as does its time.
    """

    params: Stacked
    grads: Stacked
    state: dict[str, Array]
    columns: Mapping[str, Array]
    elementwise: RunElementwise
    tensors: tuple[Tensor, ...]
    xp: Namespace
    work: Workspace
    loss: Callable[[], Array] = _no_loss
    evaluate: Evaluate = _no_loss


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
    """What an optimizer is told about the lanes of a block when they begin.

    Attributes
    ----------
    context
        A context without columns; its state is empty.
    hyperparameters
        All hyperparameters of each lane.
    zeros
        Returns a new array (lanes, parameters), stored like the parameters.
    put
        Brings float64 from the host to the device, in the parameters' precision.
    dtype
        That precision: ``"float32"`` or ``"float64"``.
    seeds
        The seed of each lane.
    """

    context: UpdateContext
    hyperparameters: Sequence[Mapping[str, float | str]]
    zeros: Callable[[], Array]
    put: Callable[[np.ndarray], Array]
    dtype: str
    seeds: Sequence[int]


class Optimizer(ABC):
    """An update rule, stacked over lanes."""

    name: str
    summary: str
    hyperparameters: tuple[Setting, ...]
    slots: ClassVar[tuple[str, ...]] = ()
    """Names of the state arrays that are like the parameters; zero at the start."""
    copies: ClassVar[tuple[str, ...]] = ()
    """The slots that start as a copy of the parameters instead."""
    scalars: ClassVar[tuple[str, ...]] = ()
    """Names of the state arrays of shape (lanes, 1), zero at the start."""
    work_arrays: ClassVar[int] = 0
    """How many arrays like the parameters an update works in, about, beside the slots."""
    needs_matrices: ClassVar[bool] = False
    """Whether it treats tensors by their shape."""
    evaluates_elsewhere: ClassVar[bool] = False
    """Whether evaluations take :meth:`eval_params` and not the parameters."""
    full_batch: ClassVar[bool] = False
    """Whether it is meant for gradients without noise."""
    random: bool = False
    """Whether it draws random numbers of its own, others for each seed of a lane."""
    resumable: bool = True
    """Whether what it carries can be saved; else interrupted lanes start anew."""
    source: ClassVar[str] = ""
    """The paper or library, in a line."""
    partner: ClassVar[str | None] = None
    """The implementation elsewhere that it equals, such as ``torch.optim.NAdam``."""
    plugin: Plugin | None = None
    """Where its code is, if that is not optbench itself."""

    def columns(self, hyperparameters: HostColumns, updates: range) -> dict[str, np.ndarray]:
        """Return the columns that some updates need, computed on the host in float64.

        Parameters
        ----------
        hyperparameters
            Of all lanes, shape (1, lanes, 1), or (updates, lanes, 1) where a schedule changes one.
        updates
            Numbers of the updates, counted from 1.

        Returns
        -------
        dict
            By name; each axis of (updates, lanes, 1) may be 1 where all along it are alike.
        """
        return dict(hyperparameters)

    def identity(self) -> dict[str, Any]:
        """Return, as plain data, which rule it is and what code it comes from, for lane keys."""
        if self.plugin is None:
            return {"name": self.name, "source": "optbench"}
        return {"name": self.plugin.name, "source": self.plugin.source.identity()}

    def fit(self, task: Task) -> tuple[str, ...]:
        """Return notices about the optimizer on a problem that the user should see.

        Raises
        ------
        SuiteError
            If it cannot run there.
        """
        if self.full_batch and task.minibatch:
            return (
                f"{task.label} on {task.problem} is meant for the full batch, "
                f"not for minibatches; give {argument('batch_size', 'full')}",
            )
        return ()

    def begin(self, lanes: Lanes, state: Mapping[str, Array] | None) -> "Updater":
        """Return what updates the lanes of a block, from a state of theirs or from the start."""
        return StackedUpdater(self, lanes, state)

    @abstractmethod
    def step(self, context: UpdateContext) -> None:
        """Update parameters and state in place."""

    def eval_params(self, params: Array, state: Mapping[str, Array], xp: Namespace) -> Array:
        """Return the parameters that evaluations take, shape (lanes, parameters)."""
        return params


class Elementwise(Optimizer):
    """An optimizer that treats every parameter alike and apart."""

    rule: ClassVar[Callable[..., tuple[Array, ...]]]
    """``rule(w, g, *slots, xp=xp, **columns)``, pure: returns the new parameters and slots."""

    @override
    def step(self, context: UpdateContext) -> None:
        slots = [context.state[name] for name in self.slots]
        arrays = [context.params.rows, context.grads.rows, *slots]
        context.elementwise(self.rule, arrays, context.columns)


ALL, VECTORS = "none", "bias"
"""What ``no_decay`` may be: nothing is left out, or all that is no matrix, biases and scales."""


def decayed_parts(
    tensors: Sequence[Tensor],
) -> list[tuple[slice, tuple[Tensor, ...], bool]]:
    """Return the parts of a row that tensors of one kind make up, in order.

    Each comes with its tensors, and with whether these are vectors or numbers: biases and scales.

    >>> decayed_parts([Tensor("W", (2, 3)), Tensor("b", (3,)), Tensor("scale", (3,))])
    [(slice(0, 6, None), (Tensor(name='W', shape=(2, 3)),), False),
     (slice(6, 12, None), (Tensor(name='b', shape=(3,)), Tensor(name='scale', shape=(3,))), True)]
    """
    parts, start = [], 0
    for vectors, group in groupby(tensors, lambda tensor: len(tensor.shape) < 2):
        own = tuple(group)
        end = start + sum(tensor.size for tensor in own)
        parts.append((slice(start, end), own, vectors))
        start = end
    return parts


class Updater(ABC):
    """An optimizer at work on the lanes of a block."""

    @abstractmethod
    def plan(self, hyperparameters: HostColumns, updates: range) -> None:
        """Prepare some updates, whose numbers are counted from 1."""

    @abstractmethod
    def update(self, row: int) -> None:
        """Make one of the planned updates, the first with ``row`` = 0, in place."""

    @property
    @abstractmethod
    def state(self) -> Mapping[str, Array]:
        """All that the optimizer carries to the next update: arrays (lanes, …) by name.

        Where that cannot be saved, they are NumPy's arrays of objects. For what only some lanes
        have, an array named as well with ``?`` at the end says which.
        """

    @abstractmethod
    def eval_params(self) -> Array:
        """Return the parameters that evaluations take, shape (lanes, parameters)."""


class StackedUpdater(Updater):
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
        self, optimizer: Optimizer, lanes: Lanes, state: Mapping[str, Array] | None
    ) -> None:
        params, xp = lanes.context.params.rows, lanes.context.xp
        own: dict[str, Array] = {name: lanes.zeros() for name in optimizer.slots}
        for name in optimizer.scalars:
            own[name] = xp.zeros((params.shape[0], 1), dtype=params.dtype)
        begun = dict.fromkeys(optimizer.copies, params) if state is None else state
        for name, array in begun.items():
            own[name][...] = array
        self._optimizer = optimizer
        self._context = replace(lanes.context, state=own)
        self._put = lanes.put
        self._parts = [_Part(self._context)]
        named = {setting.name for setting in optimizer.hyperparameters}
        spared = [lane.get("no_decay") == VECTORS for lane in lanes.hyperparameters]
        if "weight_decay" in named and "no_decay" not in named and any(spared):
            decaying = ~np.array(spared)[None, :, None]
            self._parts = [
                _Part(_part_of(self._context, part, tensors), decaying if vectors else None)
                for part, tensors, vectors in decayed_parts(self._context.tensors)
            ]

    @override
    def plan(self, hyperparameters: HostColumns, updates: range) -> None:
        # What all lanes share is computed once; a user's rule may rely on one value per lane.
        if self._optimizer.plugin is None:
            hyperparameters = {
                name: column[:, :1] if (column == column[:, :1]).all() else column
                for name, column in hyperparameters.items()
            }
        for part in self._parts:
            given = hyperparameters
            if part.decaying is not None:
                given = {**given, "weight_decay": given["weight_decay"] * part.decaying}
            columns = self._optimizer.columns(given, updates)
            part.columns = {name: self._put(column) for name, column in columns.items()}

    @override
    def update(self, row: int) -> None:
        for part in self._parts:
            part.context.columns = at_row(part.columns, row)
            self._optimizer.step(part.context)

    @property
    @override
    def state(self) -> Mapping[str, Array]:
        return self._context.state

    @override
    def eval_params(self) -> Array:
        context = self._context
        return self._optimizer.eval_params(context.params.rows, context.state, context.xp)


@dataclass
class _Part:
    """A part of each row, updated by itself: the whole row, or tensors that decay alike.

    ``decaying`` says in which lanes they do, (1, lanes, 1); None where in all.
    """

    context: UpdateContext
    decaying: np.ndarray | None = None
    columns: dict[str, Array] = field(default_factory=dict)


def _part_of(context: UpdateContext, part: slice, tensors: tuple[Tensor, ...]) -> UpdateContext:
    """Return a context of some consecutive tensors, which shares memory with that of all."""

    def own(stacked: Stacked) -> Stacked:
        return stack(stacked.rows[:, part], tensors, context.xp)

    state = {
        name: array[:, part] if array.shape == context.params.rows.shape else array
        for name, array in context.state.items()
    }
    return replace(
        context,
        params=own(context.params),
        grads=own(context.grads),
        state=state,
        tensors=tensors,
    )


def host_columns(
    optimizer: Optimizer, configurations: Sequence[Mapping[str, float | str]]
) -> dict[str, np.ndarray]:
    """Return an optimizer's own hyperparameters by name: float64, shape (1, lanes, 1)."""
    return {
        setting.name: np.array(
            [setting.number(configuration[setting.name]) for configuration in configurations]
        )[None, :, None]
        for setting in optimizer.hyperparameters
    }


def at_row(columns: Mapping[str, Array], row: int) -> dict[str, Array]:
    """Return one update's part of columns (updates or 1, lanes, 1)."""
    return {
        name: column[row if column.shape[0] > 1 else 0, ...] for name, column in columns.items()
    }


def powers(base: np.ndarray, exponents: range) -> np.ndarray:
    """Return base^exponent in float64, shape (exponents, lanes, 1), of a column (lanes, 1).

    The column may also have the shape (1, lanes, 1). Lanes often share a base, so each is raised
    once; where all do, the shape is (exponents, 1, 1).
    Python's own power is used since NumPy's may give other bits in longer arrays, and no lane may
    depend on its company.
    """
    base = base.reshape(-1, 1)
    values, places = np.unique(base, return_inverse=True)
    raised = np.array([[value**exponent for value in values.tolist()] for exponent in exponents])
    return raised[:, :, None] if len(values) == 1 else raised[:, places.reshape(base.shape)]
