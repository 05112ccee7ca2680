"""Figures of many curves: names stand at the ends of the curves, ordered as they end."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from math import log10, sqrt
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator
from matplotlib.transforms import ScaledTranslation, blended_transform_factory
from matplotlib.typing import ColorType

from optbench.report.plots.options import WIDTH, PlotOptions
from optbench.report.plots.sheet import (
    add_legend,
    caption,
    characters,
    chosen,
    columns,
    grow,
    in_text,
    lay_out,
)
from optbench.report.plots.style import LineStyle

MANY = 14
"""Curves beyond which a legend can no longer be read against them."""

ROW_INCHES, CROWD_FRAME_INCHES = 0.165, 1.0
"""Height that a name takes in a crowd, and what stands above and below all, in usual text."""

NAME_PLACE, LEADER_PLACE = 0.4, 0.35
"""Inches from axes to the names of a crowd, and to the ends of the lines that lead to them."""

NAME_INCHES = 0.17
"""Height that a name beside its curve takes, in text of usual size."""

BESIDE_SHARE = 0.4
"""Share of a figure's width that names beside its axes take at most; else they are a legend."""


@dataclass(frozen=True)
class End:
    """Where a curve ends; y is not finite where it left the figure for good."""

    name: str
    color: str
    x: float
    y: float
    linestyle: LineStyle = "-"


def crowd_inches(curves: int) -> float:
    """Return the height in which the names of so many curves have room, in text of usual size."""
    return CROWD_FRAME_INCHES + ROW_INCHES * curves


def name_ends(figure: Figure, panels: Sequence[tuple[Axes, Sequence[End]]]) -> bool:
    """Write names beside each axes, the largest end at the top, each with a line to its curve.

    Where all have room for it each name has the value at its end. Returned is whether the names
    have room, and the user wants them there; else nothing is done.
    """
    spec = panels[0][0].get_subplotspec()
    rows, across = spec.get_gridspec().get_geometry() if spec else (1, 1)
    ordered = [sorted(ends, key=_height) for _, ends in panels]
    bare = [[end.name for end in ends] for ends in ordered]
    valued = [
        [f"{end.name}  {end.y:.3g}" if np.isfinite(end.y) else end.name for end in ends]
        for ends in ordered
    ]
    share = BESIDE_SHARE / across
    fitting = (
        texts for texts in (valued, bare) if _stand_beside(figure, list(chain(*texts)), share)
    )
    written = next(fitting, None)
    if written is None:
        return False
    most = max(map(len, ordered))
    grow(figure, max(0.0, rows * in_text(crowd_inches(most)) - float(figure.get_figheight())))
    for (axes, _), ends, names in zip(panels, ordered, written, strict=True):
        _write_names(axes, ends, names)
    return True


def _height(end: End) -> float:
    return end.y if np.isfinite(end.y) else np.inf


def _write_names(axes: Axes, ends: Sequence[End], names: Sequence[str]) -> None:
    """Write names from the bottom of axes to their top, each with a line to its end."""
    low, high = axes.get_ylim()
    inside: Any = axes.transAxes  # typed too narrowly by Matplotlib
    root: Any = axes.get_figure(root=True)
    size = sqrt(float(root.get_figwidth()) / WIDTH)  # of a narrow figure curves need the room
    beside = root.dpi_scale_trans + ScaledTranslation(1.0, 0.0, inside)
    place = blended_transform_factory(beside, axes.transAxes)
    for position, name, end in zip(np.linspace(0.0, 1.0, len(names)), names, ends, strict=True):
        axes.annotate(
            "",
            xy=(end.x, float(np.clip(_height(end), low, high))),
            xytext=(size * LEADER_PLACE, position),
            textcoords=place,
            arrowprops={"arrowstyle": "-", "color": end.color, "linewidth": 0.6, "shrinkB": 0},
            annotation_clip=False,
        )
        axes.text(
            size * NAME_PLACE,
            position,
            name,
            transform=place,
            color=end.color,
            fontsize="small",
            verticalalignment="center",
        )


def name_beside(figure: Figure, axes: Axes, ends: Sequence[End], says: Iterable[str] = ()) -> None:
    """Write names beside the only axes, each as near to the end of its curve as the others let it.

    The vertical axis holds all ends; of equal ones the later stands higher. Where they have no room
    there is a legend. ``says`` are the paragraphs of the figure's caption.
    """
    beside = _stand_beside(figure, [end.name for end in ends])
    if not beside:
        looks: list[dict[str, Any]] = [
            {"color": end.color, "linestyle": end.linestyle} for end in ends[::-1]
        ]
        lines = [Line2D([], [], **look) for look in looks]
        add_legend(figure, lines, [end.name for end in ends[::-1]])
    caption(figure, says)
    if not beside:
        return
    shown = axes.yaxis.get_transform().transform([*axes.get_ylim(), *(end.y for end in ends)])
    low, high = shown[:2]
    wanted = (shown[2:] - low) / (high - low)
    row = in_text(NAME_INCHES)
    grow(figure, max(0.0, row * len(ends) - _inches_high(figure, axes)))
    least = row / _inches_high(figure, axes)
    for end, place in zip(ends, apart(wanted, least), strict=True):
        axes.annotate(
            end.name,
            xy=(end.x, end.y),
            xytext=(1.035, place),
            textcoords="axes fraction",
            color=end.color,
            fontsize="small",
            verticalalignment="center",
            arrowprops={
                "arrowstyle": "-",
                "color": end.color,
                "linewidth": 0.7,
                "shrinkA": 0,
                "shrinkB": 0,
                "relpos": (0.0, 0.5),
            },
            annotation_clip=False,
        )


def _inches_high(figure: Figure, axes: Axes) -> float:
    """Return the height of axes once all that is there has its place."""
    lay_out(figure)
    return float(axes.get_position().height * figure.get_size_inches()[1])


def _stand_beside(figure: Figure, names: Sequence[str], share: float = BESIDE_SHARE) -> bool:
    """Say whether names stand beside axes: where a share of the width holds them, or if wanted."""
    place = chosen().legend
    most = characters(share * float(figure.get_size_inches()[0]), "small")
    return place == "right" or (place is None and max(map(len, names)) <= most)


def apart(wanted: np.ndarray, least: float) -> np.ndarray:
    """Return places between 0 and 1, at least so far apart, near those that are wanted.

    The order is kept, and the sum of the squared moves is the smallest but for the ends at 0 and 1.
    Where there is no room for so many, they are evenly spaced.

    >>> apart(np.array([0.5, 0.1, 0.5]), 0.2).round(3).tolist()
    [0.4, 0.1, 0.6]
    """
    count = len(wanted)
    least = min(least, 1.0 / max(count - 1, 1))
    order = np.argsort(wanted, kind="stable")
    steps = least * np.arange(count)
    # What is left to each is never less than to the one below: neighbours that want it are pooled.
    pools: list[tuple[float, int]] = []
    for value in wanted[order] - steps:
        mean, size = float(value), 1
        while pools and pools[-1][0] > mean:
            below, members = pools.pop()
            mean = (mean * size + below * members) / (size + members)
            size += members
        pools.append((mean, size))
    left = np.concatenate([np.full(size, mean) for mean, size in pools])
    places = np.empty(count)
    places[order] = np.clip(left, 0.0, 1.0 - steps[-1]) + steps
    return places


def plain_numbers(axis: Axis) -> None:
    """Write the numbers of a logarithmic axis as they are, once its limits are set."""
    low, high = axis.get_view_interval()
    narrow = columns(2) == 1
    few = MaxNLocator(4 if narrow else 6, steps=[1, 2, 5, 10])
    many = LogLocator(
        subs=(1.0,) if narrow and high > 100.0 * low else (1.0, 2.0, 5.0), numticks=12
    )
    axis.set_major_locator(few if high < 10.0 * low else many)
    axis.set_minor_locator(NullLocator() if high < 10.0 * low else LogLocator(subs="all"))
    axis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


PLAIN_DECADES = 2.5
"""Decades of scores up to which their numbers are written as they are."""


BULK_QUARTILES, BULK_DECADES, BULK_DESCENTS = 4.0, 3.0, 3.0
"""What belongs to the bulk: all that is above the middle by at most so many times what the lower
quartile is below it, by so many decades, or on a linear axis by so many times what the best is.
"""


def score_axis(axes: Axes, scores: Sequence[np.ndarray], options: PlotOptions) -> None:
    """Set a vertical axis that holds the bulk of all finite scores, and the best of them.

    It is logarithmic unless a score is below zero.
    """
    known = np.concatenate(scores)
    known = known[np.isfinite(known)]
    log = options.log_axis(bool((known >= 0.0).all() and (known > 0.0).any()))
    axes.set_yscale("log" if log else "linear")
    limits = options.ylim or axis_limits(scores, ceiling=largest_of_bulk(known, log=log), log=log)
    axes.set_ylim(*limits)
    if log and _decades(*axes.get_ylim()) < PLAIN_DECADES:
        plain_numbers(axes.yaxis)


def largest_of_bulk(scores: np.ndarray, *, log: bool) -> float:
    """Return the largest finite score that does not lie far above the others.

    What does is left out, and the middle of the others is taken anew, until nothing does.

    >>> largest_of_bulk(np.array([1.0, 2.0, 2.0, 3.0, 1e79]), log=True)
    3.0
    """
    kept = np.sort(scores[scores > 0.0] if log else scores)
    if not kept.size:
        return np.inf
    places = np.log10(kept) if log else kept / max(1.0, np.abs(kept).max())
    while True:
        quartile, middle = np.quantile(places, [0.25, 0.5])
        least = BULK_DECADES if log else BULK_DESCENTS * (middle - places[0])
        room = max(BULK_QUARTILES * (middle - quartile), least)
        size = int((places <= middle + room).sum()) if room > 0.0 else places.size
        if size == places.size:
            return float(kept[size - 1])
        places = places[:size]


DEPTH = 1e-10
"""How far below all others, as a fraction, a logarithmic axis follows the lowest curve."""

SMALLEST = 1e-290
"""Where a logarithmic axis ends at the latest; the arithmetic of axes underflows below."""

FLOOR_ROOM = 0.04
"""Room below the floor of a logarithmic axis, as a fraction of the axis."""

PADDING = 0.05
"""Room beyond the extreme values, as a fraction of the axis."""


MOST_BINS = 400
"""Stretches that a thinned curve is divided into; none is wider than two pixels of a screen."""


def thinned(values: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the points (x, y) of a curve without those that hide others.

    Of each stretch of a long curve only the lowest and the highest row are left, and both ends.
    """
    size = -(-values.size // MOST_BINS)  # rows of a stretch
    kept = np.arange(values.size)
    if size > 2:
        padded = np.pad(values, (0, -values.size % size), mode="edge").reshape(-1, size)
        extremes = np.stack([padded.argmin(axis=1), padded.argmax(axis=1)], axis=1)
        kept = (np.sort(extremes, axis=1) + size * np.arange(len(padded))[:, None]).ravel()
        kept = np.unique(np.minimum(np.r_[0, kept, values.size], values.size - 1))
    return np.stack([x[kept], values[kept]], axis=1)


def many_lines(lines: Sequence[np.ndarray], color: ColorType, **options: Any) -> LineCollection:
    """Return thin lines, points (rows, 2) each, as one artist, which is an image in vector formats.

    A thousand artists would take seconds to lay out, and their file minutes to open.
    """
    drawn = LineCollection(lines, colors=color, linewidths=0.8, rasterized=True, **options)
    drawn.set_in_layout(False)
    return drawn


def spans_decades(values: np.ndarray, decades: float) -> bool:
    """Say whether all values are above zero and span more than so many decades."""
    if not values.size or values.min() <= 0:
        return False
    return bool(np.log10(values.max()) - np.log10(values.min()) > decades)


def axis_limits(curves: Iterable[np.ndarray], *, ceiling: float, log: bool) -> tuple[float, float]:
    """Return limits round the finite values of curves, as far as they are not above the ceiling.

    On a logarithmic axis only values above zero count; it holds all of them, but follows one curve
    no farther than :data:`DEPTH` below the others, which could not be told apart then.
    """
    shown = [values[np.isfinite(values) & ((values > 0) | (not log))] for values in curves]
    lowest = sorted(float(values.min()) for values in shown if values.size)
    if not lowest:
        return (0.1, 1.0) if log else (0.0, 1.0)
    low = lowest[0]
    high = max(low, min(max(float(values.max()) for values in shown if values.size), ceiling))
    if log:
        low = max(low, DEPTH * lowest[min(1, len(lowest) - 1)], SMALLEST)
        high = max(low, min(high, 1.0 / SMALLEST))
        factor = 10 ** (PADDING * max(_decades(low, high), 1.0))
        return low / factor, high * factor
    room = PADDING * ((high - low) or abs(high) or 1.0)
    return low - room, high + room


def floor(axes: Axes) -> float:
    """Return where a logarithmic axis shows what is zero or too small for it; else -inf."""
    low, high = axes.get_ylim()
    return low * 10 ** (FLOOR_ROOM * _decades(low, high)) if axes.get_yscale() == "log" else -np.inf


def _decades(low: float, high: float) -> float:
    return log10(high) - log10(low)


def mark_floor(axes: Axes) -> None:
    """Say at the floor of a logarithmic axis that what lies on it may be less."""
    axes.axhline(floor(axes), color="grey", linewidth=0.8, linestyle=":")
    axes.annotate(
        "this or less",
        (0.01, floor(axes)),
        xycoords=("axes fraction", "data"),
        xytext=(0, 3),
        textcoords="offset points",
        fontsize="small",
        color="grey",
    )
