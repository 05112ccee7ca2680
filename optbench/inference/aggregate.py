"""Scores of many runs on many problems, as one number.

``z`` has the shape (…, runs, problems), larger is better; what is in front (labels, or the draws of
:func:`optbench.inference.resample.resampled`) stays in front of the result. The three scores are
those of R. Agarwal et al., "Deep reinforcement learning at the edge of the statistical precipice",
NeurIPS 2021.
"""

from math import inf

import numpy as np

TRIMMED = 0.25
"""Share of the scores that is left out on each side."""


def normalised(y: np.ndarray, start: np.ndarray, best: np.ndarray) -> np.ndarray:
    r"""Return scores from 0, where training began, to 1, where the best label ended on average.

    .. math:: z = \max\Big\{0, \frac{y_\text{start} - y}{y_\text{start} - y_\text{best}}\Big\}

    for y of shape (…, runs, problems), smaller is better; ``start`` and ``best`` have the shape
    (problems,). A run that diverged (not finite) has the score 0, and so have all runs of a problem
    where even the best label ended no lower than it began. Single runs may lie above 1.

    >>> normalised(np.array([[2.0], [0.5], [4.0], [np.inf]]), np.array([3.0]), np.array([1.0])).T
    array([[0.5 , 1.25, 0.  , 0.  ]])
    """
    drop = np.asarray(start, dtype=np.float64) - best
    useful = np.isfinite(y) & (drop > 0.0)
    fell = np.where(useful, start - np.where(useful, y, 0.0), 0.0)
    scores: np.ndarray = np.maximum(fell / np.where(drop > 0.0, drop, 1.0), 0.0)
    return scores


def iqm(z: np.ndarray) -> np.ndarray:
    """Return the interquartile mean over all runs and problems: shape (…).

    Of n scores the ⌊n/4⌋ smallest and largest are left out, and the rest averaged.

    >>> float(iqm(np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0], [6.0, 100.0]])))
    3.5
    """
    flat = z.reshape(*z.shape[:-2], -1)
    left_out = int(TRIMMED * flat.shape[-1])
    ordered = np.sort(flat, axis=-1)
    found: np.ndarray = ordered[..., left_out : flat.shape[-1] - left_out].mean(axis=-1)
    return found


def optimality_gap(z: np.ndarray, enough: float = 1.0) -> np.ndarray:
    """Return by how much scores lack ``enough``, those above it lacking nothing: shape (…).

    The mean of max(0, enough − z) over runs and problems; smaller is better.

    >>> float(optimality_gap(np.array([[0.5, 2.0], [1.0, 0.0]])))
    0.375
    """
    found: np.ndarray = np.maximum(enough - z, 0.0).mean(axis=(-2, -1))
    return found


def probability_of_improvement(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    r"""Return P(A improves on B), of a run of each on a problem drawn at random: shape (…).

    .. math:: \frac{1}{P} \sum_{p=1}^{P} \frac{\#\{(i, j): a_{ip} > b_{jp}\}
        + \frac12 \#\{(i, j): a_{ip} = b_{jp}\}}{n_a n_b}

    ``a`` and ``b`` have the shape (…, runs, problems), their numbers of runs may differ; larger is
    better, so losses are given with the other sign (−inf: diverged). It is the mean over problems
    of U/(n_a n_b), with the U of H. B. Mann and D. R. Whitney.

    >>> float(probability_of_improvement(np.array([[3.0], [1.0]]), np.array([[1.0], [2.0]])))
    0.625
    """
    left, right = a[..., :, None, :], b[..., None, :, :]
    above = np.count_nonzero(left > right, axis=(-3, -2, -1))
    not_below = np.count_nonzero(left >= right, axis=(-3, -2, -1))
    found: np.ndarray = (above + not_below) / (2.0 * a.shape[-1] * a.shape[-2] * b.shape[-2])
    return found


def geometric_mean_ratio(d: np.ndarray, level: float = 0.95) -> tuple[float, float, float]:
    r"""Return the geometric mean of ratios over N problems, and its interval by Student's t.

    .. math:: \exp(\bar d), \qquad \exp\big(\bar d \pm t_{(1 + \text{level})/2, N - 1} s / \sqrt N)

    for ``d`` of shape (problems,), the finite differences of mean logarithms; s is their standard
    deviation. It speaks of other problems of the same kind, if there is such a thing. From 0 to
    infinity for fewer than three problems.

    >>> [round(each, 3) for each in geometric_mean_ratio(np.log([0.8, 0.9, 0.85, 0.95]))]
    [0.873, 0.776, 0.982]
    """
    from scipy.special import stdtrit

    problems, mean = len(d), float(np.mean(d))
    ratio = float(np.exp(mean))
    if problems < 3:
        return ratio, 0.0, inf
    half = stdtrit(problems - 1, (1.0 + level) / 2.0) * np.std(d, ddof=1) / np.sqrt(problems)
    return ratio, float(np.exp(mean - half)), float(np.exp(mean + half))
