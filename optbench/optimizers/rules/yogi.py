"""Yogi: a mean square that moves by at most g²."""

import numpy as np

from optbench.optimizers.base import Elementwise, HostColumns
from optbench.optimizers.rules.moments import BETA1, BETA2, BIAS_CORRECTION, corrected, is_first
from optbench.settings import Hyperparameter


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
    def rule(w, g, m, v, *, step_size, eps, rate1, rate2, start, xp):
        """Return w, m and v, each of shape (lanes, parameters)."""
        m = m + rate1 * (g - m)
        square = g * g
        v = v + start
        v = v - rate2 * (xp.sign(v - square) * square)
        return w - step_size * m / (xp.sqrt(v) + eps), m, v
