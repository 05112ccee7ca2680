"""Loss curves: what each lane recorded, and the median and band of a configuration."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

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
    """The loss of one lane as far as it is finite, float64, shape (rows,), and its status.

    ``iterations`` are those of the rows, which need not all have been kept.
    """

    lane: int
    status: str
    loss: np.ndarray
    iterations: np.ndarray

    @property
    def end(self) -> int:
        """The iteration of its last finite row, −1 where there is none."""
        return int(self.iterations[-1]) if self.iterations.size else -1


@dataclass(frozen=True)
class Curve:
    """Median loss of a configuration with a band, +inf where it diverged.

    All arrays have shape (rows,); ``iterations`` are those of the rows. ``low`` and ``high`` are
    NaN where there is no band.
    """

    median: np.ndarray
    low: np.ndarray
    high: np.ndarray
    iterations: np.ndarray


def lane_losses(tables: RunTables, problem: str) -> dict[int, LaneLoss]:
    """Return the loss of each lane of a problem, by lane number."""
    return lane_values(tables, problem, tables.trace, "loss")


def lane_values(
    tables: RunTables, problem: str, rows: pd.DataFrame, measure: str
) -> dict[int, LaneLoss]:
    """Return a column of a table of rows, by lane number, for all lanes of a problem."""
    lanes = tables.lanes[tables.lanes["problem"] == problem]
    rows = rows[rows["lane"].isin(lanes["lane"])]
    rows = rows.sort_values(["lane", "iteration"], kind="stable")
    starts = np.searchsorted(rows["lane"], lanes["lane"], side="left")
    ends = np.searchsorted(rows["lane"], lanes["lane"], side="right")
    loss, iterations = rows[measure].to_numpy(), rows["iteration"].to_numpy()
    found = {}
    for lane, status, start, end in zip(lanes["lane"], lanes["status"], starts, ends, strict=True):
        finite = np.clip(leading_finite(loss[start:end]), -LARGEST, LARGEST)
        own = iterations[start : start + len(finite)]
        found[int(lane)] = LaneLoss(int(lane), str(status), finite, own)
    return found


def leading_finite(loss: np.ndarray) -> np.ndarray:
    """Return the rows before the first that is not finite."""
    bad = np.flatnonzero(~np.isfinite(loss))
    return loss[: bad[0]] if bad.size else loss


def median_curve(lanes: Sequence[LaneLoss], window: int = 1, band: Band = "spread") -> Curve:
    """Return the median of a configuration's lanes, each smoothed over its own rows, and the band.

    That is how far the lanes lie apart, or the interval of the median at each iteration.
    After its last row a diverged or failed lane counts as +inf, and one that a stopping rule ended
    keeps its last value. Where a lane is still running or was interrupted, the curve ends with it.
    Where not all rows were kept, the curve has those that every lane has that got so far.
    """
    worst = {*ENDED_WORST, Status.STOPPED}
    open_ended = [lane.end for lane in lanes if lane.status not in {*worst, Status.DONE}]
    end = min(open_ended, default=max(lane.end for lane in lanes))
    iterations = _shared_iterations(lanes)
    iterations = iterations[iterations <= end]
    rows = np.full((len(lanes), len(iterations)), np.inf)
    for row, lane in zip(rows, lanes, strict=True):
        smoothed = smooth(lane.loss, window)
        places = np.searchsorted(lane.iterations, iterations[iterations <= lane.end])
        row[: len(places)] = smoothed[places]
        if lane.status == Status.STOPPED and smoothed.size:
            row[len(places) :] = smoothed[-1]
    low, high = (median_interval if band == "interval" else spread)(rows)
    return Curve(quantile(rows, 0.5), low, high, iterations)


def _shared_iterations(lanes: Sequence[LaneLoss]) -> np.ndarray:
    """Return the iterations of the rows that all lanes have that did not end before."""
    longest = max(lanes, key=lambda lane: lane.end)
    if all(lane.end < len(lane.loss) for lane in lanes):  # all rows were kept
        return longest.iterations
    ends = np.sort([lane.end for lane in lanes])
    iterations, having = np.unique(
        np.concatenate([lane.iterations for lane in lanes]), return_counts=True
    )
    shared: np.ndarray = iterations[having == len(lanes) - np.searchsorted(ends, iterations)]
    return shared


def starting_loss(lanes: Iterable[LaneLoss]) -> float:
    """Return the loss at the start: the median of the first rows, NaN where there are none.

    The median, because where rows are recorded after the update, row 0 of a lane that explodes or
    leaps at once is far from the start.
    """
    first = [float(lane.loss[0]) for lane in lanes if lane.loss.size]
    return float(np.median(first)) if first else float("nan")
