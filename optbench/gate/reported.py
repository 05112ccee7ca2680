"""What is reported of groups and not judged: test errors, and iterations to the target."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from optbench.gate.comparison import Comparison, Pair
from optbench.gate.verdict import Group, Reached
from optbench.records import RunTables
from optbench.report.configurations import last_evaluations

TEST_ERROR, TARGETS = "test_error", "targets"
"""Keys of a baseline's meta: mean test error by problem and label, target loss by problem."""


def test_errors(tables: RunTables) -> dict[str, dict[str, float]]:
    """Return the mean zero-one error on the test split, by problem and label.

    The last evaluation of each lane counts; with early stopping, that of the parameters that
    validated best. Labels without one are left out.
    """
    rows = tables.evaluation
    rows = rows[(rows["split"] == "test") & np.isfinite(rows["error"].astype("float64"))]
    last = last_evaluations(rows, tables.lanes)
    last = last.merge(tables.lanes[["lane", "problem", "label"]], on="lane")
    errors: dict[str, dict[str, float]] = {}
    for (problem, label), part in last.groupby(["problem", "label"], sort=False):
        errors.setdefault(str(problem), {})[str(label)] = float(part["error"].mean())
    return errors


def with_reported(groups: Sequence[Group], comparison: Comparison) -> list[Group]:
    """Return groups with what is reported of them filled in."""
    meta = comparison.baseline.meta
    errors_then, errors_now = meta.get(TEST_ERROR) or {}, test_errors(comparison.run)
    targets = meta.get(TARGETS) or {}
    reached = {
        pairs[0].group: _iterations(comparison, pairs, targets.get(pairs[0].problem))
        for pairs in comparison.matching.groups()
    }
    filled = []
    for group in groups:
        then, now = reached[group.problem, group.label, group.configuration]
        filled.append(
            replace(
                group,
                test_error_then=errors_then.get(group.problem, {}).get(group.label),
                test_error_now=errors_now.get(group.problem, {}).get(group.label),
                reached_then=then,
                reached_now=now,
            )
        )
    return filled


def _iterations(
    comparison: Comparison, pairs: Sequence[Pair], target: float | None
) -> tuple[Reached | None, Reached | None]:
    """Return the median over seeds of the first iteration with a loss of at most the target.

    Only iterations that the baseline has stored are looked at, on both sides. A lane that misses
    counts as infinite; where the median does, it is censored at the last iteration looked at.
    """
    if target is None:
        return None, None
    positions = [comparison.positions[pair] for pair in pairs]
    rows = comparison.rows[comparison.rows["pair"].isin(positions)]
    return _median(rows, "then", len(pairs), target), _median(rows, "now", len(pairs), target)


def _median(rows: pd.DataFrame, side: str, lanes: int, target: float) -> Reached | None:
    rows = rows[rows[side].notna()]
    if rows.empty:
        return None
    first = rows[rows[side] <= target].groupby("pair")["iteration"].min()
    iterations = np.full(lanes, np.inf)
    iterations[: len(first)] = first.to_numpy()
    ordered = np.sort(iterations)
    middle = ordered[[(lanes - 1) // 2, lanes // 2]]
    if np.isfinite(middle).all():
        return Reached(float(middle.mean()))
    return Reached(float(rows["iteration"].max()), censored=True)
