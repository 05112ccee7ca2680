r"""Times to targets of several labels on several problems: profiles, scores, shares reached.

t holds a time for each label and problem, the median over seeds, +inf where the target was missed.
A **performance profile** (E. D. Dolan and J. J. Moré, "Benchmarking optimization software with
performance profiles", Mathematical Programming 91, 2002) asks of each label how often it is nearly
the fastest:

.. math:: r_{ap} = t_{ap} / \min_{a'} t_{a'p}, \qquad \rho_a(\tau) = \#\{p : r_{ap} \le \tau\} / P

It says who is fast among those that were entered, and may change when another one is: it is no
verdict on a pair. r is infinite where the target was missed, also where all missed it.

An **ECDF** of times needs no rival: it is the share of (problem, target, seed) that a label has
reached within a budget.
"""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike

from optbench.inference.resample import percentile_interval, resampled

ALGOPERF_LARGEST = 4.0
ALGOPERF_POINTS = 100
"""AlgoPerf's profiles go from 1 to 4, through so many evenly spaced τ."""

NO_VARIANTS: Mapping[int, int] = MappingProxyType({})


def profile(t: ArrayLike, taus: ArrayLike) -> np.ndarray:
    """Return ρ, the share of problems that a label solves in τ times the fastest label's time.

    Parameters
    ----------
    t
        Times, shape (…, labels, problems); +inf where missed.
    taus
        Ratios τ ≥ 1, shape (taus,).

    Returns
    -------
    np.ndarray
        float64, shape (…, taus, labels).

    >>> profile([[100, 200, np.inf], [150, 200, 300]], [1.0, 1.5]).round(2).tolist()
    [[0.67, 0.67], [0.67, 1.0]]
    """
    limits = np.asarray(taus, dtype=np.float64)[:, None, None]
    shares: np.ndarray = (_ratios(t)[..., None, :, :] <= limits).mean(axis=-1)
    return shares


def score(t: ArrayLike, r_max: float = 4.0) -> np.ndarray:
    r"""Return the area under each label's profile from 1 to ``r_max``, as a share of the whole.

    .. math:: B_a = \frac{1}{r_{max} - 1} \int_1^{r_{max}} \rho_a(\tau) \, d\tau
              = \frac1P \sum_p \frac{\max(0, r_{max} - r_{ap})}{r_{max} - 1}

    1 where it is the fastest on all problems, 0 where it is never within ``r_max`` times.

    Parameters
    ----------
    t
        Times, shape (…, labels, problems); +inf where missed.
    r_max
        Above 1.

    Returns
    -------
    np.ndarray
        float64, shape (…, labels).

    References
    ----------
    G. E. Dahl et al., "Benchmarking Neural Network Training Algorithms", arXiv:2306.07179, 2023,
    whose code sums trapezia; see :func:`algoperf`.

    >>> score([[100, 200, np.inf], [150, 200, 300]]).round(4).tolist()
    [0.6667, 0.9444]
    """
    gains: np.ndarray = np.maximum(0.0, r_max - _ratios(t)) / (r_max - 1.0)
    mean: np.ndarray = gains.mean(axis=-1)
    return mean


def profile_interval(
    times: ArrayLike, taus: ArrayLike, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the interval of ρ at each τ, each of the shape (taus, labels).

    As :func:`score_interval`; each τ for itself, so it is no band of the whole profile.
    """
    limits = np.asarray(taus, dtype=np.float64)
    draws = resampled(lambda drawn: profile(_medians(drawn), limits), _times(times))
    return percentile_interval(draws, level)


def score_interval(
    times: ArrayLike, r_max: float = 4.0, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the interval of the score, each of the shape (labels,).

    Percentiles of the bootstrap over seeds: drawn within each problem, the same for all labels,
    medians and the fastest label anew each time. It says what other seeds would do, not what other
    problems or other rivals would.

    Parameters
    ----------
    times
        Of single lanes, shape (labels, seeds, problems); +inf where missed.
    """
    draws = resampled(lambda drawn: score(_medians(drawn), r_max), _times(times))
    return percentile_interval(draws, level)


def algoperf(t: ArrayLike, variant_of: Mapping[int, int] = NO_VARIANTS) -> np.ndarray:
    """Return the scores that AlgoPerf's code gives, shape (labels,).

    1. A variant counts as missed where its base problem is.
    2. So does a time of more than 4 times the fastest one.
    3. A base problem counts as missed where a variant of it is.
    4. r is the ratio to the fastest of the times that are left.
    5. The profile over the base problems at 100 even steps from 1 to 4 is summed by trapezia and
       divided by 3.

    It differs from :func:`score` in what it does with variants and, as a sum for an integral, by at
    most 0.0051.

    Parameters
    ----------
    t
        Times, shape (labels, problems); +inf where missed.
    variant_of
        Column of each variant: column of its base problem.

    Raises
    ------
    ValueError
        If a variant's base is a variant itself.

    References
    ----------
    G. E. Dahl et al., "Benchmarking Neural Network Training Algorithms", arXiv:2306.07179, 2023,
    section 4; ``scoring/performance_profile.py`` of mlcommons/algorithmic-efficiency.

    >>> algoperf([[100.0, 130.0], [150.0, np.inf]], variant_of={1: 0}).round(4).tolist()
    [1.0, 0.0]
    """
    if not variant_of.keys().isdisjoint(variant_of.values()):
        raise ValueError("the base of a variant must not be a variant itself")
    left = _times(t).copy()
    for variant, base in variant_of.items():
        left[np.isinf(left[:, base]), variant] = np.inf
    left[left > ALGOPERF_LARGEST * left.min(axis=0)] = np.inf
    for variant, base in variant_of.items():
        left[np.isinf(left[:, variant]), base] = np.inf
    bases = [column for column in range(left.shape[1]) if column not in variant_of]
    taus = np.linspace(1.0, ALGOPERF_LARGEST, ALGOPERF_POINTS)
    area: np.ndarray = np.trapezoid(profile(left[:, bases], taus), taus, axis=0)
    return area / (ALGOPERF_LARGEST - 1.0)


def study_time(trials: ArrayLike) -> float:
    """Return AlgoPerf's time of a problem: the median over studies of the fastest trial's time.

    The fastest by time, as their rules say; their code takes the trial that needed the fewest
    evaluations.

    Parameters
    ----------
    trials
        Times, shape (studies, trials); +inf where missed.

    >>> study_time([[300, np.inf, 250], [np.inf, np.inf, np.inf], [700, 260, np.inf]])
    260.0
    """
    return float(np.median(_times(trials).min(axis=1)))


def ecdf(times: ArrayLike, budgets: ArrayLike) -> np.ndarray:
    """Return the share of all times that are within each budget.

    Parameters
    ----------
    times
        Of one label, any shape, usually (problems, targets, seeds); +inf where missed.
    budgets
        Any shape, which is the result's.

    >>> ecdf([[1.0, 10.0], [100.0, np.inf]], [1.0, 10.0, 1000.0]).tolist()
    [0.25, 0.5, 0.75]
    """
    ordered = np.sort(_times(times), axis=None)
    return np.searchsorted(ordered, np.asarray(budgets), side="right") / ordered.size


def ecdf_area(times: ArrayLike, budget: ArrayLike) -> float:
    r"""Return the area under the ECDF over log b / log N: 1 where all is reached at once.

    .. math:: \int_0^1 \mathrm{ECDF}(N^u) \, du
              = \frac1m \sum_{i=1}^{m} \max\left(0, 1 - \frac{\log \max(\tau_i, 1)}{\log N}\right)

    Parameters
    ----------
    times
        Of one label, any shape, usually (problems, targets, seeds); +inf where missed.
    budget
        N, above 1; of a shape that broadcasts to that of the times, (problems, 1, 1) say.

    Raises
    ------
    ValueError
        If a budget is not finite and above 1.

    References
    ----------
    N. Hansen et al., "COCO: performance assessment", arXiv:1605.03560, 2016, for the ECDF.

    >>> ecdf_area([1.0, 10.0, 100.0, np.inf], 100.0)
    0.375
    """
    limits = np.asarray(budget, dtype=np.float64)
    if not ((limits > 1.0) & np.isfinite(limits)).all():
        raise ValueError("budgets must be finite and above 1")
    used = np.log(np.maximum(_times(times), 1.0)) / np.log(limits)
    return float(np.maximum(0.0, 1.0 - used).mean())


def _times(times: ArrayLike) -> np.ndarray:
    found = np.asarray(times, dtype=np.float64)
    if not found.size or not (found >= 0.0).all():
        raise ValueError("times must be numbers from 0 on or +inf, at least one")
    return found


def _medians(times: np.ndarray) -> np.ndarray:
    """Return medians over seeds: (…, labels, seeds, problems) as (…, labels, problems)."""
    medians: np.ndarray = np.median(times, axis=-2)
    return medians


def _ratios(t: ArrayLike) -> np.ndarray:
    """Return r, shape (…, labels, problems); 1 where nobody was faster, +inf where missed."""
    times = _times(t)
    fastest = times.min(axis=-2, keepdims=True)
    ratios = np.where(times == fastest, 1.0, np.inf)
    np.divide(times, fastest, out=ratios, where=np.isfinite(times) & (fastest > 0.0))
    ratios[np.isinf(times)] = np.inf
    return ratios
