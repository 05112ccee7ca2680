"""Signum: the sign of the momentum."""

import numpy as np

from optbench.optimizers.base import Elementwise, HostColumns
from optbench.settings import Hyperparameter, fraction


class Signum(Elementwise):
    """The sign of the momentum.

    ::

        m ← momentum·m + (1 − momentum)·g      m is 0 at the start
        w ← w − lr·sign(m)

    With momentum = 0 it is signSGD (``signsgd``). ``optax.signum`` is the same, with momentum
    called beta; the paper's optional weight decay is left out there and here.

    Source: J. Bernstein, Y.-X. Wang, K. Azizzadenesheli and A. Anandkumar, "signSGD: compressed
    optimisation for non-convex problems", ICML 2018, algorithm 2.
    """

    name = "signum"
    summary = "m ← mean of g;  w ← w − lr·sign(m)"
    hyperparameters = (
        Hyperparameter("lr", 0.001, "length of a step in every direction"),
        fraction("momentum", 0.9, "share of the mean gradient kept"),
    )
    slots = ("mean",)
    source = "Bernstein et al. (2018), arXiv:1802.04434"
    partner = "optax.signum"

    def columns(self, hyperparameters: HostColumns, updates: range) -> dict[str, np.ndarray]:
        """Return the columns, with 1 − momentum as ``rate``."""
        return {**hyperparameters, "rate": 1.0 - hyperparameters["momentum"]}

    @staticmethod
    def rule(w, g, m, *, lr, momentum, rate, xp):
        """Return w and m, both of shape (lanes, parameters)."""
        m = momentum * m + rate * g
        return w - lr * xp.sign(m), m
