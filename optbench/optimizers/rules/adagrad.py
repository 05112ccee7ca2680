"""AdaGrad: a learning rate for each parameter that only falls."""

import numpy as np

from optbench.optimizers.base import Elementwise, HostColumns
from optbench.optimizers.rules.moments import (
    ROOT_PLACE,
    TEXTBOOK_EPS,
    TEXTBOOK_LR,
    eps_places,
    is_first,
)
from optbench.settings import Hyperparameter


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
        TEXTBOOK_LR,
        TEXTBOOK_EPS,
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
    def rule(w, g, h, *, lr, eps, start, xp):
        """Return w and h, both of shape (lanes, parameters)."""
        h = h + (g * g + start)
        return w - lr * g / (xp.sqrt(h) + eps), h
