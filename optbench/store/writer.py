"""Writes a run's directory while the run goes on."""

import secrets
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

from optbench.records import (
    EVALUATION_COLUMNS,
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
    Record,
    Status,
    TraceChunk,
)
from optbench.store.columns import (
    evaluation_table,
    lane_table,
    last_table,
    trace_kinds,
    trace_table,
)
from optbench.store.files import file_name, write_json, write_parquet
from optbench.store.journal import Journal, after, clear, journals, stretches
from optbench.store.places import sync, writing
from optbench.store.thinning import every_of, latest, thinned

JOURNAL_SECONDS = 1.0
"""How much of a run may be lost with the machine, as time."""

WAITING_BYTES = 64 * 2**20
"""How much of a run waits to be put into the journal, over all its blocks, at most."""

PART_BYTES = 16 * 2**20
"""How much of a block's trace is one file of its journal, at most."""

PIECE_BYTES = 32 * 2**20
"""How much of a block's trace is put in order and written together, at most."""

EVALUATION_BYTES = 1024
"""What an evaluation takes in memory beside its numbers."""

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

    What it has taken lies in the run's journal within :data:`JOURNAL_SECONDS`, and only then does
    :meth:`add` give it back as recorded. A block that ends becomes one file of the trace and one of
    the evaluations, piece by piece, however long it is. ``meta`` is what run.json is to hold beside
    schema_version, status and times; ``extra`` names the columns of the trace beside those that
    every trace has: positions and penalty. ``meta["trace"]`` says which rows of it are kept
    (:mod:`optbench.store.thinning`), by default all. ``resumed`` takes up the journal of a run that
    goes on.
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
    ) -> None:
        self.path = path
        self._extra = tuple(extra)
        self._every = every_of(meta)
        self._meta = {"schema_version": SCHEMA_VERSION, "started": _now(), **meta}
        self._lanes = lanes
        self._workers = workers
        self._clock = time.perf_counter()
        self._results: dict[int, LaneResult] = {}
        self._failures: dict[str, Failure] = {}
        self._open: dict[int, _OpenBlock] = {}
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
            else:
                self._open[journal.block] = _OpenBlock(journal, self._every)

    def add(self, record: Record) -> Sequence[Record]:
        """Take a record, and return those that lie on the disk now and did not before."""
        if record.block not in self._open:
            self._open[record.block] = _OpenBlock(Journal(self.path, record.block), self._every)
        block = self._open[record.block]
        match record:
            case TraceChunk() | LastRows() | EvaluationRows():
                block.take(record)
                return block.flush() if block.due else self._flush_if_much_waits()
            case Checkpoint():
                recorded = block.flush()
                block.journal.keep(record)
                return recorded
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

    def set_alone_seconds(self, problem: str, label: str, seconds: float) -> None:
        """Say from now on what a step of a label takes alone on a problem."""
        (entry,) = (entry for entry in self._meta["problems"] if entry["problem"] == problem)
        entry.setdefault("alone_seconds", {})[label] = seconds

    def finish(self, status: Status) -> None:
        """Write what is left; blocks that gave no result count as interrupted.

        The journal goes, unless lanes that are interrupted or paused are to go on from it.
        """
        for block in list(self._open.values()):
            block.flush()
            self._write_block(block)
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

    def _end_block(self, block: "_OpenBlock", result: BlockResult) -> Sequence[Record]:
        interrupted = any(lane.status is Status.INTERRUPTED for lane in result.lanes)
        recorded = block.flush() if interrupted else block.waiting
        self._write_block(block)
        if not interrupted:
            block.journal.end(result)
        self._enter(result)
        del self._open[result.block]  # before it is thinned: an interrupt must find it whole
        paused = any(lane.status is Status.PAUSED for lane in result.lanes)
        if not (interrupted or paused):
            block.journal.thin()
        return [*recorded, result]

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

    def _write_block(self, block: "_OpenBlock") -> None:
        name, extra = block.journal.name, self._extra
        if block.rows:
            pieces = chain(_trace_pieces(block.chunks(), extra), block.last_pieces(extra))
            self._table("trace", name, trace_kinds(extra), pieces)
        if block.evaluations:
            evaluated = _evaluation_pieces(block.evaluated())
            self._table("evaluation", name, EVALUATION_COLUMNS, evaluated)

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


class _OpenBlock:
    """What a block that has not ended has recorded; ``waiting`` is not on the disk yet.

    ``rows`` and ``evaluations`` count what was ever taken; of the rows those ``every`` so many
    iterations are kept, and where that is not all of them, the last of each lane.
    """

    def __init__(self, journal: Journal, every: int) -> None:
        self.journal = journal
        self.rows = journal.rows()
        self.evaluations = sum(1 for _ in journal.evaluations())
        self._every = every
        self._last = journal.last()
        self._clear()

    def _clear(self) -> None:
        self.waiting: list[Record] = []
        self.waiting_bytes = 0
        self._chunks: list[TraceChunk] = []
        self._evaluated: list[EvaluationRows] = []
        self._written_last = self._last
        self._flushed = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether the journal lags behind."""
        return time.monotonic() - self._flushed >= JOURNAL_SECONDS

    def take(self, record: TraceChunk | LastRows | EvaluationRows) -> None:
        """Take a record; what a resumed block records once more is not kept twice."""
        self.waiting.append(record)
        match record:
            case TraceChunk():
                self.waiting_bytes += record.nbytes
                chunk = after(record, self.rows)
                if chunk is not None:
                    self.rows = chunk.next_iteration
                    self._keep(chunk)
            case LastRows():
                self._last = record
            case EvaluationRows():
                self.waiting_bytes += _evaluation_bytes(record)
                if record.number >= self.evaluations:
                    self._evaluated.append(record)
                    self.evaluations = record.number + 1

    def _keep(self, chunk: TraceChunk) -> None:
        if self._every > 1:
            self._last = latest(self._last, chunk)
            chunk = thinned(chunk, self._every)
        if len(chunk.loss):
            self._chunks.append(chunk)

    def flush(self) -> list[Record]:
        """Bring all that was taken into the journal, and return it."""
        if self._every > 1:
            last = None if self._last is self._written_last else self._last
            self.journal.append(self._chunks, self._evaluated, last)
        else:
            parts = list(stretches(self._chunks, PART_BYTES)) or [[]]
            for part in parts[:-1]:
                self.journal.append(part, [])
            self.journal.append(parts[-1], self._evaluated)
        recorded = self.waiting
        self._clear()
        return recorded

    def chunks(self) -> Iterator[TraceChunk]:
        """Yield all trace rows that were ever taken and kept."""
        yield from self.journal.chunks()
        yield from self._chunks

    def last_pieces(self, extra: Sequence[str]) -> Iterator[Mapping[str, Any]]:
        """Yield the columns of the last rows that are not among those of :meth:`chunks`."""
        table = None if self._last is None else last_table(self._last, self._every, extra)
        if table is not None:
            yield table[1]

    def evaluated(self) -> Iterator[EvaluationRows]:
        """Yield all evaluations that were ever taken."""
        yield from self.journal.evaluations()
        yield from self._evaluated


def _evaluation_bytes(rows: EvaluationRows) -> int:
    """Return about what an evaluation takes in memory."""
    return EVALUATION_BYTES + rows.lanes.nbytes + rows.loss.nbytes + rows.error.nbytes


def _trace_pieces(
    chunks: Iterable[TraceChunk], extra: Sequence[str]
) -> Iterator[Mapping[str, Any]]:
    """Yield the columns of a block's trace, each piece by lane, then iteration."""
    for stretch in stretches(chunks, PIECE_BYTES):
        _, columns = trace_table(stretch, extra)
        stretch.clear()  # the columns are copies
        yield columns
        del columns  # before the next ones are made


def _evaluation_pieces(evaluations: Iterable[EvaluationRows]) -> Iterator[Mapping[str, Any]]:
    """Yield the columns of a block's evaluations."""
    piece: list[EvaluationRows] = []
    size = 0
    for rows in evaluations:
        piece.append(rows)
        size += _evaluation_bytes(rows)
        if size >= PIECE_BYTES:
            yield evaluation_table(piece)[1]
            piece, size = [], 0
    if piece:
        yield evaluation_table(piece)[1]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
