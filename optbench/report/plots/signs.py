"""Signs of figures of curves: where one leaves the figure and enters it, or ends; what is faint.

No curve ends in mid-air, and none is left out in silence: what lies beyond the limits of an axis is
followed to its edge and marked there. The text of a sign is the label of the artist that is one,
so that the legend says what each of them means.
"""

from collections.abc import Callable, Container, Iterable, Iterator
from typing import Any, TypeAlias

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.path import Path
from matplotlib.transforms import Affine2D

from optbench.report.plots.sheet import add_legend
from optbench.report.plots.style import FAINT, SMALL_CROSS, LineStyle

GREY = "#555555"
"""Colour of signs in a legend."""

CHOSEN = "chosen by early stopping"
LEAVES, ENTERS, BEYOND = "leaves the figure", "enters the figure", "beyond the figure"
LOST, OTHERS = "diverged or failed", "other values of the grid"
LOST_SEEDS, BOUNDLESS = "seeds that diverged or failed", "band without an end, as lanes diverged"

EDGE: dict[str, Any] = {"linestyle": "none", "markersize": 9, "markeredgewidth": 0.8}
"""What signs at an edge have in common."""

SMALL_EDGE = 6.0
"""Size of those where bands, single lanes and faint curves cross an edge of the figure."""

BASE = Path([[-0.7, 0.0], [0.7, 0.0], [0.0, 1.0], [-0.7, 0.0]], closed=True)
TIP = Path([[-0.7, 1.0], [0.7, 1.0], [0.0, 0.0], [-0.7, 1.0]], closed=True)
FLIP = Affine2D().scale(1.0, -1.0)
OUTWARD, INWARD = (BASE.transformed(FLIP), BASE), (TIP.transformed(FLIP), TIP)
"""Triangles outside the lower and the upper edge."""


def _line(**look: Any) -> Line2D:
    return Line2D([], [], color=GREY, **look)


SPLIT_LINES: dict[str, LineStyle] = {"train": "--", "validation": "-", "test": ":"}
"""Lines of the splits that are evaluated."""

SIGNS: dict[str, Callable[[], Artist]] = {
    "train": lambda: _line(linewidth=1.4, linestyle=SPLIT_LINES["train"]),
    "validation": lambda: _line(linewidth=1.4, linestyle=SPLIT_LINES["validation"]),
    "test": lambda: _line(linewidth=1.4, linestyle=SPLIT_LINES["test"]),
    CHOSEN: lambda: _line(marker="o", markersize=6, markeredgecolor="white", linestyle="none"),
    OTHERS: lambda: _line(linewidth=0.8, alpha=0.5),
    LOST_SEEDS: lambda: _line(linewidth=0.8),
    BOUNDLESS: lambda: Patch(facecolor=GREY, alpha=FAINT / 3, linewidth=0),
    LOST: lambda: _line(**SMALL_CROSS),
    LEAVES: lambda: _line(marker=BASE, **EDGE),
    ENTERS: lambda: _line(marker=TIP, markerfacecolor="white", **EDGE),
}
"""Each sign as a legend shows it."""

REACH = 3.0
"""Values are cut so many axes beyond its limits: a canvas computes with them and would overflow."""

LARGEST = 1e290
"""And here at the latest."""

ROUNDING = 1e-9
"""What lies so much of an axis beyond it is on its edge."""

NEIGHBOURS = 1 / 60
"""Stretches of an axis: absences that are nearer to one another are one."""


def explain(figure: Figure, title: str | None = None, *, named: bool = True) -> None:
    """Draw the legend: the labels of all artists, then the signs.

    Without names, which then stand beside the curves, it has the signs alone.
    """
    entries: dict[str, Artist] = {}
    for axes in figure.axes:
        handles, texts = axes.get_legend_handles_labels()
        for handle, text in zip(handles, texts, strict=True):
            entries.setdefault(text, handle)
    names = {text: entries[text] for text in entries if text not in SIGNS and named}
    shown = names | signs_of(entries)
    add_legend(figure, shown.values(), shown, title)


def signs_of(texts: Container[str]) -> dict[str, Artist]:
    """Return, as a legend shows them, the signs that are among the labels of a figure's artists."""
    return {text: made() for text, made in SIGNS.items() if text in texts}


def in_words(figure: Figure) -> Iterator[str]:
    """Say what the triangles of a figure without a legend are."""
    used = {text for axes in figure.axes for text in axes.get_legend_handles_labels()[1]}
    for text, triangle in ((LEAVES, "filled"), (ENTERS, "open"), (BEYOND, "filled")):
        if text in used:
            yield f"{triangle} triangle: {text}"


def reached(axes: Axes, values: np.ndarray) -> np.ndarray:
    """Return values of the vertical axis, cut where it makes no difference to what is seen.

    What is infinite, or has no place on a logarithmic axis, is beyond its edge.
    """
    log = axes.get_yscale() == "log"
    low, high = np.log10(axes.get_ylim()) if log else np.array(axes.get_ylim())
    room = REACH * (high - low)
    ends = np.array([low - room, high + room])
    ends = 10.0 ** np.clip(ends, -290.0, 290.0) if log else np.clip(ends, -LARGEST, LARGEST)
    cut: np.ndarray = np.clip(values, *ends)
    return cut


Crossings: TypeAlias = tuple[np.ndarray, np.ndarray]
"""Where a curve leaves through an edge and where it enters, on the horizontal axis."""


def crossings(axes: Axes, x: np.ndarray, values: np.ndarray) -> tuple[Crossings, Crossings]:
    """Return where a curve crosses the lower and the upper edge of the axes.

    One that begins beyond an edge and stays there leaves at its first row. Absences that are close
    together are one.
    """
    across, upright = axes.xaxis.get_transform(), axes.yaxis.get_transform()
    low, high = upright.transform(axes.get_ylim())
    height = (upright.transform(reached(axes, values)) - low) / (high - low)
    places = across.transform(x)
    if not x.size or not np.isfinite(places).all():
        return (np.empty(0),) * 2, (np.empty(0),) * 2
    below, above = (_crossings(places, beyond) for beyond in (-height, height - 1.0))
    back = across.inverted().transform
    return (back(below[0]), back(below[1])), (back(above[0]), back(above[1]))


def _crossings(x: np.ndarray, beyond: np.ndarray) -> Crossings:
    """Return where a curve rises above zero, and where it comes down to it."""
    out = np.r_[False, beyond > ROUNDING, False]
    first, last = np.flatnonzero(out[1:] & ~out[:-1]), np.flatnonzero(out[:-1] & ~out[1:])
    leaves = _zeros(x, beyond, first - 1)
    enters = _zeros(x, beyond, last - 1)
    if first.tolist() == [0] and last.tolist() == [len(x)]:
        return x[:1], np.empty(0)
    if not first.size:
        return np.empty(0), np.empty(0)
    apart = leaves[1:] - enters[:-1] >= NEIGHBOURS * np.ptp(x)
    leaves, enters = leaves[np.r_[True, apart]], enters[np.r_[apart, True]]
    return leaves[np.isfinite(leaves)], enters[np.isfinite(enters)]


def _zeros(x: np.ndarray, values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return where lines from these rows to the next are zero; NaN before the first and the last.

    Where a row has no value the line begins, or ends, at the other one.
    """
    found = np.full(places.size, np.nan)
    inner = (places >= 0) & (places < len(x) - 1)
    here = places[inner]
    one, other = values[here], values[here + 1]
    share = np.where(np.isnan(other), 0.0, np.where(np.isnan(one), 1.0, one / (one - other)))
    found[inner] = x[here] + (x[here + 1] - x[here]) * share
    return found


def mark_edges(
    axes: Axes, curves: Iterable[tuple[np.ndarray, np.ndarray]], color: Any, size: float = 9.0
) -> None:
    """Mark where curves, (x, values) each, leave the figure and where they enter it."""
    found = [crossings(axes, x, values) for x, values in curves]
    for side, edge in enumerate(axes.get_ylim()):
        for text, path, where, face in (
            (LEAVES, OUTWARD[side], [each[side][0] for each in found], color),
            (ENTERS, INWARD[side], [each[side][1] for each in found], "white"),
        ):
            places = np.concatenate([np.empty(0), *where])
            if places.size:
                look: dict[str, Any] = {
                    **EDGE,
                    "marker": path,
                    "markersize": size,
                    "markerfacecolor": face,
                }
                height = np.full(places.size, edge)
                axes.plot(places, height, color=color, clip_on=False, zorder=5, label=text, **look)


def mark_beyond(axes: Axes, x: np.ndarray, values: np.ndarray, color: Any) -> None:
    """Mark at the edge, with a triangle outward, each point that lies beyond it."""
    low, high = axes.get_ylim()
    for path, which, edge in ((OUTWARD[0], values < low, low), (OUTWARD[1], values > high, high)):
        if which.any():
            look: dict[str, Any] = {**EDGE, "marker": path, "markersize": SMALL_EDGE}
            height = np.full(int(which.sum()), edge)
            axes.plot(x[which], height, color=color, clip_on=False, zorder=5, label=BEYOND, **look)
