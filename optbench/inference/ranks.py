r"""Labels ranked on each problem: mean ranks, whether they differ at all, and which pairs do.

``y`` has the shape (problems, labels), one number for each; smaller is better, and +inf is the
worst (most seeds diverged). What is tested needs no common scale of the problems (J. Demšar,
"Statistical comparisons of classifiers over multiple data sets", JMLR 7, 2006).
"""

from itertools import combinations
from math import factorial, inf

import numpy as np


def ranks(y: np.ndarray) -> np.ndarray:
    """Return the ranks within each problem, from 1, ties averaged: shape (problems, labels)."""
    smaller = (y[:, None, :] < y[:, :, None]).sum(axis=-1)
    alike = (y[:, None, :] == y[:, :, None]).sum(axis=-1)
    found: np.ndarray = smaller + (alike + 1.0) / 2.0
    return found


def mean_ranks(y: np.ndarray) -> np.ndarray:
    """Return the mean rank of each label over the problems: shape (labels,).

    >>> mean_ranks(np.array([[0.1, 0.3, np.inf, np.inf], [2.0, 1.0, 2.0, 3.0]])).tolist()
    [1.75, 1.5, 3.0, 3.75]
    """
    found: np.ndarray = ranks(y).mean(axis=0)
    return found


def friedman(y: np.ndarray) -> tuple[float, float, float]:
    r"""Return Friedman's χ², the F of Iman and Davenport and its p, of no label differing.

    With mean ranks R of k labels on N problems, at least two of each,

    .. math:: \chi_F^2 = \frac{12 N}{k (k + 1)} \Big(\sum_j R_j^2 - \frac{k (k + 1)^2}{4}\Big),
        \qquad F_F = \frac{(N - 1) \chi_F^2}{N (k - 1) - \chi_F^2},

    as Demšar (2006) writes them, without a correction for ties; p is the upper tail of F_F by the F
    distribution of k − 1 and (k − 1)(N − 1) degrees of freedom (R. L. Iman and J. M. Davenport,
    "Approximations of the critical region of the Friedman statistic", 1980). Where all problems
    agree on all ranks F_F is infinite, and p is the exact one, k!^(1−N).

    >>> chi2, f, p = friedman(np.array([[1, 2, 3], [1, 3, 2], [1, 2, 3], [2, 1, 3]]))
    >>> round(chi2, 3), round(f, 3), round(p, 3)
    (4.5, 3.857, 0.084)
    """
    from scipy.special import fdtrc

    problems, labels = y.shape
    squares = float((mean_ranks(y) ** 2).sum())
    chi2 = 12.0 * problems / (labels * (labels + 1)) * (squares - labels * (labels + 1) ** 2 / 4.0)
    left = problems * (labels - 1) - chi2
    if left <= 1e-9:
        return chi2, inf, float(factorial(labels)) ** (1 - problems)
    f = max((problems - 1) * chi2 / left, 0.0)
    return chi2, f, float(fdtrc(labels - 1, (labels - 1) * (problems - 1), f))


def wilcoxon(y: np.ndarray) -> np.ndarray:
    r"""Return the exact two-sided p of each pair of labels: shape (pairs,), in their order.

    That of F. Wilcoxon's signed ranks ("Individual comparisons by ranking methods", Biometrics
    Bulletin 1, 1945): problems where the two do not differ are left out, the others ranked by the
    size of the difference, ties averaged, and

    .. math:: p = \min\{1, 2 P(W \le \min(w^+, w^-))\}

    with w⁺ and w⁻ the sums of the ranks of positive and negative differences, and W the sum of
    ranks of which each counts with probability 1/2; its distribution is counted out for the ranks
    at hand, so that p is exact for any N, with ties too. A label that diverged on a problem differs
    most from one that did not; two that did are alike. Pairs are in the order of
    ``itertools.combinations``. Unlike in Nemenyi's test, no pair depends on who else was entered
    (A. Benavoli, G. Corani and F. Mangili, "Should we really use post-hoc tests based on
    mean-ranks?", JMLR 17, 2016).

    >>> wilcoxon(np.array([[1, 2, 9], [1, 3, 8], [2, 5, 7], [2, 6, 6], [1, 6, 5], [1, 7, 4]]))
    array([0.03125, 0.03125, 0.4375 ])
    """
    labels = y.shape[1]
    return np.array([_signed_ranks(y[:, a], y[:, b]) for a, b in combinations(range(labels), 2)])


def _signed_ranks(a: np.ndarray, b: np.ndarray) -> float:
    differs = a != b
    difference = a[differs] - b[differs]
    doubled = np.rint(2.0 * ranks(np.abs(difference)[None])[0]).astype(int)
    above = int(doubled[difference > 0.0].sum())
    chance = np.zeros(int(doubled.sum()) + 1)
    chance[0] = 1.0
    for rank in doubled:  # each counts or not
        chance[rank:] = (chance[rank:] + chance[: len(chance) - rank]) / 2.0
        chance[:rank] /= 2.0
    least = min(above, int(doubled.sum()) - above)
    return min(1.0, 2.0 * float(chance[: least + 1].sum()))
