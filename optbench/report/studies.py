"""What a study found: of each optimizer the winner of its search, judged on seeds that chose none.

Tables of a study in, a table of results out, and the same as it is read.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from math import isfinite
from typing import Any

import numpy as np
import pandas as pd

from optbench.errors import NothingToCompareError
from optbench.records import STEPS_TO_TARGET, Status, StudyTables
from optbench.report.budgets import score
from optbench.report.compare import (
    BETTER,
    DIFFERENCE,
    EQUIVALENT,
    METRICS,
    NOT_RANDOM,
    WINS,
    WORSE,
    Comparison,
    Pair,
    Question,
    compare,
)
from optbench.report.configurations import hyperparameter_columns, hyperparameter_text
from optbench.report.protocol import (
    DEFAULT,
    Ending,
    endings,
    is_problem_specific,
    judged_by,
    metric,
    metric_name,
    of_winners,
    problem_names,
    problem_specific,
    protocol,
    searches,
    title,
    winners,
)
from optbench.report.sections import Column, Section
from optbench.report.statistics import INTERVAL_SEEDS, median_interval
from optbench.report.tables import MISSING

RESULT_COLUMNS = {
    "study": "string",
    "problem": "string",
    "heading": "string",  # the problem and how the study was made
    "status": "string",  # of the study
    "label": "string",
    "optimizer": "string",
    "trial": "Int64",  # that won; null where no trial is finite
    "chosen": "string",  # its hyperparameters, as text
    "edge": "string",  # those of them at an end of their space, or null
    "problem_specific": "bool",  # whether the label's space differs between problems
    "metric": "string",  # what judges in the final run; the next four are of it
    "final": "float64",  # median over evaluation seeds; +inf where it diverged
    "final_low": "float64",  # 95 % interval of that median; null below 6 seeds
    "final_high": "float64",
    "default": "float64",  # the median with the hyperparameters that come with the optimizer
    "seeds": "int64",  # evaluation seeds that have ended
    "seeds_diverged": "int64",
    "random": "bool",  # whether seeds make any difference
    "test_error": "float64",  # median over evaluation seeds
    "trials": "int64",
    "trials_diverged": "int64",  # whose score is +inf, also of those that missed a target; not
    # those that halving ended
    "lanes_diverged": "int64",  # of the search
    "unit": "string",  # of the next two
    "spent": "float64",  # by search and finalists
    "budget": "float64",
    "scored_by": "string",  # the metric of the next two
    "search_score": "float64",  # the winner's, on the seeds that chose it
    "finalist_score": "float64",  # over the seeds of both phases; null without finalists
    "optimism": "float64",  # final / search_score - 1, where one metric is both
    "best": "bool",  # of the winners of its problem that were compared
    "told_apart": "bool",  # whether it is surely worse than the best
    "verdict": "string",  # the best against this one, in words; null for the best
}
"""Columns of :func:`results`; the ``hp_`` columns of the trials follow."""

COUNTED_AS = {"trials": "steps", "s": "seconds"}
"""Columns of trials that count what budgets are spent on, where they are not called as the unit."""


def results(study: StudyTables) -> pd.DataFrame:
    """Return a row for each problem and label, of each problem the best in the final run first.

    Verdicts are those of :func:`~optbench.report.compare.compare` on the evaluation seeds, all
    pairs of winners of all problems being one family; default hyperparameters take no part.
    """
    found = _comparison(study)
    rows = [row for problem in problem_names(study) for row in _rows(study, problem, found)]
    hyperparameters = hyperparameter_columns(study.trials)
    table = pd.DataFrame(rows, columns=[*RESULT_COLUMNS, *hyperparameters])
    return table.astype(RESULT_COLUMNS)


def _comparison(study: StudyTables) -> Comparison | None:
    """Return the comparison of the winners, where at least two can be compared."""
    if study.final is None or study.final.lanes.empty:
        return None
    chosen_by = {metric(study, problem) for problem in problem_names(study)}
    one = chosen_by.pop() if len(chosen_by) == 1 else None
    try:
        return compare(of_winners(study.final), Question(one if one in METRICS else None))
    except NothingToCompareError:
        return None


def _rows(study: StudyTables, problem: str, found: Comparison | None) -> list[dict[str, Any]]:
    ended = endings(study, problem)
    won = winners(study, problem)
    verdicts = dict(_verdicts(found, problem))
    heading = f"{title(study, problem)}, {protocol(study, problem)}"
    rows = []
    for label, trials in searches(study, problem).items():
        default = ended.get(DEFAULT.format(label))
        rows.append(
            {
                "study": study.path.name,
                "problem": problem,
                "heading": heading,
                "status": study.meta["status"],
                "label": label,
                "optimizer": trials["optimizer"].iloc[0],
                "problem_specific": is_problem_specific(study, label),
                "metric": judged_by(study, problem),
                "scored_by": metric(study, problem),
                "default": np.nan if default is None else default.median,
                **_searched(trials),
                **_spent(study, problem, label),
                **_won(won.get(label), trials),
                **_ended(ended.get(label)),
                "best": False,
                "told_apart": False,
                "verdict": None,
                **verdicts.get(label, {}),
            }
        )
        rows[-1]["optimism"] = _optimism(rows[-1], metric(study, problem))
    rows.sort(key=lambda row: (not row["best"], np.isnan(row["final"]), row["final"]))
    return rows


def _searched(trials: pd.DataFrame) -> dict[str, Any]:
    lost = np.isposinf(trials["score"]) & trials["culled_at"].isna()
    return {
        "trials": len(trials),
        "trials_diverged": lost.sum(),
        "lanes_diverged": trials["seeds_diverged"].sum(),
    }


def _won(winner: Mapping[str, Any] | None, trials: pd.DataFrame) -> dict[str, Any]:
    """Return what is known of the trial that won, with its hyperparameters."""
    names = hyperparameter_columns(trials)
    if winner is None:
        return dict.fromkeys(("trial", "chosen", "edge", *names)) | dict.fromkeys(
            ("search_score", "finalist_score"), np.nan
        )
    row = trials[trials["trial"] == winner["trial"]].iloc[0]
    return {
        "trial": winner["trial"],
        "chosen": hyperparameter_text(row, names),
        "edge": winner.get("edge"),
        "search_score": winner["search_score"],
        "finalist_score": winner.get("finalist_score"),
        **{name: row[name] for name in names},
    }


def _ended(ending: Ending | None) -> dict[str, Any]:
    """Return what a winner reached in the final run."""
    if ending is None:
        missing = dict.fromkeys(("final", "final_low", "final_high", "test_error"), np.nan)
        return missing | {"seeds": 0, "seeds_diverged": 0, "random": True}
    low, high = median_interval(ending.values[:, None])
    return {
        "final": ending.median,
        "final_low": low[0],
        "final_high": high[0],
        "seeds": len(ending.values),
        "seeds_diverged": np.isposinf(ending.values).sum(),
        "random": ending.random,
        "test_error": ending.test_error,
    }


def _optimism(row: Mapping[str, Any], chosen_by: str) -> float:
    """Return by which share the final is larger than what the search promised, NaN without one."""
    promised = row["search_score"]
    if row["metric"] != chosen_by or not (promised > 0.0 and isfinite(row["final"])):
        return np.nan
    return float(row["final"] / promised - 1.0)


def _spent(study: StudyTables, problem: str, label: str) -> dict[str, Any]:
    """Return what a label took of its budget, and the budget, in the unit that counts.

    A budget in trials is counted in steps: those that its trials and finalists make where no lane
    diverges or stops.
    """
    budget = study.meta["budget"]
    unit = str(budget["unit"])
    trials = study.trials
    own = trials[(trials["problem"] == problem) & (trials["label"] == label)]
    amount = _planned(study, problem, own) if unit == "trials" else float(budget["amount"])
    counted = COUNTED_AS.get(unit, unit)
    return {"unit": counted, "spent": float(own[counted].sum()), "budget": amount}


def _planned(study: StudyTables, problem: str, trials: pd.DataFrame) -> float:
    """Return the steps of trials of which each goes to where it was to go."""
    resolved = study.meta["suite"].get("resolved", {}).get("problem", ())
    iterations = {each.get("label"): each.get("iterations", np.nan) for each in resolved}
    length = trials["culled_at"].astype(float).fillna(float(iterations.get(problem, np.nan)))
    return float((trials["seeds"] * length).sum())


def _verdicts(
    found: Comparison | None, problem: str
) -> Iterator[tuple[str, dict[str, str | bool | None]]]:
    """Yield of each label that was compared on a problem how the best compares with it."""
    if found is None:
        return
    for contest in found.contests:
        if contest.problem != problem:
            continue
        best = contest.labels[0]
        yield best, {"best": True}
        for pair in found.rows:
            if (pair.problem, pair.a) == (problem, best):
                says = sentence(pair, found.question)
                yield pair.b, {"told_apart": pair.verdict == BETTER, "verdict": says}


def sentence(pair: Pair, question: Question) -> str:
    """Say what is known of a pair.

    For instance "adam is better than sgd: 0.36 × its loss (0.33–0.39), sure at 5 % over 10 seeds".
    """
    a, b, seeds = pair.a, pair.b, f"over {pair.seeds} seed{'s' * (pair.seeds > 1)}"
    effect = _effect(pair)
    if pair.verdict in (BETTER, WORSE):
        return (
            f"{a} is {pair.verdict} than {b}: {effect}, sure at {100 * question.level:g} % {seeds}"
        )
    if pair.verdict == EQUIVALENT:
        is_error = pair.estimand == DIFFERENCE
        margin = f"{question.points:g} points" if is_error else f"{100 * question.margin:g} %"
        return f"{a} and {b} are equivalent: {effect}, within ±{margin} {seeds}"
    if pair.verdict == NOT_RANDOM:
        return f"{a} against {b}: {effect}; nothing is random, so this is exact"
    return f"{a} against {b}: {effect}, {seeds}: {pair.says}"


def _effect(pair: Pair) -> str:
    """Write the estimate of a pair, with its interval where it has one."""
    if pair.estimand == WINS:
        share, low, high = (100 * value for value in (pair.estimate, pair.low, pair.high))
        between = "" if np.isnan(low) else f" ({low:.0f}–{high:.0f} %)"
        return f"wins {share:.0f} %{between}, as lanes diverged"
    form, what = ("{:+.2f}", "points") if pair.estimand == DIFFERENCE else ("{:.3g}", "× its loss")
    text = f"{form.format(pair.estimate)} {what}"
    if not np.isfinite([pair.low, pair.high]).all():
        return text
    to = " to " if pair.estimand == DIFFERENCE else "–"
    return f"{text} ({form.format(pair.low)}{to}{form.format(pair.high)})"


def sections(rows: pd.DataFrame) -> list[Section]:
    """Return one table a problem, with what became of each budget and verdicts below it."""
    return [
        _section(of_problem) for _, of_problem in rows.groupby(["study", "problem"], sort=False)
    ]


def _section(rows: pd.DataFrame) -> Section:
    first = rows.iloc[0]
    columns: list[tuple[str, Column, Callable[[pd.Series[Any]], str]]] = [
        ("label", Column("optimizer", "name"), lambda row: str(row["label"])),
        ("label", Column("chosen", "list"), _chosen),
        (
            "label",
            Column(metric_name(str(first["metric"]))),
            lambda row: score(row["final"], str(row["metric"])),
        ),
        ("final_low", Column("95 %", spare=1), _interval),
        (
            "test_error",
            Column("test error", spare=3),
            lambda row: score(row["test_error"], "test_error"),
        ),
        (
            "default",
            Column("default", spare=2),
            lambda row: score(row["default"], str(row["metric"])),
        ),
        ("edge", Column("edge", "list", spare=4), lambda row: _at_edge(row["edge"])),
    ]
    shown = [(column, cell) for name, column, cell in columns if rows[name].notna().any()]
    return Section(
        str(first["heading"]),
        [column for column, _ in shown],
        [[cell(row) for _, cell in shown] for _, row in rows.iterrows()],
        facts=[*(_account(row) for _, row in rows.iterrows()), *_judging(rows)],
        warnings=list(_warnings(rows)),
        colors=dict.fromkeys(np.flatnonzero(np.isposinf(rows["final"])).tolist(), "red"),
        bold=frozenset(np.flatnonzero(_is_bold(rows)).tolist()),
    )


def _judging(rows: pd.DataFrame) -> Iterator[str]:
    """Say what judges in the final run, if another metric chose, and the verdicts."""
    first = rows.iloc[0]
    if first["metric"] != first["scored_by"]:
        chose, judges = metric_name(str(first["scored_by"])), metric_name(str(first["metric"]))
        yield f"chosen by {chose}, judged by {judges}; optbench target has the steps of the final"
    yield from rows["verdict"].dropna()


def _is_bold(rows: pd.DataFrame) -> "pd.Series[bool]":
    """Say which rows are the best or not told from the best, where a best is known."""
    is_known = bool(rows["best"].any())
    return ~rows["told_apart"] & rows["final"].notna() & is_known


def _at_edge(edge: Any) -> str:
    """Return which hyperparameters are at an end of their space; which end, a warning says.

    >>> _at_edge("lr near 10, momentum near 0")
    'lr, momentum'
    """
    return MISSING if pd.isna(edge) else re.sub(r" near [^,]+", "", str(edge))


def _chosen(row: "pd.Series[Any]") -> str:
    return MISSING if pd.isna(row["chosen"]) else str(row["chosen"])


def _interval(row: "pd.Series[Any]") -> str:
    """Write the interval of the median, with three digits of a loss."""
    if pd.isna(row["final_low"]):
        return MISSING
    low, high = (_end(row[name], str(row["metric"])) for name in ("final_low", "final_high"))
    return f"{low.removesuffix(' %')}–{high}"


def _end(value: float, of: str) -> str:
    is_loss = isfinite(value) and not of.endswith("_error")
    return f"{value:#.3g}".rstrip(".") if is_loss else score(value, of)


def _account(row: "pd.Series[Any]") -> str:
    """Say what the search of a label met, took and promised."""
    parts = []
    trials, lanes = row["trials_diverged"], row["lanes_diverged"]
    by_steps = row["scored_by"] == STEPS_TO_TARGET
    if by_steps and trials:
        parts.append(f"{trials} of {row['trials']} trials missed the target")
    if lanes:
        lost = f"{lanes} lane{'s' * (lanes > 1)}"
        lost = f"{trials} of {row['trials']} trials ({lost})" if trials and not by_steps else lost
        parts.append(f"{lost} diverged")
    unit = "s" if row["unit"] == "seconds" else row["unit"]
    parts.append(f"spent {row['spent']:,.0f} of {row['budget']:,.0f} {unit}")
    if pd.isna(row["search_score"]):
        what = "at the target" if by_steps else "finite"
        parts.append(f"no trial is {what}, and none was chosen")
    else:
        promised = score(row["search_score"], row["scored_by"]) + " steps" * by_steps
        more = "" if pd.isna(row["optimism"]) else f" ({_change(row['optimism'])} in the end)"
        parts.append(f"chosen promised {promised}{more}")
    return f"{row['label']}: {'; '.join(parts)}"


def _change(share: float) -> str:
    """Write by how much something has changed.

    >>> _change(0.034), _change(-0.5), _change(120.0)
    ('+3.4 %', '-50.0 %', '121 times that')
    """
    return f"{100 * share:+.1f} %" if share < 9.0 else f"{1.0 + share:.3g} times that"


def _warnings(rows: pd.DataFrame) -> Iterator[str]:
    first = rows.iloc[0]
    if first["status"] != Status.DONE:
        yield f"the study is {first['status']}: these are not its last numbers"
    judged = rows[rows["seeds"] > 0]
    if not judged.empty and not judged["random"].any():
        yield "nothing is random: one lane each, no interval"
    elif not judged.empty and rows["final_low"].isna().all():
        yield f"no interval below {INTERVAL_SEEDS} evaluation seeds"
    if first["scored_by"] == STEPS_TO_TARGET and (rows["search_score"] == 0.0).all():
        yield "the target is not below the start"
    for label in rows.loc[rows["problem_specific"], "label"]:
        yield problem_specific(label)
    for _, row in rows[rows["edge"].notna()].iterrows():
        yield f"{row['label']}: {row['edge']}: the best may lie beyond its space"
