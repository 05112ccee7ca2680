"""LAMB: Adam's direction with a learning rate for each tensor."""

import numpy as np

from optbench.optimizers.base import HostColumns, Optimizer, UpdateContext
from optbench.optimizers.rules.layerwise import (
    adam_columns,
    adam_direction,
    adam_moments,
    scale_tensors,
    trust_ratios,
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
    work_arrays = 3
    source = "You, Li, Reddi et al., ICLR 2020"
    partner = "optax.lamb"

    def columns(self, hyperparameters: HostColumns, updates: range) -> dict[str, np.ndarray]:
        """Return the columns of some updates, with Adam's bias corrections."""
        same = {name: hyperparameters[name] for name in ("lr", "eps", "weight_decay")}
        return {**same, **adam_columns(hyperparameters, updates)}

    def step(self, context: UpdateContext) -> None:
        """Update the moments in one pass, then each tensor of each lane by its own ratio."""
        columns, state, work = context.columns, context.state, context.work
        w, g = context.params.rows, context.grads.rows
        work.begin("update")
        update, square, square_of_update = (work.take_like(w) for _ in range(3))
        context.elementwise(
            self.direct,
            [state["mean"], g, state["mean_square"], w, update, square, square_of_update],
            {name: column for name, column in columns.items() if name != "lr"},
        )
        ratios = trust_ratios(square, square_of_update, context.tensors, work)
        scale_tensors(update, columns["lr"] * ratios, context.tensors, work)
        context.elementwise(self.move, [w, update], {})

    @staticmethod
    def direct(m, g, v, w, u, of_w, of_u, *, rate1, rate2, scale1, scale2, eps, weight_decay, xp):
        """Return m, v, w as it is, u and the squares of w and u, (lanes, parameters) each."""
        m, v = adam_moments(m, g, v, rate1=rate1, rate2=rate2, xp=xp)
        direction = adam_direction(m, v, scale1=scale1, scale2=scale2, eps=eps, xp=xp)
        u = direction + weight_decay * w
        return m, v, w, u, w * w, u * u

    @staticmethod
    def move(w, u, *, xp):
        """Return w − u, of shape (lanes, parameters)."""
        return (w - u,)
