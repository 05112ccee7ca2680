"""A comparison as it is read: on each problem its labels and their pairs, then all together."""

from collections.abc import Iterator, Sequence
from math import inf, isfinite

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
    Pair,
)
from optbench.report.configurations import MEASURE_NAMES, problem_title
from optbench.report.sections import Column, Section
from optbench.report.statistics import band_name, spread
from optbench.report.tables import MISSING, number, percent


def sections(tables: RunTables, found: Comparison, together: Across | None) -> list[Section]:
    """Return the tables of a comparison."""
    parts: list[Section] = []
    for contest in found.contests:
        pairs = [pair for pair in found.rows if pair.problem == contest.problem]
        if pairs:
            parts += [_labels(tables, contest, pairs), _pairs(found, contest, pairs)]
    return parts + ([] if together is None else list(_across(together)))


def _labels(tables: RunTables, contest: Contest, pairs: Sequence[Pair]) -> Section:
    """Return the values of a problem's labels; bold are the best and all not told from it."""
    seeds = max(pair.seeds for pair in pairs)
    worse = {pair.a for pair in pairs if pair.verdict == WORSE}
    worse |= {pair.b for pair in pairs if pair.verdict == BETTER}
    values = [row[~np.isnan(row)] for row in contest.values]
    diverged = [int(np.isposinf(row).sum()) for row in values]
    chosen = [side.chosen for side in contest.sides]
    columns = [
        (Column("optimizer", "name"), contest.labels),
        (
            Column(MEASURE_NAMES[contest.metric]),
            [_value(float(np.median(row)), contest) for row in values],
        ),
    ]
    if seeds > 1:
        columns.append((Column(band_name(seeds), spare=1), [_band(row, contest) for row in values]))
    if any(diverged):
        counted = zip(diverged, values, strict=True)
        columns.append((Column("diverged"), [f"{count} of {len(row)}" for count, row in counted]))
    if any(chosen):
        columns.append((Column("chosen", "list"), chosen))
    over = f", median of {seeds} seeds" if seeds > 1 else ""
    return Section(
        f"{problem_title(tables, contest.problem)}{over}",
        [column for column, _ in columns],
        list(zip(*(cells for _, cells in columns), strict=True)),
        bold=frozenset(place for place, label in enumerate(contest.labels) if label not in worse),
    )


def _value(value: float, contest: Contest) -> str:
    if not isfinite(value):
        return "diverged"
    return percent(value) if contest.is_error else number(value)


def _band(values: np.ndarray, contest: Contest) -> str:
    if len(values) < 2:
        return MISSING
    low, high = (_value(float(end), contest) for end in spread(values))
    return f"{low.rstrip('% ')}–{high}"


def _pairs(found: Comparison, contest: Contest, pairs: Sequence[Pair]) -> Section:
    """Return the pairs of a problem."""
    columns = [
        Column("a", "name", gathers=True),
        Column("b", "name"),
        Column("a − b, points" if contest.is_error else "a / b"),
        Column(f"{100 * (1 - found.question.level):g} %", spare=1),
        Column("p", spare=2),
        Column("a wins", spare=3),
        Column("a is", "prose"),
    ]
    cells = [
        [
            pair.a,
            pair.b,
            _effect(pair.estimate, pair.estimand),
            _range(pair),
            MISSING if np.isnan(pair.p_adjusted) else f"{pair.p_adjusted:.2g}",
            f"{pair.wins * pair.seeds:g} of {pair.seeds}",
            pair.says,
        ]
        for pair in pairs
    ]
    by_wins = any(pair.estimand == WINS for pair in pairs)
    wins = "where a lane diverged there is no mean: wins are counted, and divergence loses"
    return Section(
        f"{MEASURE_NAMES[contest.metric]}, pair by pair",
        columns,
        cells,
        facts=list(_facts(found, contest, pairs)),
        warnings=[wins] if by_wins else [],
    )


def _effect(value: float, estimand: str) -> str:
    match estimand:
        case "wins":
            return f"{100 * value:.0f} % wins"
        case "difference":
            return f"{value:+.2f}"
    return f"{value:.3g}"


def _range(pair: Pair) -> str:
    if np.isnan(pair.low):
        return MISSING
    form = {WINS: "{:.0%}", DIFFERENCE: "{:+.2f}", RATIO: "{:.3g}"}[pair.estimand]
    if pair.estimand != WINS and (pair.high == inf or pair.low in (0.0, -inf)):
        return "unknown"
    return f"{form.format(pair.low)} to {form.format(pair.high)}"


def _facts(found: Comparison, contest: Contest, pairs: Sequence[Pair]) -> Iterator[str]:
    """Say how the numbers came about."""
    tested = [pair for pair in pairs if pair.random]
    if not tested:
        yield "nothing random: each optimizer has one lane, and the ratios are exact"
        return
    family = sum(pair.random for pair in found.rows)
    adjusted = f"; p by Holm over {family} pairs" if family > 1 else ""
    yield f"interval and p: sign flips of paired seeds{adjusted}"
    finds = [pair.detects for pair in tested if not np.isnan(pair.detects)]
    if finds and isfinite(size := float(np.median(finds))):
        change, unit = (size, "points") if contest.is_error else (100 * (size - 1), "%")
        text = f"{np.format_float_positional(change, 2, fractional=False, trim='-')} {unit}"
        yield f"a difference of {text} is found 9 times in 10, typically"


def _across(found: Across) -> Iterator[Section]:
    """Yield what several problems say together."""
    count, sure = len(found.problems), f"{100 * (1 - found.level):g} %"
    has_scores = "iqm" in found.labels
    columns = [Column("optimizer", "name"), Column("mean rank")]
    columns += [Column("score (IQM)"), Column(sure, spare=1)] if has_scores else []
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
        Column("a", "name", gathers=True),
        Column("b", "name"),
        Column("P(a better)", spare=4),
        Column("a wins", spare=3),
        *([Column("a / b"), Column(sure, spare=1)] if has_ratio else []),
        Column("p", spare=2),
        Column("a is", "prose"),
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
        facts=["p: of signed ranks over problems, by Holm; a / b: geometric mean over problems"],
    )
