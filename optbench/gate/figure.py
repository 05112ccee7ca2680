"""A baseline's losses beside those of a run, for one optimizer on one problem."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import SymmetricalLogLocator

from optbench.gate.baseline import Baseline
from optbench.gate.save import kept_iterations
from optbench.records import RunTables
from optbench.report.configurations import describe
from optbench.report.plots.axes import (
    axis_limits,
    floor,
    many_lines,
    mark_floor,
    spans_decades,
)
from optbench.report.plots.options import SMOOTHING_ROWS
from optbench.report.plots.sheet import add_legend, new_figure
from optbench.report.plots.signs import SMALL_EDGE, mark_edges, reached, signs_of
from optbench.report.plots.style import display_name, literal, tint
from optbench.report.statistics import ENDED_WORST

if TYPE_CHECKING:
    import pandas as pd

THEN, NOW = "#0072B2", "#D55E00"

LOG_DECADES = 1
"""Decades that losses span before their axis becomes logarithmic: relative changes are judged."""

FEW_ITERATIONS = 1000
"""Iterations up to which there is room for more ticks than powers of ten."""

LINEAR_ITERATIONS = 10
"""Iterations up to which their axis is about linear; it is logarithmic far beyond."""

HEIGHT = 4.4
"""Height of the figure in inches."""

RUNAWAY_FACTOR = 1e3
"""Losses above so many times the start do not stretch the axis."""

FAINT = 0.35


def draw_beside(baseline: Baseline, tables: RunTables, problem: str, label: str) -> Figure | None:
    """Draw all lanes of both, faintly, and their medians; None if one of them has no rows.

    Of the run those rows are drawn that a baseline keeps, which lie farther apart later on. Losses
    of minibatches are means over neighbouring rows, alike on both sides.
    """
    then = _losses(baseline.lanes, baseline.trace, problem, label)
    now = _losses(tables.lanes, tables.trace, problem, label)
    if then.empty or now.empty:
        return None
    window = SMOOTHING_ROWS if describe(tables, problem)["batch_size"] else 1
    sides = [
        _Side.of(losses, lanes, window)
        for losses, lanes in (
            (then, baseline.lanes),
            (_as_kept(now, then.index), tables.lanes),
        )
    ]
    figure = new_figure(HEIGHT)
    axes = figure.add_subplot()
    _set_loss_axis(axes, sides)
    axes.set_xscale("asinh", linear_width=LINEAR_ITERATIONS)  # smooth, where symlog has a kink
    bottom = floor(axes)
    lines = [
        _draw(axes, side, color, style, bottom)
        for side, color, style in zip(sides, (THEN, NOW), ("-", "--"), strict=True)
    ]
    if any((side.lanes < bottom).any() for side in sides):
        mark_floor(axes)
    last = max(then.index.max(), now.index.max())
    subs = (1, 2, 5) if last <= FEW_ITERATIONS else (1,)
    ticks = SymmetricalLogLocator(base=10, linthresh=LINEAR_ITERATIONS, subs=subs)
    axes.xaxis.set_major_locator(ticks)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlim(0, last)
    smoothed = f", mean of {window} neighbouring rows" if window > 1 else ""
    axes.set(xlabel="iteration", ylabel=f"loss{smoothed}")
    axes.set_title(f"{display_name(label)} on {literal(problem)}")
    handles, names = _legend(lines, [side.lanes.shape[1] for side in sides])
    signs = signs_of(axes.get_legend_handles_labels()[1])
    add_legend(figure, [*handles, *signs.values()], [*names, *signs])
    return figure


class _Side(NamedTuple):
    """The losses of a side's lanes, shape (rows, lanes), at the iterations ``x``; their median.

    A lane that diverged or failed counts as worst from then on.
    """

    x: np.ndarray
    lanes: np.ndarray
    median: np.ndarray

    @classmethod
    def of(cls, losses: "pd.DataFrame", lanes: "pd.DataFrame", window: int) -> "_Side":
        """Return the losses of a side, each the mean of so many neighbouring rows.

        A mean stands at the mean of their iterations, so that a straight stretch stays straight at
        both ends, and where rows begin to lie farther apart.
        """
        smooth = losses.rolling(window, min_periods=1, center=True).mean().where(losses.notna())
        x = losses.index.to_series().rolling(window, min_periods=1, center=True).mean()
        ended = losses.columns.isin(lanes.loc[lanes["status"].isin(ENDED_WORST), "lane"])
        ranked = smooth.where(smooth.notna() | ~ended, np.inf)
        return cls(x.to_numpy(), smooth.to_numpy(), ranked.median(axis=1).to_numpy())


def _losses(
    lanes: "pd.DataFrame", trace: "pd.DataFrame", problem: str, label: str
) -> "pd.DataFrame":
    """Return the losses of a group: one row per iteration, one column per lane."""
    chosen = lanes[(lanes["problem"] == problem) & (lanes["label"] == label)]["lane"]
    rows = trace[trace["lane"].isin(chosen)]
    return rows.pivot(index="iteration", columns="lane", values="loss")


def _as_kept(losses: "pd.DataFrame", kept: "pd.Index") -> "pd.DataFrame":
    """Return those rows of a run's losses that a baseline keeps: its own, and beyond its end more.

    Whatever else is between two rows of the baseline would be smoothed otherwise.
    """
    last = losses.index.max()
    spread = kept_iterations(last)
    beyond = losses.index.isin(spread) & (losses.index > kept.max())
    chosen: pd.DataFrame = losses[losses.index.isin(kept) | beyond | (losses.index == last)]
    return chosen


def _set_loss_axis(axes: Axes, sides: Sequence[_Side]) -> None:
    """Choose scale and limits: logarithmic where no loss is below zero and they span decades."""
    losses = np.concatenate([side.lanes[np.isfinite(side.lanes)] for side in sides])
    log = not (losses < 0.0).any() and spans_decades(losses[losses > 0.0], LOG_DECADES)
    axes.set_yscale("log" if log else "linear")
    first = max(
        (float(side.median[0]) for side in sides if np.isfinite(side.median[0])), default=np.inf
    )
    ceiling = RUNAWAY_FACTOR * first if log else np.inf
    axes.set_ylim(*axis_limits([losses], ceiling=ceiling, log=log))


def _draw(axes: Axes, side: _Side, color: str, style: str, bottom: float) -> Artist:
    """Draw the lanes of a side, if there are several, and their median, none below the bottom.

    Return the line of the median.
    """
    if side.lanes.shape[1] > 1:
        lanes = [np.stack([side.x, lane], axis=1) for lane in np.maximum(side.lanes, bottom).T]
        axes.add_collection(many_lines(lanes, color, alpha=FAINT), autolim=False)
        mark_edges(axes, [(lane[:, 0], lane[:, 1]) for lane in lanes], tint(color), SMALL_EDGE)
    median = np.maximum(side.median, bottom)
    (line,) = axes.plot(side.x, median, color=color, linestyle=style, linewidth=1.8)
    mark_edges(axes, [(side.x, reached(axes, median))], color)
    return line


def _legend(lines: Sequence[Artist], lanes: Sequence[int]) -> tuple[list[Artist], list[str]]:
    """Return handles and names of the medians of two sides with so many lanes, and of the lanes."""
    several = max(lanes) > 1
    medians = [f", median of {number} lanes" if several else "" for number in lanes]
    names = [f"{side}{median}" for side, median in zip(("baseline", "now"), medians, strict=True)]
    faint = Line2D([], [], color="black", alpha=FAINT, linewidth=0.8)
    return [*lines, *([faint] * several)], [*names, *(["each lane"] * several)]
