"""Stochastic gradient descent, plain and as PyTorch has it."""

import numpy as np

from optbench.optimizers.base import Elementwise, HostColumns
from optbench.optimizers.rules.moments import TEXTBOOK_LR, is_first
from optbench.settings import Hyperparameter, Switch, fraction


class SGD(Elementwise):
    """Stochastic gradient descent.

    ::

        w ← w − lr·g

    The same as ``torch.optim.SGD`` and ``optax.sgd`` without momentum.

    Source: H. Robbins and S. Monro, "A stochastic approximation method", Annals of Mathematical
    Statistics 22 (1951); K. Saitoh, "Deep Learning from Scratch", section 6.1.2.
    """

    name = "sgd"
    summary = "w ← w − lr·g"
    hyperparameters = (TEXTBOOK_LR,)
    source = "Robbins and Monro (1951)"
    partner = "torch.optim.SGD"

    @staticmethod
    def rule(w, g, *, lr, xp):
        """Return w of shape (lanes, parameters)."""
        return (w - lr * g,)


class SGDTorch(Elementwise):
    """SGD with momentum, dampening and Nesterov's look ahead, as PyTorch has them.

    ::

        v ← momentum·v + (1 − dampening)·g       v ← g at the first update
        w ← w − lr·v                             without nesterov
        w ← w − lr·(g + momentum·v)              with it

    The learning rate scales the whole velocity, not the gradient when it enters (see
    :class:`~optbench.optimizers.rules.momentum.Momentum`), so a schedule changes what was gathered
    before. As in PyTorch the first gradient is not dampened, and none is where momentum = 0.
    ``nesterov`` is a number of each lane, 0 or 1. PyTorch refuses nesterov with dampening; here it
    means what the equations say. ``optax.sgd`` is the same without dampening.

    Source: I. Sutskever, J. Martens, G. Dahl and G. Hinton, "On the importance of initialization
    and momentum in deep learning", ICML 2013; ``torch.optim.SGD``.
    """

    name = "sgd-torch"
    summary = "v ← momentum·v + (1−dampening)·g;  w ← w − lr·v, or lr·(g + momentum·v)"
    hyperparameters = (
        Hyperparameter("lr", 0.001, "learning rate"),
        fraction("momentum", 0.0, "share of the velocity kept"),
        Hyperparameter("dampening", 0.0, "share of a gradient left out of the velocity", high=1.0),
        Switch("nesterov", 0.0, "1 to look ahead, 0 not to"),
    )
    slots = ("velocity",)
    source = "Sutskever et al. (2013), as torch.optim.SGD"
    partner = "torch.optim.SGD"

    def columns(self, hyperparameters: HostColumns, updates: range) -> dict[str, np.ndarray]:
        """Return the columns: what of a gradient enters v, and the steps along g and v."""
        lr, momentum = hyperparameters["lr"], hyperparameters["momentum"]
        nesterov = hyperparameters["nesterov"]
        undamped = is_first(updates) | (momentum == 0.0)
        return {
            "momentum": momentum,
            "rate": np.where(undamped, 1.0, 1.0 - hyperparameters["dampening"]),
            "along_g": lr * nesterov,
            "along_v": lr * (1.0 - nesterov + nesterov * momentum),
        }

    @staticmethod
    def rule(w, g, v, *, momentum, rate, along_g, along_v, xp):
        """Return w and v, both of shape (lanes, parameters)."""
        v = momentum * v + rate * g
        return w - (along_g * g + along_v * v), v
