"""Rules that divide by the root of gathered squared gradients: AdaGrad, RMSprop and Adam.

All three put eps outside the root, 1e-7 as the textbook has it.
"""

import numpy as np

from optbench.arrays import Array, Namespace
from optbench.optimizers.base import (
    Elementwise,
    HostColumns,
    Hyperparameter,
    fraction,
    powers,
)
from optbench.optimizers.sgd import LR

EPS = Hyperparameter("eps", 1e-7, "added to the root, outside it")


class AdaGrad(Elementwise):
    """AdaGrad: a learning rate per parameter that only falls.

    ::

        h ← h + g²                     h is 0 at the start
        w ← w − lr·g/(√h + eps)

    ``torch.optim.Adagrad`` has eps in the same place, but 1e-10; ``optax.adagrad`` starts h at 0.1
    and puts eps (1e-7) inside the root.

    Source: J. Duchi, E. Hazan and Y. Singer, "Adaptive subgradient methods for online learning and
    stochastic optimization", JMLR 12 (2011); K. Saitoh, "Deep Learning from Scratch", section
    6.1.5.
    """

    name = "adagrad"
    summary = "h ← h + g²;  w ← w − lr·g/(√h + eps)"
    hyperparameters = (LR, EPS)
    slots = ("squares",)

    @staticmethod
    def rule(
        w: Array, g: Array, h: Array, *, lr: Array, eps: Array, xp: Namespace
    ) -> tuple[Array, ...]:
        """Return w and h, both of shape (lanes, parameters)."""
        h = h + g * g
        return w - lr * g / (xp.sqrt(h) + eps), h


class RMSprop(Elementwise):
    """RMSprop: AdaGrad with squares that fade.

    ::

        h ← decay·h + (1 − decay)·g²   h is 0 at the start
        w ← w − lr·g/(√h + eps)

    ``torch.optim.RMSprop`` has the same form with alpha = 0.99 and eps = 1e-8; ``optax.rmsprop``
    has decay = 0.9 and puts eps (1e-8) inside the root.

    Source: T. Tieleman and G. Hinton, "Lecture 6.5: RMSprop", Neural Networks for Machine Learning
    (2012).
    """

    name = "rmsprop"
    summary = "h ← decay·h + (1−decay)·g²;  w ← w − lr·g/(√h + eps)"
    hyperparameters = (LR, fraction("decay", 0.99, "share of the mean square kept"), EPS)
    slots = ("mean_square",)

    def columns(self, hyperparameters: HostColumns, updates: range) -> dict[str, np.ndarray]:
        """Return the columns, with 1 − decay as ``rate``: float32 would keep few of its digits."""
        rate = 1.0 - hyperparameters["decay"]
        return super().columns({**hyperparameters, "rate": rate}, updates)

    @staticmethod
    def rule(
        w: Array,
        g: Array,
        h: Array,
        *,
        lr: Array,
        decay: Array,
        rate: Array,
        eps: Array,
        xp: Namespace,
    ) -> tuple[Array, ...]:
        """Return w and h, both of shape (lanes, parameters)."""
        h = decay * h + rate * (g * g)
        return w - lr * g / (xp.sqrt(h) + eps), h


class Adam(Elementwise):
    """Adam, in the textbook's form.

    ::

        m ← m + (1 − β₁)(g − m)        m and v are 0 at the start
        v ← v + (1 − β₂)(g² − v)
        w ← w − lr·√(1 − β₂ᵗ)/(1 − β₁ᵗ) · m/(√v + eps)        t = 1, 2, …

    This is the efficient form in section 2 of the paper: eps is added to √v before the bias is
    corrected. ``torch.optim.Adam`` and ``optax.adam`` add it after, to √(v/(1 − β₂ᵗ)), and have
    eps = 1e-8; early in a run their eps weighs less by the factor √(1 − β₂ᵗ).

    Source: D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization", ICLR 2015; K.
    Saitoh, "Deep Learning from Scratch", section 6.1.6.
    """

    name = "adam"
    summary = "m, v ← means of g, g²;  w ← w − lr·√(1−β₂ᵗ)/(1−β₁ᵗ)·m/(√v + eps)"
    hyperparameters = (
        Hyperparameter("lr", 0.001, "learning rate"),
        fraction("beta1", 0.9, "share of the mean gradient kept"),
        fraction("beta2", 0.999, "share of the mean square kept"),
        EPS,
    )
    slots = ("mean", "mean_square")

    def columns(self, hyperparameters: HostColumns, updates: range) -> dict[str, np.ndarray]:
        """Return the columns of some updates, with the bias corrections in ``step_size``."""
        beta1, beta2 = hyperparameters["beta1"], hyperparameters["beta2"]
        correction = np.sqrt(1.0 - powers(beta2, updates)) / (1.0 - powers(beta1, updates))
        same = {"rate1": 1.0 - beta1, "rate2": 1.0 - beta2, "eps": hyperparameters["eps"]}
        step_size = hyperparameters["lr"] * correction
        return {**super().columns(same, updates), "step_size": step_size}

    @staticmethod
    def rule(
        w: Array,
        g: Array,
        m: Array,
        v: Array,
        *,
        step_size: Array,
        rate1: Array,
        rate2: Array,
        eps: Array,
        xp: Namespace,
    ) -> tuple[Array, ...]:
        """Return w, m and v, each of shape (lanes, parameters)."""
        m = m + rate1 * (g - m)
        v = v + rate2 * (g * g - v)
        return w - step_size * m / (xp.sqrt(v) + eps), m, v
