"""From records to the columns of a run's tables."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from optbench.records import (
    BEST_AT,
    EVALUATION_COLUMNS,
    GRADIENT_SECONDS,
    GRADIENTS,
    HYPERPARAMETER_PREFIX,
    LANE_COLUMNS,
    PENALTY,
    POSITION_NAMES,
    REUSED_FROM,
    STOPPED_BY,
    TRACE_COLUMNS,
    TRIAL_COLUMNS,
    UNIT_PREFIX,
    UPDATE_SECONDS,
    EvaluationRows,
    Lane,
    LaneResult,
    LastRows,
    Status,
    TraceChunk,
)

if TYPE_CHECKING:
    import pandas as pd

RARE_COLUMNS = {
    GRADIENT_SECONDS: "float64",
    UPDATE_SECONDS: "float64",
    GRADIENTS: "int64",
    STOPPED_BY: "string",
    BEST_AT: "int32",
    REUSED_FROM: "string",
}
"""Columns of lanes.parquet that are there only where some lane has a value."""

Table = tuple[dict[str, str], dict[str, Any]]
"""Types and values of the columns of a table, both by name."""


def trace_kinds(extra: Sequence[str]) -> dict[str, str]:
    """Return the types of a trace's columns; ``extra`` are positions and penalty."""
    return TRACE_COLUMNS | dict.fromkeys(extra, "float64")


def trace_table(chunks: Sequence[TraceChunk], extra: Sequence[str]) -> Table:
    """Return consecutive rows of a block by lane, then iteration.

    All files of a run's trace have the ``extra`` columns, positions and penalty, since readers of a
    folder take the columns of its first file; they are null for problems without them.
    """
    lanes, rows = len(chunks[0].lanes), sum(len(chunk.loss) for chunk in chunks)
    ascend = (np.diff(chunks[0].lanes) > 0).all()  # then they need not be copied to be in order
    order = slice(None) if ascend else np.argsort(chunks[0].lanes)
    columns: dict[str, Any] = {
        "lane": np.repeat(chunks[0].lanes[order], rows),
        "iteration": np.tile(_iterations(chunks[0], rows), lanes),
        "loss": _by_lane([chunk.loss for chunk in chunks], order),
    }
    counts = np.sum([chunk.rows for chunk in chunks], axis=0)[order]
    positions = [chunk.position for chunk in chunks if chunk.position is not None]
    axes = positions[0].shape[2] if positions else 0
    for axis, name in enumerate(POSITION_NAMES[:axes]):
        columns[name] = _by_lane([position[:, :, axis] for position in positions], order)
    penalties = [chunk.penalty for chunk in chunks if chunk.penalty is not None]
    if penalties:
        columns[PENALTY] = _by_lane(penalties, order)
    if (counts < rows).any():  # a lane's rows end where it diverged
        counted = (np.arange(rows) < counts[:, None]).ravel()
        columns = {name: column[counted] for name, column in columns.items()}
    missing = [name for name in extra if name not in columns]
    columns |= dict.fromkeys(missing, [None] * len(columns["lane"]))
    return trace_kinds(extra), columns


def _iterations(first: TraceChunk, rows: int) -> np.ndarray:
    """Return the iterations of so many rows that begin with a chunk: int32."""
    iterations = np.arange(rows) * first.every + first.first_iteration
    return iterations.astype(np.int32)


def last_table(last: LastRows, every: int, extra: Sequence[str]) -> Table | None:
    """Return, by lane, the last rows that are not among those kept at a distance; None if all are.

    The columns are those of :func:`trace_table`.
    """
    places = np.flatnonzero((last.iteration >= 0) & (last.iteration % every > 0))
    if not places.size:
        return None
    places = places[np.argsort(last.lanes[places])]
    columns: dict[str, Any] = {
        "lane": last.lanes[places],
        "iteration": last.iteration[places].astype(np.int32),
        "loss": last.loss[places],
    }
    if last.position is not None:
        positions = last.position[places].T.astype(np.float64)
        columns |= dict(zip(POSITION_NAMES, positions, strict=False))
    if last.penalty is not None:
        columns[PENALTY] = last.penalty[places]
    columns |= {name: [None] * len(places) for name in extra if name not in columns}
    return trace_kinds(extra), columns


def _by_lane(parts: Sequence[np.ndarray], order: np.ndarray | slice) -> np.ndarray:
    """Return values of shape (rows, lanes), given in parts, one lane after the other: float64.

    ``order`` holds the indices of the lanes, the first lane's first.
    """
    values = np.empty((parts[0].shape[1], sum(map(len, parts))))
    first = 0
    for part in parts:
        values[:, first : first + len(part)] = part[:, order].T
        first += len(part)
    return values.ravel()


def evaluation_table(rows: Sequence[EvaluationRows]) -> Table:
    """Return the evaluations of a block."""
    counts = [len(part.lanes) for part in rows]
    columns = {
        "lane": np.concatenate([part.lanes for part in rows]),
        "iteration": np.repeat([part.iteration for part in rows], counts).astype(np.int32),
        "split": np.repeat(np.array([part.split for part in rows], dtype=object), counts),
        "loss": np.concatenate([part.loss for part in rows]),
        "error": np.concatenate([part.error for part in rows]),
    }
    return EVALUATION_COLUMNS, columns


def lane_table(
    lanes: Sequence[Lane], results: Mapping[int, LaneResult], waiting: Status, workers: int
) -> Table:
    """Return one row per lane; lanes without a result have the status ``waiting``."""
    ends = [results.get(lane.number, LaneResult(lane.number, waiting, None)) for lane in lanes]
    columns: dict[str, Any] = {
        "lane": [lane.number for lane in lanes],
        "lane_key": [lane.key for lane in lanes],
        "workers": [workers] * len(lanes),
    }
    for name in ("problem", "optimizer", "label", "seed", "fingerprint"):
        columns[name] = [getattr(lane, name) for lane in lanes]
    for name in LANE_COLUMNS.keys() - columns.keys():
        columns[name] = [getattr(end, name) for end in ends]
    extra_kinds = {}
    for name in dict.fromkeys(name for lane in lanes for name in lane.hyperparameters):
        column = HYPERPARAMETER_PREFIX + name
        values = [lane.hyperparameters.get(name) for lane in lanes]
        extra_kinds[column], columns[column] = hyperparameter_column(values)
    kinds = _lane_kinds(extra_kinds)
    for name, kind in RARE_COLUMNS.items():
        if any(getattr(end, name) is not None for end in ends):
            kinds[name], columns[name] = kind, [getattr(end, name) for end in ends]
    return kinds, columns


def _lane_kinds(hyperparameters: Mapping[str, str]) -> dict[str, str]:
    """Return the types of the columns that every lanes.parquet with these hyperparameters has."""
    kinds: dict[str, str] = {}
    for name, kind in LANE_COLUMNS.items():
        kinds[name] = kind
        if name == "seed":
            kinds |= hyperparameters
    return kinds


def copied_lanes(parts: "Sequence[pd.DataFrame]") -> Table:
    """Return the lanes of several runs' tables in the order of their numbers, as one table."""
    import pandas as pd

    rows = pd.concat(parts, ignore_index=True).sort_values("lane")
    extra_kinds: dict[str, str] = {}
    columns: dict[str, Any] = {}
    known = LANE_COLUMNS | RARE_COLUMNS
    for name in rows.columns:
        values = _nulled(rows[name])
        if name.startswith(HYPERPARAMETER_PREFIX):
            extra_kinds[name], columns[name] = hyperparameter_column(values)
        elif known.get(name, "").startswith("int"):  # pandas has floats where one is missing
            columns[name] = [None if value is None else int(value) for value in values]
        elif name in known:
            columns[name] = values
    return _lane_kinds(extra_kinds) | {
        name: kind for name, kind in RARE_COLUMNS.items() if name in columns
    }, columns


def hyperparameter_column(values: Sequence[float | str | None]) -> tuple[str, list[Any]]:
    """Return type and values of a hyperparameter's column: numbers, or text if any is a word.

    >>> hyperparameter_column([0.5, None]), hyperparameter_column([0.5, "cosine"])
    (('float64', [0.5, None]), ('string', ['0.5', 'cosine']))
    """
    if not any(isinstance(value, str) for value in values):  # such as a schedule's
        return "float64", [*values]
    return "string", [repr(value) if isinstance(value, float) else value for value in values]


def trial_table(trials: "pd.DataFrame") -> Table:
    """Return trials as they are written: the columns of the schema, what was tried after ``round``.

    What is NaN is null; a score may be +inf.
    """
    extra_kinds, columns = {}, {name: _nulled(trials[name]) for name in TRIAL_COLUMNS}
    for name in trials.columns:
        if name.startswith(HYPERPARAMETER_PREFIX):
            extra_kinds[name], columns[name] = hyperparameter_column(_nulled(trials[name]))
        elif name.startswith(UNIT_PREFIX):
            extra_kinds[name], columns[name] = "float64", _nulled(trials[name])
    kinds: dict[str, str] = {}
    for name, kind in TRIAL_COLUMNS.items():
        kinds[name] = kind
        if name == "round":
            kinds |= extra_kinds
    return kinds, columns


def _nulled(column: "pd.Series[Any]") -> list[Any]:
    """Return the values of a column, None where one is missing."""
    return [
        None if missing else value for value, missing in zip(column, column.isna(), strict=True)
    ]
