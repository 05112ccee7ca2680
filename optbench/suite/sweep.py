"""Sweeps: what is run at several values, and what those are.

A :class:`Sweep` holds the configurations of an ``[[optimizer]]``, by grids or point by point. The
grids of a ``[[problem]]`` make several of it: :func:`with_swept_problems`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

from optbench.errors import SuiteError, nearest
from optbench.optimizers.base import Optimizer
from optbench.optimizers.registry import (
    complete_configurations,
    get_optimizer,
    known_hyperparameters,
    with_defaults,
)
from optbench.problems.registry import get_problem_class
from optbench.settings import complete
from optbench.suite.format import OptimizerEntry, ProblemEntry, SuiteFile, parse_suite
from optbench.suite.values import grid_values

MAX_PROBLEMS = 1_000
"""Problems that the grids of a suite may make."""


@dataclass(frozen=True)
class Sweep:
    """An optimizer entry with the values of its grids, by hyperparameter.

    An entry without grids and points has one point, which changes nothing.
    """

    entry: OptimizerEntry
    grids: Mapping[str, Sequence[Any]]

    @classmethod
    def of(cls, entry: OptimizerEntry) -> "Sweep":
        """Return an entry's sweep.

        Raises
        ------
        SuiteError
            If a grid is malformed, if points do not all name the same hyperparameters, if something
            is given in two ways, or if there is a space.
        """
        for key in entry.space:
            raise SuiteError(
                f"{entry.title}: {key} has a space, which optbench tune searches; to run it, give "
                "a value or a grid"
            )
        grids = _grids(entry)
        try:
            _check_points(entry)
        except SuiteError as error:
            raise error.within(entry.title) from None
        return cls(entry, grids)

    @property
    def size(self) -> int:
        """How many points there are."""
        return len(self.entry.points or ()) or prod(map(len, self.grids.values()))

    def points(self) -> Iterator[dict[str, Any]]:
        """Yield what each configuration is given beside the entry's values."""
        if self.entry.points:
            yield from self.entry.points
        else:
            yield from _combinations(self.grids)

    def configurations(self, optimizer: Optimizer) -> tuple[dict[str, float | str], ...]:
        """Return all hyperparameters at each point.

        Raises
        ------
        SuiteError
            If a hyperparameter or a value does not fit, or if two points are the same.
        """
        fixed = self.entry.hyperparameters
        found = complete_configurations(optimizer, [fixed | point for point in self.points()])
        first: dict[tuple[tuple[str, float | str], ...], int] = {}
        for place, configuration in enumerate(found, 1):
            twin = first.setdefault(tuple(configuration.items()), place)
            if twin != place:
                raise SuiteError(
                    f"{self.entry.title}: points {twin} and {place} are the same configuration; "
                    "give each once"
                )
        return found

    def as_recorded(self) -> dict[str, Any]:
        """Return the entry with all defaults, and what is swept as lists of recorded values."""
        optimizer = get_optimizer(self.entry.name)
        first = next(self.points())
        whole = with_defaults(optimizer, self.entry.hyperparameters | first)
        plain: dict[str, Any] = {"name": self.entry.name, "label": self.entry.title}
        plain |= {key: value for key, value in whole.items() if key not in first}
        known = known_hyperparameters(optimizer)

        def recorded(point: Mapping[str, Any]) -> dict[str, Any]:
            swept = (known[key] for key in point)
            return complete(optimizer.name, "hyperparameter", swept, point)

        if self.entry.points:
            plain["points"] = [recorded(point) for point in self.entry.points]
        elif self.grids:
            plain["grid"] = {
                key: [recorded({key: value})[key] for value in values]
                for key, values in self.grids.items()
            }
        return plain


def _grids(entry: OptimizerEntry | ProblemEntry) -> dict[str, list[Any]]:
    """Return the values of an entry's grids; refuse what has a value too."""
    given = entry.hyperparameters if isinstance(entry, OptimizerEntry) else entry.options
    grids = {}
    for key, grid in entry.grid.items():
        try:
            grids[key] = grid_values(grid)
        except SuiteError as error:
            raise error.within(f"{entry.title}: grid.{key}") from None
        if key in given:
            raise SuiteError(f"{entry.title}: {key} has a value and a grid; give one of them")
    return grids


def _combinations(grids: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """Yield every combination of the values of grids; the last one varies fastest."""
    for values in product(*grids.values()):
        yield dict(zip(grids, values, strict=True))


def _check_points(entry: OptimizerEntry) -> None:
    """Refuse points that are no sweep, or name what is given in another way."""
    if entry.points is None:
        return
    if entry.grid:
        raise SuiteError("it has points and a grid; give one of them")
    if not entry.points or not entry.points[0]:
        raise SuiteError("points are empty; write points = [{lr = 0.1}, {lr = 0.2}]")
    named = entry.points[0].keys()
    for key in filter(entry.hyperparameters.__contains__, named):
        raise SuiteError(f"{key} has a value and stands in points; give one of them")
    for place, point in enumerate(entry.points, 1):
        if point.keys() != named:
            here, first = (", ".join(keys) or "nothing" for keys in (point, named))
            raise SuiteError(
                f"point {place} names {here}, but point 1 {first}; "
                "all must name the same hyperparameters"
            )


def with_swept_problems(file: SuiteFile) -> SuiteFile:
    """Return a suite in which each value of its problems' grids is a problem of its own.

    Its title shows the options: ``mnist-mlp (batch_size=32)``.

    Raises
    ------
    SuiteError
        If a grid is malformed, if it is none of an option, or if there are too many problems.
    """
    if not any(entry.grid for entry in file.problem):
        return file
    swept = [(entry, _grids(entry)) for entry in file.problem]
    for entry, grids in swept:
        for key in grids:
            check_option(entry, key)
    count = sum(prod(map(len, grids.values())) for _, grids in swept)
    if count > MAX_PROBLEMS:
        raise SuiteError(f"its grids make {count} problems; a run can have at most {MAX_PROBLEMS}")
    problems = [
        plain | point | ({"label": _titled(entry.title, point)} if point else {})
        for entry, grids in swept
        for plain in [entry.model_dump(exclude_unset=True, exclude={"grid"})]
        for point in _combinations(grids)
    ]
    return parse_suite({**file.as_written(), "problem": problems}, "its grids")


def check_option(entry: ProblemEntry, key: str) -> None:
    """Refuse what is no option of a problem."""
    known = [option.name for option in get_problem_class(entry.name).options]
    if key not in known:
        raise SuiteError(f"{entry.title} has no option '{key}'; {nearest(key, known)}")


def _titled(title: str, point: Mapping[str, Any]) -> str:
    """Return the title of a problem with some options.

    >>> _titled("mnist-mlp", {"batch_size": 32, "data": "mnist-5k"})
    'mnist-mlp (batch_size=32, data=mnist-5k)'
    """
    texts = (value if isinstance(value, str) else json.dumps(value) for value in point.values())
    options = ", ".join(f"{key}={text}" for key, text in zip(point, texts, strict=True))
    return f"{title} ({options})"
