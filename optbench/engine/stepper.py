"""The arrays of lanes that are stepped together, and what happens in a step."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from optbench.arrays import Array, Stacked, stack
from optbench.device.base import Device
from optbench.device.stopwatch import Stopwatch
from optbench.engine.block import Block
from optbench.engine.recorder import Recorder, TraceRows
from optbench.optimizers.base import Lanes, UpdateContext, at_row, host_columns
from optbench.optimizers.modifiers import Common
from optbench.problems.base import Losses
from optbench.rng import ITERATIONS_PER_BLOCK


@dataclass(frozen=True)
class LaneState:
    """What lanes carry from step to step, one row per lane."""

    params: Array
    buffers: Array
    slots: Mapping[str, Array]  # the optimizer's state by name
    best: tuple[Array, Array] | None  # params and buffers of the smallest validation error so far


class Stepper:
    """Lanes of a block, stepped together.

    Parameters
    ----------
    block
        The lanes, their problem and their optimizer.
    device
        What computes.
    state
        What the lanes carry; None at their start.

    Attributes
    ----------
    watch
        Times gradients and updates. Recording, the second forward pass of ``record = "after"`` and
        evaluation are left out.
    """

    def __init__(self, block: Block, device: Device, state: LaneState | None = None) -> None:
        problem = block.problem
        self._block = block
        self._device = device
        self.watch: Stopwatch = device.stopwatch()
        self._work = device.workspace()
        self._params, self._grads = self._zeros(), self._zeros()
        self._best: tuple[Array, Array] | None = None
        self._data = {name: device.resident(array) for name, array in problem.data().items()}
        self._drawn_block = -1
        self._draws: Mapping[str, Array] = {}
        self._hyperparameters = host_columns(block.optimizer, block.configurations)
        self._modifiers = Common(
            block.configurations, list(self._hyperparameters), block.iterations
        )
        self._seeds = seeds = block.seeds
        places = {seed: place for place, seed in enumerate(seeds)}
        seed_of_lane = np.array([places[lane.seed] for lane in block.lanes])
        self._seed_of_lane = device.put(seed_of_lane)
        self._buffers = self._initial_buffers()
        if state is None:
            starts = np.stack([problem.start(seed) for seed in seeds]).astype(problem.dtype)
            self._params.rows[...] = device.put(starts[seed_of_lane])
        else:
            self._params.rows[...] = state.params
            self._buffers.rows[...] = state.buffers
            self._best = state.best
        self._context = UpdateContext(
            self._params, self._grads, {}, {}, device.elementwise(), problem.tensors, device.xp
        )
        lanes = Lanes(
            self._context,
            block.configurations,
            lambda: self._zeros().rows,
            self._put,
            problem.dtype,
            [lane.seed for lane in block.lanes],
        )
        self._updater = block.optimizer.begin(lanes, None if state is None else state.slots)

    def _zeros(self) -> Stacked:
        problem = self._block.problem
        rows = self._device.rows(
            len(self._block.lanes),
            problem.parameters,
            problem.dtype,
            by_coordinate=problem.by_coordinate,
        )
        return stack(rows, problem.tensors, self._device.xp)

    def _initial_buffers(self) -> Stacked:
        problem, lanes = self._block.problem, len(self._block.lanes)
        size = sum(buffer.size for buffer in problem.buffers)
        rows = self._device.rows(lanes, size, problem.dtype, by_coordinate=False)
        buffers = stack(rows, problem.buffers, self._device.xp)
        for buffer in problem.buffers:
            buffers.views[buffer.name][...] = buffer.start
        return buffers

    def _put(self, column: np.ndarray) -> Array:
        return self._device.put(column.astype(self._block.problem.dtype, copy=False))

    @property
    def state(self) -> LaneState:
        """What the lanes carry, on the device: the arrays themselves, no copies."""
        return LaneState(self._params.rows, self._buffers.rows, self._updater.state, self._best)

    def subset(self, indices: np.ndarray) -> "Stepper":
        """Return a stepper of some of the lanes, as they stand, with arrays of its own."""
        lanes = tuple(self._block.lanes[index] for index in indices.tolist())
        there, state = self._device.put(indices), self.state

        def rows(array: Array) -> Array:
            return self._device.xp.take(array, there, axis=0)

        copied = LaneState(
            rows(state.params),
            rows(state.buffers),
            {name: rows(slot) for name, slot in state.slots.items()},
            None if state.best is None else (rows(state.best[0]), rows(state.best[1])),
        )
        return Stepper(replace(self._block, lanes=lanes), self._device, copied)

    def advance(self, first: int, count: int) -> TraceRows:
        """Record ``count`` rows from row ``first`` on, and make the updates that belong to them.

        The row after the last update, which only ``record = "before"`` has, makes none.
        """
        problem = self._block.problem
        recorder = Recorder(
            self._params.rows,
            count,
            self._device,
            self._work,
            penalized=problem.penalized,
            grad_norm=self._block.rules.grad_norm is not None,
        )
        with self._device.quiet():
            columns = self._plan(range(first + 1, first + 1 + count))
            for row in range(count):
                batch = self._batch(first + row)
                is_updated = first + row < self._block.iterations
                losses = self._gradient(batch) if is_updated else self._final_losses(batch)
                recorder.record_gradient(row, self._grads.rows)
                if problem.record == "before":
                    recorder.record(row, losses)
                if is_updated:
                    self._update(row, at_row(columns, row))
                if problem.record == "after":
                    recorder.record(row, self._losses(batch))
            return recorder.fetch(first)

    def evaluate(self, split: str, *, best: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Return the loss and the zero-one error of each lane over a whole split.

        ``best`` takes the parameters that :meth:`keep_best` remembered, where there are any.
        """
        problem, xp = self._block.problem, self._device.xp
        params, buffers = self._params, self._buffers
        with self._device.quiet():
            if best and self._best is not None:
                params = stack(self._best[0], problem.tensors, xp)
                buffers = stack(self._best[1], problem.buffers, xp)
            elif self._block.optimizer.evaluates_elsewhere:
                params = stack(self._updater.eval_params(), problem.tensors, xp)
            loss, error = problem.evaluate(
                params, self._data, split, buffers=buffers.views, work=self._work
            )
            return self._device.get(loss), self._device.get(error)

    def keep_best(self, better: np.ndarray) -> None:
        """Remember parameters and buffers of the lanes that are now better than ever."""
        xp = self._device.xp
        params, buffers = self._updater.eval_params(), self._buffers.rows
        if self._best is None:
            self._best = (xp.asarray(params, copy=True), xp.asarray(buffers, copy=True))
        else:
            mask = self._device.put(better)[:, None]
            best = self._best
            self._best = (xp.where(mask, params, best[0]), xp.where(mask, buffers, best[1]))

    def _gradient(self, batch: Mapping[str, Array]) -> Losses:
        """Compute the gradient, and return the loss that comes with it."""
        self.watch.start()
        losses = self._loss_and_grad(batch)
        self.watch.stop()
        return losses

    def _update(self, row: int, columns: Mapping[str, Array]) -> None:
        self.watch.start()
        self._modifiers.apply_to_gradients(self._context, columns)
        self._updater.update(row)
        self.watch.stop()

    def _loss_and_grad(self, batch: Mapping[str, Array]) -> Losses:
        return self._block.problem.loss_and_grad(
            self._params, self._grads, batch, buffers=self._buffers.views, work=self._work
        )

    def _losses(self, batch: Mapping[str, Array]) -> Losses:
        return self._block.problem.loss(
            self._params, batch, buffers=self._buffers.views, work=self._work
        )

    def _final_losses(self, batch: Mapping[str, Array]) -> Losses:
        """Return the loss after the last update, with the gradient where a rule asks for its norm.

        Buffers stay as they are: they move with updates only.
        """
        if self._block.rules.grad_norm is None:
            return self._losses(batch)
        buffers = self._device.xp.asarray(self._buffers.rows, copy=True)
        losses = self._loss_and_grad(batch)
        self._buffers.rows[...] = buffers
        return losses

    def _plan(self, updates: range) -> dict[str, Array]:
        """Prepare some updates; return the columns of what any optimizer takes.

        Their shapes are (updates, lanes, 1), or have 1 where all updates or lanes are alike.
        """
        hyperparameters = self._modifiers.scheduled(self._hyperparameters, updates)
        self._updater.plan(hyperparameters, updates)
        columns = self._modifiers.columns(hyperparameters)
        return {name: self._put(column) for name, column in columns.items()}

    def _batch(self, iteration: int) -> dict[str, Array]:
        """Return the batch of an iteration: arrays of shape (lanes, …), or (1, …) if shared."""
        problem, xp = self._block.problem, self._device.xp
        block, row = divmod(iteration, ITERATIONS_PER_BLOCK)
        if block != self._drawn_block:
            draws = [problem.draws(seed, block) for seed in self._seeds]
            self._draws = {
                name: self._device.put(np.stack([of_seed[name] for of_seed in draws], axis=1))
                for name in draws[0]
            }
            self._drawn_block = block
        draws_of_row = {name: numbers[row, ...] for name, numbers in self._draws.items()}
        batch = problem.batch(self._data, draws_of_row, work=self._work)
        if len(self._seeds) in (1, len(self._block.lanes)):
            return batch
        return {
            name: array if array.shape[0] == 1 else xp.take(array, self._seed_of_lane, axis=0)
            for name, array in batch.items()
        }
