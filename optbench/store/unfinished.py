"""What readers see of a run that is still going, or that ended before its end."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optbench.errors import ResultsError
from optbench.records import (
    BEST_AT,
    LANE_COLUMNS,
    PENALTY,
    POSITION_NAMES,
    REUSED_FROM,
    EvaluationRows,
    LaneResult,
    Status,
    TraceChunk,
)
from optbench.store.columns import Table, evaluation_table, trace_table
from optbench.store.files import arrow_type
from optbench.store.journal import Journal, journals
from optbench.store.lock import is_locked

if TYPE_CHECKING:
    import pandas as pd


RARE = {BEST_AT: "int32", REUSED_FROM: "string"}
"""Columns of lanes.parquet that are there only where some lane has one."""


def status_now(run: Path, meta: Mapping[str, Any]) -> str:
    """Return a run's status: one that says it is running, and that nobody writes, is none."""
    status = str(meta.get("status"))
    if status == Status.RUNNING and not is_locked(run):
        return Status.INTERRUPTED
    return status


def fill_in(lanes: "pd.DataFrame", run: Path, status: str) -> "pd.DataFrame":
    """Return lanes.parquet as it was at the start, with what has become of lanes since.

    Its columns have the types that those of a run that is done have.

    Parameters
    ----------
    lanes
        The table as written when the run began.
    run
        The run's directory.
    status
        Of the run; lanes that have not ended are running or interrupted as it is.
    """
    waiting = Status.RUNNING if status == Status.RUNNING else Status.INTERRUPTED
    import pyarrow as pa

    results = {
        lane.lane: lane for each in journals(run) if (end := each.result()) for lane in end.lanes
    }
    ends = [results.get(lane, LaneResult(lane, waiting, None)) for lane in lanes["lane"].tolist()]
    filled = lanes.copy()
    for name in RARE:
        if name not in filled.columns and any(getattr(end, name) is not None for end in ends):
            filled[name] = None
    kinds = LANE_COLUMNS | RARE
    for name in {field.name for field in fields(LaneResult)} & set(filled.columns):
        values = [getattr(end, name) for end in ends]
        filled[name] = pa.array(values, arrow_type(kinds[name])).to_pandas()
    return filled


def journaled(run: Path) -> tuple[dict[str, Table], dict[str, Table]]:
    """Return trace and evaluations of the blocks that have not ended.

    Both by the block's name, such as ``block-00003``; some may be files as well.
    """
    traces, evaluations = {}, {}
    for journal in journals(run):
        rows = _rows(journal)
        if rows is None:
            continue
        chunk, evaluated = rows
        if chunk is not None:
            axes = 0 if chunk.position is None else chunk.position.shape[2]
            extra = [*POSITION_NAMES[:axes], *([] if chunk.penalty is None else [PENALTY])]
            traces[journal.name] = trace_table([chunk], extra)
        if evaluated:
            evaluations[journal.name] = evaluation_table(evaluated)
    return traces, evaluations


def _rows(journal: Journal) -> tuple[TraceChunk | None, list[EvaluationRows]] | None:
    """Return what a block has recorded; None once it has ended, and its tables are files."""
    if journal.ended:
        return None
    try:
        return journal.rows()
    except ResultsError:
        if journal.ended or not journal.exists:  # since we looked
            return None
        raise
