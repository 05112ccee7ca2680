"""The path of each optimizer over the contours of a function, a panel each."""

from math import ceil, sqrt
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from optbench import analysis
from optbench.plots.landscape import draw_contours, landscape
from optbench.plots.options import PlotOptions
from optbench.plots.style import CROSS, WIDTH_INCHES, display_name, new_figure, styles
from optbench.records import RunTables

PANEL_ASPECT = 0.82
"""Height of a panel, its title included, as a fraction of its width."""

WIDE_PANELS = 9
"""Panels up to which a grid is rather wide than high."""

FARTHEST = 1e100
"""Coordinates beyond are cut to it: a canvas computes with them and would overflow."""

FEW_DOTS = 60
"""Positions from which the dots of a path are small."""


def draw(tables: RunTables, problem: str, options: PlotOptions) -> Figure:
    """Draw a panel a label: the first seed of its best configuration."""
    function = landscape(tables, problem)
    table = analysis.configurations(tables)
    table = table[table["problem"] == problem]
    best = table[table["best"]]
    look = styles(zip(best["label"], best["optimizer"], strict=True))
    rows, columns = _grid(len(best))
    figure = new_figure(rows * PANEL_ASPECT * WIDTH_INCHES / max(columns, 2))
    panels: list[Axes] = []
    for place, (_, configuration) in enumerate(best.iterrows()):
        first = panels[0] if panels else None
        axes = figure.add_subplot(rows, columns, place + 1, sharex=first, sharey=first)
        panels.append(axes)
        lane = configuration["lane_numbers"][0]
        draw_contours(axes, function)
        path, ending = _path(tables, lane), analysis.ending(tables.lanes, [lane])
        end = _lost_end(path, function.domain, ended_badly=bool(ending))
        _draw_path(axes, path, end, look[configuration["label"]].color)
        swept = analysis.swept_columns(table[table["label"] == configuration["label"]])
        _title(axes, configuration, swept, ending, small=columns > 2)
        axes.tick_params(labelbottom=place + columns >= len(best), labelleft=place % columns == 0)
    figure.supxlabel(function.variables[0])
    figure.supylabel(function.variables[1])
    return figure


def _grid(panels: int) -> tuple[int, int]:
    """Return rows and columns of a nearly square grid, wide while its panels stay readable."""
    columns = ceil(sqrt(panels)) if panels <= WIDE_PANELS else round(sqrt(panels))
    return ceil(panels / columns), columns


def _path(tables: RunTables, lane: int) -> np.ndarray:
    """Return the positions of a lane as far as they are finite, shape (rows, 2)."""
    rows = tables.trace[tables.trace["lane"] == lane].sort_values("iteration")
    path: np.ndarray = rows[["x", "y"]].to_numpy(dtype=np.float64)
    finite = np.isfinite(path).all(axis=1)
    path = path[: len(path) if finite.all() else int(np.argmin(finite))]
    clipped: np.ndarray = np.clip(path, -FARTHEST, FARTHEST)
    return clipped


def _draw_path(axes: Axes, path: np.ndarray, end: np.ndarray | None, color: str) -> None:
    """Draw dots and line, a ring round the start, and a cross at the end that was lost."""
    dots = 3.5 if len(path) <= FEW_DOTS else 2.0
    axes.plot(*path.T, color=color, marker="o", markersize=dots, linewidth=1.2, zorder=4)
    axes.plot(*path[:1].T, color=color, marker="o", markersize=8, fillstyle="none", zorder=4)
    if end is not None:
        axes.plot(*end, color=color, clip_on=False, zorder=5, **CROSS)


def _lost_end(path: np.ndarray, domain: np.ndarray, *, ended_badly: bool) -> np.ndarray | None:
    """Return where a path crosses the edge of the domain for good, or stops being finite."""
    inside = np.all((path >= domain[:, 0]) & (path <= domain[:, 1]), axis=1)
    if not path.size:
        return None
    if inside[-1]:
        return path[-1] if ended_badly else None
    point: np.ndarray
    if not inside.any():
        point = np.clip(path[0], domain[:, 0], domain[:, 1])
        return point
    last = int(np.flatnonzero(inside)[-1])
    start, step = path[last], path[last + 1] - path[last]
    edge = np.where(step > 0, domain[:, 1], domain[:, 0])
    moving = step != 0
    point = start + step * np.min((edge - start)[moving] / step[moving])
    return point


def _title(
    axes: Axes, configuration: "pd.Series[Any]", swept: list[str], ending: str, *, small: bool
) -> None:
    """Write the name of the optimizer, and below it what of its setting and end needs saying."""
    name = display_name(configuration["label"])
    notes = ", ".join(filter(None, [analysis.setting(configuration, swept), ending]))
    axes.set_title(f"{name}\n{notes}" if notes else name, fontsize=9 if small else 11)
