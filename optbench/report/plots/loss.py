"""The loss of all optimizers over the iterations, on one axis."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from optbench.errors import UsageError, argument
from optbench.records import RunTables
from optbench.report.configurations import configurations, describe, problem_title
from optbench.report.curves import lane_losses, leading_finite, median_curve, starting_loss
from optbench.report.plots.axes import (
    MANY,
    axis_limits,
    floor,
    mark_floor,
    name_ends,
    spans_decades,
)
from optbench.report.plots.curves import (
    AXIS_NAMES,
    Line,
    about,
    best_lines,
    draw_best,
    draw_faint,
    steps,
)
from optbench.report.plots.options import PlotOptions
from optbench.report.plots.sheet import new_figure
from optbench.report.plots.signs import explain
from optbench.report.plots.style import literal, styles
from optbench.store.thinning import every_of, in_words

HEIGHT, LEAST_INCHES = 4.6, 3.0
"""Height of the figure in inches, unless there is a crowd, and at least, in text of usual size."""

CROWD_WINDOWS = 15
"""Smoothing windows that a run is divided into where there is a crowd."""

LOG_DECADES = 3
"""Decades that the losses of a function span before their axis becomes logarithmic."""

DESCENT_ROWS = 0.2
"""The highest rows of each curve, as a fraction of it, that a network's axis need not hold."""

DESCENT_ROOM = 1.25
"""Where it holds what lies below so many times the others."""

RUNAWAY_FACTOR = 1e3
"""Losses above so many times the start do not stretch a logarithmic axis."""

RUNAWAY_DESCENTS = 3.0
"""Losses above the lowest by so many times the greatest descent do not stretch a linear axis."""


def draw(tables: RunTables, problem: str, options: PlotOptions) -> Figure:
    """Draw the best configuration of each label, and the others of its grid faint.

    Of more than :data:`~optbench.report.plots.axes.MANY` labels the names stand at the ends of the
    curves, the loss axis is logarithmic, and curves are smoother.
    """
    meta = describe(tables, problem)
    labels = tables.lanes.loc[tables.lanes["problem"] == problem, "label"]
    crowded = labels.nunique() > MANY
    every = every_of(tables.meta)
    window = _window(meta, options, every, crowded=crowded)
    table = configurations(tables)
    table = table[table["problem"] == problem]
    losses = lane_losses(tables, problem)
    look = styles(zip(table["label"], table["optimizer"], strict=True), tables.shared)
    best = best_lines(tables, table, losses, look, meta, options, window)
    log = _is_log(meta, best, options, crowded=crowded)
    figure = new_figure(HEIGHT, LEAST_INCHES)
    axes = figure.add_subplot()
    axes.set_yscale("log" if log else "linear")
    axes.set_ylim(*(options.ylim or _limits(meta, best, log=log)))
    bottom = -np.inf if options.ylim else floor(axes)
    drawn = [rows for line in best for rows in (line.curve.median, line.curve.low)]
    for label, rows in table[~table["best"]].groupby("label"):
        curves = [
            median_curve([losses[number] for number in numbers], window)
            for numbers in rows["lane_numbers"]
        ]
        drawn += [curve.median for curve in curves]
        sizes = steps(rows, meta, options.x)
        draw_faint(axes, rows, curves, sizes, look[str(label)].color, bottom)
    for line in best:
        draw_best(axes, line, bottom, window, marked=not crowded)
    if any((rows < bottom).any() for rows in drawn):
        mark_floor(axes)
    axes.set_xlabel(AXIS_NAMES[options.x])
    axes.set_ylabel(_what(meta, window, every))
    beside = crowded and name_ends(figure, [(axes, [line.end for line in best])])
    title = figure.suptitle if beside else axes.set_title  # axes beside names may be narrow
    title(literal(problem_title(tables, problem)))
    explain(figure, about(table, best, options) or None, named=not beside)
    return figure


def _what(meta: dict[str, Any], window: int, every: int) -> str:
    """Say what the rows of a trace are."""
    record = meta.get("record", "before")
    what = f"mean minibatch loss {record} the update" if meta["batch_size"] else "loss"
    if window > 1:
        return f"{what}, smoothed over {window} iterations"
    return what if every == 1 else f"{what}, {in_words(every)}"


def _window(meta: dict[str, Any], options: PlotOptions, every: int, *, crowded: bool) -> int:
    """Return the rows that curves are smoothed over; more in a crowd, if nobody says how many."""
    if every > 1:
        if (options.smooth or 1) > 1:
            raise UsageError(
                f"the run kept {in_words(every)} of its trace, and smoothing needs them all; leave "
                f"out {argument('smooth')}, or run with {argument('trace', 'all')}"
            )
        return 1
    window = options.window(meta["batch_size"])
    if crowded and options.smooth is None and window > 1:
        return max(window, 2 * (int(meta["iterations"]) // CROWD_WINDOWS // 2) + 1)
    return window


def _is_log(
    meta: dict[str, Any], best: Sequence[Line], options: PlotOptions, *, crowded: bool
) -> bool:
    """Say whether the loss axis is logarithmic."""
    losses = np.concatenate([leading_finite(line.curve.median) for line in best])
    if options.log and losses.size and losses.max() <= 0:
        raise UsageError(f"a logarithmic axis needs losses above 0; '{meta['problem']}' has none")
    above_zero = losses[losses > 0] if losses.min(initial=0) >= 0 else losses
    fitting = meta["kind"] == "function" and spans_decades(above_zero, LOG_DECADES)
    in_crowd = crowded and losses.size > 0 and losses.min() > 0 and spans_decades(losses, 1)
    return options.log_axis(fitting or in_crowd)


def _limits(meta: dict[str, Any], best: Sequence[Line], *, log: bool) -> tuple[float, float]:
    """Return limits of the loss axis: they hold all curves, but none that runs away.

    Of networks they need not hold the first steep descent, so that what follows can be told apart.
    """
    curves = [np.r_[line.curve.median, line.curve.low, line.curve.high] for line in best]
    start = starting_loss(lane for line in best for lane in line.lanes)
    if log:
        return axis_limits(
            curves, ceiling=start * RUNAWAY_FACTOR if start > 0 else np.inf, log=True
        )
    values = np.concatenate(curves)
    lowest = values[np.isfinite(values)].min(initial=start)
    ceiling = lowest + RUNAWAY_DESCENTS * (start - lowest)
    if meta["kind"] != "network" or lowest <= 0:
        return axis_limits(curves, ceiling=ceiling, log=False)
    medians = [leading_finite(line.curve.median) for line in best]
    falling = [median for median in medians if median.size and median[-1] <= start]
    later = (float(np.quantile(median, 1 - DESCENT_ROWS)) for median in falling)
    ceiling = min(ceiling, DESCENT_ROOM * max(later, default=np.inf))
    low, high = axis_limits(curves, ceiling=ceiling, log=False)
    return (0.0 if ceiling < start or lowest < high / 2 else low), high
