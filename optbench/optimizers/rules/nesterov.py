"""Nesterov's momentum, as the textbook has it."""

import numpy as np

from optbench.optimizers.base import Elementwise, HostColumns
from optbench.optimizers.rules.moments import TEXTBOOK_LR
from optbench.settings import fraction


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
    hyperparameters = (TEXTBOOK_LR, fraction("momentum", 0.9, "share of the velocity kept"))
    slots = ("velocity",)
    source = "Nesterov (1983) in the form of Bengio et al. (2013), code of Saitoh's textbook"

    def columns(self, hyperparameters: HostColumns, updates: range) -> dict[str, np.ndarray]:
        """Return the columns, with momentum² as ``ahead`` and (1 + momentum)·lr as ``leap``."""
        lr, momentum = hyperparameters["lr"], hyperparameters["momentum"]
        leap = (1.0 + momentum) * lr
        return {"lr": lr, "momentum": momentum, "ahead": momentum * momentum, "leap": leap}

    @staticmethod
    def rule(w, g, v, *, lr, momentum, ahead, leap, xp):
        """Return w and v, both of shape (lanes, parameters)."""
        v = momentum * v - lr * g
        return w + ahead * v - leap * g, v
