"""What rules share: hyperparameters, bias correction, places of eps."""

from collections.abc import Callable

import numpy as np

from optbench.optimizers.base import HostColumns, powers
from optbench.settings import Choice, Hyperparameter, Switch, fraction

TEXTBOOK_LR = Hyperparameter("lr", 0.01, "learning rate")
TEXTBOOK_EPS = Hyperparameter("eps", 1e-7, "added to the root, or inside it")

ADAM_LR = Hyperparameter("lr", 0.001, "learning rate")
ADAM_EPS = Hyperparameter("eps", 1e-8, "added to the root, outside it")
BETA1 = fraction("beta1", 0.9, "share of the mean gradient kept")
BETA2 = fraction("beta2", 0.999, "share of the mean square kept")

ROOT_PLACE = Choice(
    "eps_place", "outside", "whether eps is outside or inside the root", ("outside", "inside")
)
BIAS_PLACE = Choice(
    "eps_place", "uncorrected", "which root eps is added to", ("uncorrected", "corrected")
)
BIAS_CORRECTION = Switch("bias_correction", 1.0, "1 corrects the bias of the means, 0 does not")


def eps_places(hyperparameters: HostColumns) -> tuple[np.ndarray, np.ndarray]:
    """Return what is added outside and inside the root, of ``eps`` and :data:`ROOT_PLACE`."""
    eps = hyperparameters["eps"]
    inside = hyperparameters["eps_place"] == ROOT_PLACE.number("inside")
    return np.where(inside, 0.0, eps), np.where(inside, eps, 0.0)


def correction(decay: np.ndarray, hyperparameters: HostColumns, updates: range) -> np.ndarray:
    """Return 1 − decayᵗ of some updates, and 1 in lanes whose ``bias_correction`` is 0.

    A mean that starts at 0 and keeps a share ``decay`` in each update is too small by that factor.
    The shape is (updates, lanes or 1, 1).
    """
    return 1.0 - hyperparameters.get("bias_correction", 1.0) * powers(decay, updates)


def corrected(hyperparameters: HostColumns, updates: range) -> dict[str, np.ndarray]:
    """Return the columns of Adam's moments, with the bias corrected before eps is added.

    lr·(m/b₁)/(√(v/b₂) + eps) with bᵢ = 1 − βᵢᵗ is step_size·m/(√v + eps) with the columns
    step_size = lr·√b₂/b₁ and eps·√b₂, so that correction takes no pass over arrays. A rule may have
    a ``bias_correction``, and bᵢ = 1 where that is 0.

    Returns
    -------
    dict
        ``step_size`` and ``eps`` of shape (updates, lanes or 1, 1); ``rate1`` = 1 − β₁, ``beta2``
        and ``rate2`` = 1 − β₂ of shape (1, lanes, 1).
    """
    beta1, beta2 = hyperparameters["beta1"], hyperparameters["beta2"]
    root = np.sqrt(correction(beta2, hyperparameters, updates))
    return {
        "step_size": hyperparameters["lr"] * root / correction(beta1, hyperparameters, updates),
        "eps": hyperparameters["eps"] * root,
        "rate1": 1.0 - beta1,
        "beta2": beta2,
        "rate2": 1.0 - beta2,
    }


def either(
    condition: np.ndarray, yes: Callable[[], np.ndarray], no: Callable[[], np.ndarray]
) -> np.ndarray:
    """Return ``yes()`` where a condition holds, else ``no()``; both are called only if need be.

    >>> either(np.array([True, True]), lambda: np.array([1.0, 2.0]), lambda: 1 / 0).tolist()
    [1.0, 2.0]
    """
    if condition.all():
        return yes()
    return np.where(condition, yes(), no()) if condition.any() else no()


def is_first(updates: range) -> np.ndarray:
    """Return which of some updates is the first of all, shape (updates, 1, 1).

    >>> is_first(range(1, 4)).ravel().tolist()
    [True, False, False]
    """
    return np.array([t == 1 for t in updates])[:, None, None]
