"""Adan: Adam that looks ahead along the change of the gradient."""

import numpy as np

from optbench.optimizers.base import Elementwise, HostColumns, powers
from optbench.optimizers.rules.moments import ADAM_EPS, ADAM_LR, is_first
from optbench.settings import Choice, Hyperparameter, fraction

AHEAD = Choice("ahead", "beta2", "share of the change looked ahead by", ("beta2", "1-beta2"))


class Adan(Elementwise):
    """Adaptive Nesterov momentum, as its authors have it.

    ::

        d = g − p                              0 at the first update; p is the gradient before
        m ← β₁·m + (1 − β₁)·g                  m, v and n are 0 at the start
        v ← β₂·v + (1 − β₂)·d
        n ← β₃·n + (1 − β₃)·(g + a·d)²         a = β₂, or 1 − β₂ with ahead = 1-beta2
        u = (m/(1 − β₁ᵗ) + a·v/(1 − β₂ᵗ)) / (√(n/(1 − β₃ᵗ) + eps_root) + eps)
        w ← w − lr·weight_decay·w − lr·u
        p ← g

    The betas are shares kept, as in the authors' code; the paper's are one minus those. The decay
    is that of their code with no_prox=True; without it they divide by 1 + lr·weight_decay after the
    step, which differs by terms in lr². Bias is corrected as in their code.

    ``optax.adan`` (``adan-optax``) takes the paper's factor, a = 1 − β₂, with a β₂ that is one
    minus the paper's: by default it looks ahead by 0.08 of the change, where the authors have 0.92.
    It has eps_root = 1e-8, the authors none.

    Source: X. Xie, P. Zhou, H. Li, Z. Lin and S. Yan, "Adan: adaptive Nesterov momentum algorithm
    for faster optimizing deep models", IEEE TPAMI 46 (2024), algorithm 1; the authors' code,
    sail-sg/Adan.
    """

    name = "adan"
    summary = "m, v, n ← means of g, change d, (g + β₂·d)²;  w ← w − lr·(m̂ + β₂·v̂)/(√n̂ + eps)"
    hyperparameters = (
        ADAM_LR,
        fraction("beta1", 0.98, "share of the mean gradient kept"),
        fraction("beta2", 0.92, "share of the mean change kept"),
        fraction("beta3", 0.99, "share of the mean square kept"),
        ADAM_EPS,
        Hyperparameter("eps_root", 0.0, "added to the mean square, inside the root"),
        Hyperparameter("weight_decay", 0.0, "share of w taken off a step, times lr"),
        AHEAD,
    )
    slots = ("mean", "mean_change", "mean_square", "previous")
    source = "Xie et al. (2024), arXiv:2208.06677"

    def columns(self, hyperparameters: HostColumns, updates: range) -> dict[str, np.ndarray]:
        """Return the columns; at the first update nothing is taken of the change."""
        lr, beta1, beta2, beta3 = (
            hyperparameters[name] for name in ("lr", "beta1", "beta2", "beta3")
        )
        by_beta2 = hyperparameters["ahead"] == AHEAD.number("beta2")
        ahead, changed = np.where(by_beta2, beta2, 1.0 - beta2), ~is_first(updates)
        correction = 1.0 - powers(beta3, updates)
        root = np.sqrt(correction)
        return {
            "rate1": 1.0 - beta1,
            "rate2": changed * (1.0 - beta2),
            "ahead": changed * ahead,
            "beta3": beta3,
            "rate3": 1.0 - beta3,
            "along_m": lr * root / (1.0 - powers(beta1, updates)),
            "along_v": lr * root * ahead / (1.0 - powers(beta2, updates)),
            "eps": hyperparameters["eps"] * root,
            "eps_root": hyperparameters["eps_root"] * correction,
            "decay": lr * hyperparameters["weight_decay"],
        }

    @staticmethod
    def rule(
        w,
        g,
        m,
        v,
        n,
        p,
        *,
        rate1,
        rate2,
        ahead,
        beta3,
        rate3,
        along_m,
        along_v,
        eps,
        eps_root,
        decay,
        xp,
    ):
        """Return w, m, v, n and p, each of shape (lanes, parameters)."""
        d = g - p
        m = m + rate1 * (g - m)
        v = v + rate2 * (d - v)
        q = g + ahead * d
        n = beta3 * n + rate3 * (q * q)
        step = (along_m * m + along_v * v) / (xp.sqrt(n + eps_root) + eps)
        return w - decay * w - step, m, v, n, g
