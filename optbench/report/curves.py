"""Loss curves: what each lane recorded, and the median and band of a configuration."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from optbench.records import RunTables, Status
from optbench.report.statistics import (
    ENDED_WORST,
    Band,
    median_interval,
    quantile,
    smooth,
    spread,
)

LARGEST = 1e200
"""Values beyond are cut to it: who draws them computes with them and would overflow."""


@dataclass(frozen=True)
class LaneLoss:
    """The loss of one lane as far as it is finite, float64, shape (rows,), and its status."""

    lane: int
    status: str
    loss: np.ndarray


@dataclass(frozen=True)
class Curve:
    """Median loss of a configuration with a band, +inf where it diverged.

    All arrays have shape (rows,); row k is iteration k. ``low`` and ``high`` are NaN where there is
    no band.
    """

    median: np.ndarray
    low: np.ndarray
    high: np.ndarray


def lane_losses(tables: RunTables, problem: str) -> dict[int, LaneLoss]:
    """Return the loss of each lane of a problem, by lane number."""
    lanes = tables.lanes[tables.lanes["problem"] == problem]
    rows = tables.trace[tables.trace["lane"].isin(lanes["lane"])]
    rows = rows.sort_values(["lane", "iteration"], kind="stable")
    starts = np.searchsorted(rows["lane"], lanes["lane"], side="left")
    ends = np.searchsorted(rows["lane"], lanes["lane"], side="right")
    loss = rows["loss"].to_numpy()
    return {
        int(lane): LaneLoss(
            int(lane), str(status), np.clip(leading_finite(loss[start:end]), -LARGEST, LARGEST)
        )
        for lane, status, start, end in zip(
            lanes["lane"], lanes["status"], starts, ends, strict=True
        )
    }


def leading_finite(loss: np.ndarray) -> np.ndarray:
    """Return the rows before the first that is not finite."""
    bad = np.flatnonzero(~np.isfinite(loss))
    return loss[: bad[0]] if bad.size else loss


def median_curve(lanes: Sequence[LaneLoss], window: int = 1, band: Band = "spread") -> Curve:
    """Return the median of a configuration's lanes, each smoothed over its own rows, and the band.

    That is how far the lanes lie apart, or the interval of the median at each iteration.
    After its last row a diverged or failed lane counts as +inf, and one that a stopping rule ended
    keeps its last value. Where a lane is still running or was interrupted, the curve ends with it.
    """
    worst = {*ENDED_WORST, Status.STOPPED}
    lengths = [len(lane.loss) for lane in lanes]
    open_ended = [len(lane.loss) for lane in lanes if lane.status not in {*worst, Status.DONE}]
    rows = np.full((len(lanes), min(open_ended, default=max(lengths))), np.inf)
    for row, lane in zip(rows, lanes, strict=True):
        smoothed = smooth(lane.loss, window)[: len(row)]
        row[: len(smoothed)] = smoothed
        if lane.status == Status.STOPPED and smoothed.size:
            row[len(smoothed) :] = smoothed[-1]
    low, high = (median_interval if band == "interval" else spread)(rows)
    return Curve(quantile(rows, 0.5), low, high)


def starting_loss(lanes: Iterable[LaneLoss]) -> float:
    """Return the loss at the start: the median of the first rows, NaN where there are none.

    The median, because where rows are recorded after the update, row 0 of a lane that explodes or
    leaps at once is far from the start.
    """
    first = [float(lane.loss[0]) for lane in lanes if lane.loss.size]
    return float(np.median(first)) if first else float("nan")
