"""Every trial of a study: its score against each hyperparameter that was tuned."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter

from optbench.errors import UsageError
from optbench.records import HYPERPARAMETER_PREFIX, STEPS_TO_TARGET, StudyTables
from optbench.report.configurations import hyperparameter_columns
from optbench.report.plots.axes import floor, mark_floor, score_axis
from optbench.report.plots.options import PlotOptions
from optbench.report.plots.sensitivity import RING, is_log_spaced
from optbench.report.plots.sheet import caption, columns, new_figure
from optbench.report.plots.signs import in_words, mark_beyond, reached
from optbench.report.plots.style import (
    SMALL_CROSS,
    Style,
    display_name,
    literal,
    styles,
)
from optbench.report.protocol import (
    metric,
    metric_name,
    protocol,
    searches,
    spaces,
    title,
    winners,
)

MOST_COLUMNS = 3

ROW_INCHES, FRAME_INCHES = 2.3, 0.9
"""Height of a row of panels, and of what stands above and below all."""

EDGE = 0.05
"""Share of a space, in its coordinate, that is its edge, at each end."""

SHADE = "#e9e9e9"
"""Colour of the edges."""

SPACE = re.compile(r"(1 - log|log|uniform)\((.+), (.+)\)")
"""Text of a space that is an interval; others have no edge."""

WHOLE_DECADES = 2
"""Decades from which a share that is kept, such as a momentum, has ticks at 0.9, 0.99, … alone."""

DOT: dict[str, Any] = {"marker": "o", "markersize": 3.5, "linestyle": "none", "alpha": 0.6}
"""A trial with a score."""

CULLED: dict[str, Any] = {"marker": "|", "markersize": 6, "linestyle": "none", "alpha": 0.6}
"""Where a trial stands that halving ended."""


@dataclass(frozen=True)
class Interval:
    """A space between two ends, on whose scale its coordinate is even."""

    kind: str
    low: float
    high: float

    def at(self, u: float) -> float:
        """Return the value at a coordinate from 0 to 1."""
        if self.kind == "uniform":
            return self.low + u * (self.high - self.low)
        inside: float = self.low * (self.high / self.low) ** u
        return 1.0 - inside if self.kind == "1 - log" else inside


def interval_of(text: str | None) -> Interval | None:
    """Return the interval that a space's text means; None if it is none.

    >>> interval_of("1 - log(0.001, 0.1)").at(0.5)
    0.99
    >>> interval_of("choice(1, 2)")
    """
    found = SPACE.fullmatch(text or "")
    return Interval(found[1], float(found[2]), float(found[3])) if found else None


def draw(study: StudyTables, problem: str, options: PlotOptions) -> Figure:
    """Draw a panel for each label and hyperparameter, each label's winner ringed.

    All panels share the axis of scores. Crosses at the top are trials that diverged; bars there are
    trials that halving ended. Grey is the outer 5 % of a space, where its best may lie beyond it.
    """
    found = searches(study, problem)
    if not any(map(_tuned, found.values())):
        raise UsageError(f"cannot draw trials of '{problem}': no hyperparameter was tuned")
    most = columns(MOST_COLUMNS)
    places = layout({label: len(_tuned(rows)) for label, rows in found.items()}, most)
    rows, across = (1 + max(axis) for axis in zip(*places, strict=True))
    figure = new_figure(FRAME_INCHES + ROW_INCHES * rows, narrowed=MOST_COLUMNS / most)
    scores = [own["score"].to_numpy() for own in found.values()]
    look = styles((label, str(own["optimizer"].iloc[0])) for label, own in found.items())
    won = {label: int(each["trial"]) for label, each in winners(study, problem).items()}
    panels = [(label, name) for label, own in found.items() for name in _tuned(own)]
    for (label, name), (row, column) in zip(panels, places, strict=True):
        axes = figure.add_subplot(rows, across, row * across + column + 1)
        score_axis(axes, scores, options)
        space = interval_of(spaces(study, problem, label).get(name))
        _draw_panel(axes, found[label], name, space, look[label], won.get(label))
        axes.set_title(f"{display_name(label)}: {literal(name)}", fontsize="small")
        axes.tick_params(labelleft=column == 0, labelsize="small")
    figure.suptitle(literal(title(study, problem)))
    figure.supylabel(metric_name(metric(study, problem)), fontsize="medium")
    edges = any(
        interval_of(spaces(study, problem, label).get(name)) is not None for label, name in panels
    )
    bad = "missed the target" if metric(study, problem) == STEPS_TO_TARGET else "diverged"
    again = any(each["finalist_score"] is not None for each in winners(study, problem).values())
    seeds = len(study.meta["finalist_seeds"]) if again else 0
    says = [*_says(found, bad, seeds, edges=edges), *in_words(figure)]
    caption(figure, [protocol(study, problem), "; ".join(says)])
    return figure


def _tuned(rows: pd.DataFrame) -> list[str]:
    """Return the hyperparameters of which a label tried several values."""
    names = [name for name in hyperparameter_columns(rows) if rows[name].nunique() > 1]
    return [name.removeprefix(HYPERPARAMETER_PREFIX) for name in names]


def layout(counts: Mapping[str, int], across: int = MOST_COLUMNS) -> list[tuple[int, int]]:
    """Return row and column of each panel, of so many of each label, in their order.

    At most so many stand side by side.

    The panels of a label stand in one row if they fit into one.

    >>> layout({"sgd": 1, "adam": 2, "adamw": 2})
    [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    """
    places, taken = [], 0  # places of rows before, whole ones
    for count in counts.values():
        left = -taken % across
        taken += left if left < count else 0
        places += [divmod(taken + place, across) for place in range(count)]
        taken += count
    return places


def _draw_panel(
    axes: Axes,
    rows: pd.DataFrame,
    name: str,
    space: Interval | None,
    style: Style,
    winner: int | None,
) -> None:
    """Draw the trials of a label against one hyperparameter."""
    values = _set_values(axes, rows[f"{HYPERPARAMETER_PREFIX}{name}"], space)
    score = rows["score"].to_numpy()
    finite, culled = np.isfinite(score), rows["culled_at"].notna().to_numpy()
    shown = np.maximum(score, floor(axes))
    color = style.color
    axes.plot(values[finite], reached(axes, shown[finite]), color=color, **DOT)
    mark_beyond(axes, values[finite], shown[finite], color)
    top: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "clip_on": False}
    for which, mark in ((~finite & ~culled, SMALL_CROSS), (culled, CULLED)):
        if which.any():
            axes.plot(values[which], np.ones(which.sum()), color=color, **mark, **top)
    low, high = axes.get_ylim()
    best = (rows["trial"] == winner).to_numpy() & (shown >= low) & (shown <= high)
    if best.any():
        axes.plot(values[best], shown[best], color=color, zorder=4, clip_on=False, **RING)
    if (score < floor(axes)).any():
        mark_floor(axes)
    axes.grid(alpha=0.25)


def _set_values(axes: Axes, values: "pd.Series[Any]", space: Interval | None) -> np.ndarray:
    """Set the axis of a hyperparameter, on the scale of its space, and return where trials are.

    Words, and what is no number, stand side by side.
    """
    if not pd.api.types.is_numeric_dtype(values):
        words = list(dict.fromkeys(values.dropna()))
        axes.set_xticks(range(len(words)), [literal(str(word)) for word in words])
        axes.set_xlim(-0.5, len(words) - 0.5)
        return values.map(words.index).to_numpy(dtype=np.float64)
    numbers = values.to_numpy(dtype=np.float64)
    if space is None:
        if is_log_spaced(np.unique(numbers)):
            axes.set_xscale("log")
        return numbers
    if space.kind == "1 - log":
        axes.set_xscale("function", functions=(_depth, _kept))
        axes.xaxis.set_major_locator(FixedLocator(_kept_ticks(space)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
    elif space.kind == "log":
        axes.set_xscale("log")
    axes.set_xlim(*sorted((space.at(0.0), space.at(1.0))))
    for ends in ((0.0, EDGE), (1.0 - EDGE, 1.0)):
        axes.axvspan(*map(space.at, ends), color=SHADE, linewidth=0, zorder=0)
    return numbers


def _kept_ticks(space: Interval) -> list[float]:
    """Return the ticks of a share that is kept: what is lost is a power of ten, or half of one.

    >>> _kept_ticks(Interval("1 - log", 0.05, 1.0)), _kept_ticks(Interval("1 - log", 0.01, 0.5))
    ([0.0, 0.5, 0.9, 0.95], [0.5, 0.9, 0.95, 0.99])
    >>> _kept_ticks(Interval("1 - log", 0.001, 0.5))
    [0.9, 0.99, 0.999]
    """
    whole = np.log10(space.high / space.low) >= WHOLE_DECADES
    lost = [
        factor * 10.0**-power for power in range(16) for factor in ((1,) if whole else (1, 0.5))
    ]
    return [round(1.0 - each, 15) for each in lost if space.low <= each <= space.high]


def _depth(share: np.ndarray) -> np.ndarray:
    """Return how many decades a share that is kept lies below 1."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return -np.log10(1.0 - np.asarray(share))


def _kept(depth: np.ndarray) -> np.ndarray:
    return 1.0 - 10.0 ** -np.asarray(depth)


def _says(found: Mapping[str, pd.DataFrame], bad: str, seeds: int, *, edges: bool) -> Iterator[str]:
    """Say what the marks are.

    ``bad`` is what trials without a score did, ``seeds`` on how many more the winner was chosen: it
    need not be the lowest dot then.
    """
    rows = pd.concat(found.values())
    chosen = f", chosen among the best on {seeds} more seeds" if seeds else ""
    yield f"a dot a trial, circled: the winner{chosen}"
    lost = int((np.isposinf(rows["score"]) & rows["culled_at"].isna()).sum())
    if lost:
        yield f"× at the top: {bad}, {lost} of {len(rows)}"
    if rows["culled_at"].notna().any():
        yield "| at the top: ended by halving"
    if edges:
        yield "grey: the outer 5 % of a space"
