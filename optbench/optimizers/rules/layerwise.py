"""What rules share that look at tensors: trust ratios, Adam's columns."""

from collections.abc import Sequence

import numpy as np

from optbench.arrays import Array, Namespace, Tensor, Workspace
from optbench.optimizers.base import HostColumns, powers


def trust_ratios(
    squares: Array,
    squares_of_update: Array,
    tensors: Sequence[Tensor],
    work: Workspace,
    *,
    trust: Array | float = 1.0,
    eps: Array | float = 0.0,
) -> Array:
    """Return trust·‖w‖/(‖u‖ + eps) of each tensor, shape (lanes, tensors); 1 where a norm is 0.

    The squares are those of the entries of w and u, (lanes, parameters); ``trust`` and ``eps`` may
    be columns (lanes or 1, 1).
    """
    xp = work.xp
    of_params = xp.sqrt(work.tensor_sums(squares, tensors))
    of_update = xp.sqrt(work.tensor_sums(squares_of_update, tensors))
    one = xp.ones_like(of_params)
    defined = (of_params != 0.0) & (of_update != 0.0)
    ratio = trust * of_params / xp.where(defined, of_update + eps, one)
    return xp.where(defined, ratio, one)


def scale_tensors(rows: Array, factors: Array, tensors: Sequence[Tensor], work: Workspace) -> None:
    """Multiply rows (lanes, parameters) in place by factors of their tensors, (lanes, tensors)."""
    end = 0
    for place, tensor in enumerate(tensors):
        start, end = end, end + tensor.size
        part = rows[:, start:end]
        work.into(part, work.xp.multiply, part, factors[:, place : place + 1])


def adam_columns(hyperparameters: HostColumns, updates: range) -> dict[str, np.ndarray]:
    """Return what :func:`adam_moments` and :func:`adam_direction` need, of ``beta1``, ``beta2``.

    ``rate1``, ``rate2`` are 1 − β; ``scale1`` is 1/(1 − β₁ᵗ) and ``scale2`` is 1/√(1 − β₂ᵗ).
    """
    beta1, beta2 = hyperparameters["beta1"], hyperparameters["beta2"]
    return {
        "rate1": 1.0 - beta1,
        "rate2": 1.0 - beta2,
        "scale1": 1.0 / (1.0 - powers(beta1, updates)),
        "scale2": 1.0 / np.sqrt(1.0 - powers(beta2, updates)),
    }


def adam_moments(
    m: Array, g: Array, v: Array, *, rate1: Array, rate2: Array, xp: Namespace
) -> tuple[Array, ...]:
    """Return m + (1 − β₁)(g − m) and v + (1 − β₂)(g² − v), the shape of m; an element-wise rule."""
    return m + rate1 * (g - m), v + rate2 * (g * g - v)


def adam_direction(
    m: Array, v: Array, *, scale1: Array, scale2: Array, eps: Array, xp: Namespace
) -> Array:
    """Return m̂/(√v̂ + eps) with m̂ = m/(1 − β₁ᵗ) and v̂ = v/(1 − β₂ᵗ), the shape of m."""
    return m * scale1 / (xp.sqrt(v) * scale2 + eps)
