"""How exactly a swept hyperparameter has to be set: the width of the region that is nearly best."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from optbench.errors import UsageError, argument
from optbench.inference.tolerance import Tolerance, width
from optbench.records import HYPERPARAMETER_PREFIX, RunTables
from optbench.report.configurations import (
    CRITERIA,
    configurations,
    describe,
    known_minimum,
    problem_names,
    problem_title,
    sensitivity,
    swept_numbers,
)
from optbench.report.sections import Column, Section
from optbench.report.tables import number, titled
from optbench.store.studies import run_name

SHARES = (0.1, 1.0)
"""Losses above the best, as shares of it, within which a value counts as nearly the best."""

FEWEST_VALUES = 3

TOLERANCE_COLUMNS = {
    "run": "string",
    "problem": "string",
    "heading": "string",
    "label": "string",
    "hyperparameter": "string",
    "criterion": "string",
    "values": "int64",  # tried
    "best": "float64",  # of the hyperparameter, the others at their best
    "loss": "float64",  # there, by which lanes are ranked
    **{
        f"{name}_{round(100 * share)}": kind
        for share in SHARES
        for name, kind in {
            "decades": "float64",
            "low": "float64",
            "high": "float64",
            "low_open": "bool",  # whether the grid ends before the region does
            "high_open": "bool",
        }.items()
    },
    "too_coarse": "bool",  # whether a neighbour of the best is more than 10 % worse
}
"""Columns of :func:`tolerance`; ``_10`` and ``_100`` are widths within 10 and 100 % of the best."""


def tolerance(tables: RunTables) -> pd.DataFrame:
    """Return a row for each problem, label and hyperparameter of which it tried three values.

    The loss is that by which lanes are ranked, less a function's known minimum; a loss next to
    rounding counts as rounding. Values that diverged or ended outside the domain are +inf.

    Raises
    ------
    UsageError
        If no label tried three values of a numeric hyperparameter.
    """
    rows = list(_rows(tables))
    if not rows:
        raise UsageError(
            f"{run_name(tables.path)} swept no numeric hyperparameter over {FEWEST_VALUES} values "
            "or more; run a sweep, such as " + argument("grid", {"sgd.lr": "1e-3:10:25"})
        )
    return pd.DataFrame(rows, columns=list(TOLERANCE_COLUMNS)).astype(TOLERANCE_COLUMNS)


def _rows(tables: RunTables) -> Iterator[dict[str, object]]:
    table = configurations(tables)
    for problem in problem_names(tables):
        of_problem = table[table["problem"] == problem]
        for name in swept_numbers(of_problem, FEWEST_VALUES):
            for label, points in sensitivity(of_problem, name).groupby("label", sort=False):
                found = widths(points, name, describe(tables, problem))
                if found is not None:
                    best = points[points["best"]].iloc[0]
                    yield {
                        "run": run_name(tables.path),
                        "problem": problem,
                        "heading": problem_title(tables, problem),
                        "label": label,
                        "hyperparameter": name.removeprefix(HYPERPARAMETER_PREFIX),
                        "criterion": best["criterion"],
                        "values": len(points),
                        "best": best[name],
                        "loss": best["score"],
                        "too_coarse": found[0].too_coarse,
                        **_columns(found),
                    }


def widths(points: pd.DataFrame, name: str, meta: dict[str, Any]) -> list[Tolerance] | None:
    """Return the widths within each of :data:`SHARES`, from one label's best at each value.

    None where there are too few values, or where they cannot be drawn on a logarithmic axis.
    """
    values = points[name].to_numpy(dtype=np.float64)
    losses = np.where(points["standing"] == 0, points["level"], np.inf)
    losses = np.maximum(losses - (known_minimum(meta) or 0.0), 0.0)
    usable = len(values) >= FEWEST_VALUES and (values > 0.0).all() and np.isfinite(losses).any()
    return [width(values, losses, 1.0 + share) for share in SHARES] if usable else None


def _columns(found: Sequence[Tolerance]) -> dict[str, object]:
    return {
        f"{name}_{round(100 * share)}": getattr(each, name)
        for share, each in zip(SHARES, found, strict=True)
        for name in ("decades", "low", "high", "low_open", "high_open")
    }


def sections(
    rows: pd.DataFrame, settings: Mapping[tuple[str, str], str] | None = None
) -> list[Section]:
    """Return one table for each problem of each run, titled as those of the summary."""
    parts = []
    for title, of_problem in titled(rows, settings or {}):
        first = of_problem.iloc[0]
        cells = [
            [
                str(row["label"]),
                str(row["hyperparameter"]),
                f"{row['best']:.4g}",
                number(row["loss"]),
                *(_width(row, round(100 * share)) for share in SHARES),
            ]
            for _, row in of_problem.iterrows()
        ]
        coarse = of_problem[of_problem["too_coarse"]]
        parts.append(
            Section(
                title,
                [
                    Column("optimizer", "name"),
                    Column("swept", "name"),
                    Column("best at"),
                    Column(CRITERIA[str(first["criterion"])]),
                    *(Column(f"within {100 * share:.0f} %") for share in SHARES),
                ],
                cells,
                facts=[
                    "within: decades of values whose loss is no more than so much above the best"
                ],
                warnings=[
                    f"{row['label']}: grid too coarse: a neighbour of {row['hyperparameter']}="
                    f"{row['best']:.4g} is more than 10 % worse"
                    for _, row in coarse.iterrows()
                ],
            )
        )
    return parts


def _width(row: "pd.Series[Any]", share: int) -> str:
    is_open = row[f"low_open_{share}"] or row[f"high_open_{share}"]
    return f"{'≥ ' if is_open else ''}{row[f'decades_{share}']:.3g}"
