"""What is asked for of times to a target, and the problems with their targets and times."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import Any

import numpy as np

from optbench.errors import NothingToCompareError, UsageError, argument, nearest
from optbench.records import REUSED_FROM, RunTables
from optbench.report.aims import (
    DEFAULT,
    Aim,
    Target,
    aims_of,
    parse_aim,
    published_for,
    target_of,
)
from optbench.report.configurations import describe, problem_names
from optbench.report.differences import differences, shown
from optbench.report.entrants import Entrant
from optbench.report.statistics import ENDED_WELL, ENDED_WORST
from optbench.report.watched import LOSS, WATCHABLE, Watched, recorded, watch
from optbench.store.studies import run_name

UNITS = ("steps", "seconds")

MACHINE = ("processor", "machine", "system", "python", "implementation", "packages", "simd")
"""What of an environment decides, beside the device, how long a step takes."""


@dataclass(frozen=True)
class Question:
    """What is asked of runs.

    Attributes
    ----------
    targets
        ``RULE`` for all problems, ``PROBLEM=RULE`` for one; see :mod:`optbench.report.aims`.
    on
        What is watched, of :data:`optbench.report.watched.WATCHABLE`; by default the loss of the
        trace, or what a published target is of.
    reference
        The label whose times the others' are compared with.
    problems
        Only these; empty takes all.
    choose_on
        Seeds that choose the configuration of each label, where it has several.
    unit
        Of :data:`UNITS`.
    profile, algoperf
        Whether the problems are put together, and by AlgoPerf's rules too.
    rungs
        Targets of a ladder of which the shares reached are counted.
    """

    targets: Sequence[str] = ()
    on: str | None = None
    reference: str | None = None
    problems: Sequence[str] = ()
    choose_on: Sequence[int] = ()
    unit: str = UNITS[0]
    profile: bool = False
    algoperf: bool = False
    rungs: int | None = None

    def __post_init__(self) -> None:
        if self.on is not None and self.on not in WATCHABLE:
            raise UsageError(
                f"nothing is called '{self.on}' to watch; {nearest(self.on, WATCHABLE)}"
            )
        if self.unit not in UNITS:
            raise UsageError(f"times are counted in steps or seconds, not '{self.unit}'")
        if self.rungs is not None and self.rungs < 2:
            raise UsageError(f"a ladder of {self.rungs} targets is too short; 2 is the least")
        if self.rungs is not None and self.unit != UNITS[0]:
            raise UsageError("a ladder of targets counts steps; leave out seconds")

    @property
    def is_overall(self) -> bool:
        """Whether the problems are put together."""
        return self.profile or self.algoperf or self.rungs is not None


@dataclass(frozen=True)
class Race:
    """A problem with its target, and the times of the lanes of each entrant in the unit.

    ``steps`` are what a step of each entrant takes in the unit, 1 where steps are counted;
    ``alone`` says whether each was timed alone.
    """

    watched: Watched
    target: Target
    unit: str
    steps: Sequence[float]
    alone: bool = False

    @property
    def problem(self) -> str:
        """The problem."""
        return self.watched.problem

    @property
    def entrants(self) -> Sequence[Entrant]:
        """Who takes part."""
        return self.watched.entrants

    @property
    def budget(self) -> float:
        """What every lane could use: in seconds, the N steps of the rule with the fastest ones."""
        return self.watched.budget * min(self.steps)

    @cached_property
    def times(self) -> Sequence[np.ndarray]:
        """Times of the lanes of each entrant, +inf where the target was missed."""
        counted = self.watched.times(self.target.value)
        scaled = [tau * step for tau, step in zip(counted, self.steps, strict=True)]
        return [np.where(tau <= self.budget, tau, inf) for tau in scaled]

    @property
    def medians(self) -> list[float]:
        """The median time of each entrant, +inf where most lanes missed."""
        return [float(np.median(times)) for times in self.times]

    def of(self, label: str) -> int | None:
        """Return the place of a label, None if it does not take part."""
        labels = [entrant.label for entrant in self.entrants]
        return labels.index(label) if label in labels else None


def races_of(tables: RunTables, question: Question) -> tuple[list[Race], list[str]]:
    """Return the problems with their targets, and why others are left out."""
    aims = _aims(question.targets, problem_names(tables), question.problems)
    races, notes = [], []
    for problem, aim in aims.items():
        found = _race(tables, problem, aim, question)
        if isinstance(found, Race):
            races.append(found)
            own = tables.lanes["problem"] == problem
            ended = tables.lanes["status"].isin([*ENDED_WELL, *ENDED_WORST])
            if waiting := int((own & ~ended).sum()):
                notes.append(f"{problem}: lanes that have not ended do not count: {waiting}")
        else:
            notes.append(f"{problem} is left out: {found}")
    if not races:
        is_asked = question.on is not None or any(aim.kind == "published" for aim in aims.values())
        raise (UsageError if is_asked else NothingToCompareError)("; ".join(notes))
    return races, notes


def _aims(texts: Sequence[str], known: Sequence[str], chosen: Sequence[str]) -> dict[str, Aim]:
    """Return the target asked for of each problem."""
    for problem in chosen:
        if problem not in known:
            raise UsageError(f"these runs have no problem '{problem}'; {nearest(problem, known)}")
    asked = aims_of(texts, known)
    return {problem: asked.get(problem) or parse_aim(DEFAULT) for problem in chosen or known}


def _race(tables: RunTables, problem: str, aim: Aim, question: Question) -> Race | str:
    """Return a problem with its target, or why there is none."""
    on = question.on or LOSS
    published = published_for(describe(tables, problem)) if aim.kind == "published" else None
    if published is not None:
        if question.on not in (None, published.on):
            raise UsageError(
                f"the published target of '{problem}' is a {published.on}; leave out {question.on}"
            )
        on = published.on
    watched = watch(tables, problem, on, question.choose_on)
    if watched is None:
        known = ", ".join(recorded(tables, problem)) or "nothing"
        return f"no lane has a finite {on}; what was recorded: {known}"
    if not watched.entrants:
        return "no lane has ended"
    if published is not None:
        target = Target(published.value, aim.text, published.source, by=published.by)
    else:
        chosen = target_of(aim, watched)
        if chosen is None:
            return "no lane ended with a finite value to choose a target from"
        target = chosen
    if question.unit == "seconds":
        return Race(watched, target, question.unit, *_step_seconds(tables, watched))
    return Race(watched, target, question.unit, [1.0] * len(watched.entrants))


def check_same_machine(runs: Sequence[RunTables]) -> None:
    """Refuse seconds of runs that were not made on the same machine with the same libraries."""
    sides = [_machine(run) for run in runs]
    for run, side in zip(runs[1:], sides[1:], strict=True):
        for place, then, now in differences(sides[0], side):
            raise UsageError(
                f"seconds of {run_name(runs[0].path)} and {run_name(run.path)} cannot be compared: "
                f"{place} {shown(then)} and {shown(now)}"
            )


def _machine(run: RunTables) -> dict[str, Any]:
    environment = run.meta.get("environment") or {}
    known = {name: environment.get(name) for name in MACHINE}
    return {**known, "device": run.meta.get("device")}


def _step_seconds(tables: RunTables, watched: Watched) -> tuple[list[float], bool]:
    """Return the seconds of a step of each label, and whether each was timed alone.

    Raises
    ------
    UsageError
        If they cannot be compared.
    """
    alone = describe(tables, watched.problem).get("alone_seconds") or {}
    labels = [entrant.label for entrant in watched.entrants]
    if all(label in alone for label in labels):
        return [float(alone[label]) for label in labels], True
    lanes = tables.lanes.set_index("lane")
    numbers = [number for entrant in watched.entrants for number in entrant.lanes]
    alike = lanes.loc[numbers, ["block_lanes", "workers"]].nunique(dropna=False).max() == 1
    reused = REUSED_FROM in lanes and bool(lanes.loc[numbers, REUSED_FROM].notna().any())
    seconds = [
        float(lanes.loc[list(entrant.lanes), "step_seconds"].astype("float64").dropna().median())
        for entrant in watched.entrants
    ]
    if not alike or reused or not all(each > 0.0 for each in seconds):
        raise UsageError(
            f"seconds of '{watched.problem}' cannot be compared: its lanes ran in blocks of "
            "different sizes, with different workers or in another run; run it with "
            + argument("time_alone", True)
        )
    return seconds, False
