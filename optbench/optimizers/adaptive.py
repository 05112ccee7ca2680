"""Rules that divide by the root of gathered squared gradients: AdaGrad, RMSprop and Adam.

By default all three put eps where the textbook has it, outside the root and 1e-7; where libraries
have another place or correct another bias, that is a hyperparameter. Such choices are columns: the
rule is the same, so lanes with different ones stand in one block.
"""

import numpy as np

from optbench.arrays import Array, Namespace
from optbench.optimizers.base import (
    Choice,
    Elementwise,
    HostColumns,
    Hyperparameter,
    Switch,
    fraction,
    powers,
)
from optbench.optimizers.momentum import is_first
from optbench.optimizers.sgd import LR

EPS = Hyperparameter("eps", 1e-7, "added to the root, or inside it")
ROOT_PLACE = Choice(
    "eps_place", "outside", "whether eps is outside or inside the root", ("outside", "inside")
)
BIAS_PLACE = Choice(
    "eps_place", "uncorrected", "which root eps is added to", ("uncorrected", "corrected")
)
BIAS_CORRECTION = Switch("bias_correction", 1.0, "1 corrects the bias of the means, 0 does not")


def eps_places(hyperparameters: HostColumns) -> tuple[np.ndarray, np.ndarray]:
    """Return what is added outside and inside the root, of ``eps`` and :data:`ROOT_PLACE`."""
    eps = hyperparameters["eps"]
    inside = hyperparameters["eps_place"] == ROOT_PLACE.number("inside")
    return np.where(inside, 0.0, eps), np.where(inside, eps, 0.0)


def correction(decay: np.ndarray, hyperparameters: HostColumns, updates: range) -> np.ndarray:
    """Return 1 − decayᵗ of some updates, and 1 in lanes whose ``bias_correction`` is 0.

    A mean that starts at 0 and keeps a share ``decay`` in each update is too small by that factor.
    The shape is (updates, lanes or 1, 1).
    """
    return 1.0 - hyperparameters.get("bias_correction", 1.0) * powers(decay, updates)


class AdaGrad(Elementwise):
    """AdaGrad: a learning rate per parameter that only falls.

    ::

        h ← h + g²                     h is initial at the start
        w ← w − lr·g/(√h + eps)        with eps_place = outside
        w ← w − lr·g/√(h + eps)        with eps_place = inside

    ``torch.optim.Adagrad`` has eps outside, 1e-10 (``adagrad-torch``); ``optax.adagrad`` has it
    inside, and starts h at 0.1 (``adagrad-optax``). An eps inside the root is part of h from the
    start on, which is the same.

    Source: J. Duchi, E. Hazan and Y. Singer, "Adaptive subgradient methods for online learning and
    stochastic optimization", JMLR 12 (2011); K. Saitoh, "Deep Learning from Scratch", section
    6.1.5.
    """

    name = "adagrad"
    summary = "h ← h + g²;  w ← w − lr·g/(√h + eps)"
    hyperparameters = (
        LR,
        EPS,
        ROOT_PLACE,
        Hyperparameter("initial", 0.0, "the sum of squares at the start"),
    )
    slots = ("squares",)
    source = "Duchi, Hazan and Singer (2011), JMLR 12"
    partner = "torch.optim.Adagrad"

    def columns(self, hyperparameters: HostColumns, updates: range) -> dict[str, np.ndarray]:
        """Return the columns; ``start`` is what h begins with, and 0 from the second update on."""
        outside, inside = eps_places(hyperparameters)
        start = is_first(updates) * (hyperparameters["initial"] + inside)
        return {"lr": hyperparameters["lr"], "eps": outside, "start": start}

    @staticmethod
    def rule(
        w: Array, g: Array, h: Array, *, lr: Array, eps: Array, start: Array, xp: Namespace
    ) -> tuple[Array, ...]:
        """Return w and h, both of shape (lanes, parameters)."""
        h = h + (g * g + start)
        return w - lr * g / (xp.sqrt(h) + eps), h


class RMSprop(Elementwise):
    """RMSprop: AdaGrad with squares that fade.

    ::

        h ← decay·h + (1 − decay)·g²   h is 0 at the start; c = 1, or 1 − decayᵗ if bias_correction
        w ← w − lr·g/(√(h/c) + eps)    with eps_place = outside
        w ← w − lr·g/√(h/c + eps)      with eps_place = inside

    ``torch.optim.RMSprop`` has eps outside, 1e-8, and otherwise the same numbers; ``optax.rmsprop``
    has decay = 0.9 and eps inside, 1e-8 (``rmsprop-optax``). Neither corrects the bias unless
    optax is asked to. With momentum, or centered, it is ``rmsprop-torch``.

    Source: T. Tieleman and G. Hinton, "Lecture 6.5: RMSprop", Neural Networks for Machine Learning
    (2012).
    """

    name = "rmsprop"
    summary = "h ← decay·h + (1−decay)·g²;  w ← w − lr·g/(√h + eps)"
    hyperparameters = (
        LR,
        fraction("decay", 0.99, "share of the mean square kept"),
        EPS,
        ROOT_PLACE,
        Switch("bias_correction", 0.0, "1 corrects the bias of the mean, 0 does not"),
    )
    slots = ("mean_square",)
    source = "Tieleman and Hinton (2012), lecture 6.5"
    partner = "torch.optim.RMSprop"

    def columns(self, hyperparameters: HostColumns, updates: range) -> dict[str, np.ndarray]:
        """Return the columns, c in lr and both eps.

        1 − decay is the column ``rate``: float32 would keep few of its digits.
        """
        decay = hyperparameters["decay"]
        outside, inside = eps_places(hyperparameters)
        c = correction(decay, hyperparameters, updates)
        root = np.sqrt(c)
        return {
            "lr": hyperparameters["lr"] * root,
            "decay": decay,
            "rate": 1.0 - decay,
            "eps": outside * root,
            "eps_inside": inside * c,
        }

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
        eps_inside: Array,
        xp: Namespace,
    ) -> tuple[Array, ...]:
        """Return w and h, both of shape (lanes, parameters)."""
        h = decay * h + rate * (g * g)
        return w - lr * g / (xp.sqrt(h + eps_inside) + eps), h


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
        Hyperparameter("lr", 0.001, "learning rate"),
        fraction("beta1", 0.9, "share of the mean gradient kept"),
        fraction("beta2", 0.999, "share of the mean square kept"),
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
            "step_size": np.where(corrected, lr * root / first, lr * (root / first)),
            "rate1": 1.0 - beta1,
            "rate2": 1.0 - beta2,
            "eps": np.where(corrected, eps * root, eps),
        }

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
