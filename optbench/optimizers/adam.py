"""AMSGrad and AdamW."""

import numpy as np

from optbench.arrays import Array, Namespace
from optbench.optimizers.adaptive import BIAS_CORRECTION, correction
from optbench.optimizers.base import (
    Choice,
    Elementwise,
    HostColumns,
    Hyperparameter,
    fraction,
)

LR = Hyperparameter("lr", 0.001, "learning rate")
BETA1 = fraction("beta1", 0.9, "share of the mean gradient kept")
BETA2 = fraction("beta2", 0.999, "share of the mean square kept")
EPS = Hyperparameter("eps", 1e-8, "added to the root, outside it")
LARGEST_OF = Choice(
    "largest_of",
    "uncorrected",
    "mean squares, of which the largest counts",
    ("uncorrected", "corrected"),
)


def corrected(hyperparameters: HostColumns, updates: range) -> dict[str, np.ndarray]:
    """Return the columns of Adam's moments, with the bias corrected before eps is added.

    lr·(m/b₁)/(√(v/b₂) + eps) with bᵢ = 1 − βᵢᵗ is step_size·m/(√v + eps) with the columns
    step_size = lr·√b₂/b₁ and eps·√b₂, so a rule has no passes for it. A rule may have a
    ``bias_correction``, and bᵢ = 1 where that is 0.

    Returns
    -------
    dict
        ``step_size`` and ``eps`` of shape (updates, lanes or 1, 1); ``rate1`` = 1 − β₁, ``beta2``
        and ``rate2`` = 1 − β₂ of shape (1, lanes, 1).
    """
    beta1, beta2 = hyperparameters["beta1"], hyperparameters["beta2"]
    root = np.sqrt(correction(beta2, hyperparameters, updates))
    return {
        "step_size": hyperparameters["lr"] * root / correction(beta1, hyperparameters, updates),
        "eps": hyperparameters["eps"] * root,
        "rate1": 1.0 - beta1,
        "beta2": beta2,
        "rate2": 1.0 - beta2,
    }


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
    hyperparameters = (LR, BETA1, BETA2, EPS, LARGEST_OF, BIAS_CORRECTION)
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
    def rule(
        w: Array,
        g: Array,
        m: Array,
        v: Array,
        h: Array,
        *,
        step_size: Array,
        eps: Array,
        rate1: Array,
        beta2: Array,
        rate2: Array,
        share: Array,
        xp: Namespace,
    ) -> tuple[Array, ...]:
        """Return w, m, v and h, each of shape (lanes, parameters)."""
        m = m + rate1 * (g - m)
        v = beta2 * v + rate2 * (g * g)
        h = xp.maximum(h, share * v)
        return w - step_size * m / (xp.sqrt(h) + eps), m, v, h


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
        LR,
        BETA1,
        BETA2,
        EPS,
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
    def rule(
        w: Array,
        g: Array,
        m: Array,
        v: Array,
        *,
        step_size: Array,
        eps: Array,
        rate1: Array,
        beta2: Array,
        rate2: Array,
        decay: Array,
        xp: Namespace,
    ) -> tuple[Array, ...]:
        """Return w, m and v, each of shape (lanes, parameters)."""
        m = m + rate1 * (g - m)
        v = beta2 * v + rate2 * (g * g)
        return w - decay * w - step_size * m / (xp.sqrt(v) + eps), m, v


ADAM_OPTIMIZERS = (AMSGrad, AdamW)
