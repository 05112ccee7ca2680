"""Writes a run's directory while the run goes on."""

import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from optbench.records import (
    SCHEMA_VERSION,
    SURFACE_COLUMNS,
    BlockResult,
    BlockSplit,
    EvaluationRows,
    Failure,
    Lane,
    LaneResult,
    Record,
    Status,
    TraceChunk,
)
from optbench.store.columns import Table, evaluation_table, lane_table, trace_table
from optbench.store.files import write_beside, write_parquet, writing

TIME_FORMAT = "%Y%m%dT%H%M%SZ"


def new_run_directory(out: Path, name: str) -> Path:
    """Make and return ``<out>/<name>-<UTC time>-<hash>``, a directory that was not there before.

    Raises
    ------
    ResultsError
        If it cannot be made.
    """
    path = out / f"{name}-{datetime.now(UTC).strftime(TIME_FORMAT)}-{secrets.token_hex(4)}"
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        path.mkdir()
    return path


class RunWriter:
    """Writes one run.

    Parameters
    ----------
    path
        The run's own directory, from :func:`new_run_directory`.
    meta
        What run.json is to hold; the writer adds schema_version, status and times.
    lanes
        All lanes of the run.
    workers
        Number of worker threads, a column of lanes.parquet.
    extra
        Columns of the trace beside those that every trace has: positions and penalty.
    """

    def __init__(
        self,
        path: Path,
        meta: Mapping[str, Any],
        lanes: Sequence[Lane],
        *,
        workers: int,
        extra: Sequence[str],
    ) -> None:
        self.path = path
        self._extra = tuple(extra)
        self._meta = {"schema_version": SCHEMA_VERSION, "started": _now(), **meta}
        self._lanes = lanes
        self._workers = workers
        self._clock = time.perf_counter()
        self._results: dict[int, LaneResult] = {}
        self._chunks: dict[int, list[TraceChunk]] = {}
        self._evaluations: dict[int, list[EvaluationRows]] = {}
        self._failures: dict[str, Failure] = {}
        self._write_state(Status.RUNNING)

    def add(self, record: Record) -> None:
        """Take a record; a block's tables are written when its result comes."""
        match record:
            case TraceChunk():
                self._chunks.setdefault(record.block, []).append(record)
            case EvaluationRows():
                self._evaluations.setdefault(record.block, []).append(record)
            case BlockResult():
                self._end_block(record)
            case BlockSplit():
                self._split_block(record)

    def add_surface(self, problem: str, columns: Mapping[str, Any]) -> None:
        """Write a function on the grid of its plot domain."""
        count = len(columns["x"])
        table = SURFACE_COLUMNS, {"problem": [problem] * count, **columns}
        name = f"problem-{len(list(self.path.glob('surface/*.parquet'))):05d}"
        self._table("surface", name, table)

    def finish(self, status: Status) -> None:
        """Write what is left; blocks that gave no result count as interrupted."""
        for block in list(self._chunks):
            self._write_block(block)
        self._write_state(status)

    @property
    def failures(self) -> tuple[Failure, ...]:
        """What was raised so far."""
        return tuple(self._failures.values())

    def _end_block(self, result: BlockResult) -> None:
        self._results |= {lane.lane: lane for lane in result.lanes}
        if result.message:
            self._note_failure([lane.lane for lane in result.lanes], result)
        self._write_block(result.block)

    def _note_failure(self, lanes: list[int], said: BlockResult | BlockSplit) -> None:
        """Keep what lanes raised; the same message is kept once."""
        known = self._failures.get(said.message, Failure(said.message, (), said.traceback))
        self._failures[said.message] = replace(known, lanes=(*known.lanes, *lanes))

    def _split_block(self, split: BlockSplit) -> None:
        """Forget a block and put its parts into the plan."""
        self._chunks.pop(split.block, None)
        self._evaluations.pop(split.block, None)
        parts = [
            {"block": number, "lanes": list(lanes), "split_from": split.block}
            for number, lanes in split.parts
        ]
        if split.message:
            self._note_failure([], split)
        kept = [block for block in self._meta.get("blocks", []) if block["block"] != split.block]
        self._meta["blocks"] = [*kept, *parts]

    def _write_block(self, block: int) -> None:
        name = f"block-{block:05d}"
        chunks = self._chunks.pop(block, [])
        if chunks:
            self._table("trace", name, trace_table(chunks, self._extra))
        rows = self._evaluations.pop(block, [])
        if rows:
            self._table("evaluation", name, evaluation_table(rows))

    def _table(self, folder: str, name: str, table: Table) -> None:
        write_parquet(self.path / folder / f"{name}.parquet", *table)

    def _write_state(self, status: Status) -> None:
        waiting = Status.RUNNING if status is Status.RUNNING else Status.INTERRUPTED
        table = lane_table(self._lanes, self._results, waiting, self._workers)
        write_parquet(self.path / "lanes.parquet", *table)
        ended = None if status is Status.RUNNING else _now()
        seconds = None if ended is None else round(time.perf_counter() - self._clock, 6)
        state = {
            "status": status,
            "ended": ended,
            "timings": {"wall_seconds": seconds},
            "failures": [asdict(failure) for failure in self.failures],
        }
        text = json.dumps({**self._meta, **state}, indent=2, ensure_ascii=False, allow_nan=False)
        write_beside(
            self.path / "run.json", lambda place: place.write_text(text + "\n", encoding="utf-8")
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
