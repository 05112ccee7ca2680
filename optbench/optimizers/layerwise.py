"""Rules that scale each tensor's step by the norm of its parameters: LARS and LAMB.

Norms are Euclidean, of one tensor of one lane; nothing is summed over tensors or lanes. Each
variable of a function is a tensor of its own.
"""

import numpy as np

from optbench.arrays import Array, Namespace, inner, stack
from optbench.optimizers.base import (
    HostColumns,
    Hyperparameter,
    Optimizer,
    Step,
    fraction,
    powers,
)


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


class LARS(Optimizer):
    """LARS: momentum with a learning rate per tensor, in proportion to the size of its parameters.

    Of each tensor w of a lane::

        u ← g + weight_decay·w
        r ← trust·‖w‖/(‖u‖ + eps)      r is 1 where ‖w‖ or ‖u‖ is 0
        v ← momentum·v + lr·r·u        v is 0 at the start
        w ← w − v

    The same as ``optax.lars``. The paper has r = trust·‖w‖/(‖g‖ + weight_decay·‖w‖), which is the
    same without weight decay, and says nothing of w = 0. All tensors are treated alike; some
    recipes leave biases and normalisation out. The learning rate stands inside v, as in
    ``momentum``. The step relative to w is lr·trust, and 1/(1 − momentum) times that in the long
    run; ``lr`` has no default in optax.

    Source: Y. You, I. Gitman and B. Ginsburg, "Large batch training of convolutional networks",
    arXiv:1708.03888 (2017).
    """

    name = "lars"
    summary = "u ← g + λw;  v ← momentum·v + lr·trust·‖w‖/‖u‖·u;  w ← w − v, per tensor"
    hyperparameters = (
        Hyperparameter("lr", 1.0, "learning rate, before the trust ratio"),
        fraction("momentum", 0.9, "share of the velocity kept"),
        Hyperparameter("weight_decay", 0.0, "λ, share of w added to the gradient"),
        Hyperparameter("trust", 0.001, "trust coefficient: size of a step relative to ‖w‖"),
        Hyperparameter("eps", 0.0, "added to the norm of the update"),
    )
    slots = ("velocity",)
    source = "You, Gitman and Ginsburg 2017, arXiv:1708.03888"
    partner = "optax.lars"

    def step(self, step: Step) -> None:
        """Update each tensor of each lane by its own ratio."""
        xp, columns = step.xp, step.columns
        velocities = stack(step.state["velocity"], step.tensors, xp).views
        for name, w in step.params.views.items():
            update = spread(columns["weight_decay"], w, xp) * w
            update += step.grads.views[name]
            ratio = trust_ratio(w, update, xp, trust=columns["trust"], eps=columns["eps"])
            update *= spread(columns["lr"] * ratio, w, xp)
            velocity = velocities[name]
            velocity *= spread(columns["momentum"], w, xp)
            velocity += update
            w -= velocity


class LAMB(Optimizer):
    """LAMB: Adam's direction with a length per tensor, in proportion to that of its parameters.

    m and v are updated as in Adam; of each tensor w of a lane::

        m ← m + (1 − β₁)(g − m)        m and v are 0 at the start
        v ← v + (1 − β₂)(g² − v)
        u ← m̂/(√v̂ + eps) + weight_decay·w        m̂ = m/(1 − β₁ᵗ), v̂ = v/(1 − β₂ᵗ)
        w ← w − lr·‖w‖/‖u‖·u           the ratio is 1 where ‖w‖ or ‖u‖ is 0

    The same as ``optax.lamb``. This is the paper's algorithm 2 with φ(z) = z; implementations that
    clip ‖w‖ (to at most 10, in several) or clip the gradient first differ. All tensors are treated
    alike. ``lr`` has no default in optax; it is the step relative to the size of w.

    Source: Y. You, J. Li, S. Reddi et al., "Large batch optimization for deep learning: training
    BERT in 76 minutes", ICLR 2020.
    """

    name = "lamb"
    summary = "u ← m̂/(√v̂ + eps) + λw, m and v as in Adam;  w ← w − lr·‖w‖/‖u‖·u, per tensor"
    hyperparameters = (
        Hyperparameter("lr", 0.001, "learning rate: size of a step relative to ‖w‖"),
        fraction("beta1", 0.9, "share of the mean gradient kept"),
        fraction("beta2", 0.999, "share of the mean square kept"),
        Hyperparameter("eps", 1e-6, "added to the root, outside it, after bias correction"),
        Hyperparameter("weight_decay", 0.0, "λ, share of w added to Adam's direction"),
    )
    slots = ("mean", "mean_square")
    source = "You, Li, Reddi et al., ICLR 2020"
    partner = "optax.lamb"

    def columns(self, hyperparameters: HostColumns, updates: range) -> dict[str, np.ndarray]:
        """Return the columns of some updates, with Adam's bias corrections."""
        same = {name: hyperparameters[name] for name in ("lr", "eps", "weight_decay")}
        return {**same, **adam_columns(hyperparameters, updates)}

    def step(self, step: Step) -> None:
        """Update the moments in one pass, then each tensor of each lane by its own ratio."""
        xp, columns, state = step.xp, step.columns, step.state
        rates = {name: columns[name] for name in ("rate1", "rate2")}
        step.elementwise(
            adam_moments, [state["mean"], step.grads.rows, state["mean_square"]], rates
        )
        means = stack(state["mean"], step.tensors, xp).views
        squares = stack(state["mean_square"], step.tensors, xp).views
        for name, w in step.params.views.items():
            scales = {each: spread(columns[each], w, xp) for each in ("scale1", "scale2", "eps")}
            update = adam_direction(means[name], squares[name], **scales, xp=xp)
            update += spread(columns["weight_decay"], w, xp) * w
            update *= spread(columns["lr"] * trust_ratio(w, update, xp), w, xp)
            w -= update


LAYERWISE = (LARS, LAMB)
"""The optimizers of this file, from simple to complex."""
