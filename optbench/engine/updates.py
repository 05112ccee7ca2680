"""The updates of one group of lanes: its settings, its rule, and the time that they take."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from optbench.arrays import Array, Stacked, stack
from optbench.device.base import Device
from optbench.device.stopwatch import Stopwatch
from optbench.engine.block import Block, Group
from optbench.engine.evaluations import CurrentStep, Evaluations
from optbench.optimizers.base import Lanes, UpdateContext, at_row, host_columns
from optbench.optimizers.modifiers import Common


class Updates:
    """A rule at work on its own rows of a block.

    Parameters
    ----------
    block, group, rows
        The block, one group of it, and the rows of that group.
    context
        Parameters and gradients of the whole block.
    device
        What computes.
    state
        What :attr:`state` gave; None at the start.
    buffers, step
        Of the whole block.

    Attributes
    ----------
    watch
        Times the updates.
    gradient_watch
        Times the gradients that the rule asks for in addition.
    """

    def __init__(
        self,
        block: Block,
        group: Group,
        rows: slice,
        context: UpdateContext,
        device: Device,
        state: Mapping[str, Array] | None,
        buffers: Stacked,
        step: CurrentStep,
    ) -> None:
        self._problem = problem = block.problem
        self._device = device
        self.watch: Stopwatch = device.stopwatch()
        self._evaluations = evaluations = Evaluations(
            block, rows, buffers, step, device, self.watch
        )
        self.gradient_watch: Stopwatch = evaluations.watch
        self._hyperparameters = host_columns(group.optimizer, group.configurations)
        self._modifiers = Common(
            group.configurations, list(self._hyperparameters), block.iterations
        )
        self._columns: dict[str, Array] = {}
        self._context = replace(
            context,
            params=self._rows_of(context.params, rows),
            grads=self._rows_of(context.grads, rows),
            loss=evaluations.loss,
            evaluate=evaluations.evaluate,
        )

        def zeros() -> Array:
            return device.rows(
                len(group.lanes),
                problem.parameters,
                problem.dtype,
                by_coordinate=problem.by_coordinate,
            )

        lanes = Lanes(
            self._context,
            group.configurations,
            zeros,
            self._put,
            problem.dtype,
            [lane.seed for lane in group.lanes],
        )
        self._updater = group.optimizer.begin(lanes, state)

    def _rows_of(self, stacked: Stacked, rows: slice) -> Stacked:
        """Return some consecutive rows, which share memory with all of them."""
        return stack(stacked.rows[rows, :], self._problem.tensors, self._device.xp)

    def _put(self, column: np.ndarray) -> Array:
        return self._device.put(column.astype(self._problem.dtype, copy=False))

    def plan(self, updates: range) -> None:
        """Prepare some updates, whose numbers are counted from 1."""
        self._evaluations.plan(len(updates))
        hyperparameters = self._modifiers.scheduled(self._hyperparameters, updates)
        self._updater.plan(hyperparameters, updates)
        columns = self._modifiers.columns(hyperparameters)
        self._columns = {name: self._put(column) for name, column in columns.items()}

    def update(self, row: int) -> None:
        """Make one of the planned updates, the first with ``row`` = 0, in place."""
        self.watch.start()
        self._modifiers.apply_to_gradients(self._context, at_row(self._columns, row))
        self._updater.update(row)
        self.watch.stop()

    @property
    def evaluations(self) -> np.ndarray | None:
        """How many evaluations each lane had beside its gradient, in each of the planned updates.

        int64, shape (updates, lanes); None where there was none.
        """
        return self._evaluations.counts

    @property
    def state(self) -> Mapping[str, Array]:
        """All that the rule carries to the next update: arrays (lanes, …) by name."""
        return self._updater.state

    def eval_params(self) -> Array:
        """Return the parameters that evaluations take, shape (lanes, parameters)."""
        return self._updater.eval_params()
