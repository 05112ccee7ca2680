r"""Times to a target: when a lane reached it, and what is said of lanes that did not.

τ is the number of updates that a lane had made when its loss first was at the target. A lane that
never got there within the budget N, because it ended above, diverged, failed or was stopped, is
*censored*: τ > N is all that is known, and it is written +inf. It is neither dropped nor given a
made-up time. Of n lanes k reached the target, and with Tᵢ = min(τᵢ, N)

- success is k/n;
- RMST, the restricted mean of the survival time, is the mean of Tᵢ. It always exists, since all
  lanes are watched up to the same N, and is the number to compare by;
- ERT, the expected running time, is ΣTᵢ/k: what restarting until the target is reached would cost
  (N. Hansen et al., "COCO: a platform for comparing continuous optimizers in a black-box setting",
  Optimization Methods and Software 36, 2021);
- PAR-2 and PAR-10 are means of Tᵢ in which those that missed count 2 N and 10 N.
"""

from dataclasses import dataclass
from math import comb, prod
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from optbench.inference.resample import percentile_interval, resampled

Record = Literal["before", "after"]

UPDATES_AT_FIRST_ROW = {"before": 0, "after": 1}
"""Row k is the loss after k updates, or after k + 1 where rows are recorded after the update."""


@dataclass(frozen=True)
class Times:
    """What lanes of one problem and label needed to reach a target within a budget of N.

    Attributes
    ----------
    success, low, high
        Share of lanes that reached it, and its interval by Clopper and Pearson.
    ert
        Expected running time; +inf where no lane reached the target. It has no interval: with some
        probability it is infinite, whatever n.
    rmst, rmst_low, rmst_high
        Mean of min(τ, N), and its percentile interval by the bootstrap over lanes; NaN where all
        of them are equal (a single lane, or all missed), which shows no spread to resample.
    median, median_low, median_high
        +inf where it is beyond N. The interval is that of :func:`median_ranks`, NaN where there are
        too few lanes for one.
    par2, par10
        Mean of τ where those that missed count 2 N and 10 N.
    """

    success: float
    low: float
    high: float
    ert: float
    rmst: float
    rmst_low: float
    rmst_high: float
    median: float
    median_low: float
    median_high: float
    par2: float
    par10: float


def first_reached(
    loss: ArrayLike, target: float, window: int = 1, record: Record = "before"
) -> int | None:
    """Return how many updates a lane had made when it first was at the target, None if never.

    See :func:`hitting_times`, which takes many lanes and targets at once.

    Parameters
    ----------
    loss
        Rows of one lane, shape (rows,).

    >>> first_reached([5.0, 2.0, 1.0, 3.0], 1.0)
    2
    >>> first_reached([5.0, 2.0, 1.0, 3.0], 1.5, window=2, record="after")
    3
    >>> first_reached([5.0, 2.0, 1.0, 3.0], 0.5) is None
    True
    """
    time = float(hitting_times(np.asarray(loss)[None], target, window, record)[0])
    return int(time) if np.isfinite(time) else None


def hitting_times(
    loss: ArrayLike, targets: ArrayLike, window: int = 1, record: Record = "before"
) -> np.ndarray:
    r"""Return how many updates each lane had made when it first was at each target, +inf if never.

    .. math:: \tau = u_0 + \min\left\{ k : \frac1w \sum_{j=0}^{w-1} \ell_{k-j} \le t \right\}

    with row k of the trace ℓₖ, window w and target t. The mean is that of a whole window, so no
    lane is there before row w − 1; it is the one whose smallest value is the lane's best loss. With
    ``record="before"`` row k is the loss after k updates, u₀ = 0, and row N, after the last update,
    is the last one that may count. With ``"after"`` row k is the loss after k + 1 updates, u₀ = 1,
    and row N − 1 is. Either way τ ≤ N.

    Rows that are not finite never count, nor do windows that hold one. A lane that rises or
    diverges after it was at the target has reached it.

    For values that are not in every row, evaluations say, the result with ``"before"`` is the place
    of the first one at the target.

    Parameters
    ----------
    loss
        Shape (…, rows), lanes in front; those that ended early are filled up with NaN or inf.
    targets
        Finite; any shape.
    window
        Rows that are averaged: 1 where nothing in a row is random.

    Returns
    -------
    np.ndarray
        float64, the lanes' shape followed by the targets'.

    Raises
    ------
    ValueError
        If a target is not finite, the window is below 1 or the record is neither of the two.

    >>> hitting_times([[5.0, 2.0, 1.0], [3.0, np.nan, np.nan]], [2.0, 3.0]).tolist()
    [[1.0, 1.0], [inf, 0.0]]
    """
    rows = np.ascontiguousarray(loss, dtype=np.float64)
    goals = np.asarray(targets, dtype=np.float64)
    if not np.isfinite(goals).all():
        raise ValueError("targets must be finite")
    if window < 1:
        raise ValueError(f"the window must be at least 1; got {window}")
    if record not in UPDATES_AT_FIRST_ROW:
        raise ValueError(f'record must be "before" or "after"; got "{record}"')
    lowest = _lowest_means(rows.reshape(prod(rows.shape[:-1]), rows.shape[-1]), window)
    # Sought among −lowest, which never falls: the first that is at least −target.
    places = np.array([np.searchsorted(-lane, -goals.ravel()) for lane in lowest])
    updates = places + float(window - 1 + UPDATES_AT_FIRST_ROW[record])
    times = np.where(places < lowest.shape[-1], updates, np.inf)
    return times.reshape(*rows.shape[:-1], *goals.shape)


def _lowest_means(rows: np.ndarray, window: int) -> np.ndarray:
    """Return the smallest mean of a window up to each row from w − 1 on, (lanes, rows − w + 1)."""
    if rows.shape[-1] < window:
        return np.empty((len(rows), 0))
    with np.errstate(over="ignore", invalid="ignore"):
        means = np.lib.stride_tricks.sliding_window_view(rows, window, axis=-1).mean(axis=-1)
    return np.minimum.accumulate(np.where(np.isfinite(means), means, np.inf), axis=-1)


def summarise(times: ArrayLike, budget: float, level: float = 0.95) -> Times:
    """Return success, ERT, RMST, median and PAR of lanes that had the same budget.

    Parameters
    ----------
    times
        τ of each lane, shape (lanes,); +inf, or anything above the budget, where it was missed.
    budget
        N, in the unit of ``times``.
    level
        Of all intervals.

    Raises
    ------
    ValueError
        If there is no lane, a time is NaN or negative, or the budget is not finite and above 0.

    >>> times = summarise([120, 180, np.inf, 260, np.inf, 150, 410, 200], budget=500)
    >>> times.success, times.rmst, times.median, round(times.ert, 1)
    (0.75, 290.0, 230.0, 386.7)
    >>> summarise([np.inf] * 4, budget=500).median
    inf
    """
    tau = np.asarray(times, dtype=np.float64)
    if tau.ndim != 1 or not tau.size or not (tau >= 0.0).all():
        raise ValueError("times must be one row of numbers from 0 on or +inf, at least one")
    if not 0.0 < budget < np.inf:
        raise ValueError(f"the budget must be finite and above 0; got {budget}")
    is_reached = tau <= budget
    reached, lanes = int(is_reached.sum()), len(tau)
    restricted = np.where(is_reached, tau, budget)
    low, high = clopper_pearson(reached, lanes, level)
    rmst_low, rmst_high = _mean_interval(restricted, level)
    ordered = np.sort(np.where(is_reached, tau, np.inf))
    ranks = median_ranks(lanes, level)
    return Times(
        success=reached / lanes,
        low=low,
        high=high,
        ert=float(restricted.sum()) / reached if reached else np.inf,
        rmst=float(restricted.mean()),
        rmst_low=rmst_low,
        rmst_high=rmst_high,
        median=float(np.median(ordered)),
        median_low=float(ordered[ranks[0] - 1]) if ranks else np.nan,
        median_high=float(ordered[ranks[1] - 1]) if ranks else np.nan,
        par2=float(np.where(is_reached, tau, 2.0 * budget).mean()),
        par10=float(np.where(is_reached, tau, 10.0 * budget).mean()),
    )


def _mean_interval(values: np.ndarray, level: float) -> tuple[float, float]:
    if (values == values[0]).all():
        return np.nan, np.nan
    means = resampled(lambda drawn: drawn.mean(axis=(-2, -1)), values[:, None])
    low, high = percentile_interval(means, level)
    return float(low), float(high)


def median_ranks(lanes: int, level: float = 0.95) -> tuple[int, int] | None:
    r"""Return the ranks, from 1, of the two values between which the median of a population lies.

    They are r and n + 1 − r with the largest r such that

    .. math:: P(\mathrm{Bin}(n, \tfrac12) < r) \le (1 - \mathrm{level}) / 2,

    which holds for any distribution, with +inf among the values too (W. R. Thompson, "On confidence
    ranges for the median", Annals of Mathematical Statistics 7, 1936). None for fewer than 6 lanes
    at 95 %: the smallest and the largest are not far enough apart.

    >>> [median_ranks(lanes) for lanes in (5, 6, 8, 10, 20)]
    [None, (1, 6), (1, 8), (2, 9), (6, 15)]
    """
    choices, rank = 0, 0
    while rank < lanes:
        choices += comb(lanes, rank)
        if choices / 2**lanes > (1.0 - level) / 2.0:
            break
        rank += 1
    return (rank, lanes + 1 - rank) if rank else None


def clopper_pearson(successes: int, lanes: int, level: float = 0.95) -> tuple[float, float]:
    """Return an interval of a probability, of which so many lanes were successes.

    Of n lanes k were: it holds the p with P(Bin(n, p) ≥ k) and P(Bin(n, p) ≤ k) both above
    (1 − level)/2, and its ends are quantiles of beta distributions. It covers the true one at least
    as often as ``level`` says (C. J. Clopper and E. S. Pearson, Biometrika 26, 1934).

    >>> [round(end, 3) for end in clopper_pearson(6, 8)]
    [0.349, 0.968]
    """
    from scipy.special import betaincinv

    tail, missed = (1.0 - level) / 2.0, lanes - successes
    low = float(betaincinv(successes, missed + 1, tail)) if successes else 0.0
    high = float(betaincinv(successes + 1, missed, 1.0 - tail)) if missed else 1.0
    return low, high
