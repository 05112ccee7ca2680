"""What the page's script draws: the losses of a problem, and what becomes of other targets.

Everything is computed here, by the code that makes the tables: the script looks up.
"""

import itertools
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np
import pandas as pd

from optbench.errors import printable
from optbench.records import RunTables
from optbench.report.arrivals import budget_text, time_text, unit_of
from optbench.report.configurations import configurations, describe
from optbench.report.curves import Curve, lane_losses, median_curve
from optbench.report.page.thinning import stretches
from optbench.report.plots.options import PlotOptions
from optbench.report.plots.style import Style, seeds_note
from optbench.report.races import Race
from optbench.report.statistics import quantile
from optbench.report.watched import at_most
from optbench.store.thinning import every_of

RUNGS = 61
"""Targets that one can drag to, from the start down to the best."""

DIGITS = 5
"""Of a value that is drawn."""


def losses(
    tables: RunTables, problem: str, look: Mapping[str, Style], most: int
) -> dict[str, Any] | None:
    """Return the curves of the best configurations, as recorded and smoothed; None without rows.

    Of more than ``most`` rows each stretch gives its lowest and its highest.
    """
    table = configurations(tables)
    rows = table[(table["problem"] == problem) & table["best"]]
    of_lanes = lane_losses(tables, problem)
    smoothing = PlotOptions().window(describe(tables, problem)["batch_size"])
    windows = [1] if every_of(tables.meta) > 1 else sorted({1, smoothing})
    drawn = {
        window: {
            str(row["label"]): median_curve(
                [of_lanes[number] for number in row["lane_numbers"]], window
            )
            for _, row in rows.iterrows()
        }
        for window in windows
    }
    iterations = np.unique(np.concatenate([each.iterations for each in drawn[1].values()]))
    if iterations.size < 2:
        return None
    edges = stretches(len(iterations), most) if len(iterations) > most else None
    return {
        "x": _places(iterations, edges),
        "labels": [*map(printable, drawn[1])],
        "colors": [look[label].color for label in drawn[1]],
        "note": seeds_note(rows["seeds"]),
        "windows": [
            {
                "rows": window,
                "curves": [_thinned(curve, iterations, edges) for curve in curves.values()],
            }
            for window, curves in drawn.items()
        ],
    }


def _places(iterations: np.ndarray, edges: np.ndarray | None) -> list[int]:
    """Return where values stand: at all rows, or at the first and the last of each stretch."""
    if edges is None:
        return [int(each) for each in iterations]
    ends = np.column_stack([iterations[edges[:-1]], iterations[edges[1:] - 1]])
    return [int(each) for each in ends.ravel()]


def _thinned(curve: Curve, iterations: np.ndarray, edges: np.ndarray | None) -> dict[str, Any]:
    """Return a curve with its band at these places, null where it is not finite."""
    places = np.searchsorted(iterations, curve.iterations)
    sides = np.full((3, len(iterations)), np.nan)
    sides[:, places] = np.stack([curve.median, curve.low, curve.high])
    sides[~np.isfinite(sides)] = np.nan
    if edges is not None:
        sides = np.stack([_ends(side, edges, way) for side, way in zip(sides, _WAYS, strict=True)])
    named = dict(zip(("median", "low", "high"), map(_numbers, sides), strict=True))
    is_band = not np.array_equal(sides[1], sides[2], equal_nan=True)
    return named if is_band else {"median": named["median"]}


def _in_order(part: np.ndarray) -> tuple[float, float]:
    low, high = int(part.argmin()), int(part.argmax())
    return part[min(low, high)], part[max(low, high)]


_WAYS = (
    _in_order,
    lambda part: (part.min(), part.min()),
    lambda part: (part.max(), part.max()),
)
"""The two values that stand for a stretch: of the median, and of the sides of the band."""


def _ends(side: np.ndarray, edges: np.ndarray, way: Any) -> np.ndarray:
    found = np.full((len(edges) - 1, 2), np.nan)
    for place, (start, end) in enumerate(itertools.pairwise(edges)):
        part = side[start:end]
        known = part[~np.isnan(part)]
        if known.size:
            found[place] = way(known)
    return found.ravel()


def _numbers(values: np.ndarray) -> list[float | None]:
    return [float(f"{each:.{DIGITS}g}") if isfinite(each) else None for each in values.tolist()]


def targets(race: Race, rows: pd.DataFrame) -> dict[str, Any] | None:
    """Return success, RMST and median of each label at other targets; None without a ladder.

    ``rows`` are those of the table, whose target is one of those here.
    """
    ladder = race.watched.ladder(RUNGS)
    if ladder is None:
        return None
    values = np.unique(np.append(ladder, race.target.value))[::-1]
    times = {
        entrant.label: of_lanes
        for entrant, of_lanes in zip(race.entrants, race.watched.times(values), strict=True)
    }
    unit = unit_of([race])
    return {
        "on": race.watched.on,
        "targets": _numbers(values),
        "goals": [at_most(race.watched.on, value) for value in values.tolist()],
        "chosen": int(np.flatnonzero(values == race.target.value)[0]),
        "budget": race.budget,
        "labels": [
            {
                "label": printable(label),
                "cells": [
                    _cells(times[label][:, place], race, unit) for place in range(len(values))
                ],
            }
            for label in rows["label"]
        ],
    }


def _cells(times: np.ndarray, race: Race, unit: tuple[float, str]) -> Sequence[str]:
    """Write how many lanes were there, the RMST, and the median."""
    reached = int((times <= race.budget).sum())
    rmst = float(np.minimum(times, race.budget).mean())
    middle = float(quantile(times, 0.5))
    median = time_text(middle, unit) if middle <= race.budget else f"> {budget_text(race)}"
    return f"{reached} of {len(times)}", time_text(rmst, unit), median
