"""What became of the lanes of a block, row by row, on the host.

The loop enters the rows that come from the device; the ledger finds where a lane diverged or met a
stopping rule, cuts its trace there, and sums up at the end. Where lanes end is found here and
nowhere else.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from optbench.engine.block import Block
from optbench.engine.recorder import TraceRows
from optbench.engine.summary import RunningSummary
from optbench.records import STOPPING, BlockResult, LaneResult, Status, TraceChunk

NO_RULE = -1
"""In place of an index in :data:`STOPPING` of a lane that was not stopped."""


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
        Places of the lanes whose rows are entered; :meth:`drop_ended` shortens it.
    entered
        How many rows were entered.
    """

    def __init__(self, block: Block) -> None:
        self._block = block
        self._rows_after_last_update = 1 if block.problem.record == "before" else 0
        self.full_rows = block.iterations + self._rows_after_last_update
        self.numbers = np.array([lane.number for lane in block.lanes], dtype=np.int32)
        lanes = len(block.lanes)
        self.places = np.arange(lanes)
        self.running = np.ones(lanes, dtype=bool)
        self.entered = 0
        self._stopped_by = np.full(lanes, NO_RULE)
        self._diverged = np.zeros(lanes, dtype=bool)
        self._row_counts = np.zeros(lanes, dtype=np.int64)
        self._update_counts = np.zeros(lanes, dtype=np.int64)
        self._best_update_counts = np.zeros(lanes, dtype=np.int64)
        self._summary = RunningSummary(
            lanes,
            block.iterations,
            stochastic=block.problem.stochastic,
            may_stop=block.rules.may_stop,
        )
        self._final_loss = np.full(lanes, np.nan)
        self._best_loss = np.full(lanes, np.nan)
        self._evaluation_counts = np.zeros(lanes, dtype=np.int64)
        self._step_counts = np.zeros(lanes, dtype=np.int64)
        self._gradient_seconds = np.zeros(lanes)
        self._update_seconds = np.zeros(lanes)

    @property
    def state(self) -> dict[str, np.ndarray]:
        """All that it holds, by its name in checkpoints."""
        return {
            "places": self.places,
            "running": self.running,
            "stopped_by": self._stopped_by,
            "diverged": self._diverged,
            "rows": self._row_counts,
            "updates": self._update_counts,
            "best_at": self._best_update_counts,
            "final_loss": self._final_loss,
            "best_loss": self._best_loss,
            **self._summary.state,
            "entered": np.array(self.entered),
            "steps": self._step_counts,
            "evaluations": self._evaluation_counts,
            "gradient_seconds": self._gradient_seconds,
            "update_seconds": self._update_seconds,
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from an earlier :attr:`state`."""
        self.places = state["places"]
        self.running = state["running"]
        self._stopped_by = state.get("stopped_by", self._stopped_by)  # older checkpoints lack it
        self._diverged = state["diverged"]
        self._row_counts = state["rows"]
        self._update_counts = state["updates"]
        self._best_update_counts = state["best_at"]
        self._final_loss = state["final_loss"]
        self._best_loss = state["best_loss"]
        self._summary.restore(state)
        self.entered = int(state["entered"])
        self._step_counts = state["steps"]
        self._evaluation_counts = state.get("evaluations", self._evaluation_counts)  # so do they
        self._gradient_seconds = state["gradient_seconds"]
        self._update_seconds = state["update_seconds"]

    @property
    def complete(self) -> bool:
        """Whether lanes are left, and every row of theirs has been entered."""
        return self.entered == self.full_rows and bool(self.running.any())

    @property
    def planned_rows(self) -> int:
        """How many rows are entered of lanes that nothing ends: up to a pause, else all."""
        pause_at = self._block.rules.pause_at
        return self.full_rows if pause_at is None else pause_at

    @property
    def paused(self) -> bool:
        """Whether lanes are left, and have come to their pause."""
        return self.entered == self.planned_rows < self.full_rows and bool(self.running.any())

    def enter(self, rows: TraceRows) -> TraceChunk:
        """Take rows that follow those before, and return what of them belongs in the trace.

        A lane's last row is the first one that is not finite, or that meets a stopping rule.
        """
        height, running = len(rows.loss), self.running[self.places]
        places = self.places[running]
        rule = self._rule_met(rows)
        is_last = ~rows.finite if rule is None else ~rows.finite | (rule != NO_RULE)
        if len(places) < len(running):
            is_last = is_last[:, running]
        ends = is_last.any(axis=0)
        ended = np.flatnonzero(ends)
        row_counts = np.full(len(places), height)
        row_counts[ended] = np.argmax(is_last[:, ended], axis=0) + 1
        self._row_counts[places] += row_counts
        last = row_counts[ended] - 1, np.flatnonzero(running)[ended]
        self._diverged[places[ended]] = ~rows.finite[last]
        if rule is not None:
            self._stopped_by[places[ended]] = rule[last]
        self.running[places] = ~ends
        self.entered += height
        updates_made = min(self.entered, self._block.iterations)
        self._step_counts[self.places] += max(0, updates_made - rows.first)
        before = self._update_counts[places]
        self._update_counts[places] = np.minimum(
            self._row_counts[places] - self._rows_after_last_update * ends, updates_made
        )
        if rows.evaluations is not None:
            counted = np.arange(height)[:, None] < self._update_counts[places] - before
            evaluations = (rows.evaluations[:, running] * counted).sum(axis=0)
            self._evaluation_counts[places] += evaluations
        self._summary.enter(rows.loss)
        well = ends & ~self._diverged[places]
        self._sum_up(np.flatnonzero(running)[well], height - row_counts[well])
        if self.complete:
            self._sum_up(np.flatnonzero(self.running[self.places]))
        self._summary.condense(updates_made)
        counts = np.zeros(len(self.numbers), dtype=np.int64)
        counts[places] = row_counts
        return TraceChunk(
            self._block.number,
            self.numbers,
            rows.first,
            self._for_all_lanes(rows.loss),
            counts,
            None if rows.position is None else self._for_all_lanes(rows.position),
            None if rows.penalty is None else self._for_all_lanes(rows.penalty),
        )

    def _rule_met(self, rows: TraceRows) -> np.ndarray | None:
        """Return the stopping rule that each row meets, of several the first: (rows, lanes).

        None where there are no such rules.
        """
        rules = self._block.rules
        if rules.loss is None and rules.grad_norm is None:
            return None
        met = np.full(rows.loss.shape, NO_RULE)
        if rules.grad_norm is not None and rows.grad_norm is not None:
            met[rows.grad_norm <= rules.grad_norm] = STOPPING.index("grad_norm")
        if rules.loss is not None:
            met[rows.loss <= rules.loss] = STOPPING.index("loss")
        return met

    def _for_all_lanes(self, values: np.ndarray) -> np.ndarray:
        """Return values (rows, lanes left, …) as (rows, lanes, …), zero for those that ended."""
        if len(self.places) == len(self.numbers):
            return values
        whole = np.zeros((len(values), len(self.numbers), *values.shape[2:]), values.dtype)
        whole[:, self.places] = values
        return whole

    def stop(self, places: np.ndarray) -> None:
        """End lanes after the last update entered, as early stopping asks."""
        self.running[places] = False
        self._stopped_by[places] = STOPPING.index("patience")
        self._sum_up(np.flatnonzero(np.isin(self.places, places)))

    def condense(self) -> None:
        """Keep the rows that losses need: as many as any block of the problem after these rows."""
        self._summary.condense(self.entered, entirely=True)

    def sum_up_paused(self) -> None:
        """Enter the losses of lanes that have come to their pause, as if they ended there."""
        self._sum_up(np.flatnonzero(self.running[self.places]))

    def drop_ended(self) -> np.ndarray:
        """Expect no more rows of lanes that have ended; return which of :attr:`places` are left."""
        left = np.flatnonzero(self.running[self.places])
        self.places = self.places[left]
        self._summary.drop(left)
        return left

    def keep_best(self, places: np.ndarray, update_counts: np.ndarray) -> None:
        """Remember after how many updates lanes validated best."""
        self._best_update_counts[places] = update_counts

    def update_counts(self, places: np.ndarray) -> np.ndarray:
        """Return how many updates lanes have made up to their last row."""
        counts: np.ndarray = self._update_counts[places]
        return counts

    def stopped(self, places: np.ndarray) -> np.ndarray:
        """Return those of some places whose lanes were stopped by a rule."""
        stopped: np.ndarray = places[~self.running[places] & ~self._diverged[places]]
        return stopped

    def enter_seconds(self, gradient: np.ndarray, update: np.ndarray) -> None:
        """Add time that the lanes of :attr:`places` took, float64 of shape (places,)."""
        self._gradient_seconds[self.places] += gradient
        self._update_seconds[self.places] += update

    def result(self) -> BlockResult:
        """Return what became of every lane."""
        ended = ~self._diverged & (~self.running | self.complete | self.paused)
        stopped = ~self._diverged & ~self.running
        rules = zip(self._stopped_by.tolist(), stopped.tolist(), strict=True)
        stepped = self._step_counts > 0
        steps = np.maximum(1, self._step_counts)
        gradient, update = self._gradient_seconds / steps, self._update_seconds / steps
        columns = (  # in the order of LaneResult's fields
            self.numbers.tolist(),
            self._statuses(),
            self._update_counts.tolist(),
            _where(self._diverged, self._row_counts - 1),
            _where(stopped, self._row_counts - 1),
            [STOPPING[rule] if was and rule != NO_RULE else None for rule, was in rules],
            _where(self._best_update_counts > 0, self._best_update_counts),
            _where(ended, self._final_loss),
            _where(ended, self._best_loss),
            _where(stepped, gradient + update),
            _where(stepped, gradient),
            _where(stepped, update),
            [len(self.numbers)] * len(self.numbers),
            (self._update_counts + self._evaluation_counts).tolist(),
        )
        return BlockResult(self._block.number, tuple(map(LaneResult, *columns)))

    def _statuses(self) -> list[Status]:
        otherwise = Status.DONE if self.complete else Status.INTERRUPTED
        otherwise = Status.PAUSED if self.paused else otherwise
        return [
            Status.DIVERGED if diverged else otherwise if running else Status.STOPPED
            for diverged, running in zip(
                self._diverged.tolist(), self.running.tolist(), strict=True
            )
        ]

    def _sum_up(self, columns: np.ndarray, beyond: np.ndarray | None = None) -> None:
        """Enter the final and the best loss of lanes that have ended well.

        ``columns`` are their indices in :attr:`places`; ``beyond`` says how many of the rows that
        were entered follow the last one of each, by default none.
        """
        if beyond is None:
            beyond = np.zeros(len(columns), dtype=np.int64)
        keys = self._update_counts[self.places[columns]] * (self.full_rows + 1) + beyond
        for key in np.unique(keys).tolist():
            alike = columns[keys == key]
            updates, rows_beyond = divmod(key, self.full_rows + 1)
            final, best = self._summary.of(alike, updates, rows_beyond)
            self._final_loss[self.places[alike]] = final
            self._best_loss[self.places[alike]] = best


def _where(condition: np.ndarray, values: np.ndarray) -> list[Any]:
    """Return values where a condition holds, else None."""
    pairs = zip(condition.tolist(), values.tolist(), strict=True)
    return [value if holds else None for holds, value in pairs]
