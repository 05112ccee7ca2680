"""AdaDelta: steps in the units of the parameters."""

import numpy as np

from optbench.optimizers.base import Elementwise, HostColumns
from optbench.settings import Hyperparameter, fraction


class AdaDelta(Elementwise):
    """AdaDelta: the root mean square of past steps takes the place of a learning rate.

    ::

        h ← decay·h + (1 − decay)·g²           h and d are 0 at the start
        u = √((d + eps)/(h + eps))·g
        d ← decay·d + (1 − decay)·u²
        w ← w − lr·u

    ``torch.optim.Adadelta`` and ``optax.adadelta`` are the same, with decay called rho; the paper
    has no lr, which is lr = 1. eps is not only a safeguard: the first steps are about
    √(eps/(1 − decay)) long.

    Source: M. D. Zeiler, "ADADELTA: an adaptive learning rate method", arXiv:1212.5701 (2012).
    """

    name = "adadelta"
    summary = "h, d ← means of g², u²;  u = √((d + eps)/(h + eps))·g;  w ← w − lr·u"
    hyperparameters = (
        Hyperparameter("lr", 1.0, "learning rate; the paper has none"),
        fraction("decay", 0.9, "share of the mean squares kept"),
        Hyperparameter("eps", 1e-6, "added to both mean squares, inside the root"),
    )
    slots = ("mean_square", "mean_square_step")
    source = "Zeiler (2012), arXiv:1212.5701"
    partner = "torch.optim.Adadelta"

    def columns(self, hyperparameters: HostColumns, updates: range) -> dict[str, np.ndarray]:
        """Return the columns, with 1 − decay as ``rate``."""
        return {**hyperparameters, "rate": 1.0 - hyperparameters["decay"]}

    @staticmethod
    def rule(w, g, h, d, *, lr, decay, eps, rate, xp):
        """Return w, h and d, each of shape (lanes, parameters)."""
        h = decay * h + rate * (g * g)
        u = xp.sqrt((d + eps) / (h + eps)) * g
        d = decay * d + rate * (u * u)
        return w - lr * u, h, d
