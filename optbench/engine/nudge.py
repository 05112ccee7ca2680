"""Starts and gradients a unit of rounding away, to measure how far rounding drifts."""

from copy import copy
from typing import Any

import numpy as np

from optbench import rng
from optbench.arrays import Stacked
from optbench.device.base import Device
from optbench.problems.base import Arrays, Losses, Problem


def nudged_problem(problem: Problem, nudge: int, device: Device) -> Problem:
    """Return a problem whose starts and gradients lie a unit of rounding beside, up or down.

    Each number of a start is the next one. Every gradient that is not 0 changes by a unit of
    rounding of itself, or of the root mean square of its tensor where that is larger: about what a
    sum in another order changes. Nudged starts alone would not show how a rule answers to that if
    it looks at little but signs, where a start of 0 has next to nothing beside it, or where a
    gradient is the rounding of what cancels, as behind a saturated tanh.
    """
    up = rng.stream(0, f"nudge/{nudge}/gradients")
    unit = float(np.finfo(problem.dtype).eps)
    kind = type(problem)

    def start(self: Problem, seed: int) -> np.ndarray:
        own = problem.start(seed).astype(problem.dtype)
        above = rng.stream(seed, f"nudge/{nudge}").integers(2, size=own.size).astype(bool)
        beside: np.ndarray = np.nextafter(own, np.where(above, np.inf, -np.inf).astype(own.dtype))
        return beside.astype(np.float64)

    def loss_and_grad(
        self: Problem, params: Stacked, grads: Stacked, batch: Arrays, **others: Any
    ) -> Losses:
        losses = kind.loss_and_grad(self, params, grads, batch, **others)
        for tensor in problem.tensors:
            grad, xp = grads.views[tensor.name], device.xp
            signs = up.integers(2, size=tensor.shape, dtype=np.int8) * 2.0 - 1.0
            axes = tuple(range(1, grad.ndim))
            typical = xp.sqrt(xp.mean(grad * grad, axis=axes, keepdims=True)) if axes else 0.0
            by = xp.where(grad != 0.0, xp.maximum(xp.abs(grad), typical), 0.0)
            grad += device.put(unit * signs.astype(problem.dtype)) * by
        return losses

    found = copy(problem)
    changed = {"start": start, "loss_and_grad": loss_and_grad, "__module__": kind.__module__}
    found.__class__ = type(kind.__name__, (kind,), changed)
    return found


def one_ulp_away(start: np.ndarray, nudge: int, dtype: str) -> np.ndarray:
    """Return a start in which random coordinates lie one unit in the last place away.

    Parameters
    ----------
    start
        float64, shape (parameters,).
    nudge
        Which change to make: about a third of the coordinates goes up, a third down. 0 makes none.
    dtype
        The type whose last place counts; float64 is returned all the same.
    """
    near = start.astype(dtype)
    if nudge:
        directions = rng.stream(nudge, "verify/nudge").integers(-1, 2, size=start.shape)
        bounds = np.copysign(np.inf, directions).astype(dtype)
        near = np.where(directions == 0, near, np.nextafter(near, bounds))
    return near.astype(np.float64)
