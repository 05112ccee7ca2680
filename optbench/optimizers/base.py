"""The contract of an optimizer.

An optimizer is an update rule with named hyperparameters. It works on all lanes of a block at once:
parameters, gradients and slots have shape (lanes, parameters), hyperparameters are columns of shape
(lanes, 1). An element-wise rule is one pure function of arrays, :meth:`Elementwise.rule`; the
device decides how to run it.
"""

import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from optbench.arrays import Array, Namespace, Stacked, Tensor
from optbench.errors import SuiteError

HostColumns = Mapping[str, np.ndarray]
"""Hyperparameters of all lanes on the host: name to float64 of shape (1 or updates, lanes, 1)."""


@dataclass(frozen=True)
class Hyperparameter:
    """A number that an update rule takes, with its default and its range.

    Attributes
    ----------
    name
        The field's usual name.
    default
        The value where a suite gives none.
    low, high
        The range; a bound is part of it unless it is infinite or said to be open.
    high_open
        Whether ``high`` itself is outside the range.
    meaning
        A few words for lists.
    """

    name: str
    default: float
    meaning: str
    low: float = 0.0
    high: float = math.inf
    high_open: bool = False

    def check(self, value: float) -> float:
        """Return ``value`` as a float.

        Raises
        ------
        SuiteError
            If it is not a finite number in the range.
        """
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise SuiteError(f"{self.name} = {value!r} is not a number; {self._right()}")
        inside = self.low <= value <= self.high and not (self.high_open and value == self.high)
        if not inside or abs(value) > sys.float_info.max:
            raise SuiteError(f"{self.name} = {value} is out of range; {self._right()}")
        return float(value)

    def _right(self) -> str:
        return f"it takes a number in {self.range}, by default {self.default:g}"

    @property
    def range(self) -> str:
        """The range in interval notation.

        >>> Hyperparameter("momentum", 0.9, "", high=1.0, high_open=True).range
        '[0, 1)'
        """
        closing = ")" if self.high_open or math.isinf(self.high) else "]"
        high = "∞" if math.isinf(self.high) else f"{self.high:g}"
        return f"[{self.low:g}, {high}{closing}"


@dataclass(frozen=True)
class Choice:
    """A hyperparameter that is a word.

    Attributes
    ----------
    name, default, meaning
        As of :class:`Hyperparameter`.
    choices
        The words that it takes.
    """

    name: str
    default: str
    meaning: str
    choices: tuple[str, ...]

    def check(self, value: object) -> str:
        """Return ``value``.

        Raises
        ------
        SuiteError
            If it is none of the choices.
        """
        if value not in self.choices:
            raise SuiteError(f"{self.name} = {value!r} is not known; it takes {self.range}")
        return str(value)

    @property
    def range(self) -> str:
        """The words that it takes."""
        return " | ".join(self.choices)


def fraction(name: str, default: float, meaning: str) -> Hyperparameter:
    """Return a hyperparameter with the range [0, 1), such as a decay rate."""
    return Hyperparameter(name, default, meaning, high=1.0, high_open=True)


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
    elementwise: Callable[
        [Callable[..., tuple[Array, ...]], Sequence[Array], Mapping[str, Array]], None
    ]
    tensors: tuple[Tensor, ...]
    xp: Namespace


class Optimizer(ABC):
    """An update rule, stacked over lanes."""

    name: ClassVar[str]
    summary: ClassVar[str]
    hyperparameters: ClassVar[tuple[Hyperparameter, ...]]
    slots: ClassVar[tuple[str, ...]] = ()
    """Names of the state arrays that are like the parameters; zero at the start."""
    copies: ClassVar[tuple[str, ...]] = ()
    """The slots that start as a copy of the parameters instead."""
    scalars: ClassVar[tuple[str, ...]] = ()
    """Names of the state arrays of shape (lanes, 1), zero at the start."""
    needs_matrices: ClassVar[bool] = False
    """Whether it treats tensors by their shape."""
    evaluates_elsewhere: ClassVar[bool] = False
    """Whether evaluations take :meth:`eval_params` and not the parameters."""
    full_batch: ClassVar[bool] = False
    """Whether it is meant for gradients without noise."""
    source: ClassVar[str] = ""
    """The paper or library, in a line."""
    partner: ClassVar[str | None] = None
    """The implementation elsewhere that it equals, such as ``torch.optim.NAdam``."""

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

    @abstractmethod
    def step(self, step: Step) -> None:
        """Update parameters and state in place."""

    def eval_params(self, params: Array, state: Mapping[str, Array], xp: Namespace) -> Array:
        """Return the parameters that evaluations take, shape (lanes, parameters)."""
        return params


class Elementwise(Optimizer):
    """An optimizer that treats every parameter alike and apart."""

    rule: ClassVar[Callable[..., tuple[Array, ...]]]
    """``rule(w, g, *slots, xp=xp, **columns)``, pure: returns the new parameters and slots."""

    def step(self, step: Step) -> None:
        """Run the rule over all parameters of all lanes."""
        slots = [step.state[name] for name in self.slots]
        step.elementwise(self.rule, [step.params.rows, step.grads.rows, *slots], step.columns)
