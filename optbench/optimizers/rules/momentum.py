"""Momentum, as the textbook has it."""

from optbench.optimizers.base import Elementwise
from optbench.optimizers.rules.moments import TEXTBOOK_LR
from optbench.settings import fraction


class Momentum(Elementwise):
    """SGD with momentum, in the textbook's form.

    ::

        v ← momentum·v − lr·g          v is 0 at the start
        w ← w + v

    The learning rate stands inside v: it scales a gradient when it enters. ``torch.optim.SGD`` and
    ``optax.sgd`` keep v ← momentum·v + g and scale the whole of it, w ← w − lr·v. At a constant lr
    both give the same path; with a schedule they differ, since here a change of lr does not touch
    the velocity gathered so far.

    Source: B. T. Polyak, "Some methods of speeding up the convergence of iteration methods", USSR
    Computational Mathematics and Mathematical Physics 4 (1964); K. Saitoh, "Deep Learning from
    Scratch", section 6.1.4.
    """

    name = "momentum"
    summary = "v ← momentum·v − lr·g;  w ← w + v"
    hyperparameters = (TEXTBOOK_LR, fraction("momentum", 0.9, "share of the velocity kept"))
    slots = ("velocity",)
    source = "Polyak (1964), in the form of Saitoh's textbook"

    @staticmethod
    def rule(w, g, v, *, lr, momentum, xp):
        """Return w and v, both of shape (lanes, parameters)."""
        v = momentum * v - lr * g
        return w + v, v
