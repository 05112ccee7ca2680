"""What became of the lanes of a block, row by row, on the host.

The engine enters the rows that came down; the ledger finds where a lane diverged, cuts its trace
there, and sums up at the end. Divergence is found here and nowhere else.
"""

from dataclasses import dataclass

import numpy as np

from optbench.lanes import Block
from optbench.records import BlockResult, LaneResult, Status, TraceChunk, final_and_best


@dataclass(frozen=True)
class Rows:
    """Consecutive rows of all lanes, as they come down from the device.

    Attributes
    ----------
    first
        Iteration of the first row.
    loss
        float64, shape (rows, lanes).
    finite
        Whether loss and parameters were finite at each row, shape (rows, lanes).
    position
        Parameters at each row, shape (rows, lanes, parameters), or None.
    """

    first: int
    loss: np.ndarray
    finite: np.ndarray
    position: np.ndarray | None


class Ledger:
    """The rows of one block.

    Attributes
    ----------
    full_rows
        Rows of a full trace: N + 1 where the loss is recorded before the update, N where after.
    numbers
        The lanes' numbers, int32.
    """

    def __init__(self, block: Block) -> None:
        self._block = block
        self._extra = 1 if block.problem.record == "before" else 0
        self.full_rows = block.iterations + self._extra
        self.numbers = np.array([lane.number for lane in block.lanes], dtype=np.int32)
        self._rows = np.zeros(len(block.lanes), dtype=np.int64)
        self._diverged = np.zeros(len(block.lanes), dtype=bool)
        self._loss: list[np.ndarray] = []
        self._entered = 0

    @property
    def alive(self) -> np.ndarray:
        """Which lanes have not diverged."""
        return ~self._diverged

    @property
    def all_diverged(self) -> bool:
        """Whether no lane is left."""
        return bool(self._diverged.all())

    @property
    def complete(self) -> bool:
        """Whether every row of the lanes that are left has been entered."""
        return self._entered == self.full_rows and not self.all_diverged

    def enter(self, rows: Rows) -> TraceChunk:
        """Take rows that follow those before, and return what of them belongs in the trace.

        A lane's last row is the first one that is not finite.
        """
        height = len(rows.loss)
        broken = ~rows.finite.all(axis=0)
        until = np.where(broken, np.argmin(rows.finite, axis=0) + 1, height)
        counts = np.where(self._diverged, 0, until)
        self._rows += counts
        self._diverged |= broken
        self._loss.append(rows.loss)
        self._entered += height
        return TraceChunk(
            self._block.number, self.numbers, rows.first, rows.loss, counts, rows.position
        )

    def result(self, seconds: float) -> BlockResult:
        """Return what became of every lane; ``seconds`` is the time that the block stepped."""
        updates = min(self._entered, self._block.iterations)
        step_seconds = seconds / (updates * len(self.numbers)) if updates else None
        done = self.alive & (self._rows == self.full_rows)
        losses = dict(zip(np.flatnonzero(done).tolist(), self._final_and_best(done), strict=True))
        rows, diverged = self._rows.tolist(), self._diverged.tolist()
        lanes = []
        for index, number in enumerate(self.numbers.tolist()):
            status = Status.DONE if index in losses else Status.INTERRUPTED
            if diverged[index]:
                status = Status.DIVERGED
            # The last row of a full or broken trace recorded before the update has none after it.
            unused = self._extra if status is not Status.INTERRUPTED else 0
            final, best = losses.get(index, (None, None))
            lanes.append(
                LaneResult(
                    lane=number,
                    status=status,
                    iterations=rows[index] - unused,
                    diverged_at=rows[index] - 1 if diverged[index] else None,
                    final_loss=final,
                    best_loss=best,
                    step_seconds=step_seconds,
                    block_lanes=len(self.numbers),
                )
            )
        return BlockResult(self._block.number, tuple(lanes))

    def _final_and_best(self, done: np.ndarray) -> list[tuple[float, float]]:
        """Return the final and the best loss of the lanes that are done."""
        if not done.any():
            return []
        losses = np.ascontiguousarray(np.concatenate(self._loss)[:, done].T)
        minibatch = self._block.problem.minibatch
        final, best = final_and_best(losses, self._block.iterations, minibatch=minibatch)
        return list(zip(final.tolist(), best.tolist(), strict=True))
