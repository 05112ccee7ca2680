"""What is watched until it is at a target: of each lane of a problem the loss, or an evaluation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite, nan

import numpy as np
from numpy.typing import ArrayLike

from optbench.errors import UsageError, argument
from optbench.inference.metric import FUNCTION_UNITS, log_losses
from optbench.inference.times import Record, hitting_times
from optbench.records import RunTables, averaged_rows_of
from optbench.report.configurations import (
    EVALUATED,
    MEASURE_NAMES,
    known_minimum,
    ranked_lanes,
    rounding_unit,
)
from optbench.report.curves import lane_losses, starting_loss
from optbench.report.entrants import Entrant, entrants
from optbench.report.joined import of_problems
from optbench.report.statistics import quantile
from optbench.report.tables import percent
from optbench.store.thinning import every_of, in_words

LOSS = "loss"
"""The loss of the trace; of noisy rows the mean over a window."""

WATCHABLE = (LOSS, *EVALUATED)

_EMPTY = np.empty(0), np.empty(0)


@dataclass(frozen=True)
class Path:
    """What one lane showed: a value of the trace in each row, or one for each evaluation.

    ``updates`` are those made before each evaluation, ``final`` is what the lane ended with: +inf
    where it ended badly. A lane that ended ``outside`` the domain of its function shows nothing.
    """

    values: np.ndarray
    updates: np.ndarray
    final: float
    outside: bool = False


@dataclass(frozen=True)
class Watched:
    """One problem, with what its lanes showed.

    Attributes
    ----------
    on
        What is watched, one of :data:`WATCHABLE`.
    budget
        N, the updates that every lane was to make.
    window
        Rows whose mean counts: those of the final loss; 1 for evaluations.
    minimum
        The smallest value that there is, None where it is unknown.
    start
        The value at the start, NaN where none was recorded.
    lanes
        What each lane showed, by its number.
    entrants
        Who takes part, if it is labels that are watched.
    """

    problem: str
    on: str
    budget: int
    window: int
    record: Record
    minimum: float | None
    start: float
    unit: float  # of rounding
    noisy: bool
    lanes: Mapping[int, Path]
    entrants: Sequence[Entrant] = ()

    @property
    def paths(self) -> list[list[Path]]:
        """What the lanes of each entrant showed."""
        return [[self.lanes[number] for number in entrant.lanes] for entrant in self.entrants]

    @property
    def zero(self) -> float:
        """What a value is a distance from: the minimum, or 0."""
        return self.minimum or 0.0

    @property
    def floor(self) -> float:
        """The distance from the smallest value below which there is only rounding."""
        sizes = [abs(each) for each in (self.start, self.zero) if isfinite(each)]
        if self.on.endswith("_error"):
            return 0.0
        units = 1.0 if self.minimum is None else FUNCTION_UNITS
        return units * self.unit * max(sizes)

    @property
    def evaluations(self) -> int:
        """The most evaluations of a lane; 0 where the trace is watched."""
        counts = (len(path.values) for paths in self.paths for path in paths)
        return 0 if self.on == LOSS else max(counts, default=0)

    def finals(self) -> dict[str, float]:
        """Return the median of what the lanes of each label ended with; it may be +inf."""
        return {
            entrant.label: float(quantile(np.array([path.final for path in paths]), 0.5))
            for entrant, paths in zip(self.entrants, self.paths, strict=True)
        }

    def times(self, targets: ArrayLike) -> list[np.ndarray]:
        """Return of each entrant how many updates its lanes needed, +inf where they missed.

        The shape is (lanes, …) with that of the targets.
        """
        return [
            np.array([self._times(path, targets) for path in paths], dtype=np.float64)
            for paths in self.paths
        ]

    def lane_times(self, target: float) -> dict[int, float]:
        """Return how many updates each lane needed, by its number, +inf where it missed."""
        return {number: float(self._times(path, target)) for number, path in self.lanes.items()}

    def _times(self, path: Path, targets: ArrayLike) -> np.ndarray:
        window, record = (self.window, self.record) if self.on == LOSS else (1, "before")
        times: np.ndarray = hitting_times(path.values[None], targets, window, record)[0]
        if self.on != LOSS:  # places of evaluations
            places = np.minimum(times, len(path.updates)).astype(int)
            times = np.append(path.updates, inf)[places]
        return times

    def ladder(self, targets: int) -> np.ndarray | None:
        """Return so many targets from the start down to the best label's median final value.

        They are evenly spaced on the scale of :mod:`optbench.inference.metric`, and of errors on
        their own. None where no label ended below the start.
        """
        best = min(self.finals().values(), default=np.inf)
        if not best < self.start < np.inf:
            return None
        left = np.linspace(1.0, 0.0, targets)  # of the way
        if not self.on.endswith("_error"):
            ends = np.array([[self.start], [best]])
            first, last = log_losses(
                ends, self.start, unit=self.unit, minimum=self.minimum, noisy=self.noisy
            ).ravel()
            if last < first:  # a value is an exponential there, but for a factor and a constant
                left = np.expm1(left * (first - last)) / np.expm1(first - last)
        rungs: np.ndarray = best + left * (self.start - best)
        rungs[0] = self.start
        return rungs


def watch(
    tables: RunTables, problem: str, on: str = LOSS, choose_on: Sequence[int] = ()
) -> Watched | None:
    """Return what the labels of a problem showed; None where it was not recorded.

    ``choose_on`` is as for :func:`optbench.report.entrants.entrants`; see :func:`watch_lanes`.
    """
    found = watch_lanes(tables, problem, on)
    return found and replace(found, entrants=entrants(tables, problem, choose_on))


def watch_lanes(tables: RunTables, problem: str, on: str = LOSS) -> Watched | None:
    """Return what the lanes of a problem showed; None where it was not recorded.

    ``on`` is one of :data:`WATCHABLE`.

    Raises
    ------
    UsageError
        If the loss of the trace is asked for and not all of its rows were kept.
    """
    kept = every_of(tables.meta)
    if on == LOSS and kept > 1:
        raise UsageError(
            f"the run kept {in_words(kept)} of its trace, and when its loss was at a target takes "
            f"all; watch evaluations, as {argument('on', 'train_loss')}, or run with "
            + argument("trace", "all")
        )
    tables = of_problems(tables, [problem])
    (meta,) = tables.meta["problems"]
    lanes = ranked_lanes(tables).set_index("lane")
    losses = lane_losses(tables, problem)
    start = starting_loss(losses.values())
    rows = {number: (lane.loss, np.empty(0)) for number, lane in losses.items()}
    if on != LOSS:
        rows = _evaluations(tables, on)
        first = [values[0] for values, updates in rows.values() if updates[0] == 0]
        start = float(np.median(first)) if first else nan
    if not any(np.isfinite(values).any() for values, _ in rows.values()):
        return None
    finals = lanes["final_loss" if on == LOSS else on].fillna(inf)
    paths = {
        int(number): Path(*_EMPTY, inf, outside=True)
        if lanes.at[number, "outside"]
        else Path(*rows.get(int(number), _EMPTY), float(finals[number]))
        for number in lanes.index
    }
    budget = int(meta.get("iterations") or lanes["iterations"].max())
    return Watched(
        problem=problem,
        on=on,
        budget=budget,
        window=averaged_rows_of(meta, tables.meta["schema_version"], budget) if on == LOSS else 1,
        record=meta.get("record") or "before",
        minimum=None if on.endswith("_error") else known_minimum(meta),
        start=start,
        unit=rounding_unit(meta),
        noisy=meta.get("batch_size") is not None,
        lanes=paths,
    )


def at_most(on: str, value: float) -> str:
    """Write a target of what is watched.

    >>> at_most("loss", 0.01), at_most("validation_error", 0.03)
    ('loss ≤ 0.01', 'validation error ≤ 3.00 %')
    """
    shown = percent(value) if on.endswith("_error") else f"{value:.4g}"
    return f"{MEASURE_NAMES.get(on, on)} ≤ {shown}"


def recorded(tables: RunTables, problem: str) -> list[str]:
    """Return what can be watched of a problem."""
    tables = of_problems(tables, [problem])
    losses = lane_losses(tables, problem).values()
    whole = every_of(tables.meta) == 1
    known = [LOSS] if whole and any(np.isfinite(lane.loss).any() for lane in losses) else []
    for on in EVALUATED:
        found = _evaluations(tables, on).values()
        known += [on] if any(np.isfinite(values).any() for values, _ in found) else []
    return known


def _evaluations(tables: RunTables, on: str) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Return what lanes showed on a split, and after how many updates."""
    split, _, measure = on.partition("_")
    rows = tables.evaluation[tables.evaluation["split"] == split].sort_values("iteration")
    return {
        int(str(lane)): (of_lane[measure].to_numpy(np.float64), of_lane["iteration"].to_numpy())
        for lane, of_lane in rows.groupby("lane")
    }
