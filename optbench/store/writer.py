"""Writes a run's directory while the run goes on."""

import secrets
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from optbench.records import (
    HALVING,
    SCHEMA_VERSION,
    SURFACE_COLUMNS,
    BlockResult,
    BlockSplit,
    Checkpoint,
    EvaluationRows,
    Failure,
    Lane,
    LaneResult,
    LastRows,
    Receipt,
    Record,
    Status,
    TraceChunk,
    Underway,
)
from optbench.store.block_writer import BlockWriter
from optbench.store.columns import (
    lane_table,
)
from optbench.store.files import file_name, write_json, write_parquet
from optbench.store.journal import Journal, clear, journals
from optbench.store.lock import await_free, is_locked
from optbench.store.places import sync, writing
from optbench.store.thinning import every_of

WAITING_BYTES = 64 * 2**20
"""How much of a run waits to be put into the journal, over all its blocks, at most."""

WORKERS_SECONDS = 60.0
"""How long workers may take to let go of a block whose client, or scheduler, has gone."""

TIME_FORMAT = "%Y%m%dT%H%M%SZ"


def new_run_directory(out: Path, name: str, kind: str = "") -> Path:
    """Make and return ``<out>/<name><kind>-<UTC time>-<hash>``, which was not there before.

    The name is that of the suite, as :func:`optbench.store.files.file_name` writes it.
    """
    started = datetime.now(UTC).strftime(TIME_FORMAT)
    path = out / f"{file_name(name)}{kind}-{started}-{secrets.token_hex(4)}"
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        path.mkdir()
        sync(out)
    return path


class RunWriter:
    """Writes one run into its own directory, from :func:`new_run_directory`.

    Each of its blocks has a :class:`~optbench.store.block_writer.BlockWriter`, here or where the
    block runs. ``meta`` is what run.json is to hold beside schema_version, status and times;
    ``extra`` names the columns of the trace beside those that every trace has: positions and
    penalty. ``meta["trace"]`` says which rows of it are kept
    (:mod:`optbench.store.thinning`), by default all. ``resumed`` takes up the journal of a run that
    goes on. ``elsewhere`` says that blocks are written where they run: of such a block nothing is
    kept here until it has ended, or the run.
    """

    def __init__(
        self,
        path: Path,
        meta: Mapping[str, Any],
        lanes: Sequence[Lane],
        *,
        workers: int,
        extra: Sequence[str],
        resumed: bool = False,
        elsewhere: bool = False,
    ) -> None:
        self.path = path
        self._elsewhere = elsewhere
        self.extra = tuple(extra)
        self.every = every_of(meta)
        self._meta = {"schema_version": SCHEMA_VERSION, "started": _now(), **meta}
        self._lanes = lanes
        self._workers = workers
        self._clock = time.perf_counter()
        self._results: dict[int, LaneResult] = {}
        self._failures: dict[str, Failure] = {}
        self._open: dict[int, BlockWriter] = {}
        self._surfaces: list[str] = []
        if resumed:
            self._take_up()
        self._write_state(Status.RUNNING)
        if resumed:
            self._remove_tables()

    def _remove_tables(self) -> None:
        """Remove what was written of blocks that have not ended: they, or others, write it anew."""
        ended = {journal.name for journal in journals(self.path) if journal.ended}
        for folder in (self.path / "trace", self.path / "evaluation"):
            with writing(folder):
                for file in folder.glob("block-*.parquet"):
                    if file.stem not in ended:
                        file.unlink()

    def _take_up(self) -> None:
        """Take the results of ended blocks, and the journals of the others."""
        for failure in self._meta.get("failures", ()):  # lanes are entered with their results
            message, text = failure["message"], failure["traceback"]
            self._failures[message] = Failure(message, (), text)
        for journal in journals(self.path):
            result = journal.result()
            if result is not None:
                self._enter(result)
            elif not self._elsewhere:
                self._open[journal.block] = self._block_writer(journal.block)

    def _block_writer(self, block: int) -> BlockWriter:
        return BlockWriter(self.path, block, self.every, self.extra)

    def add(self, record: Record) -> Sequence[Record]:
        """Take a record, and return those that lie on the disk now and did not before."""
        if isinstance(record, Underway):
            self._open.pop(record.block, None)  # it is written elsewhere from now on
            return [record]
        if isinstance(record, Receipt):
            self._open.pop(record.result.block, None)
            self._enter(record.result)
            return [record.result]
        if self._elsewhere and isinstance(record, BlockResult):
            return self._end_elsewhere(record)
        if record.block not in self._open:
            self._open[record.block] = self._block_writer(record.block)
        block = self._open[record.block]
        match record:
            case TraceChunk() | LastRows() | EvaluationRows() | Checkpoint():
                return block.add(record) or self._flush_if_much_waits()
            case BlockResult():
                return self._end_block(block, record)
            case BlockSplit():
                self._split_block(record)
                return [record]

    def _flush_if_much_waits(self) -> Sequence[Record]:
        """Bring what waits of one block into the journal where all of it is too much to keep."""
        waiting = {number: block.waiting_bytes for number, block in self._open.items()}
        if sum(waiting.values()) <= WAITING_BYTES:
            return ()
        return self._open[max(waiting, key=waiting.__getitem__)].flush()

    def add_surface(self, problem: str, columns: Mapping[str, Any]) -> None:
        """Write a function on the grid of its plot domain, over what was written of it before."""
        if problem not in self._surfaces:
            self._surfaces.append(problem)
        count = len(columns["x"])
        whole: dict[str, Any] = {name: [None] * count for name in SURFACE_COLUMNS}
        whole |= {**columns, "problem": [problem] * count}
        name = f"problem-{self._surfaces.index(problem):05d}"
        self._table("surface", name, SURFACE_COLUMNS, [whole])

    def set_domain(self, problem: str, domain: Sequence[tuple[float, float]]) -> None:
        """Say from now on that figures of a function show another domain."""
        (entry,) = (entry for entry in self._meta["problems"] if entry["problem"] == problem)
        entry["plot"]["domain"] = [list(interval) for interval in domain]

    def describe(self, **facts: Any) -> None:
        """Say more in run.json from now on."""
        self._meta |= facts

    def set_alone_seconds(self, problem: str, label: str, seconds: float) -> None:
        """Say from now on what a step of a label takes alone on a problem."""
        (entry,) = (entry for entry in self._meta["problems"] if entry["problem"] == problem)
        entry.setdefault("alone_seconds", {})[label] = seconds

    def finish(self, status: Status) -> None:
        """Write what is left; blocks that gave no result count as interrupted.

        The journal goes, unless lanes that are interrupted or paused are to go on from it.
        """
        for journal in journals(self.path) if self._elsewhere else ():
            if not (journal.ended or is_locked(journal.folder)):
                self._open.setdefault(journal.block, self._block_writer(journal.block))
        for block in list(self._open.values()):
            block.flush()
            block.write_tables()
        self._write_state(status)
        if status is not Status.INTERRUPTED and Status.PAUSED not in self.statuses:
            clear(self.path)

    @property
    def statuses(self) -> list[Status]:
        """What has become of the lanes that have ended."""
        return [result.status for result in self._results.values()]

    @property
    def failures(self) -> tuple[Failure, ...]:
        """What was raised so far."""
        return tuple(self._failures.values())

    def _end_block(self, block: BlockWriter, result: BlockResult) -> Sequence[Record]:
        recorded = block.end(result)
        self._enter(result)
        del self._open[result.block]  # before it is thinned: an interrupt must find it whole
        block.thin_after(result)
        return recorded

    def _end_elsewhere(self, result: BlockResult) -> Sequence[Record]:
        """Write the end of a block that its worker has not told of: it has gone, or was to stop.

        A worker that is at the block all the same, or has ended it, has the last word.
        """
        journal = Journal(self.path, result.block)
        free = await_free(journal.folder, WORKERS_SECONDS)
        ended = journal.result()
        if ended is None and free:
            self._open[result.block] = self._block_writer(result.block)
            return self._end_block(self._open[result.block], result)
        self._open.pop(result.block, None)
        self._enter(ended or result)
        return [ended or result]

    def _enter(self, result: BlockResult) -> None:
        self._results |= {lane.lane: lane for lane in result.lanes}
        if result.message:
            self._note_failure([lane.lane for lane in result.lanes], result)

    def _note_failure(self, lanes: list[int], said: BlockResult | BlockSplit) -> None:
        """Keep what lanes raised; the same message is kept once."""
        known = self._failures.get(said.message, Failure(said.message, (), said.traceback))
        self._failures[said.message] = replace(known, lanes=(*known.lanes, *lanes))

    def _split_block(self, split: BlockSplit) -> None:
        """Forget a block and put its parts into the plan."""
        self._open.pop(split.block).journal.forget()
        parts = [
            {"block": number, "lanes": list(lanes), "split_from": split.block}
            for number, lanes in split.parts
        ]
        if split.message:
            self._note_failure([], split)
        others = [block for block in self._meta.get("blocks", []) if block["block"] != split.block]
        self._meta["blocks"] = [*others, *parts]
        self._write_description(Status.RUNNING)

    def _table(
        self, folder: str, name: str, kinds: Mapping[str, str], pieces: Iterable[Mapping[str, Any]]
    ) -> None:
        write_parquet(self.path / folder / f"{name}.parquet", kinds, pieces)

    def _write_state(self, status: Status) -> None:
        waiting = Status.RUNNING if status is Status.RUNNING else Status.INTERRUPTED
        kinds, columns = lane_table(self._lanes, self._results, waiting, self._workers)
        write_parquet(self.path / "lanes.parquet", kinds, [columns])
        self._write_description(status)

    def _write_description(self, status: Status) -> None:
        ended = None if status is Status.RUNNING else _now()
        seconds = None if ended is None else round(time.perf_counter() - self._clock, 6)
        state = {
            "status": status,
            "ended": ended,
            "timings": {"wall_seconds": seconds},
            "failures": [asdict(failure) for failure in self.failures],
        }
        write_json(self.path / "run.json", {**self._meta, **state}, indent=2)


def stop_paused(run: Path, lanes: Sequence[Lane], culled: Collection[int], workers: int) -> None:
    """Enter that halving has stopped some of a run's paused lanes; its journal is still there."""
    results = {
        lane.lane: lane
        for journal in journals(run)
        if (end := journal.result()) is not None
        for lane in end.lanes
    }
    for number in culled:
        paused = results[number]
        results[number] = replace(
            paused, status=Status.STOPPED, stopped_at=paused.iterations, stopped_by=HALVING
        )
    kinds, columns = lane_table(lanes, results, Status.INTERRUPTED, workers)
    write_parquet(run / "lanes.parquet", kinds, [columns])


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
