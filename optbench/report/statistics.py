"""Smoothing along iterations, and medians and bands over seeds."""

from itertools import count
from typing import Literal, TypeAlias

import numpy as np

from optbench.errors import UsageError
from optbench.inference.times import median_ranks
from optbench.records import Status

Band: TypeAlias = Literal["spread", "interval"]
"""What surrounds a median over seeds: how far they lie apart, or how well it is known."""

FEW_SEEDS = 10
"""Below so many seeds a band reaches from minimum to maximum, from there over 10-90 %."""

INTERVAL_SEEDS = next(seeds for seeds in count(1) if median_ranks(seeds))
"""Below so many seeds, 6, a median has no 95 % interval."""

ENDED_WORST = (Status.DIVERGED, Status.FAILED)
"""Statuses of lanes that count as +inf in every ranking and every median."""

ENDED_WELL = (Status.DONE, Status.STOPPED)
"""Statuses of lanes whose final values count."""

VALUED = (*ENDED_WELL, Status.PAUSED)
"""Statuses of lanes that have values, be they final or those at a pause."""


def smooth(values: np.ndarray, window: int = 11, beta: float = 2.0) -> np.ndarray:
    r"""Smooth rows with a Kaiser window, as the textbook smooths its loss curves.

    .. math:: y_k = \sum_j w_j s_{k+j} / \sum_j w_j, \qquad j = -h \dots h,

    where w is the Kaiser window of 2h + 1 points and s is the signal x, extended on the left by
    x[w-1], ..., x[1] (mirrored about the first row) and on the right by x[-1], ..., x[-w+1]
    (mirrored about the end, the last row twice). Only the h nearest rows of each extension can
    reach the result, so only they are made. Fewer rows than the window: the largest odd window
    that fits. The shape is (..., rows), of the result too, which is float64; a window of 1 leaves
    the signal alone, and beta = 0 is a plain running mean.

    References
    ----------
    J. F. Kaiser and R. W. Schafer, "On the use of the I0-sinh window for spectrum analysis", IEEE
    Trans. ASSP 28(1), 1980. The extension: K. Saitoh, *Deep Learning from Scratch*, 2016.

    >>> smooth(np.array([0.0, 0.0, 3.0, 0.0, 0.0]), window=3, beta=0.0)
    array([0., 1., 1., 1., 0.])
    """
    if window < 1 or window % 2 == 0:
        raise UsageError(f"the smoothing window must be an odd number of rows; got {window}")
    signal = np.asarray(values, dtype=np.float64)
    rows = signal.shape[-1]
    window = min(window, rows - 1 + rows % 2)
    if window <= 1:
        return signal.copy()
    half = window // 2
    extended = np.concatenate(
        [signal[..., half:0:-1], signal, signal[..., : -half - 1 : -1]], axis=-1
    )
    kernel = np.kaiser(window, beta)
    kernel /= kernel.sum()
    smoothed = np.zeros_like(signal)
    for offset, weight in enumerate(kernel):
        smoothed += weight * extended[..., offset : offset + rows]
    return smoothed


def quantile(rows: np.ndarray, q: float) -> np.ndarray:
    """Return the q-quantile along axis 0, by linear interpolation, of values that may be +inf.

    A NaN makes its column NaN. ``numpy.quantile`` would make NaN of two infinite neighbours.

    >>> float(quantile(np.array([1.0, np.inf, 2.0]), 0.5))
    2.0
    >>> float(quantile(np.array([1.0, np.inf]), 0.5))
    inf
    """
    ordered = np.sort(np.asarray(rows, dtype=np.float64), axis=0)
    position = q * (len(ordered) - 1)
    below = int(position)
    weight = position - below
    value = ordered[below]
    if weight:
        value = (1.0 - weight) * value + weight * ordered[below + 1]
    return np.where(np.isnan(ordered[-1]), np.nan, value)


def band_name(seeds: int) -> str:
    """Say what :func:`spread` is of so many seeds.

    >>> band_name(5), band_name(10)
    ('min–max', '10–90 %')
    """
    return "min–max" if seeds < FEW_SEEDS else "10–90 %"


def spread(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the band of the seeds along axis 0: minimum to maximum below 10, else 10-90 %."""
    tail = 0.0 if len(rows) < FEW_SEEDS else 0.1
    return quantile(rows, tail), quantile(rows, 1.0 - tail)


def median_interval(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the 95 % interval of the median along axis 0, by order statistics.

    The ranks are those of :func:`~optbench.inference.times.median_ranks`; values may be +inf. It
    holds for each column by itself. NaN where there are fewer than :data:`INTERVAL_SEEDS` rows.

    >>> [float(end[0]) for end in median_interval(np.arange(1.0, 11.0)[:, None])]
    [2.0, 9.0]
    """
    ordered = np.sort(np.asarray(rows, dtype=np.float64), axis=0)
    ranks = median_ranks(len(ordered))
    if ranks is None:
        none = np.full(ordered.shape[1:], np.nan)
        return none, none
    low, high = ranks
    return ordered[low - 1], ordered[high - 1]
