"""How exactly a hyperparameter has to be set: the width of the interval that is nearly as good."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Tolerance:
    """The interval of a hyperparameter round its best value in which the loss is nearly the best.

    Attributes
    ----------
    decades
        log₁₀(high / low): at least so wide where an end is open.
    low, high
        Its ends.
    low_open, high_open
        Whether it goes on beyond the end of the grid.
    too_coarse
        Whether the loss of a neighbour is more than ``factor`` × the best, or the neighbour
        diverged: no value but the best was seen on that side of the interval, and a finer grid may
        find a better one.
    """

    decades: float
    low: float
    high: float
    low_open: bool
    high_open: bool
    too_coarse: bool


def width(values: ArrayLike, losses: ArrayLike, factor: float) -> Tolerance:
    """Return the interval round the best value in which the loss is at most ``factor`` × the best.

    It goes from the best value to either side as far as all losses are at most the limit, and from
    there to where the loss crosses it, linear between neighbours in the logarithms of both. Towards
    a neighbour that diverged it ends at the last finite value: nothing lies between a number and
    +inf. At the end of the grid it is open. Of equally good values the smallest is the best.

    Parameters
    ----------
    values
        Of the hyperparameter, above 0 and different, in any order; shape (values,).
    losses
        Above the problem's minimum, L − m; +inf where diverged; shape (values,).
    factor
        1 + f: 1.1 for 10 %, 2 for 100 %.

    Raises
    ------
    ValueError
        If a value is not finite and above 0 or occurs twice, if a loss is NaN or below 0, if none
        is finite, or if the factor is below 1.

    >>> found = width([1e-4, 1e-3, 1e-2, 1e-1, 1.0], [1.0, 0.2, 0.1, 0.15, np.inf], 1.8)
    >>> round(found.decades, 2), round(found.low, 5), found.high, found.high_open
    (1.85, 0.00142, 0.1, False)
    """
    order = np.argsort(np.asarray(values, dtype=np.float64))
    grid = np.asarray(values, dtype=np.float64)[order]
    loss = np.asarray(losses, dtype=np.float64)[order]
    _check(grid, loss, factor)
    best = int(np.argmin(loss))
    limit = factor * loss[best]
    low, low_open = _end(grid[best::-1], loss[best::-1], limit)
    high, high_open = _end(grid[best:], loss[best:], limit)
    return Tolerance(
        decades=float(np.log10(high / low)),
        low=low,
        high=high,
        low_open=low_open,
        high_open=high_open,
        too_coarse=bool((loss[max(0, best - 1) : best + 2] > limit).any()),
    )


def _check(grid: np.ndarray, loss: np.ndarray, factor: float) -> None:
    if not (np.isfinite(grid) & (grid > 0.0)).all() or (np.diff(grid) == 0.0).any():
        raise ValueError("values must be finite, above 0 and different")
    if not (loss >= 0.0).all():
        raise ValueError("losses must be at least 0: subtract the problem's minimum")
    if not np.isfinite(loss).any():
        raise ValueError("no loss is finite")
    if factor < 1.0:
        raise ValueError(f"the factor must be at least 1; got {factor}")


def _end(grid: np.ndarray, loss: np.ndarray, limit: float) -> tuple[float, bool]:
    """Return where the loss rises above the limit, the best value first, and whether it never does.

    Then it is the last value.
    """
    above = np.flatnonzero(loss > limit)
    if not above.size:
        return float(grid[-1]), True
    outside = int(above[0])
    inside = outside - 1
    if loss[inside] == 0.0:  # its logarithm is −inf
        return float(grid[inside]), False
    # The share of the way from inside to outside: 0 where outside diverged.
    rise = np.log(limit / loss[inside]) / np.log(loss[outside] / loss[inside])
    return float(grid[inside] * (grid[outside] / grid[inside]) ** rise), False
