"""The summary of a run: the table that users see and script."""

from typing import Any

import numpy as np
import pandas as pd

from optbench.records import REUSED_FROM, RunTables
from optbench.report.configurations import (
    configurations,
    describe,
    edge_warning,
    hyperparameter_columns,
    hyperparameter_text,
    problem_title,
    swept_columns,
)
from optbench.store.studies import run_name

SUMMARY_COLUMNS = {
    "suite": "string",
    "run": "string",  # name of the run's directory
    "problem": "string",
    "heading": "string",  # the problem, and the data set that it was trained on
    "label": "string",
    "optimizer": "string",
    "status": "string",  # of the best configuration, as its median over seeds has it
    "criterion": "string",  # what ranks, and chose the best configuration: the column of that name
    "score": "float64",  # its value; this and all below are medians over the seeds of the best
    "score_min": "float64",  # configuration, null where the value is not finite, that is where it
    "score_max": "float64",  # diverged or is missing
    "score_low": "float64",  # the band over seeds: these two below 10 seeds, else 10 to 90 %
    "score_high": "float64",
    "floor": "float64",  # a function's loss that is next to rounding; below it scores tie
    "final_loss": "float64",
    "best_loss": "float64",
    "averaged_rows": "int64",  # rows that final_loss is the mean of, the largest number of a seed
    "record": "string",  # whether rows are losses before or after updates; null without batches
    "train_loss": "float64",
    "train_error": "float64",  # zero-one errors, fractions from 0 to 1
    "validation_loss": "float64",
    "validation_error": "float64",
    "test_loss": "float64",
    "test_error": "float64",
    "iterations": "float64",  # updates made, the median over seeds
    "step_seconds": "float64",
    "step_seconds_low": "float64",  # the least and the most over seeds
    "step_seconds_high": "float64",
    "seeds": "int64",
    "seeds_diverged": "int64",  # of the best configuration
    "seeds_above": "int64",  # ended above where they began, or where there is noise, lanes did
    "outside": "bool",  # whether that ended outside the domain that the function was given
    "configurations": "int64",
    "lanes": "int64",  # of all configurations
    "lanes_diverged": "int64",
    "lanes_failed": "int64",
    "lanes_outside": "int64",  # ended outside the domain
    "lanes_above": "int64",
    "lanes_reused": "int64",  # taken over from earlier runs
    "swept": "string",  # its values of the hyperparameters that were swept; null where none was
    "random": "bool",  # whether seeds make any difference
    "edge": "string",  # warning that the best lies on the edge of the grid, or null
}
"""Columns of :func:`summary`; one ``hp_<name>`` column per hyperparameter follows them."""


def _summary_row(tables: RunTables, table: pd.DataFrame) -> dict[str, Any]:
    """Return one row of :func:`summary` from the configurations of one problem and label."""
    best = table[table["best"]].iloc[0]
    swept = swept_columns(table)
    meta = describe(tables, str(best["problem"]))
    return {
        **{str(name): value for name, value in best.items()},
        "outside": best["standing"] == 1,
        "suite": tables.meta["suite"]["name"],
        "run": run_name(tables.path),
        "heading": problem_title(tables, str(best["problem"])),
        "record": None if meta["batch_size"] is None else meta["record"],
        "configurations": len(table),
        "lanes": table["seeds"].sum(),
        "lanes_diverged": table["seeds_diverged"].sum(),
        "lanes_failed": table["seeds_failed"].sum(),
        "lanes_outside": table["seeds_outside"].sum(),
        "lanes_above": table["seeds_above"].sum(),
        "lanes_reused": _reused(tables.lanes, str(best["problem"]), str(best["label"])),
        "swept": hyperparameter_text(best, swept) if swept else None,
        "random": _is_random(tables, str(best["problem"]), str(best["label"])),
        "edge": edge_warning(table),
    }


def _is_random(tables: RunTables, problem: str, label: str) -> bool:
    """Say whether seeds make any difference to a label's lanes; earlier runs do not say it."""
    rules = {str(entry["label"]): entry for entry in tables.meta.get("optimizers") or ()}
    of_rule = rules.get(label, {}).get("random", False)
    return bool(describe(tables, problem).get("random", True) or of_rule)


def _reused(lanes: pd.DataFrame, problem: str, label: str) -> int:
    """Return how many lanes of a label were taken over from earlier runs."""
    if REUSED_FROM not in lanes:
        return 0
    own = (lanes["problem"] == problem) & (lanes["label"] == label)
    return int(lanes.loc[own, REUSED_FROM].notna().sum())


def summary(tables: RunTables) -> pd.DataFrame:
    """Return the table that users see, one row per problem and label, in lane order.

    Each row is the best configuration of its label (see :func:`configurations`), as medians over
    its seeds: :data:`SUMMARY_COLUMNS`, then its hp_ columns. A value that is not finite is null;
    ``status`` then says why.
    """
    table = configurations(tables)
    groups = table.groupby(["problem", "label"], sort=False)
    rows = pd.DataFrame([_summary_row(tables, group) for _, group in groups])
    rows = rows[[*SUMMARY_COLUMNS, *hyperparameter_columns(table)]].astype(SUMMARY_COLUMNS)
    numbers = [name for name, kind in SUMMARY_COLUMNS.items() if kind == "float64"]
    rows[numbers] = rows[numbers].where(np.isfinite(rows[numbers]))
    return rows
