r"""Two sides compared over seeds: of each seed one difference d, or who was better.

Lanes of one seed share start and batches, so sides are compared seed by seed. If they differ by
nothing but noise, they could as well be exchanged for each seed: every choice of the signs of the d
is as likely as the one observed. :func:`sign_flip` counts those whose sum lies as far from zero,
and :func:`interval` holds the shifts that this test does not reject. Where a lane diverged there is
no difference, and :func:`wins` counts instead.

Smaller values are better throughout, and +inf is a lane that diverged.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, inf, sqrt

import numpy as np

from optbench.inference.flips import MOST_ENUMERATED, SLACK, SignFlips, flips

LEVEL, POWER = 0.05, 0.9
"""Probability of a false verdict, and of finding a difference that is there."""

MOST_PAIRS = 100_000
"""Pairs from which Student's t is as good as normal."""


def sign_flip(d: np.ndarray) -> float:
    r"""Return the two-sided p of the paired differences of n seeds, shape (seeds,), all finite.

    .. math:: p = \frac{1}{|F|} \#\Big\{s \in F:
        \Big|\sum_i s_i d_i\Big| \ge \Big|\sum_i d_i\Big| - 10^{-9}\Big\},

    with F all 2ⁿ choices of signs for n ≤ 12, else the identity and 9,999 random ones of a fixed
    Philox stream. P(p ≤ α) ≤ α for any n and any noise that is as likely upwards as downwards
    (R. A. Fisher, *The Design of Experiments*, 1935).

    >>> sign_flip(np.array([0.1, 0.2, 0.1, 0.3, 0.2, 0.1]))
    0.03125
    """
    sums = np.abs(_signs(len(d)) @ d)
    return float((sums >= sums[0] - SLACK).mean())


def interval(d: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Return the shifts θ for which :func:`sign_flip` of d − θ is above 1 − level, ends included.

    Flipping the seeds A leads as far on the same side where θ lies between the mean of d over A and
    the mean of all, so that the ends are order statistics of means over subsets (J. A. Hartigan,
    "Using subsample values as typical values", JASA 64, 1969). Infinite where so few seeds reach no
    such level: at 95 %, below six.

    >>> interval(np.array([0.1, 0.2, 0.1, 0.3, 0.2, 0.1]))
    (0.1, 0.3)
    """
    return SignFlips(d[None], _both_ways(len(d))).interval(0, (1.0 - level) / 2.0)


@lru_cache(maxsize=16)
def _signs(seeds: int) -> np.ndarray:
    """Return the signs of all flips, shape (flips, seeds), the first all 1."""
    return 1.0 - 2.0 * flips(seeds)


@lru_cache(maxsize=16)
def _both_ways(seeds: int) -> np.ndarray:
    """Return flips, bool, of which half as many are as extreme on one side as `flips` on either.

    All choices of signs are so by themselves; random ones need their opposites.
    """
    flipped = flips(seeds)
    return flipped if seeds <= MOST_ENUMERATED else np.concatenate([flipped, ~flipped])


@dataclass(frozen=True)
class Wins:
    """How often a side was better: the share of seeds that it won, ties counted half.

    ``low``, ``high`` and ``p`` are those of its share among the seeds that were no ``ties``.
    """

    share: float
    low: float
    high: float
    p: float
    ties: int


def wins(a: np.ndarray, b: np.ndarray, level: float = 0.95) -> Wins:
    """Return in how many seeds a is smaller than b; both of the shape (seeds,), without NaN.

    Of n seeds a wins k, and m are ties: equal, or both diverged. The share is (k + m/2)/n. The
    interval is that of C. J. Clopper and E. S. Pearson (Biometrika 26, 1934) for k of n − m, and p
    that of the exact two-sided sign test, P(|B − (n − m)/2| ≥ |k − (n − m)/2|) with B binomial of
    n − m and 1/2, which is at most 1 − level exactly where the interval does not hold 1/2. Where
    all are ties, nothing is known: 0 to 1, p = 1.

    >>> wins(np.array([1.0, 2.0, 3.0, np.inf]), np.array([2.0, np.inf, 3.0, np.inf]))
    Wins(share=0.75, low=0.158..., high=1.0, p=0.5, ties=2)
    """
    from scipy.stats import binomtest

    won, ties = int((a < b).sum()), int((a == b).sum())
    share, decided = (won + ties / 2.0) / len(a), len(a) - ties
    if not decided:
        return Wins(share, 0.0, 1.0, 1.0, ties)
    test = binomtest(won, decided)
    low, high = test.proportion_ci(level, method="exact")
    return Wins(share, float(low), float(high), float(test.pvalue), ties)


def detects(sd: float, n: int, level: float = LEVEL, power: float = POWER) -> float:
    r"""Return the smallest mean difference that n pairs find with such a power.

    The δ > 0 for which a two-sided paired t test at ``level`` rejects with the probability
    ``power``, where the differences are normal with standard deviation ``sd``:

    .. math:: P(|T| > t_{1 - \alpha/2, n - 1}) = \text{power}, \qquad
        T \sim t_{n - 1}(\delta \sqrt{n} / \text{sd})

    with T of the noncentral t distribution. Infinite for fewer than two pairs. A test by sign flips
    needs more where seeds are few; see docs/statistics.md.

    >>> round(detects(1.0, 10), 6)
    1.154565
    """
    if n < 2:
        return inf
    return sd / sqrt(n) * _noncentrality(n, level, power)


@lru_cache(maxsize=1024)
def _noncentrality(n: int, level: float, power: float) -> float:
    """Return δ √n / sd at which a paired t test of n pairs has its power."""
    from scipy.optimize import brentq

    most = 1.0
    while _power(n, most, level) < power:
        most *= 2.0
    return float(brentq(lambda shift: _power(n, shift, level) - power, 0.0, most, xtol=1e-13))


def _power(n: int, noncentrality: float, level: float) -> float:
    """Return the probability that a two-sided paired t test of n pairs rejects."""
    from scipy.special import ndtr, stdtrit
    from scipy.stats import nct

    beyond = stdtrit(n - 1, 1.0 - level / 2.0)
    found = nct.sf(beyond, n - 1, noncentrality)
    if np.isnan(found):  # SciPy gives up where it is next to 1
        return float(ndtr(noncentrality - beyond))
    opposite = nct.cdf(-beyond, n - 1, noncentrality)
    return float(found + np.nan_to_num(opposite))  # NaN: too small


def seeds_needed(sd: float, delta: float, level: float = LEVEL, power: float = POWER) -> int:
    r"""Return the fewest pairs, at least two, for which :func:`detects` is at most ``delta``.

    Beyond 100,000 pairs the normal approximation that the search begins with is near enough,

    .. math:: (z_{1 - \alpha/2} + z_\text{power})^2 \, (\text{sd}/\delta)^2 + z_{1 - \alpha/2}^2 / 2

    (W. C. Guenther, "Sample size formulas for normal theory t tests", The American Statistician 35,
    1981).

    >>> seeds_needed(1.0, 1.155), seeds_needed(1.0, 1.154)
    (10, 11)
    """
    from scipy.special import ndtri

    if not delta > 0.0:
        raise ValueError(f"a difference to be found is positive; got {delta}")
    ratio, beyond = sd / delta, -float(ndtri(level / 2.0))
    if ratio == 0.0:
        return 2
    n = max(2, ceil((beyond + float(ndtri(power))) ** 2 * ratio**2 + beyond**2 / 2.0))
    if n > MOST_PAIRS:
        return n

    def finds(pairs: int) -> bool:
        return _power(pairs, sqrt(pairs) / ratio, level) >= power

    while not finds(n):
        n += 1
    while n > 2 and finds(n - 1):
        n -= 1
    return n


def noether(gamma: float, alpha: float = 0.05, beta: float = 0.05) -> int:
    r"""Return how many runs of each side show that P(A better than B) is above 1/2 where it is γ.

    .. math:: n = \left\lceil \left( \frac{\Phi^{-1}(1 - \alpha) - \Phi^{-1}(\beta)}
        {\sqrt 6 \, (1/2 - \gamma)} \right)^2 \right\rceil

    with α the probability of a false verdict (one-sided) and β of a missed one (G. E. Noether,
    "Sample size determination for some common nonparametric tests", JASA 82, 1987; used so by
    X. Bouthillier et al., "Accounting for variance in machine learning benchmarks", MLSys 2021).

    >>> noether(0.75)
    29
    """
    from scipy.special import ndtri

    beyond = float(ndtri(1.0 - alpha) - ndtri(beta))
    return ceil((beyond / (sqrt(6.0) * (0.5 - gamma))) ** 2)
