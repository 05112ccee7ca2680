"""What a label's lanes are ranked by, against each hyperparameter that was swept."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation, blended_transform_factory

from optbench.records import HYPERPARAMETER_PREFIX, RunTables
from optbench.report.configurations import (
    CRITERIA,
    configurations,
    describe,
    hyperparameter_text,
    problem_title,
    sensitivity,
    swept_columns,
    swept_numbers,
)
from optbench.report.curves import lane_losses, starting_loss
from optbench.report.plots.axes import axis_limits, floor, mark_floor, spans_decades
from optbench.report.plots.options import PlotOptions
from optbench.report.plots.sheet import columns, in_text, new_figure
from optbench.report.plots.signs import GREY, SMALL_EDGE, explain, mark_edges, reached
from optbench.report.plots.style import (
    FAINT,
    Style,
    display_name,
    literal,
    seeds_note,
    styles,
)
from optbench.report.tolerance import widths

LOG_DECADES = 2
"""Decades that the final losses span before their axis becomes logarithmic."""

ABOVE_START = 1.2
"""A final loss above so many times the loss at the start is shown on the shelf."""

SHELF_INCHES = 0.2
"""Height of one label's row of the shelf in text of usual size.

It has no share of the axes: their height follows from the room that the shelf leaves.
"""

PANEL_INCHES = 3.0
"""Height of a panel without its shelf, in text of usual size, however narrow the figure."""

MOST_MARKERS = 60
"""Values up to which each has a marker."""

SHELF = {
    "diverged or failed": "X",
    "ended above the start": "^",
    "ended outside the domain": "D",
}
"""What is on the shelf, with its marker."""

BAR_PLACE, BAR_STEP, BAR_INCHES = 0.03, 0.04, 0.15
"""Height of the first bar and between bars, as fractions of the axes; inches of text if more."""

AXES_SHARE = 0.75
"""What share of a figure its axes have of its height, about."""

BAR: dict[str, Any] = {"linewidth": 4, "solid_capstyle": "butt", "alpha": 0.75}

RING: dict[str, Any] = {
    "marker": "o",
    "markersize": 12,
    "markeredgewidth": 1.8,
    "fillstyle": "none",
    "linestyle": "none",
}
"""Round the best point of a curve."""


@dataclass(frozen=True)
class _Scale:
    """The loss axis: what is subtracted from losses, and what of them is shown."""

    minimum: float
    ceiling: float
    limits: tuple[float, float]
    log: bool
    name: str


def draw_tolerance(tables: RunTables, problem: str, options: PlotOptions) -> Figure:
    """Draw what :func:`draw` does, with a bar over the values that are within 10 % of the best."""
    return draw(tables, problem, options, bars=True)


def draw(tables: RunTables, problem: str, options: PlotOptions, *, bars: bool = False) -> Figure:
    """Draw one panel per hyperparameter; above it a shelf of markers for all that diverged.

    A point is the median over seeds of the best configuration with that value. On the shelf is also
    what ended outside the domain, since it ranks behind all on the curves, and what ended above the
    loss at the start: a fall of many decades and a rise of many would not be readable on one axis.
    """
    meta = describe(tables, problem)
    table = configurations(tables)
    table = table[table["problem"] == problem]
    names = swept_numbers(table, least=3) or swept_numbers(table)
    look = styles(zip(table["label"], table["optimizer"], strict=True))
    scale = _scale(tables, meta, table, options)
    usual = min(len(names), 2)
    across = columns(usual)
    rows = ceil(len(names) / across)
    least = PANEL_INCHES + SHELF_INCHES * table["label"].nunique()
    figure = new_figure(4.8 * rows, rows * least, narrowed=usual / across)
    texts = {str(label): _text(str(label), own) for label, own in table.groupby("label")}
    for place, name in enumerate(names):
        axes = figure.add_subplot(rows, across, place + 1)
        points = sensitivity(table, name)
        _draw_panel(axes, points, name, scale, look, texts)
        if bars:
            _draw_bars(axes, points, name, meta, look)
        if place % across:
            axes.set_ylabel("")
    figure.suptitle(literal(problem_title(tables, problem)))
    explain(figure, "; ".join(_says(table, names, bars=bars)))
    return figure


def _text(label: str, rows: pd.DataFrame) -> str:
    """Return a label with the values of all its hyperparameters that were swept at its best."""
    best = rows[rows["best"]].iloc[0]
    swept = hyperparameter_text(best, swept_columns(rows))
    name = display_name(label)
    return f"{name}, best at {literal(swept)}" if swept and np.isfinite(best["score"]) else name


def _says(table: pd.DataFrame, names: Sequence[str], *, bars: bool) -> Iterator[str]:
    """Say what is drawn beside the curves."""
    if np.isfinite(table.loc[table["best"], "score"]).any():
        yield f"circled: the best by {CRITERIA[table['criterion'].iloc[0]]}"
    if bars:
        yield "bar: decades within 10 % of it"
    if len(names) > 1:
        yield "each point has the other values that suit it best"
    note = seeds_note(table["seeds"])
    if note:
        yield note


def _scale(
    tables: RunTables, meta: dict[str, Any], table: pd.DataFrame, options: PlotOptions
) -> _Scale:
    """Choose the loss axis of a problem, the same for all its panels."""
    known = [float(minimum["value"]) for minimum in meta.get("minima", ())]
    minimum = min(known, default=0.0)
    criterion = CRITERIA[table["criterion"].iloc[0]]
    losses = lane_losses(tables, meta["problem"]).values()
    start = starting_loss(losses) - minimum
    ends = table.loc[~_is_outside(table), ["score", "score_low", "score_high"]].to_numpy() - minimum
    points = [point[np.isfinite(point) & ~(point > ABOVE_START * start)] for point in ends]
    shown = np.concatenate([np.empty(0), *points])
    above_zero = not (shown < -1e-12 * start).any()
    log = options.log_axis(above_zero and spans_decades(shown[shown > 0], LOG_DECADES))
    return _Scale(
        minimum=minimum,
        ceiling=ABOVE_START * start,
        limits=options.ylim or axis_limits(points, ceiling=np.inf, log=log),
        log=log,
        name=f"{criterion} − minimum" if known else criterion,
    )


def _draw_panel(
    axes: Axes,
    points: pd.DataFrame,
    name: str,
    scale: _Scale,
    look: dict[str, Style],
    texts: Mapping[str, str],
) -> None:
    """Draw the curves of all labels that have a hyperparameter."""
    axes.set_xscale("log" if is_log_spaced(points[name].unique()) else "linear")
    axes.set_yscale("log" if scale.log else "linear")
    axes.set_ylim(*scale.limits)
    axes.set_xlabel(literal(name.removeprefix(HYPERPARAMETER_PREFIX)))
    axes.set_ylabel(scale.name)
    axes.grid(alpha=0.25)
    for label, rows in points.groupby("label", sort=False):
        _draw_curve(axes, rows, name, scale, look[str(label)], texts[str(label)])
    if (points.loc[~_is_outside(points), "score"] - scale.minimum < floor(axes)).any():
        mark_floor(axes)
    _draw_shelf(axes, points, name, scale, look)


def _draw_curve(
    axes: Axes, rows: pd.DataFrame, name: str, scale: _Scale, style: Style, text: str
) -> None:
    """Draw one label's curve with its band over seeds, and a ring round its best point."""
    value = rows[name].to_numpy()
    score, band_low, band_high = (
        np.clip(rows[column].mask(_is_outside(rows)) - scale.minimum, floor(axes), None).to_numpy()
        for column in ("score", "score_low", "score_high")
    )
    if (rows["seeds"] > 1).any():
        bottom, top = reached(axes, band_low), reached(axes, band_high)
        axes.fill_between(value, bottom, top, color=style.color, alpha=FAINT, linewidth=0)
        lower, upper = axes.get_ylim()
        edges = [(value, np.maximum(top, lower)), (value, np.minimum(bottom, upper))]
        mark_edges(axes, edges, style.color, SMALL_EDGE)
    score = reached(axes, np.where(np.isfinite(score), score, np.nan))
    mark_edges(axes, [(value, score)], style.color)
    look = style.line() | ({} if len(rows) <= MOST_MARKERS else {"marker": None})
    axes.plot(value, score, label=text, markersize=4.5, linewidth=1.4, zorder=3, **look)
    lower, upper = axes.get_ylim()
    best = rows["best"].to_numpy() & (score >= lower) & (score <= upper)
    axes.plot(value[best], score[best], color=style.color, zorder=4, clip_on=False, **RING)


def _draw_bars(
    axes: Axes, points: pd.DataFrame, name: str, meta: dict[str, Any], look: dict[str, Style]
) -> None:
    """Draw, beside each label's best point, how far its loss stays within 10 % of it."""
    low, high = axes.get_ylim()
    step = _share(axes, BAR_STEP, BAR_INCHES)
    room = step * (points["label"].nunique() + 1)
    axes.set_ylim(low * (low / high) ** room if low > 0.0 and axes.get_yscale() == "log"
                  else low - room * (high - low), high)  # fmt: skip
    for place, (label, rows) in enumerate(points.groupby("label", sort=False)):
        found = widths(rows, name, meta)
        if found is None:
            continue
        within, color = found[0], look[str(label)].color
        height = BAR_PLACE + step * place
        transform = axes.get_xaxis_transform()
        axes.plot(
            [within.low, within.high], [height, height], color=color, transform=transform, **BAR
        )
        is_open = within.low_open or within.high_open
        text = f"{'≥ ' if is_open else ''}{within.decades:.2g}"
        axes.annotate(text, (within.high, height), xycoords=transform, xytext=(5, 0),
                      textcoords="offset points", va="center", fontsize="small",
                      color=color)  # fmt: skip
        best = rows[rows["best"]]
        if not best.empty and np.isfinite(best["level"].iloc[0]):
            axes.plot([best[name].iloc[0]] * 2, [height, height], color=color, transform=transform,
                      marker="|", markersize=9)  # fmt: skip


def _draw_shelf(
    axes: Axes, points: pd.DataFrame, name: str, scale: _Scale, look: dict[str, Style]
) -> None:
    """Draw one row per label above the axes, with what is not among the curves."""
    diverged, outside = np.isinf(points["score"]), _is_outside(points)
    above = ~diverged & (points["score"] - scale.minimum > scale.ceiling)
    outside &= ~above
    off = points[diverged | outside | above]
    if off.empty:
        return
    labels = [str(label) for label in reversed(off["label"].unique())]
    height = in_text(SHELF_INCHES) * (len(labels) + 0.6)
    inside: Any = axes.transAxes  # typed too narrowly by Matplotlib
    inches_above = axes.figure.dpi_scale_trans + ScaledTranslation(0.0, 1.0, inside)
    place = blended_transform_factory(axes.transAxes, inches_above)
    bounds = (0.0, 0.0, 1.0, height)
    shelf = axes.inset_axes(bounds, transform=place, sharex=axes, facecolor="#f2f2f2")
    shelf.set_ylim(-0.8, len(labels) - 0.2)
    shelf.set_yticks(range(len(labels)), [display_name(label) for label in labels])
    shelf.tick_params(which="both", left=False, bottom=False, labelbottom=False, labelsize="small")
    row = off["label"].map(labels.index)
    color = off["label"].map({label: look[label].color for label in labels})
    for which, (text, marker) in zip((diverged, above, outside), SHELF.items(), strict=True):
        chosen = which[off.index]
        if chosen.any():
            shelf.scatter(off.loc[chosen, name], row[chosen], c=color[chosen], marker=marker, s=34)
            sample: dict[str, Any] = {"marker": marker, "linestyle": "none", "color": GREY}
            axes.plot([], [], label=text, **sample)
    best = off["best"] & ~diverged[off.index]
    for one in best.index[best]:
        shelf.plot(off.at[one, name], row[one], color=color[one], clip_on=False, **RING)


def _share(axes: Axes, least: float, inches: float) -> float:
    """Return a share of the height of axes in which text of so many inches has room."""
    spec = axes.get_subplotspec()
    rows = spec.get_gridspec().nrows if spec else 1
    height = AXES_SHARE * float(axes.figure.get_figheight()) / rows  # type: ignore[union-attr]
    return max(least, in_text(inches) / height)


def _is_outside(points: pd.DataFrame) -> "pd.Series[bool]":
    return points["standing"] == 1


def is_log_spaced(values: np.ndarray) -> bool:
    """Say whether the logarithms of the values are more evenly spaced than the values.

    >>> is_log_spaced(np.array([0.001, 0.01, 0.1])), is_log_spaced(np.array([0.5, 0.9, 0.99]))
    (True, False)
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    if ordered[0] <= 0:
        return False
    if ordered.size < 3:
        return bool(ordered[-1] >= 10 * ordered[0])
    steps, ratios = np.diff(ordered), np.diff(np.log(ordered))
    with np.errstate(over="ignore"):  # the spread of enormous values is infinite
        return bool(ratios.std() / ratios.mean() < steps.std() / steps.mean())
