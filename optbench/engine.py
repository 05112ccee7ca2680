"""The one stepping loop: one block, from start to end.

:func:`run_block` yields records: trace chunks as they come, evaluations at the end, and what became
of every lane. It knows neither which library computes nor who reads the records.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from optbench.arrays import Array, Stacked, stack
from optbench.device import Device
from optbench.lanes import Block
from optbench.ledger import Ledger, Rows
from optbench.optimizers.base import Step
from optbench.records import POSITION_NAMES, EvaluationRows, Record
from optbench.rng import ITERATIONS_PER_BLOCK
from optbench.stopwatch import Stopwatch
from optbench.workspace import Workspace

CHUNK_ROWS = 64
"""Rows that come down from the device together; a block of random numbers holds whole chunks."""


def run_block(
    block: Block, device: Device, cancelled: Callable[[], bool] = lambda: False
) -> Iterator[Record]:
    """Run a block and yield its records.

    Parameters
    ----------
    block
        The lanes, their problem and their optimizer.
    device
        What computes.
    cancelled
        Asked between chunks; once true, the block ends with status ``interrupted``.
    """
    stepper = Stepper(block, device)
    ledger = Ledger(block)
    for first in range(0, ledger.full_rows, CHUNK_ROWS):
        if cancelled() or ledger.all_diverged:
            break
        count = min(CHUNK_ROWS, ledger.full_rows - first)
        with device.quiet():
            rows = stepper.advance(first, count)
        yield ledger.enter(rows)
    if ledger.complete:
        alive = ledger.alive
        for split in block.problem.split_sizes():
            with device.quiet():
                loss, error = stepper.evaluate(split)
            numbers = ledger.numbers[alive]
            yield EvaluationRows(
                block.number, numbers, block.iterations, split, loss[alive], error[alive]
            )
    yield ledger.result(stepper.watch.seconds())


class Stepper:
    """The arrays of a block, and what happens in a step.

    Attributes
    ----------
    watch
        Times gradients and updates. Recording, the second forward pass of ``record = "after"`` and
        evaluation are left out.
    """

    def __init__(self, block: Block, device: Device) -> None:
        problem = block.problem
        self._block = block
        self._device = device
        self.watch: Stopwatch = device.stopwatch()
        self._work = device.workspace()
        self._elementwise = device.elementwise()
        self._params, self._grads = self._zeros(), self._zeros()
        self._state = {name: self._zeros().rows for name in block.optimizer.slots}
        self._data = {name: device.resident(array) for name, array in problem.data().items()}
        self._draws: Mapping[str, Array] = {}
        self._hyperparameters = block.hyperparameters
        self._seeds = seeds = block.seeds
        places = {seed: place for place, seed in enumerate(seeds)}
        seed_of_lane = np.array([places[lane.seed] for lane in block.lanes])
        self._seed_of_lane = device.put(seed_of_lane)
        starts = np.stack([problem.start(seed) for seed in seeds]).astype(problem.dtype)
        self._params.rows[...] = device.put(starts[seed_of_lane])

    def _zeros(self) -> Stacked:
        problem = self._block.problem
        rows = self._device.rows(
            len(self._block.lanes),
            problem.parameters,
            problem.dtype,
            by_coordinate=problem.by_coordinate,
        )
        return stack(rows, problem.tensors, self._device.xp)

    def advance(self, first: int, count: int) -> Rows:
        """Record ``count`` rows from row ``first`` on, and make the updates that belong to them.

        The row after the last update, which only ``record = "before"`` has, makes none.
        """
        problem = self._block.problem
        record = _Recorder(self._params.rows, count, self._device, self._work)
        columns = self._columns(first, count)
        for row in range(count):
            batch = self._batch(first + row)
            updates = first + row < self._block.iterations
            if problem.record == "before":
                record.enter(row, self._gradient(batch) if updates else self._loss(batch))
            if updates:
                if problem.record == "after":
                    self._gradient(batch)
                self._update({name: _row(column, row) for name, column in columns.items()})
            if problem.record == "after":
                record.enter(row, self._loss(batch))
        return record.rows(first)

    def evaluate(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the loss and the zero-one error of each lane over a whole split."""
        loss, error = self._block.problem.evaluate(self._params, self._data, split, work=self._work)
        return self._device.get(loss), self._device.get(error)

    def _gradient(self, batch: Mapping[str, Array]) -> Array:
        self.watch.start()
        loss = self._block.problem.loss_and_grad(self._params, self._grads, batch, work=self._work)
        self.watch.stop()
        return loss

    def _update(self, columns: Mapping[str, Array]) -> None:
        self.watch.start()
        self._block.optimizer.step(
            Step(self._params, self._grads, self._state, columns, self._elementwise)
        )
        self.watch.stop()

    def _loss(self, batch: Mapping[str, Array]) -> Array:
        return self._block.problem.loss(self._params, batch, work=self._work)

    def _columns(self, first: int, count: int) -> dict[str, Array]:
        """Return the columns of ``count`` updates, of shape (count, lanes, 1) or (1, lanes, 1)."""
        updates = range(first + 1, first + 1 + count)
        columns = self._block.optimizer.columns(self._hyperparameters, updates)
        put, dtype = self._device.put, self._block.problem.dtype
        return {name: put(column.astype(dtype, copy=False)) for name, column in columns.items()}

    def _batch(self, iteration: int) -> dict[str, Array]:
        """Return the batch of an iteration: arrays of shape (lanes, …), or (1, …) if shared."""
        problem, xp = self._block.problem, self._device.xp
        block, row = divmod(iteration, ITERATIONS_PER_BLOCK)
        if row == 0:
            drawn = [problem.draws(seed, block) for seed in self._seeds]
            self._draws = {
                name: self._device.put(np.stack([one[name] for one in drawn], axis=1))
                for name in drawn[0]
            }
        draws = {name: numbers[row, ...] for name, numbers in self._draws.items()}
        batch = problem.batch(self._data, draws, work=self._work)
        if len(self._seeds) in (1, len(self._block.lanes)):
            return batch
        return {name: xp.take(each, self._seed_of_lane, axis=0) for name, each in batch.items()}


class _Recorder:
    """Rows of a chunk, kept on the device until the last one is there.

    Parameters
    ----------
    params
        Parameters of all lanes, shape (lanes, parameters), as they stand at each row.
    count
        How many rows.
    """

    def __init__(self, params: Array, count: int, device: Device, work: Workspace) -> None:
        xp = device.xp
        lanes, parameters = params.shape
        self._params, self._device, self._work = params, device, work
        self._loss = xp.zeros((count, lanes), dtype=xp.float64)
        self._position: Array = None
        self._finite: Array = None
        if parameters <= len(POSITION_NAMES):  # by coordinate, as such parameters are stored
            self._position = xp.zeros((count, parameters, lanes), dtype=params.dtype)
        else:
            self._finite = xp.zeros((count, lanes), dtype=xp.bool)

    def enter(self, row: int, loss: Array) -> None:
        """Keep the loss of each lane, shape (lanes,), and what is told of its parameters."""
        xp = self._device.xp
        self._loss[row, :] = xp.astype(loss, xp.float64, copy=False)
        if self._position is not None:
            self._position[row, ...] = xp.permute_dims(self._params, (1, 0))
        else:
            self._work.begin("record")
            each = self._work.take(self._params.shape, xp.bool)
            self._work.into(each, xp.isfinite, self._params)
            self._finite[row, :] = xp.all(each, axis=1)

    def rows(self, first: int) -> Rows:
        """Bring the rows down; ``first`` is the iteration of the first."""
        xp, get = self._device.xp, self._device.get
        position, finite = self._position, self._finite
        if position is not None:
            finite = xp.all(xp.isfinite(position), axis=1)
            position = get(xp.permute_dims(position, (0, 2, 1)))
        return Rows(first, get(self._loss), get(finite & xp.isfinite(self._loss)), position)


def _row(column: Array, row: int) -> Array:
    """Return what of columns (count, lanes, 1) belongs to a row; all rows may share one."""
    return column[row if column.shape[0] > 1 else 0, ...]
