"""RAdam: Adam that divides by its root only once that is known well enough."""

import numpy as np

from optbench.optimizers.base import Elementwise, HostColumns, powers
from optbench.optimizers.rules.moments import ADAM_EPS, ADAM_LR, BETA1, BETA2, BIAS_PLACE


def rectification(beta2: np.ndarray, updates: range) -> tuple[np.ndarray, np.ndarray]:
    """Return where the variance of the step is finite, and the factor r that rectifies it there.

    With ρ∞ = 2/(1 − β₂) − 1 and ρₜ = ρ∞ − 2t·β₂ᵗ/(1 − β₂ᵗ), it is finite where ρₜ > 5, and r =
    √((ρₜ−4)(ρₜ−2)ρ∞ / ((ρ∞−4)(ρ∞−2)ρₜ)). Both have the shape (updates, lanes or 1, 1).
    """
    power = powers(beta2, updates)
    t = np.array(updates)[:, None, None]
    longest = 2.0 / (1.0 - beta2) - 1.0
    length = longest - 2.0 * t * power / (1.0 - power)
    finite = length > 5.0
    # Lengths of 4 or less have no factor; any valid number stands in for them.
    length, longest = np.where(finite, length, 6.0), np.where(finite, longest, 6.0)
    above = (length - 4.0) * (length - 2.0) * longest
    return finite, np.sqrt(above / ((longest - 4.0) * (longest - 2.0) * length))


class RAdam(Elementwise):
    """Rectified Adam.

    ::

        m ← β₁·m + (1 − β₁)·g                  m and v are 0 at the start
        v ← β₂·v + (1 − β₂)·g²
        w ← w − lr·rₜ·(m/(1 − β₁ᵗ))·√(1 − β₂ᵗ)/(√v + eps)     where ρₜ > 5
        w ← w − lr·m/(1 − β₁ᵗ)                                elsewhere: the first few updates

    with r and ρ of :func:`rectification`, which are columns. This is ``torch.optim.RAdam``: eps is
    added before the bias of v is corrected. With eps_place = corrected it is added after, to
    √(v/(1 − β₂ᵗ)): ``optax.radam`` (``radam-optax``), which rectifies where ρₜ ≥ 5. The paper has
    ρₜ > 4 and no eps.

    Source: L. Liu et al., "On the variance of the adaptive learning rate and beyond", ICLR 2020,
    algorithm 2.
    """

    name = "radam"
    summary = "m, v ← means of g, g²;  w ← w − lr·r·m̂/√v̂ once ρ > 5, before that w ← w − lr·m̂"
    hyperparameters = (ADAM_LR, BETA1, BETA2, ADAM_EPS, BIAS_PLACE)
    slots = ("mean", "mean_square")
    source = "Liu et al. (2020), arXiv:1908.03265"
    partner = "torch.optim.RAdam"

    def columns(self, hyperparameters: HostColumns, updates: range) -> dict[str, np.ndarray]:
        """Return the columns; the divisor root_share·√v + floor is 1 where nothing is rectified."""
        beta1, beta2 = hyperparameters["beta1"], hyperparameters["beta2"]
        finite, factor = rectification(beta2, updates)
        root = np.sqrt(1.0 - powers(beta2, updates))
        factor = factor * root
        corrected = hyperparameters["eps_place"] == BIAS_PLACE.number("corrected")
        eps = np.where(corrected, hyperparameters["eps"] * root, hyperparameters["eps"])
        return {
            "step_size": hyperparameters["lr"]
            / (1.0 - powers(beta1, updates))
            * np.where(finite, factor, 1.0),
            "rate1": 1.0 - beta1,
            "beta2": beta2,
            "rate2": 1.0 - beta2,
            "root_share": np.where(finite, 1.0, 0.0),
            "floor": np.where(finite, eps, 1.0),
        }

    @staticmethod
    def rule(w, g, m, v, *, step_size, rate1, beta2, rate2, root_share, floor, xp):
        """Return w, m and v, each of shape (lanes, parameters)."""
        m = m + rate1 * (g - m)
        v = beta2 * v + rate2 * (g * g)
        return w - step_size * m / (root_share * xp.sqrt(v) + floor), m, v
