"""Derivatives from differences of losses, in float64."""

from collections.abc import Callable
from math import inf
from typing import NamedTuple, Protocol

import numpy as np

STEP = float(np.finfo(np.float64).eps ** (1 / 3))
"""Step of a central difference, times the parameter's size, or times 1 where that is smaller."""

MOST_VALUES = 4_000_000
"""Numbers that the points of central differences may hold which are computed together."""

LARGEST_STEP, STEPS = 0.1, 14
"""Steps that are extrapolated are 0.1, 0.05, … times the parameter's size, or times 1."""

SHARE_OF_TOLERANCE = 0.25
"""A derivative counts once its own error is known to be below this share of the tolerance."""


def central_differences(
    losses: Callable[[np.ndarray], np.ndarray], points: np.ndarray
) -> np.ndarray:
    r"""Return the gradient at points by central differences.

    .. math:: g_i = \frac{f(x + h_i e_i) - f(x - h_i e_i)}{(x_i + h_i) - (x_i - h_i)},
        \qquad h_i = \epsilon^{1/3} \max(1, |x_i|), \quad \epsilon = 2^{-52}.

    The third derivative makes an error of h²f‴/6 and rounding one of about εf/h; with this step
    both are of the order of ε^(2/3) = 4e-11, so about ten digits of the gradient are right. It
    costs 2n losses for each point.

    Parameters
    ----------
    losses
        Returns the losses (points,) at points (points, n); it is called with as many shifted points
        at once as hold at most :data:`MOST_VALUES` numbers.
    points
        Where: float64, shape (lanes, n).

    Returns
    -------
    numpy.ndarray
        Shape (lanes, n); not finite where a loss is not.

    >>> central_differences(lambda x: (x**3).sum(axis=1), np.array([[1.0, -2.0]])).round(9)
    array([[ 3., 12.]])
    """
    lanes, n = points.shape
    step = STEP * np.maximum(1.0, np.abs(points))
    above, below = points + step, points - step
    gradients = np.empty_like(points)
    together = max(1, MOST_VALUES // max(1, 2 * lanes * n))
    for first in range(0, n, together):
        some = np.arange(first, min(first + together, n))
        moved = np.tile(points, (2, some.size, 1, 1))  # above and below, coordinates, lanes, n
        for side, ends in zip(moved, (above, below), strict=True):
            side[np.arange(some.size), :, some] = ends[:, some].T
        higher, lower = losses(moved.reshape(-1, n)).reshape(2, some.size, lanes)
        with np.errstate(all="ignore"):
            gradients[:, some] = (higher - lower).T / (above - below)[:, some]
    return gradients


class Point(Protocol):
    """A point whose losses, and those of points that differ in one parameter, can be had."""

    position: np.ndarray
    """Shape (parameters,)."""
    base: float
    """The loss there."""

    def losses(self, entries: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return the loss with each entry replaced by its value, one at a time."""


def derivatives(
    entries: np.ndarray, analytic: np.ndarray, floor: float, point: Point, tolerance: float
) -> np.ndarray:
    """Return the derivative by each entry from differences; NaN where no step gives one.

    A central difference, (f(θ + h) − f(θ − h))/2h, is extrapolated to h = 0 from steps that halve
    until its error, as values of neighbouring orders and rounding show it, is small enough. An
    entry for which it never is, or at which the differences to both sides stay apart as h gets
    smaller, lies at a kink.

    Parameters
    ----------
    entries
        Places in a row, shape (entries,).
    analytic
        The gradient there; together with ``floor`` it only decides what is accurate enough.
    tolerance
        The relative error (see :func:`scale`) that the derivatives are to tell.

    Source: C. J. F. Ridders, "Accurate computation of F′(x) and F′(x)F″(x)", Advances in
    Engineering Software 4, 1982.
    """
    known = np.full(entries.size, np.nan)
    open_ = np.arange(entries.size)
    before, bends = np.empty((0, entries.size)), np.full(entries.size, np.nan)
    for level in range(STEPS):
        differences = _differences(entries[open_], LARGEST_STEP / 2.0**level, point)
        best, error, row = _extrapolate(differences.quotient, before)
        enough = tolerance * scale(analytic[open_], best, floor)
        accurate = error + differences.rounding <= SHARE_OF_TOLERANCE * enough
        # Differences to both sides approach each other with the step, unless a kink is between.
        bend = np.abs(differences.bend)
        kinked = (bend > 0.75 * bends) & (bend > 10.0 * enough)
        done = accurate & ~kinked
        known[open_[done]] = best[done]
        open_, before, bends = open_[~done], row[:, ~done], bend[~done]
        if not open_.size:
            break
    return known


class _Differences(NamedTuple):
    """What two points beside the start say of each entry; arrays (entries,)."""

    quotient: np.ndarray  # central difference, divided by 2h
    bend: np.ndarray  # by how much the differences to both sides lie apart
    rounding: np.ndarray  # error of the quotient that comes from rounding the losses


def _differences(entries: np.ndarray, part: float, point: Point) -> _Differences:
    """Return differences with steps of ``part`` of each parameter's size, or of 1."""
    here = point.position[entries]
    step = part * np.maximum(1.0, np.abs(here))
    above, below = here + step, here - step
    losses = point.losses(np.append(entries, entries), np.append(above, below))
    higher, lower = losses[: entries.size], losses[entries.size :]
    with np.errstate(all="ignore"):
        bend = (higher - point.base) / (above - here) - (point.base - lower) / (here - below)
        rounding = 2.0 * np.finfo(float).eps * (np.abs(higher) + np.abs(lower)) / (above - below)
        return _Differences((higher - lower) / (above - below), bend, rounding)


def _extrapolate(
    quotient: np.ndarray, before: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the best derivative, its error, and the tableau's next row, (orders, entries).

    Each further order takes the next even power of the step out of two values of the order below,
    one from this step and one from the step twice as large (``before``).
    """
    row, best, error = [quotient], quotient, np.full(quotient.size, inf)
    with np.errstate(all="ignore"):
        for order, older in enumerate(before, start=1):
            newer = row[-1] + (row[-1] - older) / (4.0**order - 1.0)
            apart = np.maximum(np.abs(newer - row[-1]), np.abs(newer - older))
            best = np.where(apart < error, newer, best)
            error = np.fmin(error, apart)
            row.append(newer)
    return best, error, np.stack(row)


def scale(analytic: np.ndarray, numeric: np.ndarray, floor: float) -> np.ndarray:
    """Return what an error of a derivative is relative to: the larger of both, or the floor."""
    larger: np.ndarray = np.maximum(np.maximum(np.abs(analytic), np.abs(numeric)), floor)
    return larger
