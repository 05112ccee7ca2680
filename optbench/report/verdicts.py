"""A comparison as it is read: on each problem its labels and their pairs, then all together."""

from collections.abc import Iterator
from math import inf, isfinite
from typing import Any

import numpy as np
import pandas as pd

from optbench.records import RunTables
from optbench.report.across import Across
from optbench.report.compare import (
    BETTER,
    DIFFERENCE,
    RATIO,
    WINS,
    WORSE,
    Comparison,
    Contest,
)
from optbench.report.configurations import problem_title
from optbench.report.sections import Column, Section
from optbench.report.statistics import band_name, spread
from optbench.report.tables import MISSING, number, percent

SHOWN = {
    **{
        f"{split}_{name}": f"{split} {name}"
        for split in ("train", "validation", "test")
        for name in ("loss", "error")
    },
    "final_loss": "final loss",
    "best_loss": "best loss",
}


def sections(tables: RunTables, found: Comparison, together: Across | None) -> list[Section]:
    """Return the tables of a comparison; each fits 80 columns."""
    parts: list[Section] = []
    for contest in found.contests:
        rows = found.pairs[found.pairs["problem"] == contest.problem]
        if not rows.empty:
            parts += [_labels(tables, contest, rows), _pairs(found, contest, rows)]
    return parts + ([] if together is None else list(_across(together)))


def _labels(tables: RunTables, contest: Contest, pairs: pd.DataFrame) -> Section:
    """Return the values of a problem's labels; bold are the best and all not told from it."""
    seeds = int(pairs["seeds"].max())
    cells, bold = [], set()
    worse = {
        *pairs.loc[pairs["verdict"] == WORSE, "a"],
        *pairs.loc[pairs["verdict"] == BETTER, "b"],
    }
    for place, (side, values) in enumerate(zip(contest.sides, contest.values, strict=True)):
        known = values[~np.isnan(values)]
        low, high = spread(known)
        diverged = int(np.isposinf(known).sum())
        cells.append(
            [
                side.label,
                _value(float(np.median(known)), contest),
                MISSING
                if len(known) < 2
                else f"{_value(float(low), contest)}–{_value(float(high), contest)}",
                f"{diverged} of {len(known)}",
                side.chosen,
            ]
        )
        if side.label not in worse:
            bold.add(place)
    columns = [
        Column("optimizer", is_name=True),
        Column(SHOWN[contest.metric]),
        Column(band_name(seeds)),
        Column("diverged"),
        Column("chosen", is_text=True),
    ]
    kept = [
        place
        for place in range(len(columns))
        if (place != 2 or seeds > 1)
        and (place != 3 or not all(row[3].startswith("0 ") for row in cells))
        and (place != 4 or any(row[4] for row in cells))
    ]
    over = f", median of {seeds} seeds" if seeds > 1 else ""
    return Section(
        f"{problem_title(tables, contest.problem)}{over}",
        [columns[place] for place in kept],
        [[row[place] for place in kept] for row in cells],
        bold=frozenset(bold),
    )


def _value(value: float, contest: Contest) -> str:
    if not isfinite(value):
        return "diverged"
    return percent(value) if contest.is_error else number(value)


def _band(low: float, high: float, contest: Contest) -> str:
    return f"{_value(low, contest).rstrip('% ')}–{_value(high, contest)}"


def _pairs(found: Comparison, contest: Contest, rows: pd.DataFrame) -> Section:
    """Return the pairs of a problem."""
    level = 100 * (1 - found.question.level)
    columns = [
        Column("a", is_name=True),
        Column("b", is_name=True),
        Column("a − b, points" if contest.is_error else "a / b"),
        Column(f"{level:g} %"),
        Column("p"),
        Column("a wins"),
        Column("a is", is_text=True),
    ]
    return Section(
        f"{SHOWN[contest.metric]}, pair by pair",
        columns,
        [_pair(row) for row in rows.itertuples(index=False)],
        facts=list(_facts(found, contest, rows)),
        warnings=list(_warnings(rows)),
    )


def _pair(row: object) -> list[str]:
    values = row._asdict()  # type: ignore[attr-defined]
    won = values["wins"] * values["seeds"]
    return [
        values["a"],
        values["b"],
        _effect(values["estimate"], values["estimand"]),
        MISSING if np.isnan(values["low"]) else _range(values),
        MISSING if np.isnan(values["p_adjusted"]) else f"{values['p_adjusted']:.2g}",
        f"{won:g} of {values['seeds']}",
        values["says"],
    ]


def _effect(value: float, estimand: str) -> str:
    match estimand:
        case "wins":
            return f"{100 * value:.0f} % wins"
        case "difference":
            return f"{value:+.2f}"
    return f"{value:.3g}"


def _range(values: dict[str, Any]) -> str:
    form = {WINS: "{:.0%}", DIFFERENCE: "{:+.2f}", RATIO: "{:.3g}"}[str(values["estimand"])]
    low, high = values["low"], values["high"]
    if values["estimand"] != WINS and (high == inf or low in (0.0, -inf)):
        return "unknown"
    return f"{form.format(low)} to {form.format(high)}"


def _facts(found: Comparison, contest: Contest, rows: pd.DataFrame) -> Iterator[str]:
    """Say how the numbers came about."""
    tested = rows[rows["random"]]
    if tested.empty:
        yield "nothing random: each optimizer has one lane, and the ratios are exact"
        return
    family = int(found.pairs["random"].sum())
    yield f"interval and p: sign flips of paired seeds; p by Holm over {family} pairs"
    finds = tested["detects"].dropna()
    if not finds.empty and isfinite(finds.median()):
        size = finds.median()
        text = f"{size:.2g} points" if contest.is_error else f"{100 * (size - 1):.2g} %"
        yield f"a difference of {text} is found 9 times in 10, typically"


def _warnings(rows: pd.DataFrame) -> Iterator[str]:
    if (rows["estimand"] == WINS).any():
        yield "where a lane diverged there is no mean: wins are counted, and divergence loses"


def _across(found: Across) -> Iterator[Section]:
    """Yield what several problems say together."""
    count, sure = len(found.problems), f"{100 * (1 - found.level):g} %"
    has_scores = "iqm" in found.labels
    columns = [Column("optimizer", is_name=True), Column("mean rank")]
    columns += [Column("score (IQM)"), Column(sure)] if has_scores else []
    cells = []
    for row in found.labels.to_dict(orient="records"):
        cells.append([row["label"], f"{row['mean_rank']:.2f}"])
        if has_scores:
            low = row.get("iqm_low")
            span = MISSING if low is None else f"{low:.2f} to {row['iqm_high']:.2f}"
            cells[-1] += [f"{row['iqm']:.2f}", span]
    test = f"Friedman χ² {found.chi2:.3g}, Iman–Davenport F {found.f:.3g}, p = {found.p:.2g}"
    scores = "score: share of the way from the start to the best, interquartile mean of all runs"
    yield Section(
        f"{count} problems together",
        columns,
        cells,
        facts=[test, *([scores] if has_scores else [])],
        warnings=list(found.notes),
    )
    has_ratio = "ratio" in found.pairs
    columns = [
        Column("a", is_name=True),
        Column("b", is_name=True),
        Column("P(a better)"),
        Column("a wins"),
        *([Column("a / b"), Column(sure)] if has_ratio else []),
        Column("p"),
        Column("a is", is_text=True),
    ]
    cells = []
    for row in found.pairs.to_dict(orient="records"):
        cell = [row["a"], row["b"], f"{row['improves']:.2f}", f"{100 * row['wins']:.0f} %"]
        if has_ratio:
            known = not pd.isna(row["ratio"])
            has_span = known and isfinite(row["high"])
            cell += [
                f"{row['ratio']:.3g}" if known else MISSING,
                f"{row['low']:.3g} to {row['high']:.3g}" if has_span else MISSING,
            ]
        p = row["p_adjusted"]
        cells.append([*cell, MISSING if np.isnan(p) else f"{p:.2g}", row["verdict"]])
    yield Section(
        f"{count} problems together, pair by pair",
        columns,
        cells,
        facts=["p of signed ranks over problems, by Holm; a / b: geometric mean over problems"],
    )
