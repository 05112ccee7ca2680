"""Long curves with few points: of each stretch the lowest and the highest row stay."""

import itertools

import numpy as np

MOST_POINTS = 500
"""Points of a curve, if there are not too many curves."""

FEWEST_POINTS = 40

ALL_POINTS = 60_000
"""Points of all curves of a page together, as far as each has its fewest."""


def points_for(curves: int) -> int:
    """Return how many points each of so many curves may have.

    >>> points_for(4), points_for(200), points_for(100_000)
    (500, 300, 40)
    """
    return max(FEWEST_POINTS, min(MOST_POINTS, ALL_POINTS // max(1, curves)))


def stretches(rows: int, most: int) -> np.ndarray:
    """Return where stretches of rows begin, and the end, so that two of each are at most so many.

    >>> stretches(10, 6)
    array([ 0,  3,  7, 10])
    """
    edges: np.ndarray = np.linspace(0, rows, max(1, most // 2) + 1).round().astype(int)
    return edges


def extremes(values: np.ndarray, most: int) -> np.ndarray:
    """Return the places of the lowest and the highest value of each stretch, in order.

    All places, where there are no more than so many; a value that is not finite is kept where its
    stretch has no other.

    >>> extremes(np.array([0.0, 5.0, 1.0, 2.0, -3.0, 2.0]), 4)
    array([0, 1, 3, 4])
    """
    if len(values) <= most:
        return np.arange(len(values))
    edges = stretches(len(values), most)
    kept = []
    for start, end in itertools.pairwise(edges):
        part = values[start:end]
        known = np.where(np.isfinite(part), part, np.nan)
        if np.isnan(known).all():
            kept += [start]
        else:
            kept += [start + int(np.nanargmin(known)), start + int(np.nanargmax(known))]
    return np.unique(kept)
