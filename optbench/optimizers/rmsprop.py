"""RMSprop as PyTorch has it: with a mean taken out of the square, and with momentum."""

import numpy as np

from optbench.arrays import Array, Namespace
from optbench.optimizers.adaptive import ROOT_PLACE, eps_places
from optbench.optimizers.base import Elementwise, HostColumns, Hyperparameter, Switch, fraction
from optbench.optimizers.sgd import LR


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
        LR,
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
    def rule(
        w: Array,
        g: Array,
        s: Array,
        a: Array,
        v: Array,
        *,
        lr: Array,
        decay: Array,
        eps: Array,
        eps_inside: Array,
        momentum: Array,
        rate: Array,
        mean_rate: Array,
        xp: Namespace,
    ) -> tuple[Array, ...]:
        """Return w, s, a and v, each of shape (lanes, parameters)."""
        away = g - a
        s = decay * s + rate * (away * away)
        v = momentum * v + g / (xp.sqrt(s + eps_inside) + eps)
        return w - lr * v, s, a + mean_rate * away, v


RMSPROP_OPTIMIZERS = (RMSpropTorch,)
