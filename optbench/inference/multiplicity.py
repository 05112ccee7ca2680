"""Many rows in one table: p adjusted so that any false verdict at all is rare."""

import numpy as np


def holm(p: np.ndarray) -> np.ndarray:
    r"""Return Holm's adjusted p of a family: shape (family,), in the order of ``p``.

    With :math:`p_{(1)} \le \dots \le p_{(F)}`,

    .. math:: \tilde p_{(i)} = \max_{j \le i} \min\{1, (F - j + 1) \, p_{(j)}\}.

    Rejecting where p̃ ≤ α makes the probability of any false rejection at most α, however the rows
    depend on each other (S. Holm, "A simple sequentially rejective multiple test procedure",
    Scandinavian Journal of Statistics 6, 1979).

    >>> holm(np.array([0.6, 0.0078125, 0.046875, 0.0234375])).tolist()
    [0.6, 0.03125, 0.09375, 0.0703125]
    """
    p = np.asarray(p, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.arange(len(p), 0, -1) * p[order]
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return adjusted


def least_seeds(family: int, level: float = 0.05) -> int:
    """Return the fewest seeds with which any of so many rows can be significant.

    The smallest two-sided p of n seeds is 2^(1−n), where all point the same way, so that Holm needs
    F · 2^(1−n) ≤ level.

    >>> [least_seeds(family) for family in (1, 3, 6, 10, 45)]
    [6, 7, 8, 9, 11]
    """
    seeds = 1
    while family * 2.0 ** (1 - seeds) > level:
        seeds += 1
    return seeds
