r"""The best of k trials: what tuning with a smaller budget would have found.

An optimizer has T trials, configurations drawn independently from its space, with the scores
x₁ … x_T: smaller is better, +inf where a trial diverged. x₍₁₎ ≤ … ≤ x₍T₎ are the same in order, and
F̂(x) is the share of scores that are at most x. How good the best of k trials is says what a budget
of k trials buys.

The headline is the **median** of the best of k. P(best of k ≤ x) = 1 − (1 − F(x))ᵏ is at least ½
where F(x) ≥ 1 − 2^(−1/k), so the median is a quantile of F, and a band of F is one of the whole
curve (N. Lourie, K. Cho and H. He, "Show Your Work with Confidence", NAACL 2024). It is finite as
soon as P(a trial diverges)ᵏ < ½. The **expected** best is infinite as long as k trials may all
diverge.

Everywhere k is a number of trials or an array of them, and the result has its shape, float64.
Trials that a sampler chose by what it saw before (TPE, halving) are not exchangeable, and nothing
here holds for them.
"""

from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

Estimator = Literal["u", "v"]


def expected_best(x: ArrayLike, k: ArrayLike, estimator: Estimator = "u") -> np.ndarray:
    r"""Return the expected best of k trials.

    The default is the U-statistic, the mean over all C(T, k) choices of k of the T trials, which is
    unbiased:

    .. math:: U_k = \sum_{i=1}^{T} \binom{T - i}{k - 1} \Big/ \binom{T}{k} \; x_{(i)}

    ``"v"`` is the V-statistic, the mean over all Tᵏ ordered draws with replacement. It sees only T
    different trials, so that it is too large from k = 2 on:

    .. math:: V_k = \sum_{i=1}^{T} \left[ \left(\frac{T - i + 1}{T}\right)^k
              - \left(\frac{T - i}{T}\right)^k \right] x_{(i)}

    Infinite where any such choice of k trials has diverged as a whole.

    Parameters
    ----------
    x
        Scores, shape (T,), in any order.
    k
        At most T for the U-statistic.

    Raises
    ------
    ValueError
        If a score is NaN or −inf, if there is none, or if k is not within 1 … T.

    References
    ----------
    U: R. Tang et al., "Showing Your Work Doesn't Always Work", ACL 2020. V: J. Dodge et al., "Show
    Your Work: Improved Reporting of Experimental Results", EMNLP 2019.

    >>> expected_best([0.40, 0.25, 0.90, 0.31, 0.55], [1, 2, 5]).round(3).tolist()
    [0.482, 0.328, 0.25]
    >>> expected_best([1.0, np.inf, np.inf], [2, 3]).tolist()
    [inf, 1.0]
    """
    ordered = np.sort(_scores(x))
    return _expected(ordered, _budgets(k), estimator)


def value_of_chosen(
    x: ArrayLike, values: ArrayLike, k: ArrayLike, estimator: Estimator = "u"
) -> np.ndarray:
    """Return the expected value, a test error say, of the trial that scores best of k.

    The weights are those of :func:`expected_best`, on the values in the order of the scores. Trials
    with the same score share their values' mean, as any of them may be the one that is chosen. The
    value of a trial that diverged is +inf: no error is invented for it.

    Parameters
    ----------
    x
        Scores, shape (T,).
    values
        Of the same trials, shape (T,); not used where the score is +inf.
    k
        At most T for the U-statistic.

    Raises
    ------
    ValueError
        As :func:`expected_best`; also if a value is NaN or −inf where the score is finite.

    >>> value_of_chosen([0.3, 0.1, 0.2], [0.05, 0.07, 0.06], [1, 3]).round(3).tolist()
    [0.06, 0.07]
    """
    scores = _scores(x)
    kept = _scores(np.where(np.isinf(scores), np.inf, np.asarray(values, dtype=np.float64)))
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    means = np.bincount(place, kept) / counts
    return _expected(means[np.sort(place)], _budgets(k), estimator)


def median_best(x: ArrayLike, k: ArrayLike) -> np.ndarray:
    """Return the median of the best of k trials: the smallest x with F̂(x) ≥ 1 − 2^(−1/k).

    Beyond the k where 1 − 2^(−1/k) falls below 1/T, about 0.69 T, it stays at the best score.

    Parameters
    ----------
    x
        Scores, shape (T,), in any order.
    k
        1 or more.

    Raises
    ------
    ValueError
        If a score is NaN or −inf, if there is none, or if k is below 1.

    >>> median_best([0.40, 0.25, 0.90, 0.31, np.inf], [1, 2, 4]).tolist()
    [0.4, 0.31, 0.25]
    """
    return _smallest(np.sort(_scores(x)), _share_needed(_budgets(k)), 0.0)


def median_band(x: ArrayLike, k: ArrayLike, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Return a confidence band of the median of the best of k, for all k at once.

    As :func:`median_best` with F̂ + ε (low) and F̂ − ε (high), where ε is the quantile at ``level``
    of Kolmogorov's two-sided statistic of T trials. With a probability of ``level`` F lies within
    F̂ ± ε everywhere, and then the curve lies within the band at every k: at least that, and more,
    since k = 1, 2, … look at the lower half of F only. Low is −inf where the scores
    that are needed may be too rare for T trials to hold one, high +inf where too few are finite.

    Only for trials drawn independently, ``random``: points that fill a space evenly are not.

    Parameters
    ----------
    x
        Scores, shape (T,), in any order.
    k
        1 or more.
    level
        Between 0 and 1.

    Raises
    ------
    ValueError
        As :func:`median_best`.

    References
    ----------
    N. Lourie, K. Cho and H. He, "Show Your Work with Confidence: Confidence Bands for Tuning
    Curves", NAACL 2024; the method "ks" of their library opda.

    >>> [end.tolist() for end in median_band(np.arange(10) / 10, [1, 4])]
    [[0.0, -inf], [0.9, 0.5]]
    """
    ordered, share = np.sort(_scores(x)), _share_needed(_budgets(k))
    half_width = _half_width(len(ordered), level)
    return _smallest(ordered, share, half_width), _smallest(ordered, share, -half_width)


def win_probability(a: ArrayLike, b: ArrayLike, k: ArrayLike) -> np.ndarray:
    r"""Return how probably the best of k trials of A beats the best of k trials of B.

    It is the share of all choices of k of A's trials and k of B's where A's best is smaller, ties
    and both +inf counting ½; u are the weights of :func:`expected_best`:

    .. math:: P = \sum_i u_i \left[ P(\min B > a_{(i)}) + \tfrac12 P(\min B = a_{(i)}) \right],
              \qquad P(\min B > y) = \binom{\#\{b > y\}}{k} \Big/ \binom{T_B}{k}

    Parameters
    ----------
    a, b
        Scores of the two optimizers, shapes (T_A,) and (T_B,).
    k
        At most the smaller of T_A and T_B.

    Raises
    ------
    ValueError
        As :func:`expected_best`.

    >>> win_probability([1.0, 3.0], [2.0, np.inf], [1, 2]).tolist()
    [0.75, 1.0]
    """
    ours, theirs, budgets = np.sort(_scores(a)), np.sort(_scores(b)), _budgets(k)
    weights = _weights(len(theirs), budgets, "u")
    beyond = np.zeros((*budgets.shape, len(theirs) + 1))  # P(min B is not among the first n)
    beyond[..., :-1] = weights[..., ::-1].cumsum(axis=-1)[..., ::-1]
    above = beyond[..., np.searchsorted(theirs, ours, side="right")]
    at_least = beyond[..., np.searchsorted(theirs, ours, side="left")]
    won = _weights(len(ours), budgets, "u") * (above + at_least) / 2.0
    total: np.ndarray = np.asarray(won.sum(axis=-1))
    return total


def _scores(x: ArrayLike) -> np.ndarray:
    scores = np.asarray(x, dtype=np.float64)
    if scores.ndim != 1 or not scores.size or not (scores > -np.inf).all():
        raise ValueError("scores and values must be rows of numbers or +inf, at least one")
    return scores


def _budgets(k: ArrayLike) -> np.ndarray:
    budgets = np.asarray(k)
    if budgets.dtype.kind not in "iu" or (budgets < 1).any():
        raise ValueError(f"k must be whole numbers of at least 1; got {budgets}")
    return budgets.astype(np.int64)


def _weights(trials: int, k: np.ndarray, estimator: Estimator) -> np.ndarray:
    """Return the probability that the i-th best trial is the best of k: shape (…, trials)."""
    drawn, rank = k[..., None], np.arange(1, trials + 1)
    if estimator == "v":
        left = trials - rank
        shares: np.ndarray = ((left + 1) / trials) ** drawn - (left / trials) ** drawn
        return shares
    if (k > trials).any():
        raise ValueError(f"k must be at most the number of trials, {trials}; got {k.max()}")
    left = trials - rank[:-1]
    # Each weight by the one before it: C(T−i−1, k−1) / C(T−i, k−1), so that nothing overflows.
    ratios = np.maximum(left - drawn + 1, 0) / left
    first = drawn / trials
    return np.concatenate([first, first * ratios.cumprod(axis=-1)], axis=-1)


def _expected(ordered: np.ndarray, k: np.ndarray, estimator: Estimator) -> np.ndarray:
    """Return the weighted mean of values that stand in the order of their scores."""
    finite = np.isfinite(ordered)
    weighted = _weights(len(ordered), k, estimator) * np.where(finite, ordered, 0.0)
    # The weight of an infinite value may be too small for float64, and 0·inf is no number.
    worst = len(ordered) - (k if estimator == "u" else np.ones_like(k))
    infinite = np.logical_or.accumulate(~finite)[worst]
    return np.where(infinite, np.inf, weighted.sum(axis=-1))


def _share_needed(k: np.ndarray) -> np.ndarray:
    """Return the share of trials that must be as good for the best of k to be so half the time."""
    share: np.ndarray = 1.0 - 0.5 ** (1.0 / k)
    return share


def _smallest(ordered: np.ndarray, share: np.ndarray, shift: float) -> np.ndarray:
    """Return the smallest x with F̂(x) + shift ≥ share, −inf and +inf standing at the ends."""
    steps = np.arange(len(ordered) + 1) / len(ordered) + shift
    ends = np.concatenate([[-np.inf], ordered, [np.inf]])
    return np.asarray(ends[np.searchsorted(steps, share)])


@lru_cache(maxsize=64)
def _half_width(trials: int, level: float) -> float:
    from scipy.stats import kstwo

    return float(kstwo(trials).ppf(level))
