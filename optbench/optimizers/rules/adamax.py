"""AdaMax: Adam with the largest gradient in place of the mean square."""

import numpy as np

from optbench.optimizers.base import Elementwise, HostColumns, powers
from optbench.optimizers.rules.moments import BETA1
from optbench.settings import Hyperparameter, fraction


class AdaMax(Elementwise):
    """AdaMax: Adam by the infinity norm.

    ::

        m ← β₁·m + (1 − β₁)·g                  m and u are 0 at the start
        u ← max(β₂·u, |g| + eps)
        w ← w − lr/(1 − β₁ᵗ)·m/u

    ``torch.optim.Adamax`` and ``optax.adamax`` are the same. The paper has no eps, and divides 0 by
    0 where all gradients were 0.

    Source: D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization", ICLR 2015, section
    7.1.
    """

    name = "adamax"
    summary = "m ← mean of g;  u ← max(β₂·u, |g| + eps);  w ← w − lr·m̂/u"
    hyperparameters = (
        Hyperparameter("lr", 0.002, "learning rate"),
        BETA1,
        fraction("beta2", 0.999, "share of the largest gradient kept"),
        Hyperparameter("eps", 1e-8, "added to the size of each gradient"),
    )
    slots = ("mean", "largest")
    source = "Kingma and Ba (2015), arXiv:1412.6980, section 7.1"
    partner = "torch.optim.Adamax"

    def columns(self, hyperparameters: HostColumns, updates: range) -> dict[str, np.ndarray]:
        """Return the columns of some updates, with the bias correction in ``step_size``."""
        beta1 = hyperparameters["beta1"]
        return {
            "step_size": hyperparameters["lr"] / (1.0 - powers(beta1, updates)),
            "rate1": 1.0 - beta1,
            "beta2": hyperparameters["beta2"],
            "eps": hyperparameters["eps"],
        }

    @staticmethod
    def rule(w, g, m, u, *, step_size, rate1, beta2, eps, xp):
        """Return w, m and u, each of shape (lanes, parameters)."""
        m = m + rate1 * (g - m)
        u = xp.maximum(beta2 * u, xp.abs(g) + eps)
        return w - step_size * m / u, m, u
