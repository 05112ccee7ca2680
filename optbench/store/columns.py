"""From records to the columns of a run's tables."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from optbench.records import (
    EVALUATION_COLUMNS,
    HYPERPARAMETER_PREFIX,
    LANE_COLUMNS,
    POSITION_NAMES,
    TRACE_COLUMNS,
    EvaluationRows,
    Lane,
    LaneResult,
    Status,
    TraceChunk,
)

Table = tuple[dict[str, str], dict[str, Any]]
"""Types and values of the columns of a table, both by name."""


def trace_table(chunks: Sequence[TraceChunk], dimensions: int) -> Table:
    """Return the rows of a block ordered by lane, then iteration.

    All files of a run's trace have ``dimensions`` position columns, since readers of a folder take
    the columns of its first file; they are null for problems without a position.
    """
    loss = np.concatenate([chunk.loss for chunk in chunks]).T
    counts = np.sum([chunk.rows for chunk in chunks], axis=0)
    kept = np.arange(loss.shape[1])[None, :] < counts[:, None]
    lane, iteration = np.nonzero(kept)
    columns: dict[str, Any] = {
        "lane": chunks[0].lanes[lane],
        "iteration": (iteration + chunks[0].first_iteration).astype(np.int32),
        "loss": loss[kept],
    }
    names = POSITION_NAMES[:dimensions]
    columns |= dict.fromkeys(names, [None] * len(lane))
    positions = [chunk.position for chunk in chunks if chunk.position is not None]
    if positions:
        position = np.concatenate(positions).transpose(1, 0, 2)[kept].astype(np.float64)
        columns |= dict(zip(names, position.T, strict=False))
    return TRACE_COLUMNS | dict.fromkeys(names, "float64"), columns


def evaluation_table(rows: Sequence[EvaluationRows]) -> Table:
    """Return the evaluations of a block."""
    counts = [len(each.lanes) for each in rows]
    columns = {
        "lane": np.concatenate([each.lanes for each in rows]),
        "iteration": np.repeat([each.iteration for each in rows], counts).astype(np.int32),
        "split": np.repeat([each.split for each in rows], counts).tolist(),
        "loss": np.concatenate([each.loss for each in rows]),
        "error": np.concatenate([each.error for each in rows]),
    }
    return EVALUATION_COLUMNS, columns


def lane_table(
    lanes: Sequence[Lane], results: Mapping[int, LaneResult], waiting: Status, workers: int
) -> Table:
    """Return a row a lane; lanes without a result have the status ``waiting``."""
    hyperparameters = list(dict.fromkeys(name for lane in lanes for name in lane.hyperparameters))
    ends = [results.get(lane.number, LaneResult(lane.number, waiting, 0)) for lane in lanes]
    columns: dict[str, Any] = {
        "lane": [lane.number for lane in lanes],
        "lane_key": [lane.key for lane in lanes],
        "workers": [workers] * len(lanes),
    }
    for name in ("problem", "optimizer", "label", "seed", "fingerprint"):
        columns[name] = [getattr(lane, name) for lane in lanes]
    for name in LANE_COLUMNS.keys() - columns.keys():
        columns[name] = [getattr(end, name) for end in ends]
    kinds: dict[str, str] = {}
    for name, kind in LANE_COLUMNS.items():
        kinds[name] = kind
        if name == "seed":
            kinds |= {HYPERPARAMETER_PREFIX + each: "float64" for each in hyperparameters}
    for each in hyperparameters:
        columns[HYPERPARAMETER_PREFIX + each] = [lane.hyperparameters.get(each) for lane in lanes]
    return kinds, columns
