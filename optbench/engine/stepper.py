"""The arrays of lanes that are stepped together, and what happens in a step."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from optbench.arrays import Array, Stacked, stack
from optbench.device.base import Device
from optbench.device.stopwatch import Stopwatch
from optbench.engine.block import Block, Held, Rows
from optbench.engine.recorder import Recorder
from optbench.optimizers.base import Lanes, UpdateContext, at_row
from optbench.optimizers.modifiers import Common
from optbench.problems.base import Losses
from optbench.rng import ITERATIONS_PER_BLOCK


class Stepper:
    """Lanes of a block, stepped together.

    Parameters
    ----------
    block
        The lanes, their problem and their optimizer.
    device
        What computes.
    held
        What the lanes carry; by default they are at their start.

    Attributes
    ----------
    watch
        Times gradients and updates. Recording, the second forward pass of ``record = "after"`` and
        evaluation are left out.
    """

    def __init__(self, block: Block, device: Device, held: Held | None = None) -> None:
        problem = block.problem
        self._block = block
        self._device = device
        self.watch: Stopwatch = device.stopwatch()
        self._work = device.workspace()
        self._params, self._grads = self._zeros(), self._zeros()
        self._best: tuple[Array, Array] | None = None
        self._data = {name: device.resident(array) for name, array in problem.data().items()}
        self._drawn = -1
        self._draws: Mapping[str, Array] = {}
        self._hyperparameters = block.hyperparameters
        self._common = Common(
            [lane.hyperparameters for lane in block.lanes],
            list(self._hyperparameters),
            block.iterations,
        )
        self._seeds = seeds = block.seeds
        places = {seed: place for place, seed in enumerate(seeds)}
        seed_of_lane = np.array([places[lane.seed] for lane in block.lanes])
        self._seed_of_lane = device.put(seed_of_lane)
        self._buffers = self._start_of_buffers()
        if held is None:
            starts = np.stack([problem.start(seed) for seed in seeds]).astype(problem.dtype)
            self._params.rows[...] = device.put(starts[seed_of_lane])
        else:
            self._params.rows[...] = held.params
            self._buffers.rows[...] = held.buffers
            self._best = held.best
        self._step = UpdateContext(
            self._params, self._grads, {}, {}, device.elementwise(), problem.tensors, device.xp
        )
        lanes = Lanes(
            self._step,
            [lane.hyperparameters for lane in block.lanes],
            lambda: self._zeros().rows,
            self._put,
            problem.dtype,
        )
        self._updates = block.optimizer.begin(lanes, None if held is None else held.slots)

    def _zeros(self) -> Stacked:
        problem = self._block.problem
        rows = self._device.rows(
            len(self._block.lanes),
            problem.parameters,
            problem.dtype,
            by_coordinate=problem.by_coordinate,
        )
        return stack(rows, problem.tensors, self._device.xp)

    def _start_of_buffers(self) -> Stacked:
        problem, lanes = self._block.problem, len(self._block.lanes)
        count = sum(buffer.size for buffer in problem.buffers)
        rows = self._device.rows(lanes, count, problem.dtype, by_coordinate=False)
        buffers = stack(rows, problem.buffers, self._device.xp)
        for buffer in problem.buffers:
            buffers.views[buffer.name][...] = buffer.start
        return buffers

    def _put(self, column: np.ndarray) -> Array:
        return self._device.put(column.astype(self._block.problem.dtype, copy=False))

    def part(self, places: np.ndarray) -> "Stepper":
        """Return a stepper of the lanes at some places, as they stand, with arrays of its own."""
        lanes = self._block.lanes
        block = replace(self._block, lanes=tuple(lanes[place] for place in places.tolist()))
        index = self._device.put(places)

        def rows(array: Array) -> Array:
            return self._device.xp.take(array, index, axis=0)

        held = Held(
            rows(self._params.rows),
            rows(self._buffers.rows),
            {name: rows(slot) for name, slot in self._updates.state.items()},
            None if self._best is None else (rows(self._best[0]), rows(self._best[1])),
        )
        return Stepper(block, self._device, held)

    @property
    def held(self) -> Held:
        """What the lanes carry, on the device: the arrays themselves, no copies."""
        return Held(self._params.rows, self._buffers.rows, self._updates.state, self._best)

    def keep_best(self, better: np.ndarray) -> None:
        """Remember parameters and buffers of the lanes that are now better than ever."""
        xp = self._device.xp
        now = self._eval_rows(), self._buffers.rows
        if self._best is None:
            self._best = (xp.asarray(now[0], copy=True), xp.asarray(now[1], copy=True))
        else:
            mask = self._device.put(better)[:, None]
            best = self._best
            self._best = (xp.where(mask, now[0], best[0]), xp.where(mask, now[1], best[1]))

    def advance(self, first: int, count: int) -> Rows:
        """Record ``count`` rows from row ``first`` on, and make the updates that belong to them.

        The row after the last update, which only ``record = "before"`` has, makes none.
        """
        problem = self._block.problem
        record = Recorder(
            self._params.rows,
            count,
            self._device,
            self._work,
            penalized=problem.penalized,
            grad_norm=self._block.rules.grad_norm is not None,
        )
        common = self._plan(range(first + 1, first + 1 + count))
        for row in range(count):
            batch = self._batch(first + row)
            updates = first + row < self._block.iterations
            if problem.record == "before":
                record.enter(row, self._gradient(batch) if updates else self._look(batch))
                record.enter_gradient(row, self._grads.rows)
            if updates:
                if problem.record == "after":
                    self._gradient(batch)
                    record.enter_gradient(row, self._grads.rows)
                self._update(row, at_row(common, row))
            if problem.record == "after":
                record.enter(row, self._loss(batch))
        return record.rows(first)

    def evaluate(self, split: str, *, best: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Return the loss and the zero-one error of each lane over a whole split.

        ``best`` takes the parameters that :meth:`keep_best` remembered, where there are any.
        """
        problem, xp = self._block.problem, self._device.xp
        params, buffers = self._params, self._buffers
        if best and self._best is not None:
            params = stack(self._best[0], problem.tensors, xp)
            buffers = stack(self._best[1], problem.buffers, xp)
        elif self._block.optimizer.evaluates_elsewhere:
            params = stack(self._eval_rows(), problem.tensors, xp)
        loss, error = problem.evaluate(
            params, self._data, split, buffers=buffers.views, work=self._work
        )
        return self._device.get(loss), self._device.get(error)

    def _eval_rows(self) -> Array:
        """Return the parameters that evaluations take."""
        return self._updates.eval_params()

    def _gradient(self, batch: Mapping[str, Array]) -> Losses:
        self.watch.start()
        losses = self._block.problem.loss_and_grad(
            self._params, self._grads, batch, buffers=self._buffers.views, work=self._work
        )
        self.watch.stop()
        return losses

    def _update(self, row: int, common: Mapping[str, Array]) -> None:
        self.watch.start()
        self._common.apply_to_gradients(self._step, common)
        self._updates.update(row)
        self.watch.stop()

    def _loss(self, batch: Mapping[str, Array]) -> Losses:
        return self._block.problem.loss(
            self._params, batch, buffers=self._buffers.views, work=self._work
        )

    def _look(self, batch: Mapping[str, Array]) -> Losses:
        """Return the loss after the last update, with the gradient where a rule asks for its norm.

        Buffers stay as they are: they move with updates only.
        """
        if self._block.rules.grad_norm is None:
            return self._loss(batch)
        buffers = self._device.xp.asarray(self._buffers.rows, copy=True)
        losses = self._block.problem.loss_and_grad(
            self._params, self._grads, batch, buffers=self._buffers.views, work=self._work
        )
        self._buffers.rows[...] = buffers
        return losses

    def _plan(self, updates: range) -> dict[str, Array]:
        """Make ready for some updates; return the columns that any optimizer takes.

        Their shapes are (updates, lanes, 1), or have 1 where all updates or lanes are alike.
        """
        hyperparameters = self._common.scheduled(self._hyperparameters, updates)
        self._updates.plan(hyperparameters, updates)
        common = self._common.columns(hyperparameters)
        return {name: self._put(column) for name, column in common.items()}

    def _batch(self, iteration: int) -> dict[str, Array]:
        """Return the batch of an iteration: arrays of shape (lanes, …), or (1, …) if shared."""
        problem, xp = self._block.problem, self._device.xp
        block, row = divmod(iteration, ITERATIONS_PER_BLOCK)
        if block != self._drawn:
            drawn = [problem.draws(seed, block) for seed in self._seeds]
            self._draws = {
                name: self._device.put(np.stack([one[name] for one in drawn], axis=1))
                for name in drawn[0]
            }
            self._drawn = block
        draws = {name: numbers[row, ...] for name, numbers in self._draws.items()}
        batch = problem.batch(self._data, draws, work=self._work)
        if len(self._seeds) in (1, len(self._block.lanes)):
            return batch
        return {
            name: each if each.shape[0] == 1 else xp.take(each, self._seed_of_lane, axis=0)
            for name, each in batch.items()
        }
