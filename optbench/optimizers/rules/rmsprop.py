"""RMSprop, as the textbook and as PyTorch have it."""

import numpy as np

from optbench.optimizers.base import Elementwise, HostColumns
from optbench.optimizers.rules.moments import (
    ROOT_PLACE,
    TEXTBOOK_EPS,
    TEXTBOOK_LR,
    correction,
    eps_places,
)
from optbench.settings import Hyperparameter, Switch, fraction


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
        TEXTBOOK_LR,
        fraction("decay", 0.99, "share of the mean square kept"),
        TEXTBOOK_EPS,
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
    def rule(w, g, h, *, lr, decay, rate, eps, eps_inside, xp):
        """Return w and h, both of shape (lanes, parameters)."""
        h = decay * h + rate * (g * g)
        return w - lr * g / (xp.sqrt(h + eps_inside) + eps), h


class RMSpropTorch(Elementwise):
    """RMSprop, centered or not, with momentum.

    ::

        h ← decay·h + (1 − decay)·g²           all are 0 at the start
        a ← decay·a + (1 − decay)·g
        s = h, or h − a² if centered
        v ← momentum·v + g/(√s + eps), or g/√(s + eps) with eps_place = inside
        w ← w − lr·v

    ``centered`` is a number of each lane, 0 or 1, and one rule serves both: h − a² is the variance
    of the gradients, which obeys s ← decay·s + decay·(1 − decay)·(g − a)² with the old a. So s is
    kept in place of h: it cannot become negative by rounding, as PyTorch's h − a² can, and a stays
    0 where a lane is not centered. Without either it is the rule of ``rmsprop``, whose state is one
    array in place of three.

    ``torch.optim.RMSprop`` has eps outside the root, and calls decay alpha. ``optax.rmsprop`` has
    decay = 0.9, puts eps inside the root, after centering, unless eps_in_sqrt=False, and multiplies
    by lr before the momentum, which is the same at a constant lr.

    Source: T. Tieleman and G. Hinton, "Lecture 6.5: RMSprop", Neural Networks for Machine Learning
    (2012); centered: A. Graves, "Generating sequences with recurrent neural networks",
    arXiv:1308.0850 (2013), equations 38 to 41.
    """

    name = "rmsprop-torch"
    summary = "s ← mean of g², or variance of g;  v ← momentum·v + g/(√s + eps);  w ← w − lr·v"
    hyperparameters = (
        TEXTBOOK_LR,
        fraction("decay", 0.99, "share of the mean square kept"),
        Hyperparameter("eps", 1e-8, "added to the root, or inside it"),
        ROOT_PLACE,
        fraction("momentum", 0.0, "share of the velocity kept"),
        Switch("centered", 0.0, "1 to divide by the deviation, 0 by the root"),
    )
    slots = ("mean_square", "mean", "velocity")
    source = "Tieleman and Hinton (2012), centered: Graves (2013), as torch.optim.RMSprop"
    partner = "torch.optim.RMSprop"

    def columns(self, hyperparameters: HostColumns, updates: range) -> dict[str, np.ndarray]:
        """Return the columns; the mean of a lane that is not centered has the rate 0."""
        decay, centered = hyperparameters["decay"], hyperparameters["centered"]
        rate = 1.0 - decay
        same = {name: hyperparameters[name] for name in ("lr", "decay", "momentum")}
        outside, inside = eps_places(hyperparameters)
        return {
            **same,
            "eps": outside,
            "eps_inside": inside,
            "rate": rate * (1.0 - centered + centered * decay),
            "mean_rate": rate * centered,
        }

    @staticmethod
    def rule(w, g, s, a, v, *, lr, decay, eps, eps_inside, momentum, rate, mean_rate, xp):
        """Return w, s, a and v, each of shape (lanes, parameters)."""
        away = g - a
        s = decay * s + rate * (away * away)
        v = momentum * v + g / (xp.sqrt(s + eps_inside) + eps)
        return w - lr * v, s, a + mean_rate * away, v
