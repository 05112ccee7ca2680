r"""What is judged of a lane: one number, whose differences are relative changes of the loss.

The metric is :math:`\log(\text{final loss} - m + \varepsilon)`. What m and ε are depends on the
problem alone and on all lanes of a group together, then and now alike, so that exchanging a lane of
the baseline for its partner changes neither: the test of :mod:`optbench.checks.flips` relies on it.

===================================  ==============  ==============================================
problem                              m               ε
===================================  ==============  ==============================================
function with known minima           smallest value  1,024 units of rounding of the larger of start
                                                     loss and \|m\|: 2.3e-13 of it in float64,
                                                     1.2e-4 in float32. Near its minimum a function
                                                     is the difference of much larger terms, so that
                                                     what lies below is rounding, not optimizing.
function with noise in training      smallest value  the larger of the seeds' median deviation from
                                                     their median, each the mean of then and now,
                                                     and twice the depth of the lowest lane below m:
                                                     the mean of noisy losses may be less than the
                                                     minimum, and where seeds differ by more than
                                                     the loss, a share of the loss means nothing.
everything else                      0               one unit of rounding of the start loss: a
                                                     network's loss is no difference of larger
                                                     numbers, and small ones are real.
everything else, where a final loss  the lowest of   their median size: changes are relative to the
is not positive                      the lanes       size of the loss, as no zero is known.
===================================  ==============  ==============================================
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

FUNCTION_UNITS = 1024.0
"""Units of rounding below which a function's loss above its minimum says nothing."""


def log_losses(
    then: np.ndarray, now: np.ndarray, start: float, problem: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the metric of the lanes of a group, on both sides.

    Parameters
    ----------
    then, now
        Final losses, finite, shape (seeds,).
    start
        Loss at the start of the baseline's lanes.
    problem
        What the baseline's run.json says of the problem.

    >>> known = {"kind": "function", "minima": [{"value": 1.0}], "batch_size": None}
    >>> then, now = log_losses(np.array([1.1]), np.array([1.2]), 6.0, known)
    >>> round(float(np.exp(now - then)[0]), 6)
    2.0
    """
    minimum, floor = _zero_and_floor(np.stack([then, now]), start, problem)
    lowest = 0.0 if problem.get("batch_size") is None else -0.5 * floor  # rounding, or noise
    above = np.maximum(np.stack([then, now]) - minimum, lowest)
    metric_then, metric_now = np.log(above + floor)
    return metric_then, metric_now


def _zero_and_floor(
    losses: np.ndarray, start: float, problem: Mapping[str, Any]
) -> tuple[float, float]:
    """Return m and ε for the final losses of both sides, shape (2, seeds)."""
    minima = [float(each["value"]) for each in problem.get("minima") or ()]
    unit = float(np.finfo(np.dtype(problem.get("dtype") or "float64")).eps)
    start = abs(start) if np.isfinite(start) else float(np.abs(losses).max())
    smallest = float(np.finfo(np.float64).tiny)
    if not minima or problem.get("kind") != "function":
        if losses.min() > 0.0:
            return 0.0, max(unit * start, smallest)
        return float(losses.min()), max(float(np.median(np.abs(losses))), unit * start, smallest)
    minimum = min(minima)
    floor = FUNCTION_UNITS * unit * max(start, abs(minimum))
    if problem.get("batch_size") is not None:
        seeds = losses.mean(axis=0)
        spread = float(np.median(np.abs(seeds - np.median(seeds))))
        floor = max(floor, spread, 2.0 * (minimum - float(losses.min())))
    return minimum, max(floor, smallest)
