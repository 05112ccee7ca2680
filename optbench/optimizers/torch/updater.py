"""PyTorch optimizers at work on the lanes of a block."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from typing_extensions import override

from optbench.arrays import Array
from optbench.optimizers.base import HostColumns, Lanes, UpdateContext, Updater
from optbench.optimizers.torch.lanes import Arguments, Layout, Make, TorchLanes
from optbench.optimizers.torch.noise import Noise, noise_of
from optbench.optimizers.torch.state import decode, encode
from optbench.optimizers.torch.trials import Habits

LANES = "lanes"
"""The name of the state of lanes that cannot be saved."""


class _Objective:
    """What lanes minimise, for closures: PyTorch's tensors there, the engine's arrays here."""

    def __init__(self, context: UpdateContext) -> None:
        self._context = context

    def loss(self, lane: int) -> float:
        return float(self._context.loss()[lane])

    def evaluate(self, lane: int, row: Any, grad_row: Any) -> float:
        params, grads = map(self._context.xp.from_dlpack, (row.detach(), grad_row))
        losses, slopes = self._context.evaluate(params[None, :], slice(lane, lane + 1))
        grads[...] = slopes[0, ...]
        return float(losses[0])


class TorchUpdater(Updater):
    """Updates by PyTorch optimizers.

    Where the engine's rows are not stored by lane, lanes have rows of their own, which are copied
    in each update, so that paths do not depend on the number of lanes.

    Parameters
    ----------
    make, arguments, layout
        As of :class:`~optbench.optimizers.torch.lanes.TorchLanes`.
    habits
        What the optimizers need.
    lanes
        The lanes, their parameters as they stand.
    state
        What :attr:`state` gave; None at the start.
    scheduled
        Whether learning rates change from update to update.
    """

    def __init__(
        self,
        make: Make,
        arguments: Sequence[Arguments],
        layout: Layout,
        habits: Habits,
        lanes: Lanes,
        state: Mapping[str, Array] | None,
        *,
        scheduled: bool,
    ) -> None:
        import torch

        self._make = make
        self._arguments = arguments
        self._tensors = lanes.context.tensors
        self._layout = layout
        self._habits = habits
        self._objective = _Objective(lanes.context) if habits.closure else None
        self._seeds = lanes.seeds
        self._xp = lanes.context.xp
        self._rows = lanes.context.params.rows
        self._params = torch.from_dlpack(self._rows)
        self._grads = torch.from_dlpack(lanes.context.grads.rows)
        self._lanes = self._begun(self._by_lane(self._params), self._by_lane(self._grads), state)
        self._scheduled = scheduled
        self._rates: list[list[float]] | None = None
        self._moved = bool(state)

    def _by_lane(self, rows: Any) -> Any:
        """Return rows that are stored by lane: the same, or a copy."""
        import torch

        return rows if rows.is_contiguous() else rows.clone(memory_format=torch.contiguous_format)

    def _begun(self, params: Any, grads: Any, state: Mapping[str, Array] | None) -> TorchLanes:
        given = self._arguments
        noises = [Noise(noise_of(seed), self._habits.draws) for seed in self._seeds]
        lanes = TorchLanes(self._make, given, params, grads, self._tensors, self._layout, noises)
        if state and not self._habits.saved:
            lanes.take(state[LANES].tolist())
        elif state:
            for lane, carried in zip(lanes.lanes, decode(state, len(given)), strict=True):
                lane.restore(carried)
        return lanes

    @override
    def plan(self, hyperparameters: HostColumns, updates: range) -> None:
        if self._scheduled:
            self._rates = hyperparameters["lr"][:, :, 0].tolist()

    @override
    def update(self, row: int) -> None:
        lanes = self._lanes
        if lanes.params is not self._params:
            lanes.params.copy_(self._params)
        if lanes.grads is not self._grads:
            lanes.grads.copy_(self._grads)
        rates = self._rates
        lanes.step(None if rates is None else rates[row if len(rates) > 1 else 0], self._objective)
        if lanes.params is not self._params:
            self._params.copy_(lanes.params)
        self._moved = True

    @property
    @override
    def state(self) -> Mapping[str, Array]:
        """What the optimizers carry, as arrays by name; nothing before the first update.

        What cannot be saved is an array of the lanes themselves, to be copied.
        """
        if not self._moved:
            return {}
        if not self._habits.saved:
            held = np.empty(len(self._lanes.lanes), object)
            held[:] = self._lanes.lanes
            return {LANES: held}
        carried = [lane.carried() for lane in self._lanes.lanes]
        return encode(carried, self._xp.from_dlpack, self._params.device)

    @override
    def eval_params(self) -> Array:
        """Return the parameters that evaluations take, from lanes made for this alone."""
        import torch

        if not self._lanes.switches:
            return self._rows
        params = self._params.clone(memory_format=torch.contiguous_format)
        lanes = self._begun(params, torch.zeros_like(params), self.state)
        lanes.switch("eval")
        return self._xp.from_dlpack(params)
