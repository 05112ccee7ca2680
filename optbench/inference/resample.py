"""The bootstrap over seeds: what a statistic would have been with other seeds (B. Efron, 1979).

Seeds are drawn with replacement within each problem, independently of the other problems, since
seed 3 of one problem has nothing to do with seed 3 of another; and they are the same for all
labels, which share starts and batches and so stay paired. The draws are those of fixed Philox
streams, one for each problem by its place: the same tables give the same digits, and a problem that
is added at the end changes no draw of the others.

The interval lies between percentiles of the resampled statistic. It is too narrow where seeds are
few; docs/statistics.md has the coverage that was simulated.
"""

from collections.abc import Callable

import numpy as np

DRAWS = 2_000
STREAM = 0x626F6F74
"""First word of the Philox keys; the second is the place of the problem."""

LARGEST_CHUNK = 4_000_000
"""Numbers that are resampled at once: 32 MB."""

SLACK = 1e-9


def drawn_seeds(seeds: int, problems: int = 1, draws: int = DRAWS) -> np.ndarray:
    """Return places of the seeds that each draw takes: int64, shape (draws, seeds, problems).

    >>> drawn_seeds(4, draws=2)[:, :, 0].tolist()
    [[2, 0, 3, 0], [3, 2, 1, 1]]
    """
    words = [
        np.random.Philox(key=np.array([STREAM, problem], dtype=np.uint64)).random_raw(draws * seeds)
        for problem in range(problems)
    ]
    high = np.stack(words, axis=-1) >> np.uint64(32)
    places: np.ndarray = (high * np.uint64(seeds) >> np.uint64(32)).astype(np.int64)
    return places.reshape(draws, seeds, problems)


def resampled(
    statistic: Callable[[np.ndarray], np.ndarray],
    data: np.ndarray,
    draws: int = DRAWS,
    *,
    joint: bool = False,
) -> np.ndarray:
    """Return a statistic of resampled seeds: shape (draws, …).

    ``data`` has the shape (…, seeds, problems), with labels, say, in front; a single problem is a
    column. ``statistic`` turns any (draws, …, seeds, problems) into (draws, …); it is given as many
    draws at a time as fit into memory. ``joint`` draws the same seeds for all problems.

    >>> means = resampled(lambda z: z.mean(axis=(-2, -1)), np.arange(12.0).reshape(6, 2))
    >>> means.shape, round(float(means.mean()), 1)
    ((2000,), 5.5)
    """
    seeds, problems = data.shape[-2:]
    places = drawn_seeds(seeds, 1 if joint else problems, draws)
    columns = np.arange(problems)
    chunk = max(1, LARGEST_CHUNK // max(1, data.size))
    found = []
    for start in range(0, draws, chunk):
        taken = data[..., places[start : start + chunk], columns]  # (…, draws, seeds, problems)
        found.append(np.asarray(statistic(np.moveaxis(taken, -3, 0))))
    return np.concatenate(found)


def percentile_interval(values: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the interval of resampled statistics, (draws, …), each of shape (…).

    Both are values that were drawn, with (1 − level)/2 of the draws beyond each: an infinite
    statistic (nobody reached the target) needs no arithmetic.
    """
    beyond = int((1.0 - level) / 2.0 * len(values) + SLACK)
    ordered = np.sort(values, axis=0)
    return ordered[beyond], ordered[-1 - beyond]
