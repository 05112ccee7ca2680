"""What became of the lanes of a block, row by row, on the host.

The engine enters the rows that came down; the ledger finds where a lane diverged or met a stopping
rule, cuts its trace there, and sums up at the end. Where lanes end is found here and nowhere else.
"""

from collections.abc import Mapping

import numpy as np

from optbench.engine.block import Block, Rows
from optbench.records import BlockResult, LaneResult, Status, TraceChunk, final_and_best


class Ledger:
    """The rows of one block. A lane's place is its index in the block.

    Attributes
    ----------
    full_rows
        Rows of a full trace: N + 1 where the loss is recorded before the update, N where after.
    numbers
        The lanes' numbers, int32.
    running
        Which lanes have neither diverged nor stopped.
    places
        Places of the lanes whose rows are entered; those that ended leave by :meth:`part`.
    """

    def __init__(self, block: Block) -> None:
        self._block = block
        self._extra = 1 if block.problem.record == "before" else 0
        self.full_rows = block.iterations + self._extra
        self.numbers = np.array([lane.number for lane in block.lanes], dtype=np.int32)
        lanes = len(block.lanes)
        self.places = np.arange(lanes)
        self.running = np.ones(lanes, dtype=bool)
        self._diverged = np.zeros(lanes, dtype=bool)
        self._rows = np.zeros(lanes, dtype=np.int64)
        self._updates = np.zeros(lanes, dtype=np.int64)
        self._best_at = np.zeros(lanes, dtype=np.int64)
        self._loss: list[np.ndarray] = []
        self._entered = 0
        self._steps = 0

    @property
    def state(self) -> dict[str, np.ndarray]:
        """All that the books hold beside the losses, by name."""
        return {
            "places": self.places,
            "running": self.running,
            "diverged": self._diverged,
            "rows": self._rows,
            "updates": self._updates,
            "best_at": self._best_at,
            "entered": np.array(self._entered),
            "steps": np.array(self._steps),
        }

    def restore(self, state: Mapping[str, np.ndarray], loss: np.ndarray) -> None:
        """Go on from what :attr:`state` was, with the losses of all rows entered before."""
        self.places = state["places"]
        self.running = state["running"]
        self._diverged = state["diverged"]
        self._rows = state["rows"]
        self._updates = state["updates"]
        self._best_at = state["best_at"]
        self._entered = int(state["entered"])
        self._steps = int(state["steps"])
        self._loss = [loss]

    @property
    def entered(self) -> int:
        """How many rows were entered."""
        return self._entered

    @property
    def complete(self) -> bool:
        """Whether lanes are left, and every row of theirs has been entered."""
        return self._entered == self.full_rows and bool(self.running.any())

    def enter(self, rows: Rows) -> TraceChunk:
        """Take rows that follow those before, and return what of them belongs in the trace.

        A lane's last row is the first one that is not finite, or that meets a stopping rule.
        """
        height, going = len(rows.loss), self.running[self.places]
        places = self.places[going]
        last = ~rows.finite[:, going] | self._met(rows)[:, going]
        ends = last.any(axis=0)
        until = np.where(ends, np.argmax(last, axis=0) + 1, height)
        counts = np.zeros(len(self.numbers), dtype=np.int64)
        counts[places] = until
        self._rows += counts
        self._diverged[places] = ~rows.finite[until - 1, np.flatnonzero(going)]
        self.running[places] = ~ends
        self._entered += height
        made = min(self._entered, self._block.iterations)
        self._steps += max(0, made - rows.first) * len(self.places)
        self._updates[places] = np.minimum(self._rows[places] - self._extra * ends, made)
        self._loss.append(self._spread(rows.loss))
        return TraceChunk(
            self._block.number,
            self.numbers,
            rows.first,
            self._loss[-1],
            counts,
            None if rows.position is None else self._spread(rows.position),
            None if rows.penalty is None else self._spread(rows.penalty),
        )

    def _met(self, rows: Rows) -> np.ndarray:
        """Return which rows meet a stopping rule."""
        rules = self._block.rules
        met = np.zeros(rows.loss.shape, dtype=bool)
        if rules.loss is not None:
            met |= rows.loss <= rules.loss
        if rules.grad_norm is not None and rows.grad_norm is not None:
            met |= rows.grad_norm <= rules.grad_norm
        return met

    def _spread(self, values: np.ndarray) -> np.ndarray:
        """Return values (rows, lanes left, …) as (rows, lanes, …), zero for those that ended."""
        if len(self.places) == len(self.numbers):
            return values
        whole = np.zeros((len(values), len(self.numbers), *values.shape[2:]), values.dtype)
        whole[:, self.places] = values
        return whole

    def stop(self, places: np.ndarray) -> None:
        """End lanes after the last update entered; early stopping has said so."""
        self.running[places] = False

    def keep_best(self, places: np.ndarray, updates: np.ndarray) -> None:
        """Remember after how many updates lanes validated best."""
        self._best_at[places] = updates

    def updates(self, places: np.ndarray) -> np.ndarray:
        """Return how many updates lanes have made up to their last row."""
        updates: np.ndarray = self._updates[places]
        return updates

    def stopped(self, places: np.ndarray) -> np.ndarray:
        """Return those of some places whose lanes were stopped by a rule."""
        found: np.ndarray = places[~self.running[places] & ~self._diverged[places]]
        return found

    def part(self, kept: np.ndarray) -> None:
        """Go on with the lanes at some indices of :attr:`places` only."""
        self.places = self.places[kept]

    def result(self, seconds: float) -> BlockResult:
        """Return what became of every lane; ``seconds`` is the time that the block stepped."""
        step_seconds = seconds / self._steps if self._steps else None
        losses = self._final_and_best()
        rows, updates = self._rows.tolist(), self._updates.tolist()
        lanes = []
        for place, number in enumerate(self.numbers.tolist()):
            status = self._status(place)
            final, best = losses.get(place, (None, None))
            lanes.append(
                LaneResult(
                    lane=number,
                    status=status,
                    iterations=updates[place],
                    diverged_at=rows[place] - 1 if status is Status.DIVERGED else None,
                    stopped_at=rows[place] - 1 if status is Status.STOPPED else None,
                    best_at=int(self._best_at[place]) or None,
                    final_loss=final,
                    best_loss=best,
                    step_seconds=step_seconds,
                    block_lanes=len(self.numbers),
                )
            )
        return BlockResult(self._block.number, tuple(lanes))

    def _status(self, place: int) -> Status:
        if self._diverged[place]:
            return Status.DIVERGED
        if not self.running[place]:
            return Status.STOPPED
        return Status.DONE if self.complete else Status.INTERRUPTED

    def _final_and_best(self) -> dict[int, tuple[float, float]]:
        """Return the final and the best loss, by place, of the lanes that are done or stopped."""
        ended = ~self._diverged & (self._rows > 0) & (~self.running | self.complete)
        found: dict[int, tuple[float, float]] = {}
        losses = np.concatenate(self._loss) if ended.any() else np.zeros((0, 0))
        for count in np.unique(self._rows[ended]).tolist():
            places = np.flatnonzero(ended & (self._rows == count))
            final, best = final_and_best(
                np.ascontiguousarray(losses[:count, places].T),
                min(self._block.iterations, count),
                minibatch=self._block.problem.minibatch,
            )
            pairs = zip(final.tolist(), best.tolist(), strict=True)
            found |= dict(zip(places.tolist(), pairs, strict=True))
        return found
