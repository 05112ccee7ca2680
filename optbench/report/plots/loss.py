"""The loss of all optimizers over the iterations, on one axis."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from optbench.errors import UsageError
from optbench.records import RunTables
from optbench.report.configurations import (
    bad_endings,
    configurations,
    describe,
    hyperparameter_text,
    problem_title,
    swept_columns,
)
from optbench.report.curves import (
    Curve,
    LaneLoss,
    lane_losses,
    leading_finite,
    median_curve,
    starting_loss,
)
from optbench.report.plots.axes import (
    MANY,
    End,
    axis_limits,
    floor,
    height_inches,
    many_lines,
    mark_floor,
    name_ends,
    spans_decades,
    thinned,
)
from optbench.report.plots.options import PlotOptions
from optbench.report.plots.style import (
    CROSS,
    FAINT,
    TINT,
    Style,
    display_name,
    legend_below,
    literal,
    new_figure,
    seeds_note,
    styles,
    tint,
)
from optbench.report.statistics import ENDED_WORST, smooth
from optbench.store.thinning import every_of, in_words

HEIGHT = 4.6
"""Height of the figure in inches, unless there is a crowd."""

CROWD_WINDOWS = 15
"""Smoothing windows that a run is divided into where there is a crowd."""

MARKER_ROWS = 100
"""Iterations between the markers of a long curve; one below ten times as many has about ten."""

MOST_MARKERS = 50

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

AXIS_NAMES = {"iteration": "iteration", "epoch": "epoch", "seconds": "time in seconds"}


@dataclass(frozen=True)
class _Line:
    """The best configuration of a label as it is drawn.

    Iteration k lies at ``k * step`` on the horizontal axis. A step of NaN, where a lane that failed
    has no step time, draws nothing.
    """

    lanes: Sequence[LaneLoss]
    curve: Curve
    step: float
    style: Style
    text: str

    @property
    def x(self) -> np.ndarray:
        """Where the rows of the curve lie."""
        return self.curve.iterations * self.step


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
    best = _lines(tables, table, losses, look, meta, options, window)
    log = _is_log(meta, best, options, crowded=crowded)
    figure = new_figure(height_inches(len(best), HEIGHT) if crowded else HEIGHT)
    axes = figure.add_subplot()
    axes.set_yscale("log" if log else "linear")
    axes.set_ylim(*(options.ylim or _limits(meta, best, log=log)))
    bottom = -np.inf if options.ylim else floor(axes)
    others = table[~table["best"]]
    for label, rows in others.groupby("label"):
        curves = (
            median_curve([losses[number] for number in numbers], window)
            for numbers in rows["lane_numbers"]
        )
        _draw_faint(
            axes, zip(curves, _steps(rows, meta, options.x), strict=True), look[str(label)], bottom
        )
    for line in best:
        _draw_best(axes, line, window, bottom, marked=not crowded)
    if any((leading_finite(line.curve.median) < bottom).any() for line in best):
        mark_floor(axes)
    axes.set_title(literal(problem_title(tables, problem)))
    axes.set_xlabel(AXIS_NAMES[options.x])
    kept = "" if every == 1 else f", {in_words(every)}"
    axes.set_ylabel(f"loss, smoothed over {window} iterations" if window > 1 else f"loss{kept}")
    note = seeds_note((len(line.lanes) for line in best), options.band)
    if crowded:
        name_ends(axes, [_end(line) for line in best])
        axes.set_xlabel(f"{axes.get_xlabel()}{f'; {note}' if note else ''}")
    else:
        legend_below(figure, *axes.get_legend_handles_labels(), title=note or None)
    return figure


def _window(meta: dict[str, Any], options: PlotOptions, every: int, *, crowded: bool) -> int:
    """Return the rows that curves are smoothed over; more in a crowd, if nobody says how many."""
    if every > 1:
        if (options.smooth or 1) > 1:
            raise UsageError(
                f"the run kept {in_words(every)} of its trace, and smoothing needs them all; leave "
                "out --smooth, or run with --trace all"
            )
        return 1
    window = options.window(meta["batch_size"])
    if crowded and options.smooth is None and window > 1:
        return max(window, 2 * (int(meta["iterations"]) // CROWD_WINDOWS // 2) + 1)
    return window


def _end(line: _Line) -> End:
    median = leading_finite(line.curve.median)
    ended = median.size == len(line.curve.median) and median.size > 0
    x = float(line.x[median.size - 1]) if median.size else 0.0
    return End(line.text, line.style.color, x, float(median[-1]) if ended else np.inf)


def _lines(
    tables: RunTables,
    table: pd.DataFrame,
    losses: Mapping[int, LaneLoss],
    look: Mapping[str, Style],
    meta: dict[str, Any],
    options: PlotOptions,
    window: int,
) -> list[_Line]:
    """Return the best configurations of a problem as they are to be drawn."""
    best = table[table["best"]]
    if options.x == "seconds" and tables.runs:
        raise UsageError(
            "seconds of several runs are not alike: other machines, workers and blocks; leave out "
            "--x seconds, or draw these runs one by one"
        )
    if options.x == "seconds" and best["step_seconds"].isna().all():
        raise UsageError(f"no step time of '{meta['problem']}' is recorded; x must be iteration")
    owners = [tables.shared.get(label, (label, 0))[0] for label in best["label"]]
    best = best.iloc[np.argsort([owners.index(own) for own in owners], kind="stable")]
    swept = {label: swept_columns(rows) for label, rows in table.groupby("label")}
    lines = []
    for (_, configuration), step in zip(
        best.iterrows(), _steps(best, meta, options.x), strict=True
    ):
        label = configuration["label"]
        lanes = [losses[number] for number in configuration["lane_numbers"]]
        own = tables.shared.get(label, (label, 0))[0]
        name = display_name(own) + literal(label.removeprefix(own))
        names = [name, literal(hyperparameter_text(configuration, swept[label]))]
        endings = bad_endings(tables.lanes, configuration["lane_numbers"])
        text = ", ".join(filter(None, names)) + (f" ({endings})" if endings else "")
        curve = median_curve(lanes, window, options.band)
        lines.append(_Line(lanes, curve, step, look[label], text))
    return lines


def _steps(rows: pd.DataFrame, meta: dict[str, Any], x: str) -> list[float]:
    """Return how far one iteration of each configuration goes on the horizontal axis."""
    if x == "seconds":
        steps: list[float] = rows["step_seconds"].tolist()
        return steps
    if x == "epoch" and not meta["iterations_per_epoch"]:
        raise UsageError(f"'{meta['problem']}' has no epochs; x must be iteration or seconds")
    return [1.0 / float(meta["iterations_per_epoch"]) if x == "epoch" else 1.0] * len(rows)


def _is_log(
    meta: dict[str, Any], best: Sequence[_Line], options: PlotOptions, *, crowded: bool
) -> bool:
    """Say whether the loss axis is logarithmic."""
    losses = np.concatenate([leading_finite(line.curve.median) for line in best])
    if options.log and losses.size and losses.max() <= 0:
        raise UsageError(f"a logarithmic axis needs losses above 0; '{meta['problem']}' has none")
    above_zero = losses[losses > 0] if losses.min(initial=0) >= 0 else losses
    fitting = meta["kind"] == "function" and spans_decades(above_zero, LOG_DECADES)
    in_crowd = crowded and losses.size > 0 and losses.min() > 0 and spans_decades(losses, 1)
    return options.log_axis(fitting or in_crowd)


def _limits(meta: dict[str, Any], best: Sequence[_Line], *, log: bool) -> tuple[float, float]:
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


def _draw_faint(
    axes: Axes, curves: Iterable[tuple[Curve, float]], style: Style, bottom: float
) -> None:
    """Draw what shows how much the hyperparameters matter: medians, with the step of each."""
    lines = []
    for curve, step in curves:
        median = leading_finite(curve.median)
        lines.append(thinned(np.maximum(median, bottom), curve.iterations[: median.size] * step))
    axes.add_collection(many_lines(lines, tint(style.color), alpha=FAINT / TINT, zorder=1), False)
    axes.update_datalim([(line[-1, 0], 0.0) for line in lines if len(line)], updatey=False)


def _draw_best(axes: Axes, line: _Line, window: int, bottom: float, *, marked: bool) -> None:
    """Draw median and band of a configuration, and a cross where it leaves the figure for good."""
    median = leading_finite(line.curve.median)
    x = line.x
    if len(line.lanes) > 1:
        _draw_band(axes, x, line, bottom)
    axes.plot(
        x[: median.size],
        np.maximum(median, bottom),
        label=line.text,
        markevery=_marker_rows(median.size),
        markersize=5.5,
        linewidth=1.4 if marked else 1.0,
        zorder=3,
        **(line.style.line() | ({} if marked else {"marker": None})),
    )
    lost = [
        (smooth(lane.loss, window), lane.iterations * line.step)
        for lane in line.lanes
        if lane.status in ENDED_WORST
    ]
    if lost:
        _draw_lost(axes, line, lost, bottom)
    high = axes.get_ylim()[1]
    shown = np.flatnonzero(median <= high)
    if not lost and shown.size and shown[-1] < median.size - 1:
        axes.plot(x[shown[-1] + 1], high, color=line.style.color, clip_on=False, zorder=5, **CROSS)


def _draw_band(axes: Axes, x: np.ndarray, line: _Line, bottom: float) -> None:
    """Draw the band, if there is one, paler where it reaches to infinity as lanes diverged."""
    beyond = 10 * max(map(abs, axes.get_ylim()))
    low, high = (np.clip(edge, bottom, beyond) for edge in (line.curve.low, line.curve.high))
    bounded, boundless = np.isfinite(line.curve.high), np.isposinf(line.curve.high)
    for part, alpha in ((bounded, FAINT), (boundless, FAINT / 3)):
        axes.fill_between(
            x, low, high, where=part, color=line.style.color, alpha=alpha, linewidth=0, zorder=2
        )


def _draw_lost(
    axes: Axes, line: _Line, lost: Sequence[tuple[np.ndarray, np.ndarray]], bottom: float
) -> None:
    """Draw lanes that ended badly, and a cross where each ended, at the edge if it is beyond.

    Of each lane the losses are given, and where they lie.
    """
    color = line.style.color
    if len(line.lanes) > 1:
        curves = [thinned(np.maximum(loss, bottom), x) for loss, x in lost]
        axes.add_collection(many_lines(curves, color, zorder=2), False)
    low, high = axes.get_ylim()
    ends = [x[-1] if x.size else 0.0 for _, x in lost]
    heights = [float(np.clip(loss[-1], low, high)) if loss.size else high for loss, _ in lost]
    axes.plot(ends, heights, color=color, clip_on=False, zorder=5, **CROSS)


def _marker_rows(rows: int) -> int:
    """Return the distance between markers for a curve of so many rows."""
    if rows < 10 * MARKER_ROWS:
        return max(1, round(rows / 10))
    return MARKER_ROWS * ceil(rows / MARKER_ROWS / MOST_MARKERS)
