"""The one stepping loop: one block, from start to end.

:func:`run_block` yields records: trace chunks as they come, evaluations, and what became of every
lane. It knows neither which library computes nor who reads the records. Lanes that have diverged
or stopped leave the block at the end of a chunk; the others go on, unchanged to the bit.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from math import inf, isfinite

import numpy as np

from optbench.device.base import Device
from optbench.engine.block import Begun, Block, Held
from optbench.engine.ledger import Ledger
from optbench.engine.stepper import Stepper
from optbench.engine.stopping import Patience
from optbench.records import Checkpoint, EvaluationRows, Record

CHUNK_ROWS = 64
"""Rows that come down from the device together, at most."""

VALIDATION = "validation"
"""The split that early stopping looks at."""


def run_block(
    block: Block,
    device: Device,
    cancelled: Callable[[], bool] = lambda: False,
    checkpoint_seconds: float = inf,
) -> Iterator[Record]:
    """Run a block, from its start or from where it had come, and yield its records.

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
    yield from _BlockRun(block, device, checkpoint_seconds).records(cancelled)


SEEN = {"place": "int64", "updates": "int64", "split": "U16"}
"""What a checkpoint tells of the evaluations made so far, a row each."""


class _BlockRun:
    """A block on its way."""

    def __init__(self, block: Block, device: Device, checkpoint_seconds: float) -> None:
        self._block = block
        self._device = device
        self._checkpoint_seconds = checkpoint_seconds
        self._ledger = Ledger(block)
        self._splits = tuple(block.problem.split_sizes())
        self._patience: Patience | None = None
        per_epoch = block.problem.iterations_per_epoch
        if block.rules.patience is not None and per_epoch is not None:
            self._patience = Patience(block.rules, len(block.lanes), per_epoch)
        self._seconds = 0.0
        self._seen: list[set[tuple[str, int]]] = [set() for _ in block.lanes]
        self._stepper = Stepper(block, device) if block.begun is None else self._go_on(block.begun)

    def _go_on(self, begun: Begun) -> Stepper:
        """Take up what a checkpoint holds, and return the stepper of the lanes that were left."""
        arrays = {name: np.array(each) for name, each in begun.arrays.items()}  # they are changed
        self._ledger.restore(_named(arrays, "ledger"), begun.loss)
        if self._patience is not None:
            self._patience.restore(_named(arrays, "patience"))
        self._seconds = float(arrays["seconds"])
        seen = _named(arrays, "seen")
        for place, updates, split in zip(*(seen[name].tolist() for name in SEEN), strict=True):
            self._seen[place].add((split, updates))
        put = self._device.put
        best = _named(arrays, "best")
        held = Held(
            put(arrays["params"]),
            put(arrays["buffers"]),
            {name: put(slot) for name, slot in _named(arrays, "slots").items()},
            (put(best["params"]), put(best["buffers"])) if best else None,
        )
        lanes = tuple(self._block.lanes[place] for place in self._ledger.places.tolist())
        return Stepper(replace(self._block, lanes=lanes, begun=None), self._device, held)

    def _checkpoint(self) -> Checkpoint:
        """Return all that it takes to go on from here."""
        get, held = self._device.get, self._stepper.held
        seen = sorted(
            (place, updates, split)
            for place, some in enumerate(self._seen)
            for split, updates in some
        )
        arrays = {
            "params": get(held.params),
            "buffers": get(held.buffers),
            "seconds": np.array(self._seconds + self._stepper.watch.seconds()),
            **{f"slots/{name}": get(slot) for name, slot in held.slots.items()},
            **{f"ledger/{name}": array for name, array in self._ledger.state.items()},
            **{
                f"seen/{name}": np.array([row[column] for row in seen], dtype=kind)
                for column, (name, kind) in enumerate(SEEN.items())
            },
        }
        if held.best is not None:
            arrays |= {"best/params": get(held.best[0]), "best/buffers": get(held.best[1])}
        if self._patience is not None:
            arrays |= {f"patience/{name}": each for name, each in self._patience.state.items()}
        # Copies: the block goes on while they are written.
        copies = {name: np.array(each) for name, each in arrays.items()}
        return Checkpoint(self._block.number, self._ledger.entered, copies)

    def records(self, cancelled: Callable[[], bool]) -> Iterator[Record]:
        ledger, first = self._ledger, self._ledger.entered
        kept, last = first, time.monotonic()
        if self._block.rules.evaluate_every is not None and not first:
            yield from self._evaluate(self._stepper, ledger.places, 0)
        while first < ledger.full_rows and ledger.places.size and not cancelled():
            until = self._until(first)
            replays = bool(self._splits) and self._block.rules.watches_rows
            before = self._stepper.part(np.arange(ledger.places.size)) if replays else None
            with self._device.quiet():
                rows = self._stepper.advance(first, until - first)
            yield ledger.enter(rows)
            if before is not None:
                yield from self._evaluate_stopped(before, first)
            yield from self._between(first, until)
            self._let_go()
            first = until
            if time.monotonic() - last >= self._checkpoint_seconds and ledger.places.size:
                yield self._checkpoint()
                kept, last = first, time.monotonic()
        unfinished = kept < first < ledger.full_rows and bool(ledger.places.size)
        if unfinished and isfinite(self._checkpoint_seconds):
            yield self._checkpoint()
        if ledger.complete:
            yield from self._evaluate_ended(self._stepper, ledger.places)
        yield ledger.result(self._seconds + self._stepper.watch.seconds())

    def _until(self, first: int) -> int:
        """Return the row before which something is to be done between updates."""
        ends = [first + CHUNK_ROWS, self._ledger.full_rows]
        intervals = [self._block.rules.evaluate_every]
        if self._patience is not None:
            intervals.append(self._patience.frequency)
            last = self._patience.last_updates()[self._ledger.places]
            ends += [int(last.min())] if last.min() > first else []
        ends += [(first // every + 1) * every for every in intervals if every is not None]
        return min(ends)

    def _between(self, first: int, until: int) -> Iterator[Record]:
        """Do what is due after the updates of a chunk."""
        ledger, every = self._ledger, self._block.rules.evaluate_every
        updates = min(until, self._block.iterations)
        if updates <= first:  # the row after the last update
            return
        if self._patience is not None and updates % self._patience.frequency == 0:
            yield from self._look(self._patience, updates)
        if every is not None and updates % every == 0 and updates < self._block.iterations:
            yield from self._evaluate(self._stepper, ledger.places, updates)
        if self._patience is not None:
            running = ledger.places[ledger.running[ledger.places]]
            ended = running[self._patience.last_updates()[running] <= updates]
            if ended.size:
                ledger.stop(ended)
                indices = np.flatnonzero(np.isin(ledger.places, ended))
                yield from self._evaluate_ended(self._stepper.part(indices), ended)

    def _look(self, patience: Patience, updates: int) -> Iterator[Record]:
        """Show early stopping the validation errors."""
        places = self._ledger.places
        with self._device.quiet():
            loss, error = self._stepper.evaluate(VALIDATION)
        errors = np.full(len(self._block.lanes), np.nan)
        errors[places] = np.where(self._ledger.running[places], error, np.nan)
        self._stepper.keep_best(patience.look(updates, errors)[places])
        self._ledger.keep_best(places, patience.best_updates[places])
        yield from self._rows(places, updates, VALIDATION, loss, error)

    def _evaluate(
        self, stepper: Stepper, places: np.ndarray, updates: int, *, ended: bool = False
    ) -> Iterator[Record]:
        """Evaluate all splits with the parameters as they stand."""
        for split in self._splits:
            with self._device.quiet():
                loss, error = stepper.evaluate(split)
            yield from self._rows(places, updates, split, loss, error, ended=ended)

    def _evaluate_stopped(self, before: Stepper, first: int) -> Iterator[Record]:
        """Evaluate lanes that met a rule in the chunk just entered, as they were at that row.

        ``before`` holds all lanes at row ``first``: the updates up to that row are made once more.
        """
        stopped = self._ledger.stopped(self._ledger.places)
        updates = self._ledger.updates(stopped)
        for made in np.unique(updates).tolist():
            places = stopped[updates == made]
            again = before.part(np.flatnonzero(np.isin(self._ledger.places, places)))
            if made > first:
                with self._device.quiet():
                    again.advance(first, made - first)
            yield from self._evaluate(again, places, made, ended=True)

    def _evaluate_ended(self, stepper: Stepper, places: np.ndarray) -> Iterator[Record]:
        """Evaluate lanes at their end; with early stopping, where their validation was best."""
        updates = self._ledger.updates(places)
        splits = self._splits
        if self._patience is not None and np.isfinite(self._patience.best[places]).all():
            updates = self._patience.best_updates[places]
            splits = tuple(split for split in splits if split != VALIDATION)  # seen there already
        for split in splits:
            with self._device.quiet():
                loss, error = stepper.evaluate(split, best=True)
            for made in np.unique(updates).tolist():
                some = updates == made
                rows = places[some], made, split, loss[some], error[some]
                yield from self._rows(*rows, ended=True)

    def _rows(
        self,
        places: np.ndarray,
        updates: int,
        split: str,
        loss: np.ndarray,
        error: np.ndarray,
        *,
        ended: bool = False,
    ) -> Iterator[Record]:
        """Yield the evaluations of lanes that are running, or also of those that have ended.

        What was evaluated before, for another reason, is left out.
        """
        new = [(split, updates) not in self._seen[place] for place in places.tolist()]
        kept = (self._ledger.running[places] | ended) & np.array(new, dtype=bool)
        for place in places[kept].tolist():
            self._seen[place].add((split, updates))
        if kept.any():
            numbers = self._ledger.numbers[places[kept]]
            yield EvaluationRows(
                self._block.number, numbers, updates, split, loss[kept], error[kept]
            )

    def _let_go(self) -> None:
        """Go on without the lanes that have ended."""
        kept = np.flatnonzero(self._ledger.running[self._ledger.places])
        if kept.size < self._ledger.places.size:
            self._ledger.part(kept)
            self._seconds += self._stepper.watch.seconds()
            if kept.size:
                self._stepper = self._stepper.part(kept)
            else:
                self._stepper.watch = self._device.stopwatch()


def _named(arrays: Mapping[str, np.ndarray], group: str) -> dict[str, np.ndarray]:
    """Return the arrays whose names begin with a group's, without it."""
    return {
        name.removeprefix(f"{group}/"): array
        for name, array in arrays.items()
        if name.startswith(f"{group}/")
    }
