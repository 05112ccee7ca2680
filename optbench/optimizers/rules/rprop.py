"""Rprop: step sizes that grow while the sign of the gradient stays, and shrink when it turns."""

import numpy as np

from optbench.optimizers.base import Elementwise, HostColumns
from optbench.optimizers.rules.moments import is_first
from optbench.settings import Hyperparameter


class Rprop(Elementwise):
    """Resilient backpropagation, in the form that PyTorch has.

    ::

        z = sign(g)·p                                  p is 0, and s is lr at the start
        s ← clip(η₊·s, step_min, step_max)             where z = 1
            clip(η₋·s, step_min, step_max)             where z = −1
            clip(s, step_min, step_max)                where z = 0
        p ← sign(g), but 0 where z = −1
        w ← w − s·p

    Where the sign turned there is no step, and the sign is forgotten: Igel and Hüsken's iRprop−.
    ``lr`` is the first step size and nothing else, so lr = 0 still means steps of step_min.
    ``torch.optim.Rprop`` keeps g in place of its sign and tells z from the product of two
    gradients, which can underflow; ``optax.rprop`` makes each step one update late, and does not
    clip s where z = 0.

    The rule compares signs of gradients of successive steps: it is meant for gradients of the full
    batch.

    Source: M. Riedmiller and H. Braun, "A direct adaptive method for faster backpropagation
    learning: the RPROP algorithm", ICNN 1993; C. Igel and M. Hüsken, "Improving the Rprop learning
    algorithm", NC 2000.
    """

    name = "rprop"
    summary = "s ← η₊·s while sign(g) stays, η₋·s and no step when it turns;  w ← w − s·sign(g)"
    hyperparameters = (
        Hyperparameter("lr", 0.01, "first step size"),
        Hyperparameter("eta_minus", 0.5, "factor when the sign turns", high=1.0, high_open=True),
        Hyperparameter("eta_plus", 1.2, "factor while the sign stays", low=1.0),
        Hyperparameter("step_min", 1e-6, "smallest step size"),
        Hyperparameter("step_max", 50.0, "largest step size"),
    )
    slots = ("previous_sign", "step_size")
    full_batch = True
    source = "Riedmiller and Braun (1993), in the form of Igel and Hüsken (2000)"
    partner = "torch.optim.Rprop"

    def columns(self, hyperparameters: HostColumns, updates: range) -> dict[str, np.ndarray]:
        """Return the columns; ``start`` is lr at the first update and 0 from then on."""
        return {
            "start": is_first(updates) * hyperparameters["lr"],
            "grow": hyperparameters["eta_plus"],
            "shrink": -hyperparameters["eta_minus"],
            "step_min": hyperparameters["step_min"],
            "step_max": hyperparameters["step_max"],
        }

    @staticmethod
    def rule(w, g, p, s, *, start, grow, shrink, step_min, step_max, xp):
        """Return w, p and s, each of shape (lanes, parameters)."""
        sign = xp.sign(g)
        turn = sign * p
        still = 1.0 - xp.abs(turn)
        # Exactly η₊, η₋ or 1: one of three terms, and zeros.
        factor = xp.maximum(grow * turn, shrink * turn) + still
        s = xp.minimum(xp.maximum((s + start) * factor, step_min), step_max)
        p = sign * xp.maximum(turn, still)
        return w - s * p, p, s
