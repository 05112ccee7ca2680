"""Which of two optimizers is better on a problem, by how much, and whether that is sure.

Tables of a run in, a table of pairs out, by :mod:`optbench.inference`; docs/statistics.md has the
formulas. Lanes of one problem and seed share start and batches, so what is compared are
differences within a seed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import inf, isfinite, log, log1p, nan

import numpy as np
import pandas as pd

from optbench.errors import NothingToCompareError, UsageError, nearest
from optbench.inference.multiplicity import holm, least_seeds
from optbench.inference.pairs import detects, interval, seeds_needed, sign_flip, wins
from optbench.records import RunTables
from optbench.report.configurations import (
    EVALUATED,
    describe,
    loss_scale,
    problem_names,
    ranked_lanes,
)
from optbench.report.curves import lane_losses, starting_loss
from optbench.report.entrants import entrants
from optbench.report.statistics import ENDED_WELL, ENDED_WORST

METRICS = ("final_loss", "best_loss", *EVALUATED)
"""What lanes may be compared by; smaller is better."""

POINTS = 100.0
"""Points in an error of 1."""

RATIO, DIFFERENCE, WINS = "ratio", "difference", "wins"
"""What is estimated: of losses, of errors, and where a lane diverged."""


@dataclass(frozen=True)
class Pair:
    """What is known of two labels on a problem; the fields are columns of a table of pairs.

    A value that there is not is NaN. The estimate is a ratio of losses, a difference of errors in
    points, or the share of seeds on which ``a`` wins: below 1, below 0 or above ½, ``a`` is better.
    """

    problem: str
    metric: str
    a: str  # of all pairs, the better one on the seeds of the run
    b: str
    seeds: int  # that both have
    a_diverged: int  # of these
    b_diverged: int
    a_value: float  # medians over these seeds
    b_value: float
    estimand: str  # ratio, difference or wins
    estimate: float
    wins: float  # share of seeds on which a is better, ties by half
    ties: int
    random: bool  # whether seeds make any difference
    low: float = nan
    high: float = nan
    p: float = nan  # two-sided, of this pair alone; none with too few seeds
    p_adjusted: float = nan  # by Holm over all rows
    detects: float = nan  # smallest ratio, or points, found with a power of 0.9
    seeds_needed: float = nan  # to tell a difference of the margin
    verdict: str = ""  # of VERDICTS
    says: str = ""  # the verdict with its reason


BETTER, WORSE, EQUIVALENT, UNDECIDED = "better", "worse", "equivalent", "undecided"
TOO_FEW, NOT_RANDOM = "too few seeds", "nothing random"
VERDICTS = (BETTER, WORSE, EQUIVALENT, UNDECIDED, TOO_FEW, NOT_RANDOM)


@dataclass(frozen=True)
class Question:
    """What is asked of a comparison.

    Attributes
    ----------
    metric
        One of :data:`METRICS`; None takes what tables rank each problem by.
    reference
        The label that all others are compared with; None compares all pairs.
    problems
        Only these; empty takes all.
    level
        Probability of any false verdict.
    margin
        Relative difference that does not matter; None is 1 %.
    points
        Difference of errors that does not matter, in points; None is 0.1.
    choose_on
        Seeds that choose the configuration of each label, where it has several.
    """

    metric: str | None = None
    reference: str | None = None
    problems: Sequence[str] = ()
    level: float = 0.05
    margin: float = 0.01
    points: float = 0.1
    choose_on: Sequence[int] = ()

    def __post_init__(self) -> None:
        if self.metric is not None and self.metric not in METRICS:
            raise UsageError(f"unknown metric '{self.metric}'; {nearest(self.metric, METRICS)}")
        if not 0.0 < self.level < 1.0:
            raise UsageError(f"level = {self.level:g} must lie between 0 and 1, as 0.05")
        if not (0.0 < self.margin < inf and 0.0 < self.points < inf):
            raise UsageError("the margin must be above 0, as 1%")


@dataclass(frozen=True)
class Side:
    """One label's lanes of a problem, a value for each seed; +inf where a lane diverged."""

    label: str
    values: Mapping[int, float]
    random: bool
    chosen: str = ""  # the hyperparameters that some seeds chose


@dataclass(frozen=True)
class Contest:
    """The labels of one problem, from the best to the worst, with their metric.

    ``values`` and ``y`` have the shape (labels, seeds), +inf where a lane diverged and NaN where
    there is none; y are logarithms of losses above their zero, or errors in points.
    """

    problem: str
    metric: str
    sides: Sequence[Side]
    seeds: Sequence[int]
    values: np.ndarray
    y: np.ndarray
    y_start: float

    @property
    def labels(self) -> list[str]:
        """The labels, in order."""
        return [side.label for side in self.sides]

    def of(self, label: str) -> np.ndarray:
        """Return the metric of a label's lanes, shape (seeds,)."""
        row: np.ndarray = self.y[self.labels.index(label)]
        return row

    @property
    def is_error(self) -> bool:
        """Whether differences are points, not ratios."""
        return self.metric.endswith("_error")


@dataclass(frozen=True)
class Comparison:
    """What was found: pairs on each problem."""

    question: Question
    contests: Sequence[Contest]
    rows: Sequence[Pair]
    needs: int  # least seeds with which a verdict can be reached

    @property
    def pairs(self) -> pd.DataFrame:
        """The rows as a table."""
        return pd.DataFrame(map(vars, self.rows))


def compare(tables: RunTables, question: Question) -> Comparison:
    """Compare the labels of a run, or of several joined ones, pair by pair.

    Raises
    ------
    UsageError
        If a label has several configurations and no seeds are named that choose one.
    NothingToCompareError
        If no two labels have a seed of a problem in common.
    """
    contests = list(_contests(tables, question))
    pairs = [pair for contest in contests for pair in _pairs(contest, question)]
    if not pairs:
        raise NothingToCompareError(
            "nothing to compare: no two optimizers have lanes of one problem and seed"
        )
    needs = least_seeds(max(sum(pair.random for pair in pairs), 1), question.level)
    return Comparison(question, contests, tuple(_judged(pairs, question, needs)), needs)


def _judged(pairs: Sequence[Pair], question: Question, needs: int) -> Iterator[Pair]:
    """Yield the pairs with their verdicts, the p of all adjusted together."""
    tested = [place for place, pair in enumerate(pairs) if pair.random and pair.seeds >= needs]
    # Rows that cannot be tested count as accepted: Holm over all, whoever has how many seeds.
    p = np.array([pair.p if place in tested else 1.0 for place, pair in enumerate(pairs)])
    of_random = np.array([pair.random for pair in pairs])
    adjusted = np.full(len(pairs), nan)
    adjusted[of_random] = holm(p[of_random])
    for place, pair in enumerate(pairs):
        if not pair.random:
            yield replace(pair, verdict=NOT_RANDOM, says="nothing random: exact")
        elif place not in tested:
            says = f"{TOO_FEW} (needs {needs})"
            yield replace(pair, p=nan, verdict=TOO_FEW, says=says)
        else:
            judged = replace(pair, p_adjusted=float(adjusted[place]))
            verdict = _verdict(judged, question)
            yield replace(judged, verdict=verdict, says=_says(judged, verdict, question))


def _verdict(pair: Pair, question: Question) -> str:
    """Return what the adjusted p and the interval say."""
    if pair.p_adjusted <= question.level:
        better = pair.estimate > 0.5 if pair.estimand == WINS else _log(pair, pair.estimate) < 0.0
        return BETTER if better else WORSE
    bound = question.points if pair.estimand == DIFFERENCE else log1p(question.margin)
    inside = max(abs(_log(pair, pair.low)), abs(_log(pair, pair.high))) <= bound
    return EQUIVALENT if pair.estimand != WINS and inside else UNDECIDED


def _log(pair: Pair, value: float) -> float:
    """Return a value on the scale where no difference is 0."""
    if pair.estimand != RATIO:
        return value
    return log(value) if 0.0 < value < inf else -inf if value == 0.0 else inf


def _says(pair: Pair, verdict: str, question: Question) -> str:
    if verdict != UNDECIDED:
        return verdict
    if pair.p <= question.level:
        return f"{verdict} (alone p = {pair.p:.2g})"
    if isfinite(pair.seeds_needed):
        return f"{verdict} (needs about {pair.seeds_needed:.0f} seeds)"
    return verdict


def _contests(tables: RunTables, question: Question) -> Iterator[Contest]:
    """Yield the problems on which at least two labels have lanes."""
    lanes = ranked_lanes(tables)
    lanes = lanes[lanes["status"].isin([*ENDED_WELL, *ENDED_WORST])]
    known = problem_names(tables)
    for problem in question.problems:
        if problem not in known:
            raise UsageError(f"these runs have no problem '{problem}'; {nearest(problem, known)}")
    for problem in question.problems or known:
        of_problem = lanes[lanes["problem"] == problem]
        metric = question.metric or str(of_problem["criterion"].iloc[0]) if len(of_problem) else ""
        if of_problem.empty or not np.isfinite(of_problem[metric]).any():
            continue
        sides = list(_sides(tables, of_problem, problem, metric, question))
        if question.reference is not None:
            labels = [side.label for side in sides]
            if question.reference not in labels:
                raise UsageError(
                    f"'{problem}' has no optimizer '{question.reference}'; "
                    f"{nearest(question.reference, labels)}"
                )
        yield _measured(tables, problem, metric, sides)


def _sides(
    tables: RunTables, lanes: pd.DataFrame, problem: str, metric: str, question: Question
) -> Iterator[Side]:
    """Yield the configuration of each label that is compared."""
    values = lanes.set_index("lane")[metric].astype(float)
    for entrant in entrants(tables, problem, question.choose_on):
        of_seeds = dict(zip(entrant.seeds, values.loc[list(entrant.lanes)], strict=True))
        yield Side(entrant.label, of_seeds, entrant.random, entrant.chosen)


def _measured(tables: RunTables, problem: str, metric: str, sides: Sequence[Side]) -> Contest:
    """Return the sides of a problem with their metric, the best first."""
    seeds = sorted({seed for side in sides for seed in side.values})
    values = np.array([[_value(side, seed) for seed in seeds] for side in sides])
    missing = np.isnan(values)
    start = starting_loss(lane_losses(tables, problem).values())
    if metric.endswith("_error"):
        y, y_start = POINTS * values, nan
    else:
        scale = loss_scale(describe(tables, problem), values, start)
        y, y_start = scale.log(values), float(scale.log(np.array(start)))
    y = np.where(missing, nan, y)
    order = np.argsort([middle(row) for row in y], kind="stable")
    ranked = [sides[place] for place in order]
    return Contest(problem, metric, ranked, seeds, values[order], y[order], y_start)


def _value(side: Side, seed: int) -> float:
    """Return a side's value for a seed; where nothing of it is random, its only one."""
    if not side.random and len(side.values) == 1:
        return next(iter(side.values.values()))
    return side.values.get(seed, nan)


def middle(row: np.ndarray) -> float:
    """Return the mean of a label's metric, or where lanes diverged the median, maybe +inf."""
    known = row[~np.isnan(row)]
    return float(known.mean() if np.isfinite(known).all() else np.median(known))


def _pairs(contest: Contest, question: Question) -> Iterator[Pair]:
    """Yield what is known of each pair of a problem, without verdicts."""
    sides = range(len(contest.sides))
    pairs = list(combinations(sides, 2))
    if question.reference is not None:
        of = contest.labels.index(question.reference)
        pairs = [(side, of) for side in sides if side != of]
    for a, b in pairs:
        both = ~np.isnan(contest.y[a]) & ~np.isnan(contest.y[b])
        if both.any():
            yield _pair(contest, a, b, np.flatnonzero(both), question)


def _pair(contest: Contest, a: int, b: int, both: np.ndarray, question: Question) -> Pair:
    one, other = contest.sides[a], contest.sides[b]
    is_random = one.random or other.random
    both = both if is_random else both[:1]
    y_a, y_b = contest.y[a, both], contest.y[b, both]
    won = wins(y_a, y_b, 1.0 - question.level)
    pair = Pair(
        problem=contest.problem,
        metric=contest.metric,
        a=one.label,
        b=other.label,
        seeds=len(both),
        a_diverged=int(np.isposinf(y_a).sum()),
        b_diverged=int(np.isposinf(y_b).sum()),
        a_value=float(np.median(contest.values[a, both])),
        b_value=float(np.median(contest.values[b, both])),
        estimand=WINS,
        estimate=won.share,
        wins=won.share,
        ties=won.ties,
        random=is_random,
    )
    if not (np.isfinite(y_a).all() and np.isfinite(y_b).all()):
        return replace(pair, low=won.low, high=won.high, p=won.p) if is_random else pair
    return _with_effect(pair, y_a - y_b, contest, question)


def _with_effect(pair: Pair, d: np.ndarray, contest: Contest, question: Question) -> Pair:
    """Return a pair whose lanes are all finite with the mean of its differences."""
    estimand, scale = (DIFFERENCE, float) if contest.is_error else (RATIO, _exp)
    pair = replace(pair, estimand=estimand, estimate=scale(float(d.mean())))
    if not pair.random or len(d) < 2:
        return pair
    low, high = interval(d, 1.0 - question.level)
    deviation = float(d.std(ddof=1))
    margin = question.points if contest.is_error else log1p(question.margin)
    return replace(
        pair,
        low=scale(low),
        high=scale(high),
        p=sign_flip(d),
        detects=scale(detects(deviation, len(d), question.level)),
        seeds_needed=float(seeds_needed(deviation, margin, question.level)),
    )


def _exp(value: float) -> float:
    """Return the exponential; beyond what floats hold it is infinite."""
    return float(np.exp(np.float64(value)))
