"""AdaBelief: small steps where gradients differ from their mean."""

import numpy as np

from optbench.optimizers.base import Elementwise, HostColumns
from optbench.optimizers.rules.moments import ADAM_LR, BETA1, BETA2, corrected
from optbench.settings import Hyperparameter


class AdaBelief(Elementwise):
    """AdaBelief: small steps where gradients differ from what was expected of them.

    ::

        m ← β₁·m + (1 − β₁)·g                  m and s are 0 at the start
        s ← β₂·s + (1 − β₂)·(g − m)² + eps_root
        w ← w − lr·(m/(1 − β₁ᵗ)) / (√(s/(1 − β₂ᵗ)) + eps)

    The g − m of the second line, with the new m, is β₁·(g − m) with the old one; so it is computed,
    once for both lines, and loses no digits where g is near m. As in the paper eps_root gathers in
    s: it is added in every step. ``optax.adabelief`` is the same, both eps = 1e-16 included; the
    paper has one eps for both places.

    Source: J. Zhuang et al., "AdaBelief optimizer: adapting stepsizes by the belief in observed
    gradients", NeurIPS 2020, algorithm 2.
    """

    name = "adabelief"
    summary = "m ← mean of g;  s ← mean of (g − m)²;  w ← w − lr·m̂/(√ŝ + eps)"
    hyperparameters = (
        ADAM_LR,
        BETA1,
        BETA2,
        Hyperparameter("eps", 1e-16, "added to the root, outside it"),
        Hyperparameter("eps_root", 1e-16, "added to the mean square in every step"),
    )
    slots = ("mean", "mean_square")
    source = "Zhuang et al. (2020), arXiv:2010.07468"
    partner = "optax.adabelief"

    def columns(self, hyperparameters: HostColumns, updates: range) -> dict[str, np.ndarray]:
        """Return the columns of some updates, with (1 − β₂)·β₁² as ``rate2``."""
        beta1 = hyperparameters["beta1"]
        columns = corrected(hyperparameters, updates)
        columns["rate2"] = columns["rate2"] * (beta1 * beta1)
        return {**columns, "eps_root": hyperparameters["eps_root"]}

    @staticmethod
    def rule(w, g, m, s, *, step_size, eps, rate1, beta2, rate2, eps_root, xp):
        """Return w, m and s, each of shape (lanes, parameters)."""
        surprise = g - m
        m = m + rate1 * surprise
        s = beta2 * s + rate2 * (surprise * surprise) + eps_root
        return w - step_size * m / (xp.sqrt(s) + eps), m, s
