r"""A sign-flip test of many groups at once, and the interval that belongs to it.

Of n seeds a group has the differences d of its metric: now − then, or one optimizer − another. If
the two sides differ by nothing but noise, they could as well be exchanged for each seed, so that
every choice of signs of the d is as likely as the one observed. Large values of

.. math:: T = \sum_i d_i \Big/ \sqrt{\sum_i d_i^2}

speak for a change for the worse; no flip changes the denominator, so T orders flips as the sum
does, and groups with much and with little noise are measured alike. With one identity among M
flips, the share of flips whose T is at least the observed one is an exact p-value: P(p ≤ α) ≤ α.

For several groups the flips are those of seeds, the same for all, which keeps whatever makes seeds
alike across groups. The adjusted p of the group with the largest T is the share of flips in which
the *largest* T of all groups is at least that; of the next one, of all groups but the first; and so
on, never below the one before (P. H. Westfall and S. S. Young, *Resampling-Based Multiple Testing*,
1993; the steps: J. P. Romano and M. Wolf, "Exact and approximate stepdown methods for multiple
hypothesis testing", JASA 100, 2005). The probability of any false alarm is at most α. Groups whose
lanes have not changed by a bit have T = 0 under all flips and take no power from the others.

The interval holds the shifts θ that the test of d − θ does not reject on either side. As a flip of
the seeds A exceeds the identity where the mean of d over A is below θ, its ends are order
statistics of the means over subsets (J. A. Hartigan, "Using subsample values as typical values",
JASA 64, 1969): exact for any symmetric noise, where one by Student's t asks for a normal one, and
never at odds with the test of that group alone.
"""

from dataclasses import dataclass

import numpy as np

MOST_ENUMERATED = 12
"""Seeds up to which all flips are taken."""

RANDOM_FLIPS = 9_999
STREAM = 0x6F707462
"""Key of the Philox generator of random flips, the same for every comparison."""

SLACK = 1e-9
"""Two T that are nearer than this are the same one, added up in another order."""


def flips(seeds: int, random: int = RANDOM_FLIPS, most: int = MOST_ENUMERATED) -> np.ndarray:
    """Return which signs are flipped: bool, shape (flips, seeds); the first flips none.

    All 2ⁿ for at most ``most`` seeds, else ``random`` of a fixed stream beside the first.

    >>> flips(2).astype(int).tolist()
    [[0, 0], [1, 0], [0, 1], [1, 1]]
    """
    if seeds <= most:
        numbers = np.arange(2**seeds)[:, None]
        found: np.ndarray = (numbers >> np.arange(seeds)) & 1 == 1
        return found
    words = np.random.Philox(key=STREAM).random_raw(-(-random * seeds // 64))
    bits = np.unpackbits(words.astype("<u8").view(np.uint8), count=random * seeds)
    drawn = bits.reshape(random, seeds) == 1
    return np.concatenate([np.zeros((1, seeds), dtype=bool), drawn])


@dataclass(frozen=True)
class SignFlips:
    """The differences of groups over seeds, and their T under every flip.

    ``differences`` has the shape (groups, seeds), NaN where a group has no pair for a seed;
    ``flipped`` (flips, seeds), bool, the first row without any.
    """

    differences: np.ndarray
    flipped: np.ndarray

    @classmethod
    def of(cls, differences: np.ndarray) -> "SignFlips":
        """Return the test of differences with the flips for their number of seeds."""
        return cls(differences, flips(differences.shape[1]))

    def adjusted(self, sign: float) -> np.ndarray:
        """Return each group's adjusted p for a change for the worse (sign 1) or the better (−1)."""
        values = sign * np.nan_to_num(self.differences)
        sizes = np.sqrt((values**2).sum(axis=1, keepdims=True))
        scaled = np.divide(values, sizes, out=np.zeros_like(values), where=sizes > 0.0)
        flipped = scaled @ (1.0 - 2.0 * self.flipped.T)  # (groups, flips)
        order = np.argsort(-flipped[:, 0], kind="stable")
        p = np.empty(len(values))
        largest, above = np.full(flipped.shape[1], -np.inf), np.empty(len(values))
        for group in order[::-1]:
            largest = np.maximum(largest, flipped[group])
            above[group] = (largest >= flipped[group, 0] - SLACK).mean()
        p[order] = np.maximum.accumulate(above[order])
        return p

    def interval(self, group: int, level: float) -> tuple[float, float]:
        """Return where a group's shift lies with a confidence of 1 − 2 × level.

        Infinite where the group has too few seeds for that.
        """
        has = ~np.isnan(self.differences[group])
        own = self.flipped[:, has]
        sizes = own.sum(axis=1)
        subsets = sizes > 0
        # Flips of seeds that the group has not are the identity to it, and count for any shift.
        rank = int(level * len(own) + SLACK) - int((~subsets).sum())
        if rank < 0:
            return -np.inf, np.inf
        sums = own[subsets] @ self.differences[group, has]
        means = np.sort(sums / sizes[subsets])
        return float(means[rank]), float(means[-1 - rank])
