"""Which optimizer is better over several problems: ranks, scores, and pairs of labels."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from optbench.inference.aggregate import (
    geometric_mean_ratio,
    iqm,
    normalised,
    optimality_gap,
    probability_of_improvement,
)
from optbench.inference.multiplicity import holm, least_seeds
from optbench.inference.pairs import wins
from optbench.inference.ranks import friedman, mean_ranks, wilcoxon
from optbench.inference.resample import percentile_interval, resampled
from optbench.report.compare import BETTER, UNDECIDED, Contest, middle

NARROW = 10
"""Seeds below which the interval of an interquartile mean is too narrow; see docs/statistics.md."""


@dataclass(frozen=True)
class Across:
    """What several problems say together.

    Attributes
    ----------
    problems
        On which all these labels were compared.
    labels
        label, mean_rank, iqm with iqm_low and iqm_high, optimality_gap; the best rank first.
    pairs
        a, b, p, p_adjusted, improves, wins, ratio with low and high, verdict.
    level
        Probability of a false verdict; intervals hold with the rest.
    chi2, f, p
        Friedman's test of no difference, and that of Iman and Davenport.
    notes
        What these numbers do not say.
    """

    problems: Sequence[str]
    labels: pd.DataFrame
    pairs: pd.DataFrame
    level: float
    chi2: float
    f: float
    p: float
    notes: Sequence[str]


def across(contests: Sequence[Contest], level: float) -> Across | None:
    """Return what the problems say together; None for fewer than two problems or labels."""
    shared = [
        side.label
        for side in (contests[0].sides if contests else ())
        if all(side.label in contest.labels for contest in contests)
    ]
    if len(contests) < 2 or len(shared) < 2:
        return None
    y = np.array([[middle(contest.of(label)) for label in shared] for contest in contests])
    order = np.argsort(mean_ranks(y), kind="stable")
    shared, y = [shared[place] for place in order], y[:, order]
    scores, notes = _scores(contests, shared, level)
    labels = pd.DataFrame({"label": shared, "mean_rank": mean_ranks(y), **scores})
    chi2, f, p = friedman(y)
    left_out = {label for contest in contests for label in contest.labels} - set(shared)
    if left_out:
        notes.append(f"not on every problem, and left out: {', '.join(sorted(left_out))}")
    if too_few(len(contests), level):
        notes.append(f"no test of ranks can reach {100 * level:g} % with {len(contests)} problems")
    pairs = pd.DataFrame(_pairs(contests, shared, y, level))
    return Across([each.problem for each in contests], labels, pairs, level, chi2, f, p, notes)


def too_few(problems: int, level: float) -> bool:
    """Say whether no test of signed ranks over so many problems can reach a level."""
    return problems < least_seeds(1, level)


def _scores(
    contests: Sequence[Contest], labels: Sequence[str], level: float
) -> tuple[dict[str, object], list[str]]:
    """Return the interquartile means of normalised scores with intervals, and notes about them."""
    notes: list[str] = []
    if any(contest.is_error for contest in contests):
        return {}, notes
    runs = [np.array([contest.of(label) for label in labels]) for contest in contests]
    counts = {each.shape[1] for each in runs}
    if len(counts) > 1 or any(np.isnan(each).any() for each in runs):
        return {}, ["scores need as many seeds of each label on every problem, and are left out"]
    y = np.stack(runs, axis=-1)  # (labels, seeds, problems)
    start = np.array([contest.y_start for contest in contests])
    best = np.array([min(middle(row) for row in each) for each in runs])
    z = normalised(y, start, best)
    seeds = counts.pop()
    found: dict[str, object] = {"iqm": iqm(z)}
    if seeds > 1:
        draws = resampled(iqm, z)
        found["iqm_low"], found["iqm_high"] = percentile_interval(draws, 1.0 - level)
        if seeds < NARROW:
            notes.append(f"the intervals of scores are too narrow with {seeds} seeds")
    return {**found, "optimality_gap": optimality_gap(z)}, notes


def _pairs(
    contests: Sequence[Contest], labels: Sequence[str], y: np.ndarray, level: float
) -> Iterator[dict[str, object]]:
    """Yield what the problems say of each pair of labels."""
    p = wilcoxon(y)
    adjusted = holm(p)
    few = too_few(len(contests), level)
    for place, (a, b) in enumerate(combinations(range(len(labels)), 2)):
        improves = np.mean(
            [
                probability_of_improvement(
                    -_known(contest.of(labels[a]))[:, None], -_known(contest.of(labels[b]))[:, None]
                )
                for contest in contests
            ]
        )
        row: dict[str, object] = {
            "a": labels[a],
            "b": labels[b],
            "p": np.nan if few else p[place],
            "p_adjusted": np.nan if few else adjusted[place],
            "improves": float(improves),
            "wins": float(np.mean([_wins(each, labels[a], labels[b]) for each in contests])),
            "verdict": BETTER if not few and adjusted[place] <= level else UNDECIDED,
        }
        with np.errstate(invalid="ignore"):  # of two that diverged there is no difference
            d = y[:, a] - y[:, b]
        if not contests[0].is_error and np.isfinite(d).all():
            ratio, low, high = geometric_mean_ratio(d, 1.0 - level)
            row |= {"ratio": ratio, "low": low, "high": high}
        yield row


def _wins(contest: Contest, a: str, b: str) -> float:
    """Return the share of the seeds that both have on which a is better, ties by half."""
    both = ~np.isnan(contest.of(a)) & ~np.isnan(contest.of(b))
    return wins(contest.of(a)[both], contest.of(b)[both]).share if both.any() else np.nan


def _known(values: np.ndarray) -> np.ndarray:
    known: np.ndarray = values[~np.isnan(values)]
    return known
