"""The one stepping loop: one block, from start to end.

:func:`run_block` yields records: trace chunks as they come, evaluations, and what became of every
lane. It knows neither which library computes nor who reads the records. Lanes that have diverged
or stopped leave the block at the end of a chunk; the others go on, unchanged to the bit. Lanes that
pause are evaluated as if they ended, once the checkpoint that they go on from has been taken.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from math import inf, isfinite

import numpy as np

from optbench.device.base import Device
from optbench.engine.block import Block
from optbench.engine.ledger import Ledger
from optbench.engine.stepper import LaneState, Stepper
from optbench.engine.stopping import Patience
from optbench.records import Checkpoint, EvaluationRows, Record

CHUNK_ROWS = 64
"""Rows that come from the device together, at most."""

VALIDATION = "validation"
"""The split whose error decides early stopping."""


def run_block(
    block: Block,
    device: Device,
    cancelled: Callable[[], bool] = lambda: False,
    checkpoint_seconds: float = inf,
) -> Iterator[Record]:
    """Run a block, from its start or from its earlier progress, and yield its records.

    Parameters
    ----------
    block
        The lanes, their problem, their optimizer and the rules that end them.
    device
        What computes.
    cancelled
        Asked between chunks; once true, the block ends with status ``interrupted``.
    checkpoint_seconds
        Time from one checkpoint to the next. Unless it is infinite, a block that is cancelled
        yields one as well.
    """
    yield from _BlockRun(block, device).run(cancelled, checkpoint_seconds)


class _BlockRun:
    """A block while it runs."""

    def __init__(self, block: Block, device: Device) -> None:
        self._block = block
        self._device = device
        self._ledger = Ledger(block)
        self._splits = tuple(block.problem.split_sizes())
        self._patience: Patience | None = None
        per_epoch = block.problem.iterations_per_epoch
        if block.rules.patience is not None and per_epoch is not None:
            self._patience = Patience(block.rules, len(block.lanes), per_epoch)
        evaluated = (len(block.lanes), len(self._splits))
        self._last_evaluated = np.full(evaluated, -1)
        self._best_evaluated = np.full(evaluated, -1)
        self._evaluations = 0
        if block.progress is None:
            self._stepper = Stepper(block, device)
        else:
            self._stepper = self._restore(block.progress)

    def run(self, cancelled: Callable[[], bool], checkpoint_seconds: float) -> Iterator[Record]:
        """Step the lanes chunk by chunk; between chunks evaluate, stop lanes and save."""
        ledger, rules, iterations = self._ledger, self._block.rules, self._block.iterations
        replays = bool(self._splits) and rules.watches_rows
        row = saved_row = ledger.entered
        saved_at = time.monotonic()
        if rules.evaluate_every is not None and row == 0:
            yield from self._evaluate(self._stepper, ledger.places, 0)
        while row < ledger.planned_rows and ledger.places.size and not cancelled():
            end = self._end_of_chunk(row)
            before = self._stepper.subset(np.arange(ledger.places.size)) if replays else None
            yield ledger.enter(self._stepper.advance(row, end - row))
            if before is not None:
                yield from self._evaluate_stopped(before, row)
            update_count = min(end, iterations)
            if update_count > row:  # else the chunk is the row after the last update
                yield from self._validate(update_count)
                yield from self._evaluate_if_due(update_count)
                yield from self._end_impatient(update_count)
            self._drop_ended()
            row = end
            due = time.monotonic() - saved_at >= checkpoint_seconds
            if due and ledger.places.size and self._stepper.resumable:
                yield self._checkpoint()
                saved_row, saved_at = row, time.monotonic()
        unfinished = saved_row < row < ledger.planned_rows and bool(ledger.places.size)
        if unfinished and isfinite(checkpoint_seconds) and self._stepper.resumable:
            yield self._checkpoint()
        if ledger.paused:
            ledger.condense()
            yield self._checkpoint()
            ledger.sum_up_paused()
        if ledger.complete or ledger.paused:
            yield from self._evaluate_ended(self._stepper, ledger.places)
        self._enter_seconds()
        yield ledger.result()

    def _end_of_chunk(self, first: int) -> int:
        """Return the row before which something is to be done between updates."""
        ends = [first + CHUNK_ROWS, self._ledger.planned_rows]
        intervals = [self._block.rules.evaluate_every]
        if self._patience is not None:
            intervals.append(self._patience.frequency)
            end = int(self._patience.end_update_counts[self._ledger.places].min())
            ends += [end] if end > first else []
        ends += [(first // every + 1) * every for every in intervals if every is not None]
        return min(ends)

    def _validate(self, update_count: int) -> Iterator[Record]:
        """Let early stopping, if it is due, see the validation errors."""
        patience, ledger = self._patience, self._ledger
        if patience is None or update_count % patience.frequency:
            return
        places = ledger.places
        loss, error = self._stepper.evaluate(VALIDATION)
        errors = np.full(len(self._block.lanes), np.nan)
        errors[places] = np.where(ledger.running[places], error, np.nan)
        self._stepper.keep_best(patience.validate(update_count, errors)[places])
        ledger.keep_best(places, patience.best_update_counts[places])
        yield from self._new_evaluations(places, update_count, VALIDATION, loss, error)

    def _evaluate_if_due(self, update_count: int) -> Iterator[Record]:
        """Evaluate all splits after so many updates; at the last one they are anyway."""
        every = self._block.rules.evaluate_every
        if every is not None and not update_count % every and update_count < self._block.iterations:
            yield from self._evaluate(self._stepper, self._ledger.places, update_count)

    def _end_impatient(self, update_count: int) -> Iterator[Record]:
        """Stop and evaluate the lanes whose patience is at its end."""
        if self._patience is None:
            return
        ledger = self._ledger
        running = ledger.places[ledger.running[ledger.places]]
        ended = running[self._patience.end_update_counts[running] <= update_count]
        if ended.size:
            ledger.stop(ended)
            indices = np.flatnonzero(np.isin(ledger.places, ended))
            yield from self._evaluate_ended(self._stepper.subset(indices), ended)

    def _drop_ended(self) -> None:
        """Go on without the lanes that have ended."""
        ledger = self._ledger
        if ledger.running[ledger.places].all():
            return
        self._enter_seconds()
        left = ledger.drop_ended()
        if left.size:
            self._stepper = self._stepper.subset(left)

    def _enter_seconds(self) -> None:
        """Let the ledger know what the steps of late took."""
        if self._ledger.places.size:  # else it knows
            self._ledger.enter_seconds(*self._stepper.take_seconds())

    # Evaluations

    def _evaluate(
        self, stepper: Stepper, places: np.ndarray, update_count: int, *, ended: bool = False
    ) -> Iterator[Record]:
        """Evaluate all splits with the parameters as they stand."""
        for split in self._splits:
            loss, error = stepper.evaluate(split)
            yield from self._new_evaluations(places, update_count, split, loss, error, ended=ended)

    def _evaluate_stopped(self, before: Stepper, first: int) -> Iterator[Record]:
        """Evaluate lanes that met a rule in the chunk just entered, as they were at that row.

        ``before`` holds all lanes at row ``first``: the updates up to that row are made once more.
        """
        stopped = self._ledger.stopped(self._ledger.places)
        update_counts = self._ledger.update_counts(stopped)
        for update_count in np.unique(update_counts).tolist():
            places = stopped[update_counts == update_count]
            stepper = before.subset(np.flatnonzero(np.isin(self._ledger.places, places)))
            if update_count > first:
                stepper.advance(first, update_count - first)
            yield from self._evaluate(stepper, places, update_count, ended=True)

    def _evaluate_ended(self, stepper: Stepper, places: np.ndarray) -> Iterator[Record]:
        """Evaluate lanes at their end; with early stopping, where their validation was best."""
        update_counts = self._ledger.update_counts(places)
        splits = self._splits
        if self._patience is not None and np.isfinite(self._patience.best[places]).all():
            update_counts = self._patience.best_update_counts[places]
            splits = tuple(split for split in splits if split != VALIDATION)  # evaluated already
        for split in splits:
            loss, error = stepper.evaluate(split, best=True)
            for update_count in np.unique(update_counts).tolist():
                some = update_counts == update_count
                yield from self._new_evaluations(
                    places[some], update_count, split, loss[some], error[some], ended=True
                )

    def _new_evaluations(
        self,
        places: np.ndarray,
        update_count: int,
        split: str,
        loss: np.ndarray,
        error: np.ndarray,
        *,
        ended: bool = False,
    ) -> Iterator[Record]:
        """Yield the evaluations of lanes that are running, or also of those that have ended.

        What was evaluated before, for another reason, is left out: that can have been just now, or
        where a lane validated best.
        """
        column = self._splits.index(split)
        known = [self._last_evaluated[places, column], self._best_evaluated[places, column]]
        is_new = (np.stack(known) != update_count).all(axis=0)
        chosen = (self._ledger.running[places] | ended) & is_new
        if not chosen.any():
            return
        evaluated = places[chosen]
        self._last_evaluated[evaluated, column] = update_count
        if self._patience is not None:
            best = evaluated[self._patience.best_update_counts[evaluated] == update_count]
            self._best_evaluated[best, column] = update_count
        number, self._evaluations = self._evaluations, self._evaluations + 1
        yield EvaluationRows(
            self._block.number,
            number,
            self._ledger.numbers[evaluated],
            update_count,
            split,
            loss[chosen],
            error[chosen],
        )

    # Checkpoints

    def _checkpoint(self) -> Checkpoint:
        """Return all that it takes to go on from here."""
        self._enter_seconds()
        get, state = self._device.get, self._stepper.state
        arrays = {
            "params": get(state.params),
            "buffers": get(state.buffers),
            **{
                f"slots/{group}/{name}": get(slot)
                for group, slots in enumerate(state.slots)
                for name, slot in slots.items()
            },
            **{f"ledger/{name}": array for name, array in self._ledger.state.items()},
            "evaluated/last": self._last_evaluated,
            "evaluated/best": self._best_evaluated,
            "evaluated/count": np.array(self._evaluations),
        }
        if state.best is not None:
            arrays |= {"best/params": get(state.best[0]), "best/buffers": get(state.best[1])}
        if self._patience is not None:
            arrays |= {f"patience/{name}": array for name, array in self._patience.state.items()}
        # Copies: the block goes on while they are written.
        copies = {name: np.array(array) for name, array in arrays.items()}
        return Checkpoint(self._block.number, self._ledger.entered, copies)

    def _restore(self, progress: Mapping[str, np.ndarray]) -> Stepper:
        """Take up what a checkpoint holds, and return the stepper of the lanes that were left."""
        arrays = {name: np.array(array) for name, array in progress.items()}  # to be changed
        self._ledger.restore(_named(arrays, "ledger"))
        if self._patience is not None:
            self._patience.restore(_named(arrays, "patience"))
        self._last_evaluated = arrays["evaluated/last"]
        self._best_evaluated = arrays["evaluated/best"]
        self._evaluations = int(arrays["evaluated/count"])
        block = self._block.subset(self._ledger.places.tolist())
        put, best = self._device.put, _named(arrays, "best")
        state = LaneState(
            put(arrays["params"]),
            put(arrays["buffers"]),
            [
                {name: put(slot) for name, slot in _named(arrays, f"slots/{group}").items()}
                for group in range(len(block.groups))
            ],
            (put(best["params"]), put(best["buffers"])) if best else None,
        )
        return Stepper(block, self._device, state)


def _named(arrays: Mapping[str, np.ndarray], group: str) -> dict[str, np.ndarray]:
    """Return the arrays whose names begin with a group's, without it."""
    return {
        name.removeprefix(f"{group}/"): array
        for name, array in arrays.items()
        if name.startswith(f"{group}/")
    }
