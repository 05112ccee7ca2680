"""The path of each optimizer over the contours of a function, a panel each."""

from collections.abc import Sequence
from math import ceil, sqrt
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from optbench.records import RunTables
from optbench.report.plots.landscape import PLUS, SMALL_PLUS, draw_contours, landscape
from optbench.report.plots.options import WIDTH, PlotOptions
from optbench.report.plots.paths import Path, best_paths
from optbench.report.plots.sheet import new_figure
from optbench.report.plots.style import CROSS, SMALL_CROSS

PANEL_ASPECT = 0.82
"""Height of a panel, its title included, as a fraction of its width."""

SMALL_PANEL_ASPECT = 1.02
"""The same where there are more than two columns, and titles take more of it."""

WIDE_PANELS = 9
"""Panels up to which a grid is rather wide than high."""

FEW_DOTS = 60
"""Positions from which the dots of a path are small."""

MANY_DOTS = 300
"""Positions from which they are smaller still: a path of a thousand rows is a line."""

RING: dict[str, Any] = {"marker": "o", "markersize": 8, "fillstyle": "none"}
"""Where a path starts."""


def draw(tables: RunTables, problem: str, options: PlotOptions) -> Figure:
    """Draw one panel per label: the first seed of its best configuration."""
    function = landscape(tables, problem)
    paths = best_paths(tables, problem, function.domain)
    rows, columns = _grid(len(paths))
    aspect = PANEL_ASPECT if columns <= 2 else SMALL_PANEL_ASPECT
    figure = new_figure(rows * aspect * WIDTH / max(columns, 2))
    panels: list[Axes] = []
    for place, path in enumerate(paths):
        first = panels[0] if panels else None
        axes = figure.add_subplot(rows, columns, place + 1, sharex=first, sharey=first)
        panels.append(axes)
        draw_contours(axes, function)
        _draw_path(axes, path)
        title = f"{path.name}\n{path.notes}" if path.notes else path.name
        axes.set_title(title, fontsize=9 if columns > 2 else 11)
        axes.tick_params(labelbottom=place + columns >= len(paths), labelleft=place % columns == 0)
    if rows * columns > len(paths):
        _draw_key(figure, paths, function.lowest)
    figure.supxlabel(function.variables[0])
    figure.supylabel(function.variables[1])
    return figure


def _grid(panels: int) -> tuple[int, int]:
    """Return rows and columns of a nearly square grid, wide while its panels stay readable."""
    columns = ceil(sqrt(panels)) if panels <= WIDE_PANELS else round(sqrt(panels))
    return ceil(panels / columns), columns


def _draw_path(axes: Axes, path: Path) -> None:
    """Draw dots and line, a ring round the start, and a cross at the end that was lost."""
    positions, color = path.positions, path.style.color
    dots = 3.5 if len(positions) <= FEW_DOTS else 2.0 if len(positions) <= MANY_DOTS else 1.0
    axes.plot(*positions.T, color=color, marker="o", markersize=dots, linewidth=1.2, zorder=4)
    axes.plot(*positions[:1].T, color=color, zorder=4, **RING)
    if len(path.exits):
        axes.plot(*path.exits.T, color=color, clip_on=False, zorder=5, **SMALL_CROSS)
    if path.lost is not None:
        axes.plot(*path.lost, color=color, clip_on=False, zorder=5, **CROSS)


def _draw_key(figure: Figure, paths: Sequence[Path], minima: np.ndarray) -> None:
    """Say in the free corner of the grid what the signs mean that are there.

    ``minima`` says of each minimum whether it is a global one.
    """
    signs = {"start": RING}
    if minima.any():
        signs["minimum"] = PLUS
    if not minima.all():
        signs["local minimum"] = SMALL_PLUS
    if any(len(path.exits) for path in paths):
        signs["leaves the figure"] = SMALL_CROSS
    if any(path.lost is not None for path in paths):
        signs["does not come back"] = CROSS
    handles = [
        Line2D([], [], color="black", **{"linestyle": "none"} | sign, label=text)
        for text, sign in signs.items()
    ]
    figure.legend(handles=handles, loc="lower right", frameon=False, borderaxespad=2.0)
