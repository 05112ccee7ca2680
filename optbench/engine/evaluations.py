"""Losses and gradients of a group's lanes at parameters that their optimizer chooses."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from optbench.arrays import Array, Stacked, Workspace, stack
from optbench.device.base import Device
from optbench.device.stopwatch import Stopwatch
from optbench.engine.block import Block
from optbench.problems.base import Losses


@dataclass
class CurrentStep:
    """What all groups of a block share in a step: its batch, and the losses on it."""

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
        self._updates_watch = watch
        self._problem = block.problem
        self._rows = rows
        self._all_buffers = buffers
        self._step = step
        self._device = device
        self._work: Workspace | None = None
        self._arrays: tuple[Stacked, Stacked, Stacked] | None = None

    def loss(self) -> Array:
        """Return the losses of the step, shape (lanes,)."""
        assert self._step.losses is not None
        return self._step.losses.total[self._rows]

    def evaluate(self, params: Array) -> tuple[Array, Array]:
        """Return losses (lanes,) and gradients (lanes, parameters) at other parameters."""
        self._updates_watch.stop()
        self.watch.start()
        # Libraries may call from a thread of theirs, which has settings of its own.
        with self._device.quiet():
            self._work = self._work or self._device.workspace()  # few rules need any
            place, grads, buffers = self._place()
            place.rows[...] = params
            buffers.rows[...] = self._all_buffers.rows[self._rows, :]
            batch = {
                name: array if array.shape[0] == 1 else array[self._rows, ...]
                for name, array in self._step.batch.items()
            }
            losses = self._problem.loss_and_grad(
                place, grads, batch, buffers=buffers.views, work=self._work
            )
        self.watch.stop()
        self._updates_watch.start()
        xp = self._device.xp
        return xp.asarray(losses.total, copy=True), xp.asarray(grads.rows, copy=True)

    def _place(self) -> tuple[Stacked, Stacked, Stacked]:
        """Return arrays for parameters, gradients and buffers, made when they are first needed."""
        if self._arrays is None:
            problem, xp = self._problem, self._device.xp
            lanes = self._rows.stop - self._rows.start
            params, grads = (
                self._device.rows(
                    lanes, problem.parameters, problem.dtype, by_coordinate=problem.by_coordinate
                )
                for _ in range(2)
            )
            size = sum(buffer.size for buffer in problem.buffers)
            buffers = self._device.rows(lanes, size, problem.dtype, by_coordinate=False)
            self._arrays = (
                stack(params, problem.tensors, xp),
                stack(grads, problem.tensors, xp),
                stack(buffers, problem.buffers, xp),
            )
        return self._arrays
