"""What rules share that look at tensors: norms, trust ratios, Adam's direction."""

import numpy as np

from optbench.arrays import Array, Namespace, inner
from optbench.optimizers.base import HostColumns, powers


def norm(a: Array, xp: Namespace) -> Array:
    """Return the Euclidean norm of an array (lanes, …) within each lane, shape (lanes, 1)."""
    return xp.sqrt(inner(a, a, xp))


def spread(column: Array, like: Array, xp: Namespace) -> Array:
    """Return a column (lanes or 1, 1) in the number of dimensions of an array (lanes, …)."""
    return xp.reshape(column, (column.shape[0],) + (1,) * (like.ndim - 1))


def trust_ratio(
    w: Array, update: Array, xp: Namespace, *, trust: Array | float = 1.0, eps: Array | float = 0.0
) -> Array:
    """Return trust·‖w‖/(‖update‖ + eps) of each lane, shape (lanes, 1); 1 where a norm is 0."""
    of_params, of_update = norm(w, xp), norm(update, xp)
    one = xp.ones_like(of_params)
    defined = (of_params != 0.0) & (of_update != 0.0)
    ratio = trust * of_params / xp.where(defined, of_update + eps, one)
    return xp.where(defined, ratio, one)


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
    """Return m̂/(√v̂ + eps) with m̂ = m/(1 − β₁ᵗ) and v̂ = v/(1 − β₂ᵗ), a new array like m."""
    root = xp.sqrt(v)
    root *= scale2
    root += eps
    direction = m * scale1
    direction /= root
    return direction
