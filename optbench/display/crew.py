"""How far a run on a cluster is in all: its workers at work, its blocks, its rows a second."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from optbench.cluster import Cluster
from optbench.display.shown import ShownBlock
from optbench.records import BlockResult, BlockSplit, Record, Status, TraceChunk, Underway

RATE_SECONDS = 10.0
"""The rows of so many last seconds are counted."""

LONGEST_WORKER = 14
"""Characters of a worker's name that are shown: the last ones, in which names differ."""


class Rate:
    """Trace rows that were recorded a second, of all lanes together.

    A row that a block records once more, since it goes on from a checkpoint, is not counted twice;
    lanes that have ended early count like the others of their block.

    Parameters
    ----------
    blocks
        What runs.
    clock
        Tells seconds.
    """

    def __init__(self, blocks: Iterable[ShownBlock], clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began = clock()
        self._lanes = {block.number: len(block.lanes) for block in blocks}
        self._reached: dict[int, int] = {}
        self._recorded: deque[tuple[float, int]] = deque()
        self._changing = threading.Lock()  # bars are drawn by a thread of their own

    def observe(self, record: Record) -> None:
        """Count the rows of a record."""
        match record:
            case TraceChunk():
                reached = max(record.first_iteration, self._reached.get(record.block, 0))
                self._reach(record.block, reached, record.next_iteration)
            case Underway():
                reached = self._reached.get(record.block, record.next_iteration)
                self._reach(record.block, reached, record.next_iteration)
            case BlockResult():
                reached = self._reached.get(record.block, 0)
                made = [lane.iterations or 0 for lane in record.lanes]
                self._record(sum(max(0, each - reached) for each in made))
            case BlockSplit():
                self._lanes |= {number: len(lanes) for number, lanes in record.parts}

    def _reach(self, block: int, reached: int, iteration: int) -> None:
        self._reached[block] = max(reached, iteration)
        self._record((self._reached[block] - reached) * self._lanes[block])

    def _record(self, rows: int) -> None:
        with self._changing:
            self._recorded.append((self._clock(), rows))

    def rows_per_second(self) -> float:
        """Return the rows of the last ten seconds, by the second; 0 in the first one."""
        now = self._clock()
        seconds = min(now - self._began, RATE_SECONDS)
        with self._changing:
            while self._recorded and now - self._recorded[0][0] > RATE_SECONDS:
                self._recorded.popleft()
            return sum(rows for _, rows in self._recorded) / seconds if seconds >= 1.0 else 0.0


class Crew:
    """How far a run is in all: workers at work, where a cluster tells, blocks done, rows a second.

    ``blocks`` are all that it has; ``clock`` tells seconds.
    """

    def __init__(
        self,
        blocks: Sequence[ShownBlock],
        cluster: Cluster | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._left = {block.number for block in blocks}
        self._done = 0
        self._rate = Rate(blocks, clock)

    def observe(self, record: Record) -> None:
        """Count what a record tells of."""
        self._rate.observe(record)
        match record:
            case BlockResult():
                if all(lane.status is not Status.INTERRUPTED for lane in record.lanes):
                    self._left.discard(record.block)
                    self._done += 1
            case BlockSplit():
                self._left.discard(record.block)
                self._left |= {number for number, _ in record.parts}

    def line(self) -> str:
        """Say it, for lines between others."""
        blocks = self._done + len(self._left)
        parts = [
            f"{self._done:,} of {blocks:,} block{'' if blocks == 1 else 's'} done",
            f"{self._rate.rows_per_second():,.0f} rows/s",
        ]
        if self._cluster is not None:
            busy, there = self._cluster.at_work
            parts.insert(0, f"{busy:,} of {there:,} worker{'' if there == 1 else 's'} at work")
        return ", ".join(parts)

    def head(self) -> str:
        """Say it, and where Dask shows more, for a place where it is seen all the time."""
        dashboard = "" if self._cluster is None else self._cluster.place.dashboard
        return f"{self.line()}, {dashboard}" if dashboard else self.line()


def short(worker: str, most: int = LONGEST_WORKER) -> str:
    """Return a worker's name, or the end of one that is longer than ``most`` characters.

    >>> short("3"), short("tcp://10.0.0.7:4711"), short("tcp://10.0.0.7:4711", 7)
    ('3', '10.0.0.7:4711', '…7:4711')
    """
    name = worker.rpartition("://")[2]
    return name if len(name) <= most else f"…{name[1 - most :]}"
