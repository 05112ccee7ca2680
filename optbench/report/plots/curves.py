"""Curves over the iterations: the best configuration of each label with its band and lost lanes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from optbench.errors import UsageError, argument
from optbench.records import RunTables
from optbench.report.configurations import (
    CRITERIA,
    bad_endings,
    hyperparameter_text,
    swept_columns,
)
from optbench.report.curves import Curve, LaneLoss, leading_finite, median_curve
from optbench.report.plots.axes import End, many_lines, thinned
from optbench.report.plots.options import PlotOptions
from optbench.report.plots.signs import (
    BOUNDLESS,
    LOST,
    LOST_SEEDS,
    OTHERS,
    SMALL_EDGE,
    mark_edges,
    reached,
)
from optbench.report.plots.style import (
    CROSS,
    FAINT,
    SMALL_CROSS,
    TINT,
    Style,
    display_name,
    literal,
    seeds_note,
    tint,
)
from optbench.report.statistics import ENDED_WORST, smooth

MARKER_ROWS = 100
"""Iterations between the markers of a long curve; one below ten times as many has about ten."""

MOST_MARKERS = 50

AXIS_NAMES = {"iteration": "iteration", "epoch": "epoch", "seconds": "time in seconds"}


@dataclass(frozen=True)
class Line:
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

    @property
    def shown(self) -> np.ndarray:
        """The rows of the median that are drawn: up to the first that is infinite."""
        median = self.curve.median
        return median[: leading_finite(median).size + 1]

    @property
    def end(self) -> End:
        """Where the median ends; its height is infinite where most lanes were lost."""
        finite = leading_finite(self.curve.median)
        ended = finite.size == len(self.curve.median) and finite.size > 0
        x = float(self.x[finite.size - 1]) if finite.size else 0.0
        return End(self.text, self.style.color, x, float(finite[-1]) if ended else np.inf)


def best_lines(
    tables: RunTables,
    table: pd.DataFrame,
    losses: Mapping[int, LaneLoss],
    look: Mapping[str, Style],
    meta: dict[str, Any],
    options: PlotOptions,
    window: int = 1,
) -> list[Line]:
    """Return the best configurations of a problem as they are to be drawn.

    ``table`` has its configurations, and ``losses`` the losses of each lane.
    """
    best = table[table["best"]]
    if options.x == "seconds" and tables.runs:
        raise UsageError(
            "seconds of several runs are not alike: other machines, workers and blocks; leave out "
            f"{argument('x', 'seconds')}, or draw these runs one by one"
        )
    if options.x == "seconds" and best["step_seconds"].isna().all():
        raise UsageError(f"no step time of '{meta['problem']}' is recorded; x must be iteration")
    owners = [tables.shared.get(label, (label, 0))[0] for label in best["label"]]
    best = best.iloc[np.argsort([owners.index(own) for own in owners], kind="stable")]
    swept = {label: swept_columns(rows) for label, rows in table.groupby("label")}
    lines = []
    for (_, configuration), step in zip(best.iterrows(), steps(best, meta, options.x), strict=True):
        label = configuration["label"]
        lanes = [losses[number] for number in configuration["lane_numbers"]]
        own = tables.shared.get(label, (label, 0))[0]
        name = display_name(own) + literal(label.removeprefix(own))
        names = [name, literal(hyperparameter_text(configuration, swept[label]))]
        endings = bad_endings(tables.lanes, configuration["lane_numbers"])
        notes = endings or ("no step time" if np.isnan(step) else "")
        text = ", ".join(filter(None, names)) + (f" ({notes})" if notes else "")
        curve = median_curve(lanes, window, options.band)
        lines.append(Line(lanes, curve, step, look[label], text))
    return lines


def steps(rows: pd.DataFrame, meta: dict[str, Any], x: str) -> list[float]:
    """Return how far one iteration of each configuration goes on the horizontal axis."""
    if x == "seconds":
        found: list[float] = rows["step_seconds"].tolist()
        return found
    if x == "epoch" and not meta["iterations_per_epoch"]:
        raise UsageError(f"'{meta['problem']}' has no epochs; x must be iteration or seconds")
    return [1.0 / float(meta["iterations_per_epoch"]) if x == "epoch" else 1.0] * len(rows)


def about(table: pd.DataFrame, lines: Iterable[Line], options: PlotOptions) -> str:
    """Say what the curves of a figure are: medians of how many seeds, chosen by what."""
    notes = [seeds_note((len(line.lanes) for line in lines), options.band)]
    if not table["best"].all():
        notes.append(f"of each grid the best by {CRITERIA[table['criterion'].iloc[0]]}")
    return "; ".join(filter(None, notes))


def draw_faint(
    axes: Axes,
    rows: pd.DataFrame,
    curves: Sequence[Curve],
    sizes: Sequence[float],
    color: str,
    bottom: float,
) -> None:
    """Draw what shows how much the hyperparameters matter: medians of a label's other values.

    ``rows`` are their configurations, and ``sizes`` how far an iteration of each goes.
    """
    lines, ends = [], []
    for curve, size, status in zip(curves, sizes, rows["status"], strict=True):
        shown = curve.median[: leading_finite(curve.median).size + 1]
        x = curve.iterations[: shown.size] * size
        lines.append(thinned(reached(axes, np.maximum(shown, bottom)), x))
        if status in ENDED_WORST:
            ends.append((x, shown))
    pale = tint(color)
    drawn = many_lines(lines, pale, alpha=FAINT / TINT, zorder=1, label=OTHERS)
    axes.add_collection(drawn, False)
    axes.update_datalim([(line[-1, 0], 0.0) for line in lines if len(line)], updatey=False)
    mark_edges(axes, [(line[:, 0], line[:, 1]) for line in lines if len(line)], pale, SMALL_EDGE)
    _mark_lost(axes, ends, pale, SMALL_CROSS)


def draw_best(
    axes: Axes,
    line: Line,
    bottom: float,
    window: int = 1,
    *,
    marked: bool = True,
    **look: Any,
) -> None:
    """Draw median and band of a configuration, and lanes that were lost.

    ``bottom`` is the lowest value that is drawn as it is, ``look`` what is not as its style says.
    """
    median = line.shown
    x = line.x[: median.size]
    color = line.style.color
    if len(line.lanes) > 1:
        _draw_band(axes, line, bottom)
    style = line.style.line() | ({} if marked else {"marker": None})
    settings: dict[str, Any] = {
        "label": line.text,
        "markevery": marker_rows(median.size),
        "markersize": 5.5,
        "linewidth": 1.4 if marked else 1.0,
        "zorder": 3,
        **style,
        **look,
    }
    values = reached(axes, np.maximum(median, bottom))
    axes.plot(x, values, **settings)
    mark_edges(axes, [(x, values)], color)
    lost = [
        (lane.iterations * line.step, smooth(lane.loss, window))
        for lane in line.lanes
        if lane.status in ENDED_WORST
    ]
    if lost and len(line.lanes) > 1:
        seeds = [(x, reached(axes, np.maximum(loss, bottom))) for x, loss in lost]
        paths = [thinned(loss, x) for x, loss in seeds]
        axes.add_collection(many_lines(paths, color, zorder=2, label=LOST_SEEDS), False)
        mark_edges(axes, seeds, color, SMALL_EDGE)
    _mark_lost(axes, lost, color, CROSS)


def _draw_band(axes: Axes, line: Line, bottom: float) -> None:
    """Draw the band, if there is one, paler where it reaches to infinity as lanes diverged."""
    x, curve, color = line.x, line.curve, line.style.color
    if np.isnan(curve.high).all():
        return
    low, high = (reached(axes, np.maximum(edge, bottom)) for edge in (curve.low, curve.high))
    bounded, boundless = np.isfinite(curve.high), np.isposinf(curve.high)
    look: dict[str, Any] = {"color": color, "linewidth": 0, "zorder": 2}
    axes.fill_between(x, low, high, where=bounded, alpha=FAINT, **look)
    if boundless.any():
        axes.fill_between(x, low, high, where=boundless, alpha=FAINT / 3, label=BOUNDLESS, **look)
    lower, upper = axes.get_ylim()
    inside = [(x, np.maximum(high, lower)), (x, np.minimum(low, upper))]
    mark_edges(axes, inside, color, SMALL_EDGE)


def _mark_lost(
    axes: Axes, lost: Sequence[tuple[np.ndarray, np.ndarray]], color: Any, cross: dict[str, Any]
) -> None:
    """Put a cross where lanes, (x, losses), ended badly: at the edge if that is beyond."""
    if not lost:
        return
    low, high = axes.get_ylim()
    ends = [x[-1] if x.size else 0.0 for x, _ in lost]
    heights = [float(np.clip(loss[-1], low, high)) if loss.size else high for _, loss in lost]
    axes.plot(ends, heights, color=color, clip_on=False, zorder=5, label=LOST, **cross)


def marker_rows(rows: int) -> int:
    """Return the distance between markers for a curve of so many rows."""
    if rows < 10 * MARKER_ROWS:
        return max(1, round(rows / 10))
    return MARKER_ROWS * ceil(rows / MARKER_ROWS / MOST_MARKERS)
