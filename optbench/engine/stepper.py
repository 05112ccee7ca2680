"""The arrays of lanes that are stepped together, and what happens in a step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from optbench.arrays import Array, Stacked, stack
from optbench.device.base import Device
from optbench.engine.block import Block
from optbench.engine.evaluations import CurrentStep
from optbench.engine.recorder import Recorder, TraceRows
from optbench.engine.updates import Updates
from optbench.optimizers.base import UpdateContext
from optbench.problems.base import Losses
from optbench.rng import ITERATIONS_PER_BLOCK


@dataclass(frozen=True)
class LaneState:
    """What lanes carry from step to step, one row per lane."""

    params: Array
    buffers: Array
    slots: Sequence[Mapping[str, Array]]  # the optimizer's state by name, of each group
    best: tuple[Array, Array] | None  # params and buffers of the smallest validation error so far


class Stepper:
    """Lanes of a block, stepped together.

    Batch, loss and gradient are computed for all of them at once; then each group's rule updates
    its own rows.

    Parameters
    ----------
    block
        The lanes, their problem and their optimizers.
    device
        What computes.
    state
        What the lanes carry; None at their start.
    """

    def __init__(self, block: Block, device: Device, state: LaneState | None = None) -> None:
        problem = block.problem
        self._block = block
        self._device = device
        self._watch = device.stopwatch()
        self._work = device.workspace()
        self._params, self._grads = self._zeros(), self._zeros()
        self._best: tuple[Array, Array] | None = None
        self._data = {name: device.resident(array) for name, array in problem.data().items()}
        self._drawn_block = -1
        self._draws: Mapping[str, Array] = {}
        self._seeds = seeds = block.seeds
        places = {seed: place for place, seed in enumerate(seeds)}
        seed_of_lane = np.array([places[lane.seed] for lane in block.lanes])
        self._seed_of_lane = device.put(seed_of_lane)
        self._buffers = self._empty_buffers()
        if state is None:
            starts = np.stack([problem.start(seed) for seed in seeds]).astype(problem.dtype)
            self._params.rows[...] = device.put(starts[seed_of_lane])
            self._begin_buffers(seed_of_lane)
        else:
            self._params.rows[...] = state.params
            self._buffers.rows[...] = state.buffers
            self._best = state.best
        context = UpdateContext(
            self._params,
            self._grads,
            {},
            {},
            device.elementwise(),
            problem.tensors,
            device.xp,
            self._work,
        )
        slots: Sequence[Mapping[str, Array] | None]
        slots = [None] * len(block.groups) if state is None else state.slots
        self._step = CurrentStep()
        self._updates = [
            Updates(
                block,
                group,
                rows,
                context,
                device,
                slots_of_group,
                self._buffers,
                self._step,
            )
            for group, rows, slots_of_group in zip(block.groups, block.slices, slots, strict=True)
        ]

    def _zeros(self) -> Stacked:
        problem = self._block.problem
        rows = self._device.rows(
            len(self._block.lanes),
            problem.parameters,
            problem.dtype,
            by_coordinate=problem.by_coordinate,
        )
        return stack(rows, problem.tensors, self._device.xp)

    def _empty_buffers(self) -> Stacked:
        problem, lanes = self._block.problem, len(self._block.lanes)
        size = sum(buffer.size for buffer in problem.buffers)
        rows = self._device.rows(lanes, size, problem.dtype, by_coordinate=False)
        return stack(rows, problem.buffers, self._device.xp)

    def _begin_buffers(self, seed_of_lane: np.ndarray) -> None:
        problem = self._block.problem
        starts = [problem.start_buffers(seed) for seed in self._seeds] if problem.buffers else []
        for buffer in problem.buffers:
            of_seeds = np.stack([start[buffer.name] for start in starts]).astype(problem.dtype)
            self._buffers.views[buffer.name][...] = self._device.put(of_seeds[seed_of_lane])

    @property
    def state(self) -> LaneState:
        """What the lanes carry, on the device: the arrays themselves, no copies."""
        slots = [updates.state for updates in self._updates]
        return LaneState(self._params.rows, self._buffers.rows, slots, self._best)

    @property
    def resumable(self) -> bool:
        """Whether the lanes can go on from what is saved."""
        return not any(_is_held(array) for slots in self.state.slots for array in slots.values())

    def take_seconds(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the time since the last call that went into gradients and into updates.

        Each is shared among the lanes that it was spent on: float64, shape (lanes,). Recording, the
        second forward pass of ``record = "after"`` and evaluation are left out.
        """
        lanes = len(self._block.lanes)
        gradient, update = np.full(lanes, self._watch.take() / lanes), np.empty(lanes)
        for updates, rows in zip(self._updates, self._block.slices, strict=True):
            update[rows] = updates.watch.take() / (rows.stop - rows.start)
            gradient[rows] += updates.gradient_watch.take() / (rows.stop - rows.start)
        return gradient, update

    def subset(self, indices: np.ndarray) -> "Stepper":
        """Return a stepper of the lanes at increasing indices, with arrays of its own."""
        state, best = self.state, self._best

        def taken(array: Array, chosen: np.ndarray) -> Array:
            if _is_held(array):
                return array[chosen]
            return self._device.xp.take(array, self._device.put(chosen), axis=0)

        slots = []
        for slots_of_group, rows in zip(state.slots, self._block.slices, strict=True):
            chosen = indices[(indices >= rows.start) & (indices < rows.stop)] - rows.start
            if chosen.size:
                slots.append({name: taken(slot, chosen) for name, slot in slots_of_group.items()})
        copied = LaneState(
            taken(state.params, indices),
            taken(state.buffers, indices),
            slots,
            None if best is None else (taken(best[0], indices), taken(best[1], indices)),
        )
        return Stepper(self._block.subset(indices.tolist()), self._device, copied)

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
            for updates in self._updates:
                updates.plan(range(first + 1, first + 1 + count))
            for row in range(count):
                batch = self._batch(first + row)
                is_updated = first + row < self._block.iterations
                losses = self._gradient(batch) if is_updated else self._final_losses(batch)
                recorder.record_gradient(row, self._grads.rows)
                if problem.record == "before":
                    recorder.record(row, losses)
                if is_updated:
                    self._step.row, self._step.batch, self._step.losses = row, batch, losses
                    for updates in self._updates:
                        updates.update(row)
                if problem.record == "after":
                    recorder.record(row, self._losses(batch))
            return recorder.fetch(first, self._evaluations(count))

    def _evaluations(self, count: int) -> np.ndarray | None:
        """Return how often rules evaluated each lane in so many rows; None where none did."""
        found = [updates.evaluations for updates in self._updates]
        if all(counts is None for counts in found):
            return None
        counts = np.zeros((count, len(self._block.lanes)), np.int64)
        for own, rows in zip(found, self._block.slices, strict=True):
            counts[:, rows] = 0 if own is None else own
        return counts

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
            elif any(group.optimizer.evaluates_elsewhere for group in self._block.groups):
                params = stack(self._eval_params(), problem.tensors, xp)
            loss, error = problem.evaluate(
                params, self._data, split, buffers=buffers.views, work=self._work
            )
            return self._device.get(loss), self._device.get(error)

    def keep_best(self, better: np.ndarray) -> None:
        """Remember parameters and buffers of the lanes that are now better than ever."""
        xp = self._device.xp
        params, buffers = self._eval_params(), self._buffers.rows
        if self._best is None:
            self._best = (xp.asarray(params, copy=True), xp.asarray(buffers, copy=True))
        else:
            mask = self._device.put(better)[:, None]
            best = self._best
            self._best = (xp.where(mask, params, best[0]), xp.where(mask, buffers, best[1]))

    def _eval_params(self) -> Array:
        """Return the parameters that evaluations take, shape (lanes, parameters)."""
        return self._device.xp.concat([updates.eval_params() for updates in self._updates])

    def _gradient(self, batch: Mapping[str, Array]) -> Losses:
        """Compute the gradient, and return the loss that comes with it."""
        self._watch.start()
        losses = self._loss_and_grad(batch)
        self._watch.stop()
        return losses

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


def _is_held(array: Array) -> bool:
    """Say whether an array holds objects of the lanes, which stay on the host."""
    return isinstance(array, np.ndarray) and array.dtype == object
