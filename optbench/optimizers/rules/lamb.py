"""LAMB: Adam's direction with a learning rate for each tensor."""

import numpy as np

from optbench.arrays import stack
from optbench.optimizers.base import HostColumns, Optimizer, UpdateContext
from optbench.optimizers.rules.layerwise import (
    adam_columns,
    adam_direction,
    adam_moments,
    spread,
    trust_ratio,
)
from optbench.optimizers.rules.moments import BETA1, BETA2
from optbench.settings import Hyperparameter


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
        BETA1,
        BETA2,
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

    def step(self, context: UpdateContext) -> None:
        """Update the moments in one pass, then each tensor of each lane by its own ratio."""
        xp, columns, state = context.xp, context.columns, context.state
        rates = {name: columns[name] for name in ("rate1", "rate2")}
        context.elementwise(
            adam_moments, [state["mean"], context.grads.rows, state["mean_square"]], rates
        )
        means = stack(state["mean"], context.tensors, xp).views
        squares = stack(state["mean_square"], context.tensors, xp).views
        for name, w in context.params.views.items():
            scales = {key: spread(columns[key], w, xp) for key in ("scale1", "scale2", "eps")}
            update = adam_direction(means[name], squares[name], **scales, xp=xp)
            update += spread(columns["weight_decay"], w, xp) * w
            update *= spread(columns["lr"] * trust_ratio(w, update, xp), w, xp)
            w -= update
