"""AdamW: Adam with decoupled weight decay."""

import numpy as np

from optbench.optimizers.base import Elementwise, HostColumns
from optbench.optimizers.rules.moments import ADAM_EPS, ADAM_LR, BETA1, BETA2, corrected
from optbench.settings import Hyperparameter


class AdamW(Elementwise):
    """AdamW: Adam with decoupled weight decay.

    ::

        m ← β₁·m + (1 − β₁)·g                  m and v are 0 at the start
        v ← β₂·v + (1 − β₂)·g²
        w ← w − lr·weight_decay·w − lr·(m/(1 − β₁ᵗ)) / (√(v/(1 − β₂ᵗ)) + eps)

    ``torch.optim.AdamW`` is the same, weight_decay = 0.01 included; ``optax.adamw`` has 0.0001
    (``adamw-optax``). In the paper the decay is scaled by a schedule without lr. lr·weight_decay·w
    is taken off rather than w multiplied by 1 − lr·weight_decay, which single precision would round
    to few digits.

    Source: I. Loshchilov and F. Hutter, "Decoupled weight decay regularization", ICLR 2019.
    """

    name = "adamw"
    summary = "m, v ← means of g, g²;  w ← w − lr·λ·w − lr·m̂/(√v̂ + eps)"
    hyperparameters = (
        ADAM_LR,
        BETA1,
        BETA2,
        ADAM_EPS,
        Hyperparameter("weight_decay", 0.01, "share of w taken off a step, times lr"),
    )
    slots = ("mean", "mean_square")
    source = "Loshchilov and Hutter (2019), arXiv:1711.05101"
    partner = "torch.optim.AdamW"

    def columns(self, hyperparameters: HostColumns, updates: range) -> dict[str, np.ndarray]:
        """Return the columns of some updates, with lr·weight_decay as ``decay``."""
        decay = hyperparameters["lr"] * hyperparameters["weight_decay"]
        return {**corrected(hyperparameters, updates), "decay": decay}

    @staticmethod
    def rule(w, g, m, v, *, step_size, eps, rate1, beta2, rate2, decay, xp):
        """Return w, m and v, each of shape (lanes, parameters)."""
        m = m + rate1 * (g - m)
        v = beta2 * v + rate2 * (g * g)
        return w - decay * w - step_size * m / (xp.sqrt(v) + eps), m, v
