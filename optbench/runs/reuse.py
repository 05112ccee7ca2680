"""Lanes that an earlier run has finished already, taken over instead of run again.

A lane's key says all that decides its trace, so lanes with the same key have the same rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from optbench.errors import ResultsError
from optbench.records import (
    HALVING,
    PENALTY,
    POSITION_NAMES,
    SCHEMA_VERSION,
    STOPPED_BY,
    BlockResult,
    EvaluationRows,
    Lane,
    LaneResult,
    Record,
    RunTables,
    Status,
    TraceChunk,
)
from optbench.store.find import list_runs
from optbench.store.reader import read_lanes, read_meta, read_run

FINISHED = (Status.DONE, Status.STOPPED)
"""Statuses of lanes that are taken over."""

INTEGERS = ("iterations", "diverged_at", "stopped_at", "best_at", "block_lanes")
NUMBERS = ("final_loss", "best_loss", "step_seconds", "gradient_seconds", "update_seconds")


@dataclass(frozen=True)
class Reused:
    """Lanes that one earlier run has finished: their numbers there, by their numbers here."""

    run: Path
    lanes: dict[int, int]

    def records(self, block: int) -> Iterator[Record]:
        """Yield what the earlier run recorded of these lanes, as a block of this number."""
        tables = read_run(self.run)
        here = {there: number for number, there in self.lanes.items()}
        yield _trace(tables, here, block)
        yield from _evaluations(tables, here, block)
        yield BlockResult(block, tuple(_results(tables, here, self.run.name)))


def find_reusable(out: Path, lanes: Sequence[Lane], *, diverged: bool = False) -> list[Reused]:
    """Return which lanes earlier runs under ``out`` have finished, the latest run first.

    ``diverged`` also takes over lanes that diverged. Damaged runs are passed over, and those of an
    earlier schema, whose columns mean something else.
    """
    wanted = {lane.key: lane.number for lane in lanes}
    statuses = {*FINISHED, Status.DIVERGED} if diverged else set(FINISHED)
    reused = []
    for run in reversed(list_runs(out)):
        if not wanted:
            break
        try:
            if read_meta(run)["schema_version"] < SCHEMA_VERSION:
                continue
            table = read_lanes(run)
        except ResultsError:
            continue
        rows = table[table["status"].isin(statuses) & table["lane_key"].isin(list(wanted))]
        if STOPPED_BY in rows:
            rows = rows[rows[STOPPED_BY] != HALVING]  # they would have gone on
        pairs = zip(rows["lane_key"].tolist(), rows["lane"].tolist(), strict=True)
        taken = {wanted.pop(key): there for key, there in pairs if key in wanted}
        if taken:
            reused.append(Reused(run, taken))
    return reused


def _trace(tables: RunTables, here: dict[int, int], block: int) -> TraceChunk:
    rows = tables.trace[tables.trace["lane"].isin(list(here))]
    wide = rows.pivot(index="iteration", columns="lane")
    lanes = wide["loss"].columns.tolist()

    def values(name: str) -> np.ndarray:
        return wide[name].to_numpy(dtype=np.float64)

    axes = [name for name in POSITION_NAMES if name in rows and rows[name].notna().any()]
    penalized = PENALTY in rows and bool(rows[PENALTY].notna().any())
    return TraceChunk(
        block,
        np.array([here[lane] for lane in lanes], dtype=np.int32),
        0,
        values("loss"),
        rows.groupby("lane").size().reindex(lanes).to_numpy(dtype=np.int64),
        np.stack([values(name) for name in axes], axis=2) if axes else None,
        values(PENALTY) if penalized else None,
    )


def _evaluations(tables: RunTables, here: dict[int, int], block: int) -> Iterator[EvaluationRows]:
    rows = tables.evaluation[tables.evaluation["lane"].isin(list(here))]
    groups = rows.groupby(["iteration", "split"], sort=False)
    for number, ((iteration, split), group) in enumerate(groups):
        yield EvaluationRows(
            block,
            number,
            group["lane"].map(here).to_numpy(dtype=np.int32),
            int(str(iteration)),
            str(split),
            group["loss"].to_numpy(dtype=np.float64),
            group["error"].to_numpy(dtype=np.float64),
        )


def _results(tables: RunTables, here: dict[int, int], run: str) -> Iterator[LaneResult]:
    rows = tables.lanes[tables.lanes["lane"].isin(list(here))]
    for row in rows.to_dict("records"):
        values: dict[str, Any] = {name: _number(row.get(name)) for name in (*NUMBERS, *INTEGERS)}
        values |= {name: int(values[name]) for name in INTEGERS if values[name] is not None}
        stopped_by = row.get(STOPPED_BY)
        yield LaneResult(
            lane=here[row["lane"]],
            status=Status(row["status"]),
            stopped_by=stopped_by if isinstance(stopped_by, str) else None,
            reused_from=run,
            **values,
        )


def _number(value: Any) -> float | None:
    return None if value is None or np.isnan(value) else float(value)
