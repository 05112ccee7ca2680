"""Lanes that an earlier run has finished already, taken over instead of run again.

A lane's key says all that decides its trace, so lanes with the same key have the same rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from optbench.errors import UsageError
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
    LastRows,
    Record,
    RunTables,
    Status,
    TraceChunk,
)
from optbench.store.find import list_rounds
from optbench.store.reader import read_lanes, read_meta, read_run
from optbench.store.studies import run_name
from optbench.store.thinning import every_of, holds

FINISHED = (Status.DONE, Status.STOPPED)
"""Statuses of lanes that are taken over."""

INTEGERS = ("iterations", "diverged_at", "stopped_at", "best_at", "block_lanes", "gradients")
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
        yield from _trace(tables, here, block)
        yield from _evaluations(tables, here, block)
        yield BlockResult(block, tuple(_results(tables, here, run_name(self.run))))


def find_reusable(
    out: Path, lanes: Sequence[Lane], *, diverged: bool = False, every: int = 1
) -> list[Reused]:
    """Return which lanes earlier runs under ``out`` have finished, the latest run first.

    Runs of studies' rounds are among them.
    ``diverged`` also takes over lanes that diverged. ``every`` is the distance of the rows that are
    to be kept (:func:`optbench.store.thinning.kept_every`): runs that kept fewer are passed over,
    and so are damaged ones, and those of an earlier schema, whose columns mean something else.
    """
    wanted = {lane.key: lane.number for lane in lanes}
    statuses = {*FINISHED, Status.DIVERGED} if diverged else set(FINISHED)
    reused = []
    for run in reversed(list_rounds(out)):
        if not wanted:
            break
        try:
            meta = read_meta(run)
            if meta["schema_version"] < SCHEMA_VERSION or not holds(every_of(meta), every):
                continue
            table = read_lanes(run)
        except UsageError:
            continue
        rows = table[table["status"].isin(statuses) & table["lane_key"].isin(list(wanted))]
        if STOPPED_BY in rows:
            rows = rows[rows[STOPPED_BY] != HALVING]  # they would have gone on
        pairs = zip(rows["lane_key"].tolist(), rows["lane"].tolist(), strict=True)
        taken = {wanted.pop(key): there for key, there in pairs if key in wanted}
        if taken:
            reused.append(Reused(run, taken))
    return reused


def _trace(tables: RunTables, here: dict[int, int], block: int) -> Iterator[Record]:
    """Yield the rows of lanes; of a run that kept only some, also the last row of each lane."""
    every = every_of(tables.meta)
    rows = tables.trace[tables.trace["lane"].isin(list(here))]
    kept = rows[rows["iteration"] % every == 0]
    wide = kept.pivot(index="iteration", columns="lane")
    lanes = wide["loss"].columns.tolist()
    numbers = np.array([here[lane] for lane in lanes], dtype=np.int32)
    axes = [name for name in POSITION_NAMES if name in rows and rows[name].notna().any()]
    penalized = PENALTY in rows and bool(rows[PENALTY].notna().any())

    def values(table: Any, name: str) -> np.ndarray:
        return np.asarray(table[name].to_numpy(dtype=np.float64))

    def optional(table: Any) -> dict[str, np.ndarray | None]:
        position = np.stack([values(table, name) for name in axes], axis=-1) if axes else None
        return {"position": position, "penalty": values(table, PENALTY) if penalized else None}

    counts = kept.groupby("lane").size().reindex(lanes).to_numpy(dtype=np.int64)
    yield TraceChunk(block, numbers, 0, values(wide, "loss"), counts, every=every, **optional(wide))
    if every > 1:
        last = rows.sort_values("iteration").drop_duplicates("lane", keep="last")
        last = last.set_index("lane").loc[lanes]
        iteration = last["iteration"].to_numpy(dtype=np.int64)
        yield LastRows(block, numbers, iteration, values(last, "loss"), **optional(last))


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
