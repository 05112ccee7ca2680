"""A baseline's losses beside those of a run, for one optimizer on one problem."""

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import SymmetricalLogLocator

from optbench.gate.baseline import Baseline
from optbench.records import RunTables
from optbench.report.configurations import describe
from optbench.report.plots.axes import many_lines, spans_decades
from optbench.report.plots.options import SMOOTHING_ROWS
from optbench.report.plots.sheet import add_legend, new_figure
from optbench.report.plots.style import display_name, literal
from optbench.report.statistics import ENDED_WORST

if TYPE_CHECKING:
    import pandas as pd

THEN, NOW = "#0072B2", "#D55E00"

LOG_DECADES = 1
"""Decades that losses span before their axis becomes logarithmic: relative changes are judged."""

FEW_ITERATIONS = 1000
"""Iterations up to which there is room for more ticks than powers of ten."""

FAINT = 0.35


def draw_beside(baseline: Baseline, tables: RunTables, problem: str, label: str) -> Figure | None:
    """Draw all lanes of both, faintly, and their medians; None if one of them has no rows.

    Losses of minibatches are smoothed alike on both sides, over a number of the rows that a
    baseline keeps, which lie farther apart later on.
    """
    then = _losses(baseline.lanes, baseline.trace, problem, label)
    now = _losses(tables.lanes, tables.trace, problem, label)
    if then.empty or now.empty:
        return None
    now = now[now.index.isin(then.index) | (now.index == now.index.max())]
    if describe(tables, problem)["batch_size"]:
        then, now = (
            side.rolling(SMOOTHING_ROWS, min_periods=1, center=True).mean().where(side.notna())
            for side in (then, now)
        )
    worst = [_worst(then, baseline.lanes), _worst(now, tables.lanes)]
    figure = new_figure(4.2)
    axes = figure.add_subplot()
    losses = np.concatenate([then.to_numpy().ravel(), now.to_numpy().ravel()])
    if spans_decades(losses[losses > 0], LOG_DECADES):
        axes.set_yscale("log")
    handles = []
    for side, ranked, color, style in zip(
        (then, now), worst, (THEN, NOW), ("-", "--"), strict=True
    ):
        if side.shape[1] > 1:
            lanes = [np.stack([side.index, side[lane]], axis=1) for lane in side]
            axes.add_collection(many_lines(lanes, color, alpha=FAINT))
        median = ranked.median(axis=1)
        handles += axes.plot(side.index, median, color=color, linestyle=style, linewidth=1.8)
    axes.set_xscale("symlog", linthresh=10)
    subs = (1, 2, 5) if then.index.max() <= FEW_ITERATIONS else (1,)
    axes.xaxis.set_major_locator(SymmetricalLogLocator(base=10, linthresh=10, subs=subs))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlim(left=0)
    axes.set(xlabel="iteration", ylabel="loss")
    axes.set_title(f"{display_name(label)} on {literal(problem)}")
    many = then.shape[1] > 1
    names = [
        f"{name}, median of {side.shape[1]} lanes" if many else name
        for name, side in (("baseline", then), ("now", now))
    ]
    add_legend(figure, handles, names)
    return figure


def _losses(
    lanes: "pd.DataFrame", trace: "pd.DataFrame", problem: str, label: str
) -> "pd.DataFrame":
    """Return the losses of a group: one row per iteration, one column per lane."""
    chosen = lanes[(lanes["problem"] == problem) & (lanes["label"] == label)]["lane"]
    rows = trace[trace["lane"].isin(chosen)]
    return rows.pivot(index="iteration", columns="lane", values="loss")


def _worst(losses: "pd.DataFrame", lanes: "pd.DataFrame") -> "pd.DataFrame":
    """Return losses with infinity after the end of lanes that diverged or failed."""
    ended = lanes.loc[lanes["status"].isin(ENDED_WORST), "lane"]
    return losses.where(losses.notna() | ~losses.columns.isin(ended), np.inf)
