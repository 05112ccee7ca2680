"""How many steps, or seconds, optimizers need to a target that is the same for all of them.

Tables of runs in, tables of times out, by :mod:`optbench.inference.times` and
:mod:`optbench.inference.profiles`; docs/statistics.md has the formulas. A lane that does not get
there is neither dropped nor given a time: it is known to need more than the budget.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import inf, isfinite, isnan, nan
from typing import Any

import numpy as np
import pandas as pd

from optbench.errors import NothingToCompareError, UsageError, nearest
from optbench.inference.multiplicity import holm, least_seeds
from optbench.inference.pairs import interval, sign_flip
from optbench.inference.profiles import (
    algoperf,
    ecdf_area,
    profile,
    score,
    score_interval,
)
from optbench.inference.times import summarise
from optbench.records import REUSED_FROM, RunTables
from optbench.report.aims import DEFAULT, Aim, Target, parse_aim, published_for, target_of
from optbench.report.configurations import describe, problem_names
from optbench.report.differences import differences, shown
from optbench.report.entrants import Entrant
from optbench.report.joined import joined
from optbench.report.statistics import ENDED_WELL, ENDED_WORST
from optbench.report.watched import LOSS, WATCHABLE, Watched, recorded, watch

UNITS = ("steps", "seconds")

RUNGS = 51
"""Targets of a ladder, if nobody says how many."""

RATIOS = (1.0, 2.0, 4.0)
"""Ratios to the fastest at which a table shows profiles."""

LEVEL = 0.05

MACHINE = ("processor", "machine", "system", "python", "implementation", "packages", "simd")
"""What of an environment decides, beside the device, how long a step takes."""

FASTER, SLOWER, UNDECIDED = "faster", "slower", "undecided"
TOO_FEW, NOT_RANDOM = "too few seeds", "nothing random"
VERDICTS = (FASTER, SLOWER, UNDECIDED, TOO_FEW, NOT_RANDOM)


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
class Arrival:
    """How a label got to the target of a problem; the fields are columns of a table.

    Times are in the unit. One that there is not is NaN; +inf is beyond the budget. Those that say
    how much faster a label is are of the seeds that the reference has too.
    """

    problem: str
    on: str
    target: float
    rule: str
    source: str
    chosen_here: bool
    label: str
    configuration: str | None  # what was chosen of a grid
    unit: str
    budget: float
    seeds: int
    reached: int
    success: float
    success_low: float
    success_high: float
    rmst: float
    rmst_low: float
    rmst_high: float
    median: float
    median_low: float
    median_high: float
    ert: float
    par2: float
    par10: float
    step_seconds: float = nan
    reference: str | None = None
    pairs: int = 0  # seeds that both have
    speedup: float = nan  # ratio of both RMST: above 1 the label is faster
    ratio: float = nan  # geometric mean of the seeds' ratios of times, its interval and p
    ratio_low: float = nan
    ratio_high: float = nan
    p: float = nan  # two-sided, of this row alone; none with too few seeds
    p_adjusted: float = nan  # by Holm over all rows
    verdict: str | None = None  # of VERDICTS
    says: str | None = None  # the verdict with its reason


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


@dataclass(frozen=True)
class Answer:
    """What was found.

    Attributes
    ----------
    labels
        A row for each problem and label, with the fields of :class:`Arrival`, the fastest first.
    overall
        A row for each label that all problems have, where they were put together: label, problems,
        score with score_low and score_high, within_1, within_2, within_4 (shares of problems
        within so many times the fastest), algoperf and area.
    notes
        What the numbers do not say.
    """

    question: Question
    tables: RunTables
    races: Sequence[Race]
    labels: pd.DataFrame
    overall: pd.DataFrame | None
    notes: Sequence[str]

    @property
    def table(self) -> pd.DataFrame:
        """What programs are given: the problems together where that was asked for."""
        return self.labels if self.overall is None else self.overall


def reach(runs: Sequence[RunTables], question: Question) -> Answer:
    """Return when the labels of runs were at a target.

    Raises
    ------
    UsageError
        If a problem is not the same in all runs, a target cannot be found, a label has several
        configurations and no seeds choose one, or seconds cannot be compared.
    NothingToCompareError
        If nothing was recorded that could be watched, or the problems have no label in common.
    """
    if question.unit == "seconds":
        _check_same_machine(runs)
    tables = joined(runs)
    races, notes = races_of(tables, question)
    arrivals = [arrival for race in races for arrival in _arrivals(race, question)]
    if question.reference is not None:
        _check_reference(arrivals, question.reference)
        arrivals = list(_judged(arrivals))
    overall = None
    if question.is_overall:
        overall, more = _overall(tables, races, question)
        notes += more
    return Answer(question, tables, races, pd.DataFrame(map(vars, arrivals)), overall, notes)


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
    general: Aim | None = None
    own: dict[str, Aim] = {}
    for text in texts:
        # A label may hold the sign, so that the longest problem that fits is meant.
        named = max((name for name in known if text.startswith(f"{name}=")), key=len, default=None)
        if named is not None:
            if named in own:
                raise UsageError(f"'{named}' has two targets; give one, the same for all labels")
            own[named] = parse_aim(text[len(named) + 1 :])
        elif "=" in text and not text.startswith("of:"):
            problem = text.partition("=")[0]
            raise UsageError(f"these runs have no problem '{problem}'; {nearest(problem, known)}")
        elif general is not None:
            raise UsageError(f"'{general.text}' and '{text}' are two targets; give one a problem")
        else:
            general = parse_aim(text)
    return {problem: own.get(problem, general or parse_aim(DEFAULT)) for problem in chosen or known}


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


def _check_same_machine(runs: Sequence[RunTables]) -> None:
    """Refuse seconds of runs that were not made on the same machine with the same libraries."""
    sides = [_machine(run) for run in runs]
    for run, side in zip(runs[1:], sides[1:], strict=True):
        for place, then, now in differences(sides[0], side):
            raise UsageError(
                f"seconds of {runs[0].path.name} and {run.path.name} cannot be compared: "
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
        float(lanes.loc[list(entrant.lanes), "step_seconds"].astype("float64").median())
        for entrant in watched.entrants
    ]
    if not alike or reused or not all(each > 0.0 for each in seconds):
        raise UsageError(
            f"seconds of '{watched.problem}' cannot be compared: its lanes ran in blocks of "
            "different sizes, with different workers or in another run; run it with --time-alone"
        )
    return seconds, False


def _arrivals(race: Race, question: Question) -> Iterator[Arrival]:
    """Yield what is known of each label of a problem, the fastest first."""
    found = []
    for entrant, times, step in zip(race.entrants, race.times, race.steps, strict=True):
        known = summarise(times, race.budget)
        own = {name: getattr(known, name) for name in vars(known) if name not in ("low", "high")}
        if not entrant.random:
            own |= {"median_low": nan, "median_high": nan}
        arrival = Arrival(
            problem=race.problem,
            on=race.watched.on,
            target=race.target.value,
            rule=race.target.aim,
            source=race.target.source,
            chosen_here=race.target.chosen_here,
            label=entrant.label,
            configuration=entrant.chosen or None,
            unit=race.unit,
            budget=race.budget,
            seeds=len(times),
            reached=int(np.isfinite(times).sum()),
            success_low=known.low if entrant.random else nan,
            success_high=known.high if entrant.random else nan,
            step_seconds=step if race.unit == "seconds" else nan,
            **own,
        )
        if question.reference is not None:
            arrival = _compared(arrival, race, entrant, question.reference)
        found.append(arrival)
    yield from sorted(found, key=lambda each: each.rmst)


def _compared(arrival: Arrival, race: Race, entrant: Entrant, reference: str) -> Arrival:
    """Return what is known of a label with how much faster it is than the reference."""
    theirs, ours = (_by_seed(race, label) for label in (reference, entrant.label))
    is_random = entrant.random or any(
        each.random for each in race.entrants if each.label == reference
    )
    seeds = [seed for seed in theirs if seed in ours]
    if not seeds or entrant.label == reference:
        return arrival
    a, b = (np.array([side[seed] for seed in seeds]) for side in (theirs, ours))
    least = min(race.steps)  # who is there at once has no logarithm
    d = np.log(np.maximum(a, least)) - np.log(np.maximum(b, least))
    compared = replace(
        arrival,
        reference=reference,
        pairs=len(seeds),
        speedup=float(a.mean() / b.mean()) if b.any() else nan,
        ratio=float(np.exp(d.mean())),
    )
    if not is_random:
        return replace(compared, verdict=NOT_RANDOM, says=NOT_RANDOM)
    compared = replace(compared, p=sign_flip(d))
    low, high = interval(d)
    if not (isfinite(low) and isfinite(high)):
        return compared
    return replace(compared, ratio_low=float(np.exp(low)), ratio_high=float(np.exp(high)))


def _by_seed(race: Race, label: str) -> dict[int, float]:
    """Return min(τ, N) of each seed of a label; of all seeds where nothing of it is random."""
    for entrant, times in zip(race.entrants, race.times, strict=True):
        if entrant.label == label:
            restricted = np.minimum(times, race.budget).tolist()
            if entrant.random:
                return dict(zip(entrant.seeds, restricted, strict=True))
            seeds = {seed for each in race.entrants for seed in each.seeds}
            return dict.fromkeys(sorted(seeds), restricted[0])
    return {}


def _check_reference(arrivals: Sequence[Arrival], reference: str) -> None:
    labels = dict.fromkeys(arrival.label for arrival in arrivals)
    if reference not in labels:
        raise UsageError(
            f"these runs have no optimizer '{reference}'; {nearest(reference, labels)}"
        )
    if all(arrival.reference is None for arrival in arrivals):
        raise NothingToCompareError(
            f"nothing to compare: no optimizer has a problem and seed in common with '{reference}'"
        )


def _judged(arrivals: Sequence[Arrival]) -> Iterator[Arrival]:
    """Yield the rows with their verdicts, the p of all adjusted together."""
    places = [place for place, each in enumerate(arrivals) if not isnan(each.p)]
    needs = least_seeds(max(len(places), 1), LEVEL)
    # Rows with too few seeds count as accepted: Holm over all, whoever has how many.
    is_enough = np.array([arrivals[place].pairs >= needs for place in places], dtype=bool)
    p = np.array([arrivals[place].p for place in places])
    adjusted = dict(zip(places, holm(np.where(is_enough, p, 1.0)), strict=True))
    for place, arrival in enumerate(arrivals):
        if place not in adjusted:
            yield arrival
        elif arrival.pairs < needs:
            yield replace(arrival, p=nan, verdict=TOO_FEW, says=f"{TOO_FEW} (needs {needs})")
        else:
            judged = replace(arrival, p_adjusted=float(adjusted[place]))
            verdict = FASTER if arrival.ratio > 1.0 else SLOWER
            verdict = verdict if judged.p_adjusted <= LEVEL else UNDECIDED
            alone = verdict == UNDECIDED and arrival.p <= LEVEL
            says = f"{verdict} (alone p = {arrival.p:.2g})" if alone else verdict
            yield replace(judged, verdict=verdict, says=says)


def _overall(
    tables: RunTables, races: Sequence[Race], question: Question
) -> tuple[pd.DataFrame, list[str]]:
    """Return what the problems say together of the labels that all of them have, and notes."""
    shared = shared_labels(races)
    notes = []
    left_out = {entrant.label for race in races for entrant in race.entrants} - set(shared)
    if left_out:
        notes.append(f"not on every problem, and left out: {', '.join(sorted(left_out))}")
    t = median_times(races, shared)
    low, high = np.full((2, len(shared)), nan)
    lanes = lane_times(races, shared)
    if lanes is None:
        notes.append("the scores have no interval: labels or problems differ in their seeds")
    elif lanes.shape[1] > 1:
        low, high = score_interval(lanes)
        notes.append("the intervals can be far too narrow where times vary: see docs/statistics.md")
    within = profile(t, RATIOS)
    columns: dict[str, Any] = {
        "label": shared,
        "problems": len(races),
        "score": score(t),
        "score_low": low,
        "score_high": high,
        **{f"within_{ratio:g}": within[place] for place, ratio in enumerate(RATIOS)},
    }
    if question.algoperf:
        columns["algoperf"] = algoperf(t, _variants(tables, races))
    if question.rungs is not None:
        columns["area"], more = _areas(races, shared, question.rungs)
        notes += more
    table = pd.DataFrame(columns)
    return table.sort_values("score", ascending=False, kind="stable", ignore_index=True), notes


def shared_labels(races: Sequence[Race]) -> list[str]:
    """Return the labels that all problems have, in the order of the first.

    Raises
    ------
    NothingToCompareError
        If there is none.
    """
    shared = [
        entrant.label
        for entrant in races[0].entrants
        if all(race.of(entrant.label) is not None for race in races)
    ]
    if not shared:
        raise NothingToCompareError("nothing to compare: no optimizer is on every problem")
    return shared


def median_times(races: Sequence[Race], labels: Sequence[str]) -> np.ndarray:
    """Return the median over seeds of labels' times, shape (labels, problems); +inf if missed."""
    return np.array([[np.median(times) for times in _times_of(race, labels)] for race in races]).T


def lane_times(races: Sequence[Race], labels: Sequence[str]) -> np.ndarray | None:
    """Return the times of single lanes, shape (labels, seeds, problems).

    A lane of a label of which nothing is random stands for all seeds. None where labels of a
    problem, or problems, have not as many seeds, or others.
    """
    counts = set()
    for race in races:
        random = {
            entrant.seeds for entrant in race.entrants if entrant.label in labels and entrant.random
        }
        if len(random) > 1:
            return None
        counts |= {len(seeds) for seeds in random}
    if len(counts) > 1:
        return None
    seeds = counts.pop() if counts else 1
    found = [[np.broadcast_to(times, seeds) for times in _times_of(race, labels)] for race in races]
    return np.moveaxis(np.array(found), 0, -1)


def _times_of(race: Race, labels: Sequence[str]) -> Iterator[np.ndarray]:
    known = dict(zip((entrant.label for entrant in race.entrants), race.times, strict=True))
    for label in labels:
        yield known[label]


def _variants(tables: RunTables, races: Sequence[Race]) -> dict[int, int]:
    """Return the place of each problem that is a variant, with that of its base."""
    places = {race.problem: place for place, race in enumerate(races)}
    found = {}
    for problem, place in places.items():
        base = describe(tables, problem).get("variant_of")
        if base is not None and base not in places:
            raise UsageError(
                f"'{problem}' is a variant of '{base}', which is not among these problems; "
                "AlgoPerf's score needs both"
            )
        if base is not None:
            found[place] = places[base]
    return found


def _areas(
    races: Sequence[Race], labels: Sequence[str], rungs: int
) -> tuple[list[float], list[str]]:
    """Return the area under each label's ECDF on a ladder, the mean over problems, and notes."""
    climbs, notes = ladders(races, labels, rungs)
    return [
        float(np.mean([ecdf_area(times[label], budget) for times, budget in climbs]))
        for label in labels
    ], notes


def ladders(
    races: Sequence[Race], labels: Sequence[str], rungs: int
) -> tuple[list[tuple[dict[str, np.ndarray], float]], list[str]]:
    """Return of each problem the labels' times to each rung, (lanes, rungs), and the budget.

    The notes say which problems have no ladder.
    """
    climbs, notes = [], []
    for race in races:
        targets = race.watched.ladder(rungs)
        if targets is None or race.budget <= 1:
            notes.append(f"{race.problem} has no ladder: no label ended below the start")
            continue
        names = [entrant.label for entrant in race.entrants]
        times = dict(zip(names, race.watched.times(targets), strict=True))
        climbs.append(({label: times[label] for label in labels}, race.budget))
    if not climbs:
        raise NothingToCompareError("; ".join(notes))
    return climbs, notes
