"""Lion: the sign of an interpolated momentum."""

import numpy as np

from optbench.optimizers.base import Elementwise, HostColumns
from optbench.settings import Hyperparameter, fraction


class Lion(Elementwise):
    """Lion: the sign of one mean of the gradients, while another is kept.

    ::

        c = β₁·m + (1 − β₁)·g                  m is 0 at the start
        w ← w − lr·(sign(c) + weight_decay·w)
        m ← β₂·m + (1 − β₂)·g

    ``optax.lion`` is the same, weight_decay = 0.001 included; the authors' code has 0. The paper's
    advice is a learning rate 3 to 10 times smaller than AdamW's.

    Source: X. Chen et al., "Symbolic discovery of optimization algorithms", NeurIPS 2023,
    algorithm 2.
    """

    name = "lion"
    summary = "c = β₁·m + (1−β₁)·g;  w ← w − lr·(sign(c) + λ·w);  m ← β₂·m + (1−β₂)·g"
    hyperparameters = (
        Hyperparameter("lr", 1e-4, "length of a step in every direction"),
        fraction("beta1", 0.9, "share of the mean in the step"),
        fraction("beta2", 0.99, "share of the mean kept"),
        Hyperparameter("weight_decay", 0.001, "share of w taken off a step, times lr"),
    )
    slots = ("mean",)
    source = "Chen et al. (2023), arXiv:2302.06675"
    partner = "optax.lion"

    def columns(self, hyperparameters: HostColumns, updates: range) -> dict[str, np.ndarray]:
        """Return the columns, with lr·weight_decay as ``decay``."""
        lr, beta1, beta2 = (hyperparameters[name] for name in ("lr", "beta1", "beta2"))
        return {
            "lr": lr,
            "beta1": beta1,
            "rate1": 1.0 - beta1,
            "beta2": beta2,
            "rate2": 1.0 - beta2,
            "decay": lr * hyperparameters["weight_decay"],
        }

    @staticmethod
    def rule(w, g, m, *, lr, beta1, rate1, beta2, rate2, decay, xp):
        """Return w and m, both of shape (lanes, parameters)."""
        step = xp.sign(beta1 * m + rate1 * g)
        return w - (lr * step + decay * w), beta2 * m + rate2 * g
