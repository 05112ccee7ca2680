"""Sweeps: the configurations that an ``[[optimizer]]`` runs at, by grids or point by point."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

from optbench.errors import SuiteError
from optbench.optimizers.base import Optimizer
from optbench.optimizers.registry import (
    complete_configurations,
    get_optimizer,
    known_hyperparameters,
    with_defaults,
)
from optbench.settings import complete
from optbench.suite.format import OptimizerEntry
from optbench.suite.values import grid_values


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
            If a grid is malformed, if points do not all name the same hyperparameters, or if
            something is given in two ways.
        """
        grids = {}
        for key, grid in entry.grid.items():
            try:
                grids[key] = grid_values(grid)
            except SuiteError as error:
                raise error.within(f"{entry.title}: grid.{key}") from None
        try:
            _check_ways(entry)
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
            for values in product(*self.grids.values()):
                yield dict(zip(self.grids, values, strict=True))

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


def _check_ways(entry: OptimizerEntry) -> None:
    """Refuse points that are no sweep, and hyperparameters that are given in two ways."""
    fixed = entry.hyperparameters
    for key in filter(fixed.__contains__, entry.grid):
        raise SuiteError(f"{key} has a value and a grid; give one of them")
    if entry.points is None:
        return
    if entry.grid:
        raise SuiteError("it has points and a grid; give one of them")
    if not entry.points or not entry.points[0]:
        raise SuiteError("points are empty; write points = [{lr = 0.1}, {lr = 0.2}]")
    named = entry.points[0].keys()
    for key in filter(fixed.__contains__, named):
        raise SuiteError(f"{key} has a value and stands in points; give one of them")
    for place, point in enumerate(entry.points, 1):
        if point.keys() != named:
            here, first = (", ".join(keys) or "nothing" for keys in (point, named))
            raise SuiteError(
                f"point {place} names {here}, but point 1 {first}; "
                "all must name the same hyperparameters"
            )
