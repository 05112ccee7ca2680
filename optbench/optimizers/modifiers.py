"""What any optimizer takes beside its own hyperparameters: schedules, decay and clipping.

In each update the gradient is clipped, then the penalty's gradient is added, then weights decay,
and the optimizer's own rule is last. Lanes that are given different ones of these stand in
different blocks, so nothing is computed for a lane that did not ask for it.
"""

from collections.abc import Container, Mapping, Sequence

import numpy as np

from optbench.arrays import Array, Namespace, inner
from optbench.errors import SuiteError
from optbench.optimizers.base import ALL, VECTORS, HostColumns, UpdateContext, decayed_parts
from optbench.schedules import (
    CONSTANT,
    DECAY,
    EVERY,
    FLOOR,
    SCHEDULES,
    WARMUP,
    learning_rate_factors,
)
from optbench.settings import Choice, Hyperparameter

SCHEDULE = (
    Choice("schedule", CONSTANT, "how the learning rate changes", SCHEDULES),
    Hyperparameter("warmup", WARMUP, "updates in which it rises linearly at first"),
    Hyperparameter("schedule_every", EVERY, "updates of one decay (step, exponential, 1/t)", 1.0),
    Hyperparameter("schedule_decay", DECAY, "what one decay multiplies by, or adds below for 1/t"),
    Hyperparameter("schedule_floor", FLOOR, "share that linear and cosine end at", high=1.0),
)

WEIGHT_DECAY = "weight_decay"

DECAYS = (WEIGHT_DECAY, "l2")
"""What draws parameters to 0."""

LEAST_CLIP = 1e-30
"""Smallest bound of a gradient: 0 would divide 0 by 0."""

GRADIENT = (
    Hyperparameter("l2", 0.0, "times w, added to the gradient"),
    Hyperparameter("weight_decay", 0.0, "times lr and w, taken from w before the update"),
    Hyperparameter("clip_norm", 1.0, "largest Euclidean norm of a lane's gradient", LEAST_CLIP),
    Hyperparameter("clip_value", 1.0, "largest size of a gradient's entry", LEAST_CLIP),
)

NO_DECAY = Choice(
    "no_decay", ALL, "what neither weight_decay nor l2 touches: biases and scales", (ALL, VECTORS)
)

LEARNING_RATE = (*(setting.name for setting in SCHEDULE), "weight_decay")
"""What scales the learning rate, or is scaled by it."""

COMMON = {setting.name: setting for setting in (*SCHEDULE, *GRADIENT, NO_DECAY)}
"""All of them by name; a lane has those that it was given."""


def check_common(
    owner: str,
    given: Sequence[Mapping[str, object]],
    own: Container[str],
    *,
    apart: bool = True,
) -> None:
    """Refuse settings that would change nothing, or that cannot be kept.

    Parameters
    ----------
    owner
        The optimizer's name, for messages.
    given
        The hyperparameters that a suite gives to each configuration, the same ones to all.
    own
        Names of the optimizer's own.
    apart
        Whether its rule can be applied to some tensors with other hyperparameters than to others.

    Raises
    ------
    SuiteError
        If one belongs to a schedule and no configuration has any, or scales a learning rate that
        the optimizer does not have.
    """
    scaling = [key for key in given[0] if key in LEARNING_RATE and key not in own]
    if scaling and "lr" not in own:
        raise SuiteError(f"{owner} has no learning rate, so {scaling[0]} would change nothing")
    idle = [setting.name for setting in SCHEDULE[2:] if setting.name in given[0]]
    if idle and all(each.get("schedule", CONSTANT) == CONSTANT for each in given):
        raise SuiteError(f"{owner}: {idle[0]} needs a schedule; give schedule as well")
    if NO_DECAY.name in given[0] and NO_DECAY.name not in own:
        if not any(name in given[0] or name in own for name in DECAYS):
            raise SuiteError(f"{owner}: no_decay needs something that decays; give weight_decay")
        if WEIGHT_DECAY in own and not apart:
            raise SuiteError(
                f"{owner} decays all of its parameters in one rule, so no_decay cannot leave any "
                "out; give l2 instead, or a function that makes groups of parameters"
            )


class Common:
    """What the lanes of a block were given of :data:`COMMON`; all were given the same settings.

    Parameters
    ----------
    lanes
        All hyperparameters of each lane.
    own
        Names of the optimizer's own hyperparameters, which are left to its rule.
    iterations
        Updates of a lane, from which schedules know their end.
    """

    def __init__(
        self, lanes: Sequence[Mapping[str, float | str]], own: Sequence[str], iterations: int
    ) -> None:
        names = [name for name in COMMON if name in lanes[0] and name not in own]
        self._scheduled = any(setting.name in names for setting in SCHEDULE)
        self._lanes = lanes
        self._iterations = iterations
        self._numbers = {
            setting.name: np.array([[[float(lane[setting.name])] for lane in lanes]])
            for setting in GRADIENT
            if setting.name in names
        }
        self._spares = NO_DECAY.name in lanes[0] and NO_DECAY.name not in own
        self._parts: list[tuple[Array, Array, str]] | None = None

    def scheduled(self, hyperparameters: HostColumns, updates: range) -> HostColumns:
        """Return hyperparameters, (1, lanes, 1) each, with the learning rate of each update."""
        if not self._scheduled:
            return hyperparameters
        factors = np.stack(
            [learning_rate_factors(lane, updates, self._iterations) for lane in self._lanes],
            axis=1,
        )
        return {**hyperparameters, "lr": hyperparameters["lr"] * factors[:, :, None]}

    def columns(self, hyperparameters: HostColumns) -> dict[str, np.ndarray]:
        """Return what :meth:`apply_to_gradients` takes, from hyperparameters as scheduled."""
        columns = dict(self._numbers)
        if "weight_decay" in columns:
            columns["weight_decay"] = hyperparameters["lr"] * columns["weight_decay"]
        if self._spares:
            decaying = ~spared(self._lanes)
            columns |= {
                f"{name} of vectors": columns[name] * decaying for name in DECAYS if name in columns
            }
        return columns

    def apply_to_gradients(self, context: UpdateContext, columns: Mapping[str, Array]) -> None:
        """Clip the gradients, add the penalty's and let the weights decay, in place."""
        params, grads, xp = context.params.rows, context.grads.rows, context.xp
        if "clip_value" in columns:
            context.elementwise(_clip, [grads, params], {"limit": columns["clip_value"]})
        if "clip_norm" in columns:
            limit = columns["clip_norm"]
            norm = xp.sqrt(inner(grads, grads, xp))
            factor = limit / xp.maximum(norm, limit)
            context.elementwise(_scale, [grads, params], {"factor": factor})
        for params, grads, suffix in self._decayed(context):
            if "l2" in columns:
                l2 = columns[f"l2{suffix}"]
                context.elementwise(_add_penalty, [grads, params], {"l2": l2})
            if "weight_decay" in columns:
                rate = columns[f"weight_decay{suffix}"]
                context.elementwise(_decay, [params, grads], {"rate": rate})

    def _decayed(self, context: UpdateContext) -> list[tuple[Array, Array, str]]:
        """Return parts of parameters and gradients, and what names end with that are theirs."""
        whole = context.params.rows, context.grads.rows
        if not self._spares:
            return [(*whole, "")]
        if self._parts is None:  # the same arrays in each update, by which kernels are known
            self._parts = [
                (*(rows[:, part] for rows in whole), " of vectors" * vectors)
                for part, _, vectors in decayed_parts(context.tensors)
            ]
        return self._parts


def spared(lanes: Sequence[Mapping[str, float | str]]) -> np.ndarray:
    """Return of which lanes biases and scales do not decay: bool, shape (1, lanes, 1)."""
    return np.array([[[lane.get(NO_DECAY.name) == VECTORS] for lane in lanes]])


def _clip(g: Array, w: Array, *, limit: Array, xp: Namespace) -> tuple[Array, ...]:
    return (xp.maximum(xp.minimum(g, limit), -limit),)


def _scale(g: Array, w: Array, *, factor: Array, xp: Namespace) -> tuple[Array, ...]:
    return (factor * g,)


def _add_penalty(g: Array, w: Array, *, l2: Array, xp: Namespace) -> tuple[Array, ...]:
    return (g + l2 * w,)


def _decay(w: Array, g: Array, *, rate: Array, xp: Namespace) -> tuple[Array, ...]:
    return (w - rate * w,)
