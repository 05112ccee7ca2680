"""Loss and error over whole splits, of each optimizer over the iterations."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from optbench.records import BEST_AT, RunTables
from optbench.report.configurations import SPLITS, configurations, describe, problem_title
from optbench.report.curves import LaneLoss, lane_values, leading_finite, starting_loss
from optbench.report.plots.axes import (
    MANY,
    axis_limits,
    floor,
    mark_floor,
    name_ends,
    spans_decades,
)
from optbench.report.plots.curves import AXIS_NAMES, Line, about, best_lines, draw_best
from optbench.report.plots.options import PlotOptions
from optbench.report.plots.sheet import columns, new_figure
from optbench.report.plots.signs import CHOSEN, SPLIT_LINES, explain, reached
from optbench.report.plots.style import literal, styles

HEIGHT = 4.2
"""Height of a row of panels, in inches."""

CROWD_SPLITS = ("validation", "test", "train")
"""Which split is drawn of a crowd: the first that was evaluated."""

MEASURES = {"loss": "loss", "error": "zero-one error"}
"""What is evaluated, and its name on an axis: a panel each."""

LOG_DECADES = 2
"""Decades that losses span before their axis becomes logarithmic."""

RUNAWAY_DESCENTS = 3.0
"""Values above the lowest by so many times the greatest descent do not stretch an axis."""

DOT: dict[str, Any] = {
    "marker": "o",
    "markersize": 6,
    "markeredgecolor": "white",
    "markeredgewidth": 0.8,
    "linestyle": "none",
    "zorder": 6,
}
"""Where early stopping found the parameters that a lane is judged by."""


def draw(tables: RunTables, problem: str, options: PlotOptions) -> Figure:
    """Draw the best configuration of each label, which the test split has no part in choosing.

    Splits differ by their lines. Where early stopping chose parameters, a dot for each lane stands
    on the validation split at the iteration that it chose. Of more than
    :data:`~optbench.report.plots.axes.MANY` labels one split alone is drawn, and names stand at the
    ends of the curves.
    """
    meta = describe(tables, problem)
    table = configurations(tables)
    table = table[table["problem"] == problem]
    rows = evaluations_of(tables, problem)
    measures = [name for name in MEASURES if np.isfinite(rows[name]).any()]
    look = styles(zip(table["label"], table["optimizer"], strict=True), tables.shared)
    crowded = table["label"].nunique() > MANY
    splits = [split for split in SPLITS if (rows["split"] == split).any()]
    shown = [next(split for split in CROWD_SPLITS if split in splits)] if crowded else splits
    across = columns(len(measures))
    down = -(-len(measures) // across)
    figure = new_figure(HEIGHT * down, narrowed=len(measures) / across)
    panels = []
    for place, measure in enumerate(measures):
        axes = figure.add_subplot(down, across, place + 1)
        lines = {
            split: best_lines(
                tables,
                table,
                lane_values(tables, problem, rows[rows["split"] == split], measure),
                look,
                meta,
                options,
            )
            for split in shown
        }
        _draw_panel(axes, lines, options, is_loss=measure == "loss", crowded=crowded)
        if BEST_AT in tables.lanes:
            _mark_chosen(axes, tables.lanes, lines.get("validation", ()))
        axes.set_xlabel(AXIS_NAMES[options.x])
        whole = f"whole {shown[0]} split" if crowded else "whole split"
        axes.set_ylabel(f"{MEASURES[measure]} over the {whole}")
        axes.grid(alpha=0.25)
        panels.append((axes, [line.end for line in lines[shown[0]]]))
    figure.suptitle(literal(problem_title(tables, problem)))
    beside = crowded and name_ends(figure, panels)
    notes = [about(table, lines[shown[0]], options)]
    if len(shown) < len(splits):
        others = " and ".join(split for split in splits if split not in shown)
        notes.append(f"up to {MANY} labels have {others} too")
    explain(figure, "; ".join(filter(None, notes)) or None, named=not beside)
    return figure


def evaluations_of(tables: RunTables, problem: str) -> pd.DataFrame:
    """Return the evaluations of a problem's lanes."""
    lanes = tables.lanes.loc[tables.lanes["problem"] == problem, "lane"]
    rows: pd.DataFrame = tables.evaluation[tables.evaluation["lane"].isin(lanes)]
    return rows


def _draw_panel(
    axes: Axes,
    lines: Mapping[str, Sequence[Line]],
    options: PlotOptions,
    *,
    is_loss: bool,
    crowded: bool,
) -> None:
    """Draw the curves of all splits on one axis; options of the loss axis concern the loss."""
    every = [line for own in lines.values() for line in own]
    medians = np.concatenate([leading_finite(line.curve.median) for line in every])
    fitting = is_loss and spans_decades(medians, LOG_DECADES)
    log = is_loss and options.log_axis(fitting)
    axes.set_yscale("log" if log else "linear")
    own_limits = options.ylim if is_loss else None
    axes.set_ylim(*(own_limits or _limits(every, log=log)))
    bottom = -np.inf if own_limits else floor(axes)
    for line in () if crowded else next(iter(lines.values())):
        axes.plot([], [], color=line.style.color, linewidth=1.4, label=line.text)
    for split, own in lines.items():
        look: dict[str, Any] = {"linestyle": SPLIT_LINES[split], "marker": None, "label": "_"}
        for line in own:
            draw_best(axes, line, bottom, marked=not crowded, **({} if crowded else look))
        if not crowded:
            axes.plot([], [], color="none", label=split)  # the legend shows its line
    if (medians < bottom).any():
        mark_floor(axes)


def _limits(lines: Sequence[Line], *, log: bool) -> tuple[float, float]:
    """Return limits that hold all curves, but none that runs away."""
    curves = [np.r_[line.curve.median, line.curve.low, line.curve.high] for line in lines]
    start = starting_loss(lane for line in lines for lane in line.lanes)
    values = np.concatenate(curves)
    lowest = values[np.isfinite(values)].min(initial=start)
    descent = start - lowest
    ceiling = lowest + RUNAWAY_DESCENTS * descent if descent > 0 else np.inf
    return axis_limits(curves, ceiling=ceiling, log=log)


def _mark_chosen(axes: Axes, lanes: pd.DataFrame, lines: Sequence[Line]) -> None:
    """Put a dot on the validation split of each lane at the iteration that early stopping chose."""
    chosen = lanes.set_index("lane")[BEST_AT]
    for line in lines:
        points = [_value_at(lane, chosen[lane.lane]) for lane in line.lanes]
        found = np.array([point for point in points if point is not None]).reshape(-1, 2)
        if len(found):
            heights = reached(axes, found[:, 1])
            axes.plot(found[:, 0] * line.step, heights, color=line.style.color, label=CHOSEN, **DOT)


def _value_at(lane: LaneLoss, iteration: Any) -> tuple[int, float] | None:
    """Return an iteration and what a lane was evaluated to there; None if it was not."""
    if pd.isna(iteration):
        return None
    places = np.flatnonzero(lane.iterations == int(iteration))
    return (int(iteration), float(lane.loss[places[0]])) if places.size else None
