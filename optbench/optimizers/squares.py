"""Adam with another idea of the square to divide by: AdaBelief and Yogi."""

import numpy as np

from optbench.arrays import Array, Namespace
from optbench.optimizers.adam import BETA1, BETA2, LR, corrected
from optbench.optimizers.adaptive import BIAS_CORRECTION
from optbench.optimizers.base import Elementwise, HostColumns, Hyperparameter
from optbench.optimizers.momentum import is_first


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
        LR,
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
    def rule(
        w: Array,
        g: Array,
        m: Array,
        s: Array,
        *,
        step_size: Array,
        eps: Array,
        rate1: Array,
        beta2: Array,
        rate2: Array,
        eps_root: Array,
        xp: Namespace,
    ) -> tuple[Array, ...]:
        """Return w, m and s, each of shape (lanes, parameters)."""
        surprise = g - m
        m = m + rate1 * surprise
        s = beta2 * s + rate2 * (surprise * surprise) + eps_root
        return w - step_size * m / (xp.sqrt(s) + eps), m, s


class Yogi(Elementwise):
    """Yogi: a mean square that moves by g² at most, however large it is.

    ::

        m ← β₁·m + (1 − β₁)·g                  m is 0, and v is initial at the start
        v ← v − (1 − β₂)·sign(v − g²)·g²
        w ← w − lr·(m/c₁) / (√(v/c₂) + eps)    cᵢ = 1 − βᵢᵗ, or 1 if bias_correction = 0

    ``optax.yogi`` has the same lines and the same ``initial`` = 1e-6, but starts m there too, so
    that its first steps are not 0 where gradients are; m starts at 0 here, as in the paper. The
    paper corrects no bias (bias_correction = 0), and starts v with the square of a first gradient.

    Source: M. Zaheer, S. Reddi, D. Sachan, S. Kale and S. Kumar, "Adaptive methods for nonconvex
    optimization", NeurIPS 2018, algorithm 2.
    """

    name = "yogi"
    summary = "m ← mean of g;  v ← v − (1−β₂)·sign(v − g²)·g²;  w ← w − lr·m̂/(√v̂ + eps)"
    hyperparameters = (
        Hyperparameter("lr", 0.01, "learning rate"),
        BETA1,
        BETA2,
        Hyperparameter("eps", 0.001, "added to the root, outside it"),
        Hyperparameter("initial", 1e-6, "the mean square at the start"),
        BIAS_CORRECTION,
    )
    slots = ("mean", "mean_square")
    source = "Zaheer et al. (2018), bias corrected as optax.yogi"
    partner = "optax.yogi"

    def columns(self, hyperparameters: HostColumns, updates: range) -> dict[str, np.ndarray]:
        """Return the columns; ``start`` is initial at the first update and 0 from then on."""
        columns = corrected(hyperparameters, updates)
        del columns["beta2"]
        return {**columns, "start": is_first(updates) * hyperparameters["initial"]}

    @staticmethod
    def rule(
        w: Array,
        g: Array,
        m: Array,
        v: Array,
        *,
        step_size: Array,
        eps: Array,
        rate1: Array,
        rate2: Array,
        start: Array,
        xp: Namespace,
    ) -> tuple[Array, ...]:
        """Return w, m and v, each of shape (lanes, parameters)."""
        m = m + rate1 * (g - m)
        square = g * g
        v = v + start
        v = v - rate2 * (xp.sign(v - square) * square)
        return w - step_size * m / (xp.sqrt(v) + eps), m, v


SQUARE_OPTIMIZERS = (AdaBelief, Yogi)
