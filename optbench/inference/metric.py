r"""Losses on a scale where differences are relative changes, for any number of sides.

The metric is :math:`y = \log(\text{loss} - m + \varepsilon)`. What is compared are sides (a
baseline and a run, or several optimizers), each with one loss per seed. m and ε depend on the
problem and on the losses of all sides, whatever their order within a seed; so exchanging two sides'
losses of a seed changes neither: sign flips (:mod:`optbench.inference.flips`) rely on it.

============================  ==============  =====================================================
problem                       m               ε
============================  ==============  =====================================================
function with a known         smallest value  1,024 units of rounding of the larger of start loss
minimum                                       and \|m\|: 2.3e-13 of it in float64, 1.2e-4 in
                                              float32. Near its minimum a function is the difference
                                              of much larger terms, so that what lies below is
                                              rounding, not optimizing.
function with a known         smallest value  the larger of the seeds' median deviation from their
minimum, noise in training                    median, each the median of all sides, and twice the
                                              depth of the lowest loss below m: the mean of noisy
                                              losses may be less than the minimum, and where seeds
                                              differ by more than the loss, a share of the loss
                                              means nothing.
everything else               0               one unit of rounding of the start loss: a network's
                                              loss is no difference of larger numbers, and small
                                              ones are real.
everything else, where a      the lowest      their median size: changes are relative to the size of
loss is not positive          loss            the loss, as no zero is known.
============================  ==============  =====================================================
"""

from dataclasses import dataclass

import numpy as np

FUNCTION_UNITS = 1024.0
"""Units of rounding below which a function's loss above its minimum says nothing."""


def log_losses(
    losses: np.ndarray,
    start: float,
    *,
    unit: float,
    minimum: float | None = None,
    noisy: bool = False,
) -> np.ndarray:
    """Return the metric of losses of shape (sides, seeds); +inf where they are not finite.

    ``start`` is the loss at the start; ``unit``, one unit of rounding, the ``eps`` of
    ``numpy.finfo`` for the numbers that the losses were computed in; ``minimum``, a function's
    smallest value where it is known; ``noisy`` says whether its training is.

    >>> y = log_losses(np.array([[1.1], [1.2]]), 6.0, unit=2.0**-52, minimum=1.0)
    >>> round(float(np.exp(y[1] - y[0])[0]), 6)
    2.0
    """
    return scale_of(losses, start, unit=unit, minimum=minimum, noisy=noisy).log(losses)


@dataclass(frozen=True)
class Scale:
    """What is subtracted from losses, m, and what is added, ε; ``lowest`` is where they are cut."""

    zero: float
    floor: float
    lowest: float = 0.0

    def log(self, losses: np.ndarray) -> np.ndarray:
        """Return log(loss − m + ε); +inf where a loss is not finite."""
        above = np.maximum(np.where(np.isfinite(losses), losses, np.inf) - self.zero, self.lowest)
        metric: np.ndarray = np.log(above + self.floor)
        return metric


def scale_of(
    losses: np.ndarray,
    start: float,
    *,
    unit: float,
    minimum: float | None = None,
    noisy: bool = False,
) -> Scale:
    """Return the scale of losses, with the arguments of :func:`log_losses`."""
    finite = np.isfinite(losses)
    if not finite.any():
        return Scale(minimum or 0.0, 1.0)
    known = np.where(finite, losses, np.nan)
    zero, floor = _zero_and_floor(known, start, unit, minimum, noisy)
    return Scale(zero, floor, -0.5 * floor if noisy else 0.0)  # noise, or rounding


def _zero_and_floor(
    losses: np.ndarray, start: float, unit: float, minimum: float | None, noisy: bool
) -> tuple[float, float]:
    """Return m and ε for losses, shape (sides, seeds), NaN where they are not finite."""
    known = losses[~np.isnan(losses)]
    start = abs(start) if np.isfinite(start) else float(np.abs(known).max())
    smallest = float(np.finfo(np.float64).tiny)
    if minimum is None:
        if known.min() > 0.0:
            return 0.0, max(unit * start, smallest)
        return float(known.min()), max(float(np.median(np.abs(known))), unit * start, smallest)
    floor = FUNCTION_UNITS * unit * max(start, abs(minimum))
    if noisy:
        seeds = np.nanmedian(losses[:, ~np.isnan(losses).all(axis=0)], axis=0)
        spread = float(np.median(np.abs(seeds - np.median(seeds))))
        floor = max(floor, spread, 2.0 * (minimum - float(known.min())))
    return minimum, max(floor, smallest)
