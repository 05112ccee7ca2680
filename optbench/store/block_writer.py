"""Writes one block of a run while it goes on.

What is taken lies in the block's journal within :data:`JOURNAL_SECONDS`, and only then counts as
recorded. A block that ends becomes one file of the trace and one of the evaluations, piece by
piece, however long it is.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

from optbench.records import (
    EVALUATION_COLUMNS,
    BlockResult,
    Checkpoint,
    EvaluationRows,
    LastRows,
    Record,
    Status,
    TraceChunk,
)
from optbench.store.columns import evaluation_table, last_table, trace_kinds, trace_table
from optbench.store.files import write_parquet
from optbench.store.journal import Journal, after, stretches
from optbench.store.thinning import latest, thinned

JOURNAL_SECONDS = 1.0
"""How much of a run may be lost with the machine, as time."""

PART_BYTES = 16 * 2**20
"""How much of a block's trace is one file of its journal, at most."""

PIECE_BYTES = 32 * 2**20
"""How much of a block's trace is put in order and written together, at most."""

EVALUATION_BYTES = 1024
"""What an evaluation takes in memory beside its numbers."""

Unfinished: TypeAlias = TraceChunk | LastRows | EvaluationRows | Checkpoint
"""What a block records before its end."""


class BlockWriter:
    """Writes one block of a run, by whoever runs it; what it has begun before is taken up.

    Parameters
    ----------
    run
        The run's directory.
    block
        The block's number.
    every
        Iterations from one row that is kept to the next; the last of each lane is kept anyway.
    extra
        Columns of the trace beside those that every trace has: positions and penalty.

    Attributes
    ----------
    rows, evaluations
        How many were ever taken.
    waiting, waiting_bytes
        What is not on the disk yet, and what that takes in memory.
    """

    def __init__(self, run: Path, block: int, every: int, extra: Sequence[str]) -> None:
        self.journal = journal = Journal(run, block)
        self.rows = journal.rows()
        self.evaluations = sum(1 for _ in journal.evaluations())
        self._run = run
        self._every = every
        self._extra = tuple(extra)
        self._last = journal.last()
        self._clear()

    def add(self, record: Unfinished) -> list[Record]:
        """Take a record, and return those that lie on the disk now and did not before."""
        if isinstance(record, Checkpoint):
            recorded = self.flush()
            self.journal.keep(record)
            return recorded
        self._take(record)
        return self.flush() if self._due else []

    def end(self, result: BlockResult) -> list[Record]:
        """Write what became of the block; of one that goes on later only what there is of it.

        Return all records that lie on the disk now and did not before.
        """
        interrupted = any(lane.status is Status.INTERRUPTED for lane in result.lanes)
        recorded = self.flush() if interrupted else self.waiting
        self.write_tables()
        if not interrupted:
            self.journal.end(result)
        return [*recorded, result]

    def thin_after(self, result: BlockResult) -> None:
        """Let go of the journal of a block that has ended, unless lanes go on from it."""
        if not {Status.INTERRUPTED, Status.PAUSED} & {lane.status for lane in result.lanes}:
            self.journal.thin()

    def write_tables(self) -> None:
        """Write all that was ever taken as one file of the trace and one of the evaluations."""
        name, extra = self.journal.name, self._extra
        if self.rows:
            pieces = chain(_trace_pieces(self._chunks_ever(), extra), self._last_pieces())
            self._table("trace", name, trace_kinds(extra), pieces)
        if self.evaluations:
            evaluated = _evaluation_pieces(self._evaluated_ever())
            self._table("evaluation", name, EVALUATION_COLUMNS, evaluated)

    def _table(
        self, folder: str, name: str, kinds: Mapping[str, str], pieces: Iterable[Mapping[str, Any]]
    ) -> None:
        write_parquet(self._run / folder / f"{name}.parquet", kinds, pieces)

    def _clear(self) -> None:
        self.waiting: list[Record] = []
        self.waiting_bytes = 0
        self._chunks: list[TraceChunk] = []
        self._evaluated: list[EvaluationRows] = []
        self._written_last = self._last
        self._flushed = time.monotonic()

    @property
    def _due(self) -> bool:
        """Whether the journal lags behind."""
        return time.monotonic() - self._flushed >= JOURNAL_SECONDS

    def _take(self, record: TraceChunk | LastRows | EvaluationRows) -> None:
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

    def _chunks_ever(self) -> Iterator[TraceChunk]:
        """Yield all trace rows that were ever taken and kept."""
        yield from self.journal.chunks()
        yield from self._chunks

    def _last_pieces(self) -> Iterator[Mapping[str, Any]]:
        """Yield the columns of the last rows that are not among those of :meth:`_chunks_ever`."""
        table = None if self._last is None else last_table(self._last, self._every, self._extra)
        if table is not None:
            yield table[1]

    def _evaluated_ever(self) -> Iterator[EvaluationRows]:
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
