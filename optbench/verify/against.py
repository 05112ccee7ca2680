"""Two implementations of a rule, led along the same gradients: where they part, and by what.

Each descends from the same starts a noisy quadratic and a function that is not convex, in float64.
The second is also given the gradients that the first one met, so that what it does differently is
seen before paths that part meet other gradients.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from typing_extensions import override

from optbench.arrays import Tensor
from optbench.device.cpu import NumpyDevice
from optbench.engine.executor import one_blas_thread
from optbench.errors import SuiteError, UsageError, argument, nearest
from optbench.optimizers.base import Optimizer
from optbench.optimizers.registry import complete_hyperparameters, get_optimizer
from optbench.plugins import new_code_cache
from optbench.settings import typed
from optbench.suite.handed import named_optimizers
from optbench.verify.descent import Configuration, Gradient, Quadratic
from optbench.verify.variants import Cause, Met, Rule, causes, distances, meaning_of, meanings

TOLERANCE = 1e-9
"""How far two that are the same may be apart, relative to the largest move of a parameter."""

LOOKED_AT = (1, 10, 100)
"""Updates after which differences are told; the last one is the last of all."""

TENSORS = (Tensor("w1", (6, 4)), Tensor("b1", (4,)), Tensor("w2", (4, 3)), Tensor("scale"))

SHAPES = (TENSORS, (TENSORS[0], TENSORS[2]), (Tensor("w", (10,)),))
"""Tensors that are tried in turn, until both optimizers take them."""


class Wells(Quadratic):
    """f(w) = Σ c·u²/(1 + u²) with u = w − 1 and the curvatures of a quadratic; not convex."""

    @override
    def loss(self, params: np.ndarray) -> np.ndarray:
        squares = (params - 1.0) ** 2
        losses: np.ndarray = (self.curvature * squares / (1.0 + squares)).sum(axis=1)
        return losses

    @override
    def gradient(self, params: np.ndarray, update: int) -> np.ndarray:
        away = params - 1.0
        slopes: np.ndarray = 2.0 * self.curvature * away / (1.0 + away**2) ** 2
        return slopes


@dataclass(frozen=True)
class Parting:
    """How two paths part.

    Attributes
    ----------
    problem
        What they descend.
    given
        Whether the second was given the gradients of the first; otherwise it met its own.
    update
        The first after which they are apart by more than the tolerance; None if they never are.
    parameter, first, second
        The parameter that differs most there, and its values.
    differences
        By update: the largest difference of a parameter, relative to the largest move.
    """

    problem: str
    given: bool
    update: int | None
    parameter: str
    first: float | None
    second: float | None
    differences: Mapping[int, float]


@dataclass(frozen=True)
class Comparison:
    """What was seen of two optimizers.

    Attributes
    ----------
    first, second
        Their names.
    tolerance
        How far apart they may be.
    partings
        One per problem and kind of gradients.
    causes
        What makes the second of the first, all of it together; empty if they agree, or if no known
        variant does.
    agreement
        How far the variants are at most from what they stand for; None without causes.
    notes
        What one of them lacks, and where it took its values from.
    """

    first: str
    second: str
    tolerance: float
    partings: tuple[Parting, ...]
    causes: tuple[Cause, ...]
    agreement: float | None
    notes: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        """Whether they are nowhere apart by more than the tolerance."""
        return all(parting.update is None for parting in self.partings)


@typed
@new_code_cache()
def compare_optimizers(
    first: str | Callable[..., Any],
    second: str | Callable[..., Any],
    given: Mapping[str, Any] | None = None,
    *,
    tolerance: float = TOLERANCE,
) -> Comparison:
    """Compare two optimizers update by update.

    Parameters
    ----------
    first, second
        As a suite or a flag gives them; in Python also classes.
    given
        Hyperparameters that are not to have their defaults: ``lr`` for both, ``a.lr`` for the
        first and ``b.lr`` for the second one.
    tolerance
        How far apart they may be, relative to the largest move of a parameter.

    Raises
    ------
    UsageError
        If there is no such optimizer or hyperparameter, if one has no value, or if they cannot run
        on the same tensors.

    >>> compare_optimizers("adam-torch", "adam", {"lr": 0.01}).causes[0]
    Cause(what='eps', first='1e-08', second='1e-07')
    """
    if not 0 <= tolerance < math.inf:
        raise UsageError(f"{argument('tolerance', tolerance)} must be a number of at least 0")
    names = named_optimizers(first), named_optimizers(second)
    with one_blas_thread(), NumpyDevice().quiet():
        return _Pair(*names, given or {}).compare(tolerance)


class _Pair:
    """Two optimizers with their hyperparameters."""

    def __init__(self, first: str, second: str, given: Mapping[str, Any]) -> None:
        self._names = (first, second)
        optimizers = (get_optimizer(first), get_optimizer(second))
        both = _shared_out(optimizers, given)
        self._notes = _fill_rates(self._names, optimizers, both)
        self._configurations = [
            complete_hyperparameters(optimizer, each)
            for optimizer, each in zip(optimizers, both, strict=True)
        ]
        self._rules = [
            Rule(optimizer, configuration)
            for optimizer, configuration in zip(optimizers, self._configurations, strict=True)
        ]
        for mine, other in ((0, 1), (1, 0)):
            lacking = _lacking(self._rules[mine], self._rules[other])
            if lacking:
                self._notes.append(
                    f"{self._names[other]} lacks {', '.join(lacking)} of {self._names[mine]}"
                )

    @cached_property
    def _problems(self) -> tuple[Quadratic, ...]:
        """What both run on."""
        refusal: SuiteError | None = None
        for tensors in SHAPES:
            quadratic = Quadratic("a noisy quadratic", tensors, "float64", by_coordinate=False)
            wells = Wells("a nonconvex function", tensors, "float64", by_coordinate=False)
            try:
                notices = [
                    notice
                    for rule in self._rules
                    for notice in rule.optimizer.fit(
                        quadratic.task(rule.optimizer, [rule.configuration])
                    )
                ]
                self._notes += notices
                return quadratic, wells
            except SuiteError as error:
                refusal = refusal or error
        assert refusal is not None
        raise refusal

    def _path(self, place: int, problem: Quadratic, gradient: Gradient) -> np.ndarray:
        """Return where one of them is after each update, shape (updates, parameters)."""
        optimizer: Optimizer = get_optimizer(self._names[place])
        configuration: Configuration = self._configurations[place]
        descent = problem.descent(optimizer, [configuration], problem.starts([0]))
        return descent.path(gradient, LOOKED_AT[-1])[:, 0]

    def compare(self, tolerance: float) -> Comparison:
        """Lead both along all problems; where they part, look for what does it."""
        partings, met = [], []
        for problem in self._problems:
            start = problem.starts([0])
            noisy = not isinstance(problem, Wells)
            own = problem.noisy_gradient([0]) if noisy else problem.gradient
            seen: list[np.ndarray] = []
            first = self._path(0, problem, _remembering(own, seen))
            given = np.concatenate(seen[: LOOKED_AT[-1]])
            led = self._path(1, problem, _given(given))
            met.append(Met(start[0], given, first, led))
            for second, is_given in ((led, True), (self._path(1, problem, own), False)):
                partings.append(_parting(problem, is_given, start, first, second, tolerance))
        found: tuple[tuple[Cause, ...], float | None] = ((), None)
        if any(parting.update is not None for parting in partings):
            found = causes(self._rules[0], self._rules[1], met, tolerance)
        return Comparison(*self._names, tolerance, tuple(partings), *found, tuple(self._notes))


def _shared_out(
    optimizers: Sequence[Optimizer], given: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what each of the two is given."""
    both: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    own = [[setting.name for setting in optimizer.hyperparameters] for optimizer in optimizers]
    for key, value in given.items():
        letter, dot, name = key.partition(".")
        places = {"a": (0,), "b": (1,)}.get(letter, ()) if dot else (0, 1)
        if not places:
            raise UsageError(
                f"{key}: write a.{name} for the first optimizer, b.{name} for the other"
            )
        name = name if dot else key
        taking = [place for place in places if name in own[place]]
        if not taking:
            owner = " and ".join(optimizers[place].name for place in places)
            known = [each for place in places for each in own[place]]
            meant = nearest(name, known) if known else "there is none"
            raise SuiteError(f"{owner}: no hyperparameter '{name}' of its own; {meant}")
        for place in taking:
            both[place][name] = value
    return both


def _fill_rates(
    names: Sequence[str], optimizers: Sequence[Optimizer], both: Sequence[dict[str, Any]]
) -> list[str]:
    """Give an optimizer whose learning rate has no default that of the other; say so."""
    notes = []
    for mine, other in ((0, 1), (1, 0)):
        rates = [
            next((each for each in optimizer.hyperparameters if each.name == "lr"), None)
            for optimizer in optimizers
        ]
        own, theirs = rates[mine], rates[other]
        if own is None or theirs is None or "lr" in both[mine]:
            continue
        value = both[other].get("lr", theirs.default)
        if getattr(own, "required", False) and isinstance(value, int | float):
            both[mine]["lr"] = float(value)
            notes.append(
                f"lr = {value:g} of {names[other]} for {names[mine]} too, which has no default"
            )
    return notes


def _lacking(mine: Rule, other: Rule) -> list[str]:
    """Return the hyperparameters of one whose meaning the other does not have."""
    theirs = meanings(other)
    return [
        setting.name
        for setting in mine.optimizer.hyperparameters
        if not set(meaning_of(setting.name)) & theirs.keys() and setting.name not in IMPLEMENTATION
    ]


IMPLEMENTATION = ("foreach", "fused", "capturable", "differentiable", "maximize")
"""Arguments of PyTorch that say how to compute, or which way is down."""


def _remembering(gradient: Gradient, seen: list[np.ndarray]) -> Gradient:
    def remembered(params: np.ndarray, update: int) -> np.ndarray:
        grads = gradient(params, update)
        if len(seen) < update:  # the first of an update; others are asked for by line searches
            seen.append(np.array(grads))
        return grads

    return remembered


def _given(gradients: np.ndarray) -> Gradient:
    return lambda params, update: gradients[update - 1 : update]


def _parting(
    problem: Quadratic,
    given: bool,
    start: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    tolerance: float,
) -> Parting:
    apart = distances(start[0], first, second)
    beyond = np.flatnonzero(apart > tolerance)
    differences = {update: float(apart[update - 1]) for update in LOOKED_AT}
    if not beyond.size:
        return Parting(problem.title, given, None, "", None, None, differences)
    row = int(beyond[0])
    size = np.abs(first[row] - second[row])
    place = int(np.argmax(np.where(np.isfinite(size), size, np.inf)))
    values = float(first[row, place]), float(second[row, place])
    name = _parameter(problem.tensors, place)
    return Parting(problem.title, given, row + 1, name, *values, differences)


def _parameter(tensors: Sequence[Tensor], place: int) -> str:
    """Return what the parameter at a place of a row is called.

    >>> _parameter(TENSORS, 5)
    'w1[1, 1]'
    """
    for tensor in tensors:
        if place < tensor.size:
            break
        place -= tensor.size
    indices = np.unravel_index(place, tensor.shape) if tensor.shape else ()
    return f"{tensor.name}[{', '.join(map(str, indices))}]" if indices else tensor.name
