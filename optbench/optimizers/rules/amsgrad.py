"""AMSGrad: Adam with steps divided by the largest mean square so far."""

import numpy as np

from optbench.optimizers.base import Elementwise, HostColumns
from optbench.optimizers.rules.moments import (
    ADAM_EPS,
    ADAM_LR,
    BETA1,
    BETA2,
    BIAS_CORRECTION,
    corrected,
    correction,
)
from optbench.settings import Choice

LARGEST_OF = Choice(
    "largest_of",
    "uncorrected",
    "mean squares, of which the largest counts",
    ("uncorrected", "corrected"),
)


class AMSGrad(Elementwise):
    """AMSGrad: Adam with steps divided by the largest mean square so far.

    ::

        m ← β₁·m + (1 − β₁)·g                  m, v and h are 0 at the start
        v ← β₂·v + (1 − β₂)·g²
        h ← max(h, v)                                  with largest_of = uncorrected
        w ← w − lr·(m/c₁) / (√(h/c₂) + eps)
        h ← max(h, v/c₂)                               with largest_of = corrected
        w ← w − lr·(m/c₁) / (√h + eps)

    with cᵢ = 1 − βᵢᵗ, or 1 if bias_correction = 0. The first is ``torch.optim.Adam`` with
    amsgrad=True. The second is ``optax.amsgrad`` (``amsgrad-optax``): early mean squares count in
    full, so early steps are smaller. The paper corrects no bias. It is a rule of its own beside
    ``adam``, since h is one more array to keep.

    Source: S. J. Reddi, S. Kale and S. Kumar, "On the convergence of Adam and beyond", ICLR 2018,
    algorithm 2.
    """

    name = "amsgrad"
    summary = "m, v ← means of g, g²;  h ← max(h, v);  w ← w − lr·m̂/(√ĥ + eps)"
    hyperparameters = (ADAM_LR, BETA1, BETA2, ADAM_EPS, LARGEST_OF, BIAS_CORRECTION)
    slots = ("mean", "mean_square", "largest_square")
    source = "Reddi et al. (2018), arXiv:1904.09237"
    partner = "torch.optim.Adam"

    def columns(self, hyperparameters: HostColumns, updates: range) -> dict[str, np.ndarray]:
        """Return the columns of some updates; ``share`` is what h is compared with, times v."""
        columns = corrected(hyperparameters, updates)
        before = hyperparameters["largest_of"] == LARGEST_OF.number("corrected")
        c = correction(hyperparameters["beta2"], hyperparameters, updates)
        root = np.where(before, np.sqrt(c), 1.0)
        return {
            **columns,
            "step_size": columns["step_size"] / root,
            "eps": np.where(before, hyperparameters["eps"], columns["eps"]),
            "share": np.where(before, 1.0 / c, 1.0),
        }

    @staticmethod
    def rule(w, g, m, v, h, *, step_size, eps, rate1, beta2, rate2, share, xp):
        """Return w, m, v and h, each of shape (lanes, parameters)."""
        m = m + rate1 * (g - m)
        v = beta2 * v + rate2 * (g * g)
        h = xp.maximum(h, share * v)
        return w - step_size * m / (xp.sqrt(h) + eps), m, v, h
