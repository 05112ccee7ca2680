"""Configurations: lanes that differ in nothing but their seed, and the best of a grid."""

from collections.abc import Iterable, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd

from optbench.errors import UsageError, nearest
from optbench.records import BEST_AT, HYPERPARAMETER_PREFIX, POSITION_NAMES, RunTables, Status
from optbench.report.statistics import ENDED_WELL, ENDED_WORST, quantile, spread

SPLITS = ("train", "validation", "test")
EVALUATED = tuple(f"{split}_{measure}" for split in SPLITS for measure in ("loss", "error"))
MEASURES = ("final_loss", "best_loss", *EVALUATED)
"""What a lane reached, and what medians over seeds are taken of."""


def problem_names(tables: RunTables) -> list[str]:
    """Return the problems of a run in the order of its lanes."""
    return [str(name) for name in tables.lanes.sort_values("lane")["problem"].unique()]


def describe(tables: RunTables, problem: str) -> dict[str, Any]:
    """Return what run.json says of a problem."""
    known = {str(entry["problem"]): entry for entry in tables.meta["problems"]}
    if problem not in known:
        raise UsageError(f"this run has no problem '{problem}'; {nearest(problem, known)}")
    return cast("dict[str, Any]", known[problem])


def problem_title(tables: RunTables, problem: str) -> str:
    """Return a problem's title, with the data set that it was trained on where it has one."""
    data = describe(tables, problem).get("data")
    return f"{problem} on {data}" if data else problem


def hyperparameter_columns(table: pd.DataFrame) -> list[str]:
    """Return the ``hp_`` columns of a table of lanes or configurations."""
    return [str(name) for name in table.columns if str(name).startswith(HYPERPARAMETER_PREFIX)]


def last_evaluations(evaluation: pd.DataFrame, lanes: pd.DataFrame) -> pd.DataFrame:
    """Return the last evaluation of each lane on each split, by iteration.

    With early stopping it is that of the parameters that validated best.
    """
    if BEST_AT in lanes:
        best = evaluation["lane"].map(lanes.set_index("lane")[BEST_AT].astype("float64"))
        evaluation = evaluation[evaluation["iteration"] <= best.fillna(np.inf)]
    ordered = evaluation.sort_values("iteration", kind="stable")
    return ordered.drop_duplicates(["lane", "split"], keep="last")


def _measured_lanes(tables: RunTables) -> pd.DataFrame:
    """Return the lanes in order with :data:`MEASURES`, +inf where worst, NaN where not ended."""
    lanes = tables.lanes.sort_values("lane", kind="stable")
    last = last_evaluations(tables.evaluation, lanes)
    reached = {
        f"{split}_{measure}": last[last["split"] == split].set_index("lane")[measure]
        for split in SPLITS
        for measure in ("loss", "error")
    }
    columns = pd.DataFrame(reached, columns=list(EVALUATED), dtype="float64")
    lanes = lanes.join(columns, on="lane").reset_index(drop=True)
    validated = lanes.groupby("problem")["validation_loss"].transform("count") > 0
    measures = list(MEASURES)
    lanes[measures] = lanes[measures].astype("float64")
    lanes.loc[lanes["status"].isin(ENDED_WORST), measures] = np.inf
    lanes.loc[~lanes["status"].isin([*ENDED_WORST, *ENDED_WELL]), measures] = np.nan
    return lanes.assign(criterion=np.where(validated, "validation_loss", "final_loss"))


def _median_status(lanes: pd.DataFrame, median: float) -> str:
    """Return the status that explains the median final loss of a configuration's lanes."""
    statuses = set(lanes["status"])
    if np.isposinf(median):
        return Status.DIVERGED if Status.DIVERGED in statuses else Status.FAILED
    unfinished = statuses - {*ENDED_WORST, *ENDED_WELL}
    if unfinished:
        return str(min(unfinished))
    return Status.STOPPED if Status.STOPPED in statuses else Status.DONE


def _configuration(lanes: pd.DataFrame, columns: Sequence[str]) -> dict[str, Any]:
    """Return one row of :func:`configurations` from the lanes of a configuration."""
    first = lanes.iloc[0]
    medians = {name: float(quantile(lanes[name].to_numpy(), 0.5)) for name in MEASURES}
    final = lanes["final_loss"].to_numpy()
    low, high = spread(final)
    score = medians[first["criterion"]]
    return {
        **{name: first[name] for name in ("problem", "label", "optimizer", "criterion")},
        **{name: first[name] for name in columns},
        "lane_numbers": tuple(int(lane) for lane in lanes["lane"]),
        "seeds": len(lanes),
        "seeds_diverged": int((lanes["status"] == Status.DIVERGED).sum()),
        "seeds_failed": int((lanes["status"] == Status.FAILED).sum()),
        "status": _median_status(lanes, medians["final_loss"]),
        **medians,
        "final_loss_min": float(quantile(final, 0.0)),
        "final_loss_max": float(quantile(final, 1.0)),
        "final_loss_low": float(low),
        "final_loss_high": float(high),
        "iterations": lanes["iterations"].astype("float64").dropna().median(),
        "step_seconds": lanes["step_seconds"].astype("float64").dropna().median(),
        "score": np.inf if np.isnan(score) else score,
    }


def configurations(tables: RunTables) -> pd.DataFrame:
    """Return one row per configuration, in lane order, with medians over its seeds.

    ``score`` is what configurations of one problem and label are ranked by: the median validation
    loss where the problem has one, else the median final training loss; never a test loss. The
    smallest score, of equals the first in lane order, is ``best``, but one that ended outside the
    plot domain of its function only where all others did or failed. Values of diverged and failed
    lanes are +inf here (see :func:`summary` for the table with nulls). ``final_loss_low`` and
    ``_high`` are the band over seeds.
    """
    lanes = _measured_lanes(tables)
    columns = hyperparameter_columns(lanes)
    groups = lanes.groupby(["problem", "label", *columns], sort=False, dropna=False)
    table = pd.DataFrame([_configuration(group, columns) for _, group in groups])
    return table.assign(best=best_inside(table, lanes_outside(tables)))


def lanes_outside(tables: RunTables) -> frozenset[int]:
    """Return the lanes whose last finite position lies outside the plot domain of their function.

    A function may be unbounded, or fall for ever, outside the domain that it is defined for: what
    ends there has a small loss and no minimum. It ranks after all that ended inside, and before
    what diverged or failed. Problems without a plot domain, or with more parameters than a trace
    holds, have no such lanes.
    """
    outside: set[int] = set()
    for problem in tables.meta["problems"]:
        domain = (problem.get("plot") or {}).get("domain", [])
        names = list(POSITION_NAMES[: len(domain)])
        if not 1 <= len(domain) <= len(POSITION_NAMES) or not set(names) <= set(tables.trace):
            continue
        lanes = tables.lanes.loc[tables.lanes["problem"] == problem["problem"], "lane"]
        rows = tables.trace[tables.trace["lane"].isin(lanes)]
        rows = rows.loc[rows[names].abs().max(axis=1, skipna=False) < np.inf]
        last = rows.loc[rows.groupby("lane")["iteration"].idxmax(), ["lane", *names]]
        ends = last[names].to_numpy(dtype=np.float64)
        low, high = np.asarray(domain, dtype=np.float64).T
        beyond = ((ends < low) | (ends > high)).any(axis=1)
        outside.update(int(lane) for lane in last["lane"].to_numpy()[beyond])
    return frozenset(outside)


def best_inside(table: pd.DataFrame, outside: frozenset[int]) -> pd.Series:
    """Say which configurations are the best of their problem and label, those inside first.

    A configuration counts as outside where more than half of its seeds ended there.
    """
    is_outside = [
        2 * len(outside.intersection(numbers)) > len(numbers) for numbers in table["lane_numbers"]
    ]
    ended_badly = ~np.isfinite(table["score"])
    ranked = table.assign(rank=np.where(ended_badly, 2, np.array(is_outside, dtype=int)))
    ranked = ranked.sort_values(["rank", "score"], kind="stable")
    best = ranked.drop_duplicates(["problem", "label"]).index
    return pd.Series(table.index.isin(best), index=table.index)


def swept_columns(table: pd.DataFrame) -> list[str]:
    """Return the hp_ columns of which one label's configurations have two or more values."""
    return [name for name in hyperparameter_columns(table) if table[name].nunique() > 1]


def swept_numbers(table: pd.DataFrame, least: int = 2) -> list[str]:
    """Return the numeric hp_ columns of which some label tried ``least`` or more values.

    The one with most values first; of equals, the one that comes first as a column.
    """
    counts = {
        name: int(table.groupby("label")[name].nunique().max())
        for name in hyperparameter_columns(table)
        if pd.api.types.is_numeric_dtype(table[name])
    }
    return sorted((name for name in counts if counts[name] >= least), key=lambda n: -counts[n])


def hyperparameter_text(configuration: "pd.Series[Any]", columns: Iterable[str]) -> str:
    """Write the hyperparameters of a configuration for a reader.

    >>> values = pd.Series({"hp_lr": 0.00177827941, "hp_momentum": 0.9})
    >>> hyperparameter_text(values, ["hp_lr", "hp_momentum"])
    'lr=0.001778, momentum=0.9'
    """
    named = ((name.removeprefix(HYPERPARAMETER_PREFIX), configuration[name]) for name in columns)
    return ", ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in named
        if not pd.isna(value)
    )


def bad_endings(lanes: pd.DataFrame, numbers: Sequence[int]) -> str:
    """Say which of these lanes ended badly, for instance "diverged at 12" or "2 of 5 diverged".

    Empty where none did.
    """
    chosen = lanes[lanes["lane"].isin(numbers)]
    texts = []
    for status in ENDED_WORST:
        ended = chosen[chosen["status"] == status]
        if ended.empty:
            continue
        if len(chosen) > 1:
            texts.append(f"{len(ended)} of {len(chosen)} {status}")
        elif ended["diverged_at"].notna().all():
            texts.append(f"{status} at {int(ended['diverged_at'].iloc[0])}")
        else:
            texts.append(str(status))
    return ", ".join(texts)


def edge_warning(table: pd.DataFrame) -> str | None:
    """Say which hyperparameters of a label's best configuration lie on the edge of their grid.

    Only numeric hyperparameters with three or more values have an edge worth a warning; where no
    configuration ended well there is no best to warn about.
    """
    best = table[table["best"]].iloc[0]
    if not np.isfinite(best["score"]):
        return None
    edges = [
        f"{hyperparameter_text(best, [name])} is the {side} tried"
        for name in swept_numbers(table, least=3)
        for side, extreme in (("smallest", table[name].min()), ("largest", table[name].max()))
        if best[name] == extreme
    ]
    return ", ".join(edges) + "; the best may lie beyond" if edges else None


def sensitivity(table: pd.DataFrame, hyperparameter: str) -> pd.DataFrame:
    """Return, of each label and value of a hyperparameter, one problem's best configuration.

    Other hyperparameters that were swept too are thus at their best for each value. Labels keep
    their order, those without the ``hp_`` column are left out; values ascend.
    """
    having = table[table[hyperparameter].notna()]
    return pd.concat(
        rows.loc[rows.groupby(hyperparameter)["score"].idxmin()]
        for _, rows in having.groupby("label", sort=False)
    )
