"""Times to targets on several problems together: profiles, AlgoPerf's score, shares of targets."""

from collections.abc import Iterator, Sequence
from math import nan
from typing import Any

import numpy as np
import pandas as pd

from optbench.errors import NothingToCompareError, UsageError
from optbench.inference.profiles import (
    algoperf,
    ecdf_area,
    profile,
    score,
    score_interval,
)
from optbench.records import RunTables
from optbench.report.configurations import describe
from optbench.report.races import Question, Race

RUNGS = 51
"""Targets of a ladder, if nobody says how many."""

RATIOS = (1.0, 2.0, 4.0)
"""Ratios to the fastest at which a table shows profiles."""


def put_together(
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
