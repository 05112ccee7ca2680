"""How many steps, or seconds, optimizers need to a target that is the same for all of them.

Tables of runs in, tables of times out, by :mod:`optbench.inference.times` and
:mod:`optbench.inference.profiles`; docs/statistics.md has the formulas. A lane that does not get
there is neither dropped nor given a time: it is known to need more than the budget.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import isfinite, isnan, nan

import numpy as np
import pandas as pd

from optbench.errors import NothingToCompareError, UsageError, nearest
from optbench.inference.multiplicity import holm, least_seeds
from optbench.inference.pairs import interval, sign_flip
from optbench.inference.times import summarise
from optbench.records import RunTables
from optbench.report.entrants import Entrant
from optbench.report.joined import joined
from optbench.report.overall import put_together
from optbench.report.races import Question, Race, check_same_machine, races_of

LEVEL = 0.05

FASTER, SLOWER, UNDECIDED = "faster", "slower", "undecided"
TOO_FEW, NOT_RANDOM = "too few seeds", "nothing random"
VERDICTS = (FASTER, SLOWER, UNDECIDED, TOO_FEW, NOT_RANDOM)


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
        check_same_machine(runs)
    tables = joined(runs)
    races, notes = races_of(tables, question)
    arrivals = [arrival for race in races for arrival in _arrivals(race, question)]
    if question.reference is not None:
        _check_reference(arrivals, question.reference)
        arrivals = list(_judged(arrivals))
    overall = None
    if question.is_overall:
        overall, more = put_together(tables, races, question)
        notes += more
    return Answer(question, tables, races, pd.DataFrame(map(vars, arrivals)), overall, notes)


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
