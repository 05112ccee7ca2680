"""Starts and gradients a unit of rounding away, to measure how far rounding drifts."""

from collections.abc import Callable
from copy import copy
from typing import Any

import numpy as np

from optbench import rng
from optbench.arrays import Stacked
from optbench.device.base import Device
from optbench.problems.base import Arrays, Losses, Problem


def nudged_problem(problem: Problem, nudge: int, device: Device) -> Problem:
    """Return a problem whose starts and gradients lie a unit of rounding beside, up or down.

    Starts are those of :func:`nudged_start`. Every gradient that is not 0 changes by a unit of
    rounding of itself, or of the root mean square of its tensor where that is larger: about what a
    sum in another order changes. Nudged starts alone would not show how a rule answers to that if
    it looks at little but signs, where a start of 0 has next to nothing beside it, or where a
    gradient is the rounding of what cancels, as behind a saturated tanh.
    """
    generator = rng.stream(0, f"nudge/{nudge}/gradients")
    unit = float(np.finfo(problem.dtype).eps)
    loss_and_own_grad = type(problem).loss_and_grad

    def loss_and_grad(
        self: Problem, params: Stacked, grads: Stacked, batch: Arrays, **others: Any
    ) -> Losses:
        losses = loss_and_own_grad(self, params, grads, batch, **others)
        for tensor in problem.tensors:
            grad, xp = grads.views[tensor.name], device.xp
            signs = generator.integers(2, size=tensor.shape, dtype=np.int8) * 2.0 - 1.0
            axes = tuple(range(1, grad.ndim))
            typical = xp.sqrt(xp.mean(grad * grad, axis=axes, keepdims=True)) if axes else 0.0
            by = xp.where(grad != 0.0, xp.maximum(xp.abs(grad), typical), 0.0)
            grad += device.put(unit * signs.astype(problem.dtype)) * by
        return losses

    return _changed(nudged_start(problem, nudge), loss_and_grad=loss_and_grad)


def nudged_start(problem: Problem, nudge: int) -> Problem:
    """Return a problem whose starts lie beside: each number is the next one, up or down.

    Which way depends on the seed and on ``nudge``, a number that names the change.
    """

    def start(self: Problem, seed: int) -> np.ndarray:
        own = problem.start(seed).astype(problem.dtype)
        up = rng.stream(seed, f"nudge/{nudge}").integers(2, size=own.size).astype(bool)
        beside: np.ndarray = np.nextafter(own, np.where(up, np.inf, -np.inf).astype(own.dtype))
        return beside.astype(np.float64)

    return _changed(problem, start=start)


def _changed(problem: Problem, **methods: Callable[..., Any]) -> Problem:
    """Return a copy of a problem with some other methods."""
    kind, changed = type(problem), copy(problem)
    changed.__class__ = type(kind.__name__, (kind,), {**methods, "__module__": kind.__module__})
    return changed
