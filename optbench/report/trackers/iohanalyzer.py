"""The table that IOHanalyzer reads as CSV with columns of any names."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from optbench.records import RunTables
from optbench.report.configurations import describe, problem_names
from optbench.report.joined import joined
from optbench.report.trackers.lanes import algorithms

COLUMNS = ("evaluation", "value", "function", "algorithm", "dimension", "run")


def table(runs: Sequence[RunTables]) -> pd.DataFrame:
    """Return one row for each loss of a lane: the gradient's number, from 1, and its value.

    Losses that are not finite are left out. Each lane is a run of its own.
    """
    run = joined(runs)
    lanes = run.lanes.sort_values("lane")
    dimensions = {name: _dimension(describe(run, name)) for name in problem_names(run)}
    told = pd.DataFrame(
        {
            "run": lanes["lane"],
            "function": lanes["problem"],
            "algorithm": algorithms(lanes),
            "dimension": lanes["problem"].map(dimensions).astype("Int64"),
        }
    )
    trace = run.trace[np.isfinite(run.trace["loss"])]
    rows = pd.DataFrame(
        {"run": trace["lane"], "evaluation": trace["iteration"] + 1, "value": trace["loss"]}
    ).merge(told, on="run")
    parts = [_aligned(part) for _, part in rows.groupby(["function", "algorithm"], sort=False)]
    values = pd.concat([rows.iloc[:0][["run", "evaluation", "value"]], *parts])
    return told.merge(values, on="run")[list(COLUMNS)]


def _aligned(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the values of lanes that IOHanalyzer lays side by side, without gaps between them.

    At a gap it would forget all that follows. In a trace that is thinned, the last row of each lane
    stands where others have none; there they get the value before it.
    """
    wide = rows.pivot(index="evaluation", columns="run", values="value")
    long: pd.DataFrame = wide.ffill(limit_area="inside").melt(ignore_index=False).dropna()
    return long.reset_index()


def _dimension(problem: dict[str, Any]) -> int | None:
    """Return how many parameters a problem has."""
    if problem["kind"] == "function":
        return len(problem["variables"])
    return problem.get("parameters")
