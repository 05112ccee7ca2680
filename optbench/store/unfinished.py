"""What readers see of a run that is still going, or that ended before its end."""

from collections.abc import Collection, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optbench.records import PENALTY, POSITION_NAMES, LaneResult, Status
from optbench.store.columns import Table, evaluation_table, trace_table
from optbench.store.journal import journals
from optbench.store.lock import is_locked

if TYPE_CHECKING:
    import pandas as pd


def status_now(run: Path, meta: Mapping[str, Any]) -> str:
    """Return a run's status: one that says it is running, and that nobody writes, is none."""
    status = str(meta.get("status"))
    if status == Status.RUNNING and not is_locked(run):
        return Status.INTERRUPTED
    return status


def fill_in(lanes: "pd.DataFrame", run: Path, status: str) -> "pd.DataFrame":
    """Return lanes.parquet as it was at the start, with what has become of lanes since.

    Parameters
    ----------
    lanes
        The table as written when the run began.
    run
        The run's directory.
    status
        Of the run; lanes that have not ended have it as well.
    """
    import pandas as pd

    results = [lane for each in journals(run) if (end := each.result()) for lane in end.lanes]
    filled = lanes.assign(status=status).set_index("lane")
    names = [field.name for field in fields(LaneResult) if field.name in filled.columns]
    for name in names:
        told = {each.lane: getattr(each, name) for each in results}
        told = {lane: value for lane, value in told.items() if value is not None}
        if told:
            column = filled[name].astype(object)
            column.update(pd.Series(told, dtype=object))
            filled[name] = column.infer_objects()
    return filled.reset_index()[lanes.columns]


def journaled(run: Path, written: Collection[str]) -> tuple[list[Table], list[Table]]:
    """Return trace and evaluation of the blocks that are only in the journal.

    Parameters
    ----------
    run
        The run's directory.
    written
        Names of the blocks whose trace is a file already, such as ``block-00003``.
    """
    traces, evaluations = [], []
    for journal in journals(run):
        if journal.name in written:
            continue
        chunk, rows = journal.rows()
        if chunk is not None:
            axes = 0 if chunk.position is None else chunk.position.shape[2]
            extra = [*POSITION_NAMES[:axes], *([] if chunk.penalty is None else [PENALTY])]
            traces.append(trace_table([chunk], extra))
        if rows:
            evaluations.append(evaluation_table(rows))
    return traces, evaluations
