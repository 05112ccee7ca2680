"""What a smaller budget would have found: the best of k of a study's trials, label by label.

Tables of a study in, tables of curves out, by :mod:`optbench.inference.best_of`; docs/statistics.md
has the formulas. Scores are those of the search, medians over tuning seeds.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from math import inf, isfinite
from typing import Any

import numpy as np
import pandas as pd

from optbench.errors import UsageError
from optbench.inference.best_of import (
    Estimator,
    expected_best,
    median_band,
    median_best,
    value_of_chosen,
    win_probability,
)
from optbench.records import STEPS_TO_TARGET, StudyTables
from optbench.report.protocol import (
    adaptive,
    defaults,
    is_problem_specific,
    metric,
    metric_name,
    problem_names,
    problem_specific,
    protocol,
    sampler,
    searches,
    title,
)
from optbench.report.sections import Column, Section
from optbench.report.tables import MISSING, number, percent, steps_text

INDEPENDENT = "random"
"""The only sampler whose points are independent, as a band needs them."""

ESTIMATORS = {
    "u": "mean over all choices of so many trials, unbiased",
    "v": "mean over draws with replacement, too large from 2 trials on",
}
"""What the expected best is: the U- and the V-statistic."""

MOST_BUDGETS = 7
"""Numbers of trials that a table to be read has rows for."""

STUDY_COLUMNS = {
    "study": "string",
    "problem": "string",
    "heading": "string",
    "label": "string",
    "optimizer": "string",
    "metric": "string",
    "sampler": "string",
    "trials": "int64",  # T, of the label's search
    "problem_specific": "bool",  # whether the label's space differs between problems
    "default": "float64",  # median of the final run with the hyperparameters that come with it
    "k": "int64",  # 1 … T
    "steps": "float64",
}

BUDGET_COLUMNS = STUDY_COLUMNS | {  # steps: k times the mean of a trial's
    "median": "float64",  # of the best of k; +inf where all of them diverge more often than not
    "low": "float64",  # 95 % band for all k at once, -inf and +inf included; null without one
    "high": "float64",
    "expected": "float64",  # best of k; +inf where k trials may all diverge
    "estimator": "string",
    "test_error": "float64",  # expected, of the trial that is chosen; null where not evaluated
}
"""Columns of :func:`budgets`. A column ``wins_over_<label>`` (float64) for each label follows: the
probability that the best of k is better than that label's, null beyond its trials."""

INCUMBENT_COLUMNS = STUDY_COLUMNS | {  # steps: made up to trial k
    "incumbent": "float64",  # the best score of the first k trials
    "why": "string",  # there are no curves
}
"""Columns of :func:`incumbents`."""

WINS_OVER = "wins_over_{}"


def budgets(study: StudyTables, estimator: Estimator = "u") -> pd.DataFrame:
    """Return what the best of k trials is, for each problem, label and k = 1 … T.

    Points of ``sobol``, ``halton`` and ``grid`` fill the space evenly: their curves are those of k
    random ones of these T points, and they have no bands.

    Raises
    ------
    UsageError
        If trials are not exchangeable: ``tpe``, halving. See :func:`incumbents`.
    """
    why = adaptive(study)
    if why:
        raise UsageError(
            f"{study.path.name} has no curves of the best of k trials: {why}, so they are not "
            "exchangeable; what it has is the path of its best trial so far"
        )
    curves = [part for name in problem_names(study) for part in _curves(study, name, estimator)]
    table = pd.concat(curves, ignore_index=True)
    wins = table.columns.difference(list(BUDGET_COLUMNS), sort=False)
    return table[[*BUDGET_COLUMNS, *wins]].astype(BUDGET_COLUMNS)


def _curves(study: StudyTables, problem: str, estimator: Estimator) -> Iterator[pd.DataFrame]:
    """Yield the curves of each label of a problem."""
    found = searches(study, problem)
    scores = {label: rows["score"].to_numpy() for label, rows in found.items()}
    has_band = sampler(study) == INDEPENDENT
    for label, described in _described(study, problem, found).items():
        rows, x, k = found[label], scores[label], described["k"].to_numpy()
        low, high = median_band(x, k) if has_band else (np.nan, np.nan)
        others = {other: theirs for other, theirs in scores.items() if other != label}
        yield described.assign(
            steps=k * rows["steps"].astype(float).mean(),
            median=median_best(x, k),
            low=low,
            high=high,
            expected=expected_best(x, k, estimator),
            estimator=estimator,
            test_error=_test_error(rows, k, estimator),
            **{WINS_OVER.format(other): _wins(x, theirs) for other, theirs in others.items()},
        )


def _described(
    study: StudyTables, problem: str, found: Mapping[str, pd.DataFrame]
) -> dict[str, pd.DataFrame]:
    """Return of each label a row for each k, with what these have in common."""
    common = {
        "study": study.path.name,
        "problem": problem,
        "heading": f"{title(study, problem)}, {protocol(study, problem)}",
        "metric": metric(study, problem),
        "sampler": sampler(study),
    }
    by_default = defaults(study, problem)
    return {
        label: pd.DataFrame(
            {
                **common,
                "label": label,
                "optimizer": rows["optimizer"].iloc[0],
                "trials": len(rows),
                "problem_specific": is_problem_specific(study, label),
                "default": by_default.get(label, np.nan),
                "k": np.arange(1, len(rows) + 1),
            }
        )
        for label, rows in found.items()
    }


def _test_error(rows: pd.DataFrame, k: np.ndarray, estimator: Estimator) -> np.ndarray:
    """Return the expected test error of the chosen trial, NaN where some were not evaluated."""
    errors = rows["test_error"].to_numpy(dtype=np.float64, na_value=np.nan)
    is_known = ~np.isnan(errors[np.isfinite(rows["score"])])
    if not (is_known.any() and is_known.all()):
        return np.full(len(k), np.nan)
    return value_of_chosen(rows["score"], errors, k, estimator)


def _wins(x: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Return the probability of winning for k = 1 … len(x), NaN beyond the other's trials."""
    both = min(len(x), len(theirs))
    found = np.full(len(x), np.nan)
    found[:both] = win_probability(x, theirs, np.arange(1, both + 1))
    return found


def incumbents(study: StudyTables) -> pd.DataFrame:
    """Return the best score of the first k trials, for each problem, label and k.

    It is what one search found on its way and stands for no other: not a mean, without a band. For
    studies that have no curves, whose ``why`` it says.
    """
    parts = []
    for problem in problem_names(study):
        found = searches(study, problem)
        for label, described in _described(study, problem, found).items():
            parts.append(
                described.assign(
                    steps=found[label]["steps"].astype(float).cumsum(),
                    incumbent=found[label]["score"].cummin(),
                    why=adaptive(study),
                )
            )
    table = pd.concat(parts, ignore_index=True)
    return table[list(INCUMBENT_COLUMNS)].astype(INCUMBENT_COLUMNS)


def shown_budgets(trials: int) -> list[int]:
    """Return some of 1 … T, a few, evenly spaced in their logarithm, T among them.

    >>> shown_budgets(20), shown_budgets(200)
    ([1, 2, 4, 8, 16, 20], [1, 4, 16, 64, 200])
    """
    base = 2
    while base ** (MOST_BUDGETS - 1) < trials:
        base *= 2
    powers = [base**power for power in range(MOST_BUDGETS) if base**power < trials]
    return [*powers, trials]


def sections(rows: pd.DataFrame) -> list[Section]:
    """Return of each problem the curves at some k, then who wins there."""
    parts = []
    for _, of_problem in rows.groupby(["study", "problem"], sort=False):
        parts.append(_curve_section(of_problem))
        if of_problem["label"].nunique() > 1:
            parts.append(_wins_section(of_problem))
    return parts


def _curve_section(rows: pd.DataFrame) -> Section:
    first = rows.iloc[0]
    has_band, has_test = rows["high"].notna().any(), rows["test_error"].notna().any()
    shown = rows[[k in shown_budgets(T) for k, T in zip(rows["k"], rows["trials"], strict=True)]]
    columns = [Column("optimizer", "name"), Column("trials"), Column("steps", spare=3)]
    columns += [Column("median best")]
    columns += [Column("95 %", spare=1)] if has_band else []
    columns += [Column("expected", spare=2)]
    columns += [Column("test error", spare=4)] if has_test else []
    cells = []
    for _, row in shown.iterrows():
        of = str(row["metric"])
        cell = [str(row["label"]), f"{row['k']}", f"{row['steps']:,.0f}", score(row["median"], of)]
        cell += [_band(row["low"], row["high"], of)] if has_band else []
        cell += [score(row["expected"], of)]
        cell += [score(row["test_error"], "test_error")] if has_test else []
        cells.append(cell)
    return Section(str(first["heading"]), columns, cells, facts=list(_facts(rows)))


def _facts(rows: pd.DataFrame) -> Iterator[str]:
    first = rows.iloc[0]
    yield f"{metric_name(str(first['metric']))} of the best of so many trials, on tuning seeds"
    if first["sampler"] == INDEPENDENT:
        yield "95 %: band of the median, for all numbers of trials at once"
    else:
        yield f"for so many random ones of the {first['sampler']} points, which have no band"
    yield f"expected: {ESTIMATORS[str(first['estimator'])]}"
    if rows["test_error"].notna().any():
        yield "test error: expected, of the trial that is chosen"
    for label in rows.loc[rows["problem_specific"], "label"].unique():
        yield problem_specific(label)
    yield from default_facts(rows)


def default_facts(rows: pd.DataFrame) -> Iterator[str]:
    """Say in a line what the hyperparameters that come with the optimizers reach."""
    known = rows.drop_duplicates("label").dropna(subset="default")
    if not known.empty:
        values = zip(known["label"], known["default"], known["metric"], strict=True)
        named = ", ".join(f"{label} {score(value, of)}" for label, value, of in values)
        yield f"default, on evaluation seeds: {named}"


def score(value: float, of: str) -> str:
    """Write a score: an error in percent, and what it is where it is no number.

    >>> score(0.25, "final_loss"), score(0.25, "test_error"), score(inf, "final_loss")
    ('0.2500', '25.00 %', 'diverged')
    >>> score(32.0, "steps_to_target"), score(inf, "steps_to_target")
    ('32', 'missed')
    """
    if of == STEPS_TO_TARGET:
        return "missed" if value == inf else steps_text(value)
    if value == inf:
        return "diverged"
    return percent(value) if of.endswith("_error") else number(value)


def _band(low: float, high: float, of: str) -> str:
    """Write a band, of which an end may be open."""
    if isfinite(low) and isfinite(high):
        return f"{score(low, of).removesuffix(' %')}–{score(high, of)}"
    if isfinite(high):
        return f"≤ {score(high, of)}"
    return f"≥ {score(low, of)}" if isfinite(low) else MISSING


def _wins_section(rows: pd.DataFrame) -> Section:
    """Return how often one label's best of k is better than another's."""
    curves = {str(label): own.set_index("k") for label, own in rows.groupby("label", sort=False)}
    shown = shown_budgets(int(rows["trials"].max()))
    cells = []
    for a, b in combinations(curves, 2):
        found = curves[a][WINS_OVER.format(b)].reindex(shown)
        cells.append([a, b, *(MISSING if pd.isna(p) else f"{p:.2f}" for p in found)])
    columns = [Column("a", "name", gathers=True), Column("b", "name")]
    columns += [Column(f"{k}") for k in shown]
    return Section(
        f"{rows['problem'].iloc[0]}: how often a's best of so many trials is better than b's",
        columns,
        cells,
        facts=["of all choices of so many trials of each, ties by half; no intervals"],
    )


def incumbent_sections(rows: pd.DataFrame) -> list[Section]:
    """Return of each problem the trials that became the best so far."""
    parts = []
    for _, of_problem in rows.groupby(["study", "problem"], sort=False):
        first = of_problem.iloc[0]
        parts.append(
            Section(
                str(first["heading"]),
                [
                    Column("optimizer", "name"),
                    Column("trial"),
                    Column("steps", spare=1),
                    Column("best so far"),
                ],
                [_incumbent_cells(row) for _, row in _steps_down(of_problem).iterrows()],
                facts=list(default_facts(of_problem)),
                warnings=[] if pd.isna(first["why"]) else [no_curves(str(first["why"]))],
            )
        )
    return parts


def no_curves(why: str) -> str:
    """Say why there is a path of the best so far and no curve of the best of k."""
    return f"no curves: {why}; this is the path of one search"


def _steps_down(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows at which the incumbent changes, and the last of each label."""
    before = rows.groupby("label", sort=False)["incumbent"].shift(fill_value=inf)
    last = rows["k"] == rows["trials"]
    found: pd.DataFrame = rows[(rows["incumbent"] < before) | last]
    return found


def _incumbent_cells(row: "pd.Series[Any]") -> Sequence[str]:
    best = score(row["incumbent"], str(row["metric"]))
    return [str(row["label"]), f"{row['k']}", f"{row['steps']:,.0f}", best]
