"""Prodigy: Adam with a step size that the run finds for itself."""

import numpy as np

from optbench.arrays import Array, Namespace
from optbench.optimizers.base import HostColumns, Optimizer, UpdateContext, powers
from optbench.optimizers.rules.moments import BETA1
from optbench.settings import Hyperparameter, Switch, fraction


class Prodigy(Optimizer):
    """Prodigy: Adam whose learning rate is an estimate d of the distance to the solution.

    d, n and the sums belong to a lane, over all its tensors; w₀ is the start::

        γ ← d·lr·b                                     d is d0 at the start; b as below
        n ← β₃n + d/d0·γ·⟨g, w₀ − w⟩                   n, s, m and v are 0 at the start
        s ← β₃s + d/d0·γ·g                             d/d0·d·g with safeguard_warmup = 1
        m ← β₁m + (1 − β₁)d·g
        v ← β₂v + (1 − β₂)d²g²
        d ← max(d, d_coef·n/Σ|s|)                      d stays where s is 0
        w ← w − γ·(m/(√v + d·eps) + weight_decay·w)    β₃ = √β₂

    b is 1, or √(1 − β₂ᵗ)/(1 − β₁ᵗ) with bias_correction = 1. The old d makes γ, the new one stands
    beside eps.

    The equations and defaults are those of the authors' package ``prodigyopt`` with decoupled
    weight decay and no bound on the growth of d. ``optax.contrib.prodigy`` has the same with
    bias_correction = 1, and a NaN where all gradients so far were 0. Both take another β₃ too.
    Leave ``lr`` at 1 and let a schedule multiply it. In single precision w₀ − w keeps few digits
    while d is small beside w, so that the first estimates of d depend on how w is rounded.

    Source: K. Mishchenko and A. Defazio, "Prodigy: an expeditiously adaptive parameter-free
    learner", ICML 2024, arXiv:2306.06101 (2023).
    """

    name = "prodigy"
    summary = "d ← max(d, n/Σ|s|), the distance so far;  w ← w − d·lr·m/(√v + d·eps), as Adam"
    hyperparameters = (
        Hyperparameter("lr", 1.0, "multiplies the learning rate that is found"),
        BETA1,
        fraction("beta2", 0.999, "share of the mean square kept, and its root of n and s"),
        Hyperparameter("eps", 1e-8, "added to the root, outside it, times d"),
        Hyperparameter("weight_decay", 0.0, "decoupled, times the learning rate"),
        Hyperparameter("d0", 1e-6, "d at the start", low=1e-12),
        Hyperparameter("d_coef", 1.0, "multiplies the estimates of d"),
        Switch("bias_correction", 0.0, "1 corrects Adam's bias, 0 does not"),
        Switch("safeguard_warmup", 0.0, "1 leaves lr out of s, 0 does not"),
    )
    slots = ("mean", "mean_square", "weighted_sum", "start")
    copies = ("start",)
    scalars = ("numerator", "distance")
    work_arrays = 2
    source = "Mishchenko and Defazio, ICML 2024, arXiv:2306.06101"
    partner = "optax.contrib.prodigy"

    def columns(self, hyperparameters: HostColumns, updates: range) -> dict[str, np.ndarray]:
        """Return the columns of some updates: ``step_size`` is γ/d, ``safeguard`` that of s."""
        given = hyperparameters
        beta1, beta2 = given["beta1"], given["beta2"]
        correction = np.sqrt(1.0 - powers(beta2, updates)) / (1.0 - powers(beta1, updates))
        corrected = given["bias_correction"]
        step_size = given["lr"] * ((1.0 - corrected) + corrected * correction)
        safe = given["safeguard_warmup"]
        same = ("beta1", "beta2", "eps", "weight_decay", "d0", "d_coef")
        return {
            **{name: given[name] for name in same},
            "rate1": 1.0 - beta1,
            "rate2": 1.0 - beta2,
            "beta3": np.sqrt(beta2),
            "step_size": step_size,
            "sum_size": (1.0 - safe) * step_size + safe,
        }

    def step(self, context: UpdateContext) -> None:
        """Update the moments in one pass, then d, then the parameters in another."""
        xp, columns, state, work = context.xp, context.columns, context.state, context.work
        w, slots = context.params.rows, ("mean_square", "weighted_sum", "start")
        work.begin("update")
        moved, sizes = work.take_like(w), work.take_like(w)
        before = xp.maximum(state["distance"], columns["d0"])  # it only grows, from 0 on
        growth = before / columns["d0"]
        size = before * columns["step_size"]
        context.elementwise(
            self.gather,
            [
                state["mean"],
                context.grads.rows,
                *(state[name] for name in slots),
                w,
                moved,
                sizes,
            ],
            {
                **{name: columns[name] for name in ("beta1", "beta2", "beta3")},
                "rate1": before * columns["rate1"],
                "rate2": before * before * columns["rate2"],
                "weight": growth * before * columns["sum_size"],
            },
        )
        numerator = columns["beta3"] * state["numerator"] + growth * size * work.lane_sum(moved)
        state["numerator"][...] = numerator
        total = work.lane_sum(sizes)
        # While all gradients are 0 so is n, and d stays.
        total = xp.where(total == 0.0, xp.ones_like(total), total)
        after = xp.maximum(before, columns["d_coef"] * numerator / total)
        state["distance"][...] = after
        context.elementwise(
            self.move,
            [w, state["mean"], state["mean_square"]],
            {
                "size": size,
                "weight_decay": columns["weight_decay"],
                "eps": after * columns["eps"],
            },
        )

    @staticmethod
    def gather(
        m: Array,
        g: Array,
        v: Array,
        s: Array,
        start: Array,
        w: Array,
        moved: Array,
        sizes: Array,
        *,
        beta1: Array,
        beta2: Array,
        beta3: Array,
        rate1: Array,
        rate2: Array,
        weight: Array,
        xp: Namespace,
    ) -> tuple[Array, ...]:
        """Return m, v, s, start and w as they are, and the terms of ⟨g, w₀ − w⟩ and Σ|s|.

        Each has the shape (lanes, parameters); the rates hold d and d².
        """
        m, v, s = beta1 * m + rate1 * g, beta2 * v + rate2 * (g * g), beta3 * s + weight * g
        return m, v, s, start, w, g * (start - w), xp.abs(s)

    @staticmethod
    def move(
        w: Array,
        m: Array,
        v: Array,
        *,
        size: Array,
        weight_decay: Array,
        eps: Array,
        xp: Namespace,
    ) -> tuple[Array, ...]:
        """Return w and v, both of shape (lanes, parameters)."""
        return w - size * (m / (xp.sqrt(v) + eps) + weight_decay * w), v
