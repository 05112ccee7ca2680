"""The smallest change that a baseline can detect, from its seeds alone.

The claim: let the losses of all seeds be multiplied by 1 + ``detectable``, and let whatever else
separates the two runs be as large as the difference of two unlike seeds; then the group is called
a regression with a probability of at least :data:`POWER`. In logarithms the change is

    δ = max(c · s, log(1 + threshold) + k · s)

with s the standard deviation of the metric over the baseline's seeds: c · s lifts T above the
flips in a share :data:`TEST_SHARE` of comparisons, k · s keeps the effect above the threshold in a
share :data:`THRESHOLD_SHARE`, and so at most one in ten misses either.

c and k are what simulated comparisons need: seeds of the baseline and of the run are drawn from one
normal distribution, s is computed from the baseline's as it will be, and the other groups of the
family have noise of their own. So the claim counts in that s is known from few seeds only, that
pairing may be worth nothing, and that all groups compete. Where lanes differ by less than two seeds
do, or where other groups have not changed by a bit, more is detected.
"""

from functools import lru_cache
from math import sqrt

import numpy as np

from optbench.inference.flips import flips

POWER = 0.9
TEST_SHARE, THRESHOLD_SHARE = 0.91, 0.99
"""Their misses add up to what :data:`POWER` allows."""

THRESHOLD_SIMULATIONS = 20_000
MOST_SIMULATIONS, FEWEST_SIMULATIONS = 1_000, 100
SIMULATED_GROUPS = 64_000
"""Simulations times groups: families of more than 64 groups are simulated less often."""

MOST_GROUPS = 640
"""Groups from which the size of a family makes next to no difference to its largest T."""

RANDOM_FLIPS, MOST_ENUMERATED = 999, 10
"""As in :mod:`optbench.inference.flips`, which takes more: fewer find less, so the claim holds."""

STREAM = 0x706F7765
LARGEST = 64.0
"""Largest c that is looked for: standard deviations that a change must have."""


def detectable_change(
    deviation: float, threshold: float, seeds: int, groups: int, level: float
) -> float:
    """Return δ from ``deviation``, the s of so many seeds; ``threshold`` is log(1 + threshold)."""
    lifted = needed_deviations(seeds, groups, level) * deviation
    return max(lifted, threshold + mean_deviations(seeds) * deviation)


@lru_cache(maxsize=64)
def mean_deviations(seeds: int) -> float:
    """Return k: by how many s the mean difference of unlike seeds falls below 0 at most."""
    generator = np.random.Generator(np.random.Philox(key=STREAM))
    then, now = generator.standard_normal((2, THRESHOLD_SIMULATIONS, seeds))
    falls = (then - now).mean(axis=1) / then.std(axis=1, ddof=1)
    return _quantile(falls, THRESHOLD_SHARE)


def _quantile(values: np.ndarray, share: float) -> float:
    """Return the upper end of a one-sided 95 % interval for a quantile."""
    safe = share + 1.645 * sqrt(share * (1.0 - share) / len(values))
    return float(np.quantile(values, min(safe, 1.0), method="higher"))


@lru_cache(maxsize=64)
def needed_deviations(seeds: int, groups: int, level: float) -> float:
    """Return c, for a family of so many groups: infinite where so few seeds detect no change.

    >>> round(needed_deviations(8, 1, 0.01), 1) < round(needed_deviations(8, 10, 0.01), 1)
    True
    """
    if 2.0**seeds * level < 1.0:
        return float("inf")
    groups = min(groups, MOST_GROUPS)
    simulations = min(MOST_SIMULATIONS, max(FEWEST_SIMULATIONS, SIMULATED_GROUPS // groups))
    generator = np.random.Generator(np.random.Philox(key=STREAM))
    then, now = generator.standard_normal((2, simulations, seeds))
    unit = then.std(axis=1, ddof=1, keepdims=True)
    signs = 1.0 - 2.0 * flips(seeds, RANDOM_FLIPS, MOST_ENUMERATED).T
    rivals = np.full((simulations, signs.shape[1]), -np.inf)
    for _ in range(groups - 1):
        noise = generator.standard_normal((simulations, seeds))
        noise /= np.sqrt((noise**2).sum(axis=1, keepdims=True))
        np.maximum(rivals, noise @ signs, out=rivals)
    shifts = _smallest_shifts((now - then) / unit, signs, rivals, level)
    return _quantile(shifts, TEST_SHARE)


def _smallest_shifts(
    noise: np.ndarray, signs: np.ndarray, rivals: np.ndarray, level: float
) -> np.ndarray:
    """Return, of each simulation, the smallest shift of its differences that passes the test.

    ``noise`` holds the differences of the group without a change, shape (simulations, seeds);
    ``signs`` has the shape (seeds, flips), the first flip all 1; ``rivals``, the largest T of the
    other groups, (simulations, flips).
    """
    sums, totals = noise @ signs, signs.sum(axis=0)
    below = np.zeros((len(noise), 1))
    above = np.full((len(noise), 1), LARGEST)
    most = level * signs.shape[1]
    for _ in range(20):  # halvings: to a ten-thousandth of a standard deviation
        middle = (below + above) / 2.0
        size = np.sqrt(((noise + middle) ** 2).sum(axis=1, keepdims=True))
        scaled = np.maximum((sums + middle * totals) / size, rivals)
        observed = (sums[:, :1] + middle * totals[0]) / size
        passes = (scaled >= observed - 1e-9).sum(axis=1, keepdims=True) <= most + 1e-9
        above, below = np.where(passes, middle, above), np.where(passes, below, middle)
    return above[:, 0]
