"""How the learning rate changes from update to update."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

CONSTANT = "constant"
SCHEDULES = (CONSTANT, "linear", "step", "exponential", "1/t", "cosine")
DECAYING = SCHEDULES[1:]
WARMUP, EVERY, DECAY, FLOOR = 0.0, 1000.0, 0.1, 0.0
"""What counts where a schedule's numbers are not given."""


def learning_rate_factors(
    given: Mapping[str, float | str], updates: Sequence[int], iterations: int
) -> np.ndarray:
    """Return what the learning rate is multiplied by in each update: float64, shape (updates,).

    ::

        warm-up        (u + 1)/warmup                     while u < warmup
        constant       1
        linear         1 − (1 − floor)·p
        cosine         floor + (1 − floor)·(1 + cos πp)/2
        step           decay^⌊n⌋
        exponential    decay^n
        1/t            1/(1 + decay·n)

    u counts updates from 0; after the warm-up v = u − warmup counts on, p = v/(iterations − warmup)
    and n = v/every.

    Source of ``cosine``: I. Loshchilov and F. Hutter, "SGDR: stochastic gradient descent with warm
    restarts", ICLR 2017; of ``1/t``: K. Saitoh, "Deep Learning from Scratch", section 6.1.5.

    Parameters
    ----------
    given
        Hyperparameters; schedule, warmup, schedule_every, schedule_decay and schedule_floor count.
    updates
        Numbers of the updates, counted from 1.
    iterations
        Updates of a whole lane.

    >>> learning_rate_factors({"schedule": "linear", "warmup": 2}, range(1, 7), 6).tolist()
    [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    """
    kind = given.get("schedule", CONSTANT)
    warmup = float(given.get("warmup", WARMUP))
    every = float(given.get("schedule_every", EVERY))
    decay = float(given.get("schedule_decay", DECAY))
    floor = float(given.get("schedule_floor", FLOOR))
    length = max(1.0, iterations - warmup)

    def factor(update: int) -> float:
        u = update - 1
        if u < warmup:
            return (u + 1) / warmup
        v = u - warmup
        p, n = min(1.0, v / length), v / every
        match kind:
            case "linear":
                return 1.0 - (1.0 - floor) * p
            case "cosine":
                return floor + (1.0 - floor) * (1.0 + math.cos(math.pi * p)) / 2.0
            case "step":
                return float(decay ** math.floor(n))
            case "exponential":
                return float(decay**n)
            case "1/t":
                return 1.0 / (1.0 + decay * n)
        return 1.0

    return np.array([factor(update) for update in updates])
