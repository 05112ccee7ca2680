"""Losses and gradients of a group's lanes at parameters that their optimizer chooses."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from optbench.arrays import Array, Stacked, Workspace, stack
from optbench.device.base import Device
from optbench.device.stopwatch import Stopwatch
from optbench.engine.block import Block
from optbench.optimizers.base import ALL_LANES
from optbench.problems.base import Losses


@dataclass
class CurrentStep:
    """What all groups of a block share in a step: its row in the chunk, its batch, its losses."""

    row: int = 0
    batch: Mapping[str, Array] = field(default_factory=dict)
    losses: Losses | None = None


class Evaluations:
    """What ``loss`` and ``evaluate`` of an :class:`~optbench.optimizers.base.UpdateContext` are.

    Parameters
    ----------
    block, rows
        The block, and the rows of the group.
    buffers
        Of the whole block; evaluations leave them as they are.
    step
        The step that the block is in.
    device
        What computes.
    watch
        Times the updates, and is paused meanwhile.

    Attributes
    ----------
    watch
        Times the evaluations.
    counts
        How many each lane had at each row of the chunk: int64, shape (rows, lanes); None where
        there was none.
    """

    def __init__(
        self,
        block: Block,
        rows: slice,
        buffers: Stacked,
        step: CurrentStep,
        device: Device,
        watch: Stopwatch,
    ) -> None:
        self.watch = device.stopwatch()
        self.counts: np.ndarray | None = None
        self._planned_rows = 0
        self._updates_watch = watch
        self._problem = block.problem
        self._rows = rows
        self._all_buffers = buffers
        self._step = step
        self._device = device
        self._places: dict[int, _Place] = {}

    def plan(self, rows: int) -> None:
        """Count anew, in a chunk of so many rows."""
        self.counts, self._planned_rows = None, rows

    def loss(self) -> Array:
        """Return the losses of the step, shape (lanes,)."""
        assert self._step.losses is not None
        return self._step.losses.total[self._rows]

    def evaluate(self, params: Array, lanes: slice | np.ndarray = ALL_LANES) -> tuple[Array, Array]:
        """Return losses (lanes,) and gradients (lanes, parameters) at other parameters."""
        self._updates_watch.stop()
        self.watch.start()
        # Libraries may call from a thread of theirs, which has settings of its own.
        with self._device.quiet():
            place = self._place(params.shape[0])
            place.params.rows[...] = params
            place.buffers.rows[...] = self._of(self._all_buffers.rows, lanes)
            batch = {
                name: array if array.shape[0] == 1 else self._of(array, lanes)
                for name, array in self._step.batch.items()
            }
            losses = self._problem.loss_and_grad(
                place.params, place.grads, batch, buffers=place.buffers.views, work=place.work
            )
        self._count(lanes)
        self.watch.stop()
        self._updates_watch.start()
        xp = self._device.xp
        return xp.asarray(losses.total, copy=True), xp.asarray(place.grads.rows, copy=True)

    def _count(self, lanes: slice | np.ndarray) -> None:
        if self.counts is None:
            shape = self._planned_rows, self._rows.stop - self._rows.start
            self.counts = np.zeros(shape, np.int64)
        self.counts[self._step.row, lanes] += 1

    def _of(self, array: Array, lanes: slice | np.ndarray) -> Array:
        """Return what some lanes of the group have of an array (lanes of the block, …)."""
        own = array[self._rows, ...]
        if isinstance(lanes, slice):
            return own[lanes, ...]
        return self._device.xp.take(own, self._device.put(lanes), axis=0)

    def _place(self, lanes: int) -> "_Place":
        """Return arrays to evaluate so many lanes in, made when they are first needed."""
        if lanes not in self._places:
            problem, device, xp = self._problem, self._device, self._device.xp
            params, grads = (
                device.rows(
                    lanes, problem.parameters, problem.dtype, by_coordinate=problem.by_coordinate
                )
                for _ in range(2)
            )
            size = sum(buffer.size for buffer in problem.buffers)
            buffers = device.rows(lanes, size, problem.dtype, by_coordinate=False)
            self._places[lanes] = _Place(
                stack(params, problem.tensors, xp),
                stack(grads, problem.tensors, xp),
                stack(buffers, problem.buffers, xp),
                device.workspace(),
            )
        return self._places[lanes]


@dataclass(frozen=True)
class _Place:
    """Where lanes are evaluated: parameters, gradients and buffers of theirs, and work arrays."""

    params: Stacked
    grads: Stacked
    buffers: Stacked
    work: Workspace
