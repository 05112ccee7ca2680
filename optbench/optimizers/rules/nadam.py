"""NAdam: Adam that looks ahead along its momentum, which grows as a run goes on."""

from functools import lru_cache

import numpy as np

from optbench.optimizers.base import Elementwise, HostColumns, powers
from optbench.optimizers.rules.moments import ADAM_EPS, BETA1, BETA2
from optbench.settings import Hyperparameter

NEGLIGIBLE = 2.0**-60
"""A product of momenta below which 1 − product is 1 in float64."""


def momentum(beta1: float, decay: float, t: int) -> float:
    """Return the momentum μ of update t (from 1): β₁·(1 − 0.96^(t·decay)/2)."""
    factor: float = 1.0 - 0.5 * 0.96 ** (t * decay)
    return beta1 * factor


@lru_cache(maxsize=64)
def momentum_products(beta1: float, decay: float, count: int) -> tuple[float, ...]:
    """Return μ₁·…·μₜ for t = 0, 1, …, count; the last, 0, also stands for all t after it.

    It always multiplies from the first update on, so that a product has the same bits wherever a
    chunk of updates starts. It ends early once a product is negligible.

    >>> [round(product, 6) for product in momentum_products(0.9, 0.004, 2)]
    [1.0, 0.450073, 0.202599]
    """
    products = [1.0]
    for t in range(1, count + 1):
        product = products[-1] * momentum(beta1, decay, t)
        if product < NEGLIGIBLE:
            return (*products, 0.0)
        products.append(product)
    return tuple(products)


def momenta(beta1: float, decay: float, updates: range) -> list[tuple[float, float, float]]:
    """Return μₜ, μₜ₊₁ and μ₁·…·μₜ for each of some updates."""
    # A power of two, so that the chunks of a long run ask for few different counts.
    products = momentum_products(beta1, decay, 1 << updates[-1].bit_length())
    last = len(products) - 1
    return [
        (momentum(beta1, decay, t), momentum(beta1, decay, t + 1), products[min(t, last)])
        for t in updates
    ]


class NAdam(Elementwise):
    """Adam with Nesterov's momentum.

    ::

        μₜ = β₁·(1 − 0.96^(t·momentum_decay)/2)        Πₜ = μ₁·…·μₜ
        m ← β₁·m + (1 − β₁)·g                          m and v are 0 at the start
        v ← β₂·v + (1 − β₂)·g²
        w ← w − lr·((1 − μₜ)/(1 − Πₜ)·g + μₜ₊₁/(1 − Πₜ₊₁)·m) / (√(v/(1 − β₂ᵗ)) + eps)

    This is ``torch.optim.NAdam``, which writes 0.5·0.96^(t·momentum_decay) as here; the report has
    momentum_decay = 0.004 too, and further multiplies v by β₂. ``optax.nadam`` has a constant μ =
    β₁, which is this rule with a large momentum_decay (``nadam-optax`` has 10000).

    Source: T. Dozat, "Incorporating Nesterov momentum into Adam", ICLR workshop 2016.
    """

    name = "nadam"
    summary = "m, v ← means of g, g²;  w ← w − lr·(a·g + b·m)/(√v̂ + eps), a and b by momenta μₜ"
    hyperparameters = (
        Hyperparameter("lr", 0.002, "learning rate"),
        BETA1,
        BETA2,
        ADAM_EPS,
        Hyperparameter("momentum_decay", 0.004, "how fast the momentum grows from β₁/2 to β₁"),
    )
    slots = ("mean", "mean_square")
    source = "Dozat (2016), as torch.optim.NAdam"
    partner = "torch.optim.NAdam"

    def columns(self, hyperparameters: HostColumns, updates: range) -> dict[str, np.ndarray]:
        """Return the columns of some updates; along_g and along_m hold lr and bias corrections."""
        beta1, decay = hyperparameters["beta1"], hyperparameters["momentum_decay"]
        by_lane = np.stack(np.broadcast_arrays(beta1.ravel(), decay.ravel()))
        pairs, places = np.unique(by_lane, axis=1, return_inverse=True)
        each = np.array([momenta(first, second, updates) for first, second in pairs.T.tolist()])
        now, following, product = each[places.ravel()].transpose(2, 1, 0)[..., None]
        beta2 = hyperparameters["beta2"]
        root = np.sqrt(1.0 - powers(beta2, updates))
        size = hyperparameters["lr"] * root
        return {
            "eps": hyperparameters["eps"] * root,
            "rate1": 1.0 - beta1,
            "beta2": beta2,
            "rate2": 1.0 - beta2,
            "along_g": size * (1.0 - now) / (1.0 - product),
            "along_m": size * following / (1.0 - product * following),
        }

    @staticmethod
    def rule(w, g, m, v, *, eps, rate1, beta2, rate2, along_g, along_m, xp):
        """Return w, m and v, each of shape (lanes, parameters)."""
        m = m + rate1 * (g - m)
        v = beta2 * v + rate2 * (g * g)
        return w - (along_g * g + along_m * m) / (xp.sqrt(v) + eps), m, v
