"""Schedule-free SGD and AdamW: an average of iterates in place of a falling learning rate.

Three sequences belong to a run: z, which gradient steps move; x, the weighted average of z, at
which the loss is meant to be looked at; and y between them, where gradients are taken. The
parameters of a lane are y, and x comes out of y and z.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from optbench.arrays import Array, Namespace
from optbench.optimizers.base import HostColumns, Optimizer, UpdateContext, powers
from optbench.optimizers.rules.moments import BETA2
from optbench.settings import Hyperparameter

LEAST_BETA = 0.01
"""The least interpolation: x = (y − (1 − β)z)/β loses digits as β falls, and all of them at 0."""


def _interpolation(name: str) -> Hyperparameter:
    """Return the hyperparameter β, of which y = βx + (1 − β)z."""
    meaning = "β, share of the average x in the gradient's point y"
    return Hyperparameter(name, 0.9, meaning, low=LEAST_BETA, high=1.0, high_open=True)


WEIGHT_DECAY = Hyperparameter("weight_decay", 0.0, "share of y added to the step's direction")

R = Hyperparameter("r", 0.0, "power of t in the weights of the average", high=4.0)

WEIGHT_LR_POWER = Hyperparameter(
    "weight_lr_power", 2.0, "power of the largest lr in the weights of the average", high=4.0
)


def raised(base: np.ndarray, exponent: np.ndarray) -> np.ndarray:
    """Return base^exponent by Python's power, broadcast; infinite where that overflows.

    NumPy's power may give other bits in longer arrays, and no lane may depend on its company.

    >>> raised(np.array([2.0, 1e300]), np.array([3.0, 2.0])).tolist()
    [8.0, inf]
    """
    bases, exponents = np.broadcast_arrays(base, exponent)
    pairs = zip(bases.ravel().tolist(), exponents.ravel().tolist(), strict=True)
    return np.array([_power(*pair) for pair in pairs]).reshape(bases.shape)


def _power(base: float, exponent: float) -> float:
    try:
        return float(base**exponent)
    except OverflowError:
        return float("inf")


class _ScheduleFree(Optimizer):
    """What both have: the weights of the average, and the average itself."""

    slots: ClassVar[tuple[str, ...]] = ("z",)
    copies = ("z",)
    scalars = ("largest", "weights", "extrapolation")
    evaluates_elsewhere = True
    source = "Defazio, Yang, Mehta, Mishchenko, Khaled and Cutkosky, NeurIPS 2024"

    beta: ClassVar[str]
    """Name of the hyperparameter β."""

    def columns(self, hyperparameters: HostColumns, updates: range) -> dict[str, np.ndarray]:
        """Return the columns of some updates, with the weights' powers of lr and of t.

        A running maximum of lr^p is that of lr, to the power of p.
        """
        given = hyperparameters
        numbers = np.array(updates, dtype=np.float64)[:, None, None]
        shared = np.ptp(given["r"]) == 0.0
        return {
            "lr": given["lr"],
            "beta": given[self.beta],
            "extrapolation": 1.0 / given[self.beta] - 1.0,
            "weight_decay": given["weight_decay"],
            "lr_weight": raised(given["lr"], given["weight_lr_power"]),
            "t_weight": raised(numbers, given["r"][:, :1] if shared else given["r"]),
        }

    def step(self, context: UpdateContext) -> None:
        """Move z by the direction, and y with it and towards z as the average asks."""
        columns = context.columns
        share = self._share(context)
        pull = columns["lr"] * (columns["beta"] * (1.0 - share) - 1.0)
        context.state["extrapolation"][...] = columns["extrapolation"]
        self._move(context, {"lr": columns["lr"], "share": share, "pull": pull})

    @abstractmethod
    def _move(self, context: UpdateContext, columns: Mapping[str, Array]) -> None:
        """Run the rule with the columns ``lr``, ``share`` and ``pull``, and its own."""

    def _share(self, context: UpdateContext) -> Array:
        """Return the weight of this update's z among all so far, c, shape (lanes, 1)."""
        xp, columns = context.xp, context.columns
        largest, weights = context.state["largest"], context.state["weights"]
        largest[...] = xp.maximum(largest, columns["lr_weight"])
        weight = columns["t_weight"] * largest
        weights += weight
        # Before the first lr above 0 no weight has been given, and nothing has moved.
        return weight / xp.where(weights == 0.0, xp.ones_like(weights), weights)

    def eval_params(self, params: Array, state: Mapping[str, Array], xp: Namespace) -> Array:
        """Return x = y + (1/β − 1)(y − z), shape (lanes, parameters), from the rows y.

        Before the first update the extrapolation is 0, and x is y.
        """
        return params + state["extrapolation"] * (params - state["z"])


class ScheduleFreeSGD(_ScheduleFree):
    """Schedule-free SGD.

    ::

        u ← g(y) + weight_decay·y
        c ← tʳ·lr_maxᵖ / Σ of these so far             lr_max is the largest lr so far
        y ← (1 − c)y + c·z + lr·(β(1 − c) − 1)u        y and z are the start at the start
        z ← z − lr·u
        x = (y − (1 − β)z)/β                           evaluated

    which keeps y = (1 − β)z + βx and x ← (1 − c)x + c·z without storing x. β is ``momentum``, r
    ``r`` and p ``weight_lr_power``; at a constant lr and r = 0, c = 1/t. The parameters, and the
    trace, are y.

    The equations and defaults are those of the authors' package ``schedulefree``
    (``SGDScheduleFree``) and of ``optax.contrib.schedule_free_sgd``, which has no r and calls β
    ``b1``. Their ``warmup_steps`` is left to schedules of ``lr``. With weight decay u is evaluated
    at y in both, as here.

    Source: A. Defazio, X. Yang, H. Mehta, K. Mishchenko, A. Khaled and A. Cutkosky, "The road less
    scheduled", NeurIPS 2024.
    """

    name = "schedule-free-sgd"
    summary = "z ← z − lr·g(y), x ← mean of z, w ← w between: y = (1−β)z + βx;  x is evaluated"
    hyperparameters = (
        Hyperparameter("lr", 1.0, "learning rate"),
        _interpolation("momentum"),
        WEIGHT_DECAY,
        R,
        WEIGHT_LR_POWER,
    )
    partner = "optax.contrib.schedule_free_sgd"
    beta = "momentum"

    def _move(self, context: UpdateContext, columns: Mapping[str, Array]) -> None:
        own = {**columns, "weight_decay": context.columns["weight_decay"]}
        context.elementwise(
            self.rule, [context.params.rows, context.grads.rows, context.state["z"]], own
        )

    @staticmethod
    def rule(y, g, z, *, lr, share, pull, weight_decay, xp):
        """Return y and z, both of shape (lanes, parameters)."""
        u = g + weight_decay * y
        return y + share * (z - y) + pull * u, z - lr * u


class ScheduleFreeAdamW(_ScheduleFree):
    """Schedule-free AdamW.

    ::

        v ← v + (1 − β₂)(g² − v)                       v is 0 at the start
        u ← g/(√(v/(1 − β₂ᵗ)) + eps) + weight_decay·y
        c ← tʳ·lr_maxᵖ / Σ of these so far             lr_max is the largest lr so far
        y ← (1 − c)y + c·z + lr·(β₁(1 − c) − 1)u       y and z are the start at the start
        z ← z − lr·u
        x = (y − (1 − β₁)z)/β₁                         evaluated

    as in :class:`ScheduleFreeSGD`, with β₁ for its β; there is no other momentum.

    The equations and defaults are those of ``optax.contrib.schedule_free_adamw``, which has no r,
    and of the authors' package ``schedulefree`` (``AdamWScheduleFree``) in version 1.4. The paper's
    algorithm 1 and earlier versions multiply lr by √(1 − β₂ᵗ) in place of correcting v, so that eps
    weighs more at first and the average's weights grow with t.

    Source: A. Defazio, X. Yang, H. Mehta, K. Mishchenko, A. Khaled and A. Cutkosky, "The road less
    scheduled", NeurIPS 2024.
    """

    name = "schedule-free-adamw"
    summary = (
        "schedule-free-sgd with g/(√v̂ + eps) for g: z ← z − lr·u, w ← w between z and its mean"
    )
    hyperparameters = (
        Hyperparameter("lr", 0.0025, "learning rate"),
        _interpolation("beta1"),
        BETA2,
        Hyperparameter("eps", 1e-8, "added to the root, outside it, after bias correction"),
        WEIGHT_DECAY,
        R,
        WEIGHT_LR_POWER,
    )
    slots = ("z", "mean_square")
    partner = "optax.contrib.schedule_free_adamw"
    beta = "beta1"

    def columns(self, hyperparameters: HostColumns, updates: range) -> dict[str, np.ndarray]:
        """Return the columns of some updates, with the bias correction 1/√(1 − β₂ᵗ)."""
        beta2 = hyperparameters["beta2"]
        return {
            **super().columns(hyperparameters, updates),
            "rate2": 1.0 - beta2,
            "scale2": 1.0 / np.sqrt(1.0 - powers(beta2, updates)),
            "eps": hyperparameters["eps"],
        }

    def _move(self, context: UpdateContext, columns: Mapping[str, Array]) -> None:
        names = ("rate2", "scale2", "eps", "weight_decay")
        own = {**columns, **{name: context.columns[name] for name in names}}
        state = context.state
        arrays = [context.params.rows, context.grads.rows, state["z"], state["mean_square"]]
        context.elementwise(self.rule, arrays, own)

    @staticmethod
    def rule(y, g, z, v, *, lr, share, pull, rate2, scale2, eps, weight_decay, xp):
        """Return y, z and v, each of shape (lanes, parameters)."""
        v = v + rate2 * (g * g - v)
        u = g / (xp.sqrt(v) * scale2 + eps) + weight_decay * y
        return y + share * (z - y) + pull * u, z - lr * u, v
