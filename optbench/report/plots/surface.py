"""A function of two variables in 3-D, with its contours on the floor."""

from typing import Any

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from optbench.errors import ResultsError
from optbench.records import RunTables
from optbench.report.plots.landscape import PLUS, landscape
from optbench.report.plots.options import WIDTH, PlotOptions
from optbench.report.plots.sheet import chosen, in_text, new_figure

FLOOR = 0.5
"""How far below the function its contours lie, as a fraction of its height."""

FACETS = 60
"""Facets along each side."""

UPPER_LEVELS = 6
"""Contours between the highest level that the problem names and the highest value."""

LONG = 10_000.0
"""Values from which on ticks are labelled 20k and the like: the axis has room for four digits."""

ZOOM, TEXT_POWER = 1.1, 0.45
"""Size of the box in its axes, and how it shrinks where text takes a larger share: its labels stand
outside of the box, where no layout sees to them."""


def draw(tables: RunTables, problem: str, options: PlotOptions) -> Figure:
    """Draw the surface, and its contours and minima projected on the floor."""
    function = landscape(tables, problem)
    if not np.isfinite(function.value).any():
        raise ResultsError(f"'{problem}' has no finite value on its domain; give it another domain")
    low, high = float(np.nanmin(function.value)), float(np.nanmax(function.value))
    floor = low - FLOOR * (high - low)
    named = function.levels(function.domain)
    upper = np.linspace(named.max(initial=low), high, UPPER_LEVELS + 2)[1:-1]
    levels = np.unique(np.r_[named, upper])
    figure = new_figure(6.0)
    axes: Any = figure.add_subplot(projection="3d", computed_zorder=False)  # Axes3D has no types
    x, y = np.meshgrid(function.x, function.y, indexing="ij")
    color = {"cmap": "viridis", "norm": Normalize(low, high)}
    axes.contour(
        x, y, function.value, levels, zdir="z", offset=floor, linewidths=0.8, zorder=1, **color
    )
    axes.plot_surface(
        x, y, function.value, rcount=FACETS, ccount=FACETS, linewidth=0, zorder=2, **color
    )
    depth = np.full(len(function.minima), floor)
    axes.plot(*function.minima.T, depth, color="black", zorder=1.5, **PLUS)  # below the surface
    x_name, y_name = function.labels
    axes.set(
        title=function.title,
        xlim=function.domain[0],
        ylim=function.domain[1],
        zlim=(floor, high),
        xlabel=x_name,
        ylabel=y_name,
        zlabel=f"f({x_name}, {y_name})",
    )
    for axis, prune in ((axes.xaxis, "upper"), (axes.yaxis, "lower")):  # these meet in a corner
        axis.set_major_locator(MaxNLocator(4, prune=prune))
    axes.set_zticks(MaxNLocator(5).tick_values(low, high))
    if max(abs(low), abs(high)) >= LONG:
        axes.zaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_zlim(floor, high)
    room = min(1.0, chosen().width_inches / in_text(WIDTH))
    axes.set_box_aspect(None, zoom=ZOOM * room**TEXT_POWER)
    return figure
