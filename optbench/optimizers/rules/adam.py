"""Adam, as the textbook and as its paper have it."""

import numpy as np

from optbench.optimizers.base import Elementwise, HostColumns
from optbench.optimizers.rules.moments import (
    ADAM_LR,
    BETA1,
    BETA2,
    BIAS_CORRECTION,
    BIAS_PLACE,
    correction,
    either,
)
from optbench.settings import Hyperparameter


class Adam(Elementwise):
    """Adam.

    ::

        m ← m + (1 − β₁)(g − m)        m and v are 0 at the start
        v ← v + (1 − β₂)(g² − v)
        w ← w − lr·√c₂/c₁·m/(√v + eps)         with eps_place = uncorrected
        w ← w − lr·(m/c₁)/(√(v/c₂) + eps)      with eps_place = corrected

    with cᵢ = 1 − βᵢᵗ in update t = 1, 2, …, or cᵢ = 1 if bias_correction = 0.

    Uncorrected is the efficient form in section 2 of the paper, which the textbook has, with eps =
    1e-7: eps is added to √v before the bias is corrected. Corrected is algorithm 1 of the paper:
    ``torch.optim.Adam`` and ``optax.adam``, with eps = 1e-8 (``adam-torch``). The second is the
    first with eps·√c₂ in place of eps, so early in a run its eps weighs less.

    Source: D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization", ICLR 2015; K.
    Saitoh, "Deep Learning from Scratch", section 6.1.6.
    """

    name = "adam"
    summary = "m, v ← means of g, g²;  w ← w − lr·√(1−β₂ᵗ)/(1−β₁ᵗ)·m/(√v + eps)"
    hyperparameters = (
        ADAM_LR,
        BETA1,
        BETA2,
        Hyperparameter("eps", 1e-7, "added to the root, outside it"),
        BIAS_PLACE,
        BIAS_CORRECTION,
    )
    slots = ("mean", "mean_square")
    source = "Kingma and Ba (2015), arXiv:1412.6980, section 2"

    def columns(self, hyperparameters: HostColumns, updates: range) -> dict[str, np.ndarray]:
        """Return the columns of some updates, with the bias corrections in step_size and eps."""
        lr, beta1, beta2, eps = (hyperparameters[name] for name in ("lr", "beta1", "beta2", "eps"))
        corrected = hyperparameters["eps_place"] == BIAS_PLACE.number("corrected")
        first = correction(beta1, hyperparameters, updates)
        root = np.sqrt(correction(beta2, hyperparameters, updates))
        return {
            # The same number in the two forms, each rounded as its own definition is.
            "step_size": either(corrected, lambda: lr * root / first, lambda: lr * (root / first)),
            "rate1": 1.0 - beta1,
            "rate2": 1.0 - beta2,
            "eps": either(corrected, lambda: eps * root, lambda: eps),
        }

    @staticmethod
    def rule(w, g, m, v, *, step_size, rate1, rate2, eps, xp):
        """Return w, m and v, each of shape (lanes, parameters)."""
        m = m + rate1 * (g - m)
        v = v + rate2 * (g * g - v)
        return w - step_size * m / (xp.sqrt(v) + eps), m, v
