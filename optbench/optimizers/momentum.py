"""Momentum that looks ahead: Nesterov's as the textbook has it, and PyTorch's SGD.

The first updates of these rules, and of others that import it from here, are told apart by
:func:`is_first`: rules cannot branch, so what is special about them goes into columns.
"""

import numpy as np

from optbench.arrays import Array, Namespace
from optbench.optimizers.base import Elementwise, HostColumns, Hyperparameter, Switch, fraction
from optbench.optimizers.sgd import LR


def is_first(updates: range) -> np.ndarray:
    """Return which of some updates is the first of all, shape (updates, 1, 1).

    >>> is_first(range(1, 4)).ravel().tolist()
    [True, False, False]
    """
    return np.array([t == 1 for t in updates])[:, None, None]


class Nesterov(Elementwise):
    """Nesterov's accelerated gradient, as the textbook's code has it.

    ::

        v ← momentum·v − lr·g                             v is 0 at the start
        w ← w + momentum²·v − (1 + momentum)·lr·g

    The parameters are the point looked ahead to, so that one gradient a step is enough. In the
    paper of Bengio et al. the v in the second line is the one before the first; the textbook's code
    takes the new one, and so looks ahead one step further: w + momentum³·v − (1 + momentum +
    momentum²)·lr·g in terms of the old v. The paper's form is ``nesterov-torch``.

    Source: Y. Nesterov, "A method for solving the convex programming problem with convergence rate
    O(1/k²)", Soviet Mathematics Doklady 27 (1983); Y. Bengio, N. Boulanger-Lewandowski and R.
    Pascanu, "Advances in optimizing recurrent networks", ICASSP 2013, equation 7; code of K.
    Saitoh, "Deep Learning from Scratch", common/optimizer.py.
    """

    name = "nesterov"
    summary = "v ← momentum·v − lr·g;  w ← w + momentum²·v − (1 + momentum)·lr·g"
    hyperparameters = (LR, fraction("momentum", 0.9, "share of the velocity kept"))
    slots = ("velocity",)
    source = "Nesterov (1983) in the form of Bengio et al. (2013), code of Saitoh's textbook"

    def columns(self, hyperparameters: HostColumns, updates: range) -> dict[str, np.ndarray]:
        """Return the columns, with momentum² as ``ahead`` and (1 + momentum)·lr as ``leap``."""
        lr, momentum = hyperparameters["lr"], hyperparameters["momentum"]
        leap = (1.0 + momentum) * lr
        return {"lr": lr, "momentum": momentum, "ahead": momentum * momentum, "leap": leap}

    @staticmethod
    def rule(
        w: Array,
        g: Array,
        v: Array,
        *,
        lr: Array,
        momentum: Array,
        ahead: Array,
        leap: Array,
        xp: Namespace,
    ) -> tuple[Array, ...]:
        """Return w and v, both of shape (lanes, parameters)."""
        v = momentum * v - lr * g
        return w + ahead * v - leap * g, v


class SGDTorch(Elementwise):
    """SGD with momentum, dampening and Nesterov's look ahead, as PyTorch has them.

    ::

        v ← momentum·v + (1 − dampening)·g       v ← g at the first update
        w ← w − lr·v                             without nesterov
        w ← w − lr·(g + momentum·v)              with it

    The learning rate scales the whole velocity, not the gradient when it enters (see
    :class:`~optbench.optimizers.sgd.Momentum`), so a schedule changes what was gathered before. As
    in PyTorch the first gradient is not dampened, and none is where momentum = 0. ``nesterov`` is a
    number of each lane, 0 or 1. PyTorch refuses nesterov with dampening; here it means what the
    equations say. ``optax.sgd`` is the same without dampening.

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
    def rule(
        w: Array,
        g: Array,
        v: Array,
        *,
        momentum: Array,
        rate: Array,
        along_g: Array,
        along_v: Array,
        xp: Namespace,
    ) -> tuple[Array, ...]:
        """Return w and v, both of shape (lanes, parameters)."""
        v = momentum * v + rate * g
        return w - (along_g * g + along_v * v), v


MOMENTUM_OPTIMIZERS = (Nesterov, SGDTorch)
