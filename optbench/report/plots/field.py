"""The negative gradient of a function of two variables as arrows."""

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from optbench.records import RunTables
from optbench.report.plots.landscape import landscape
from optbench.report.plots.options import PlotOptions
from optbench.report.plots.sheet import new_figure

ARROWS = 21
"""Arrows along each side."""

LONGEST = 0.95
"""Length of the longest arrow, in distances between arrows."""


def draw(tables: RunTables, problem: str, options: PlotOptions) -> Figure:
    """Draw arrows downhill, as long as the fourth root of the gradient's norm.

    The root keeps the direction of small gradients readable beside large ones; the colour says
    the norm itself.
    """
    function = landscape(tables, problem)
    chosen = np.ix_(_spread(function.x.size), _spread(function.y.size))
    x, y = (side[chosen] for side in np.meshgrid(function.x, function.y, indexing="ij"))
    downhill = -np.stack([function.gradient_x[chosen], function.gradient_y[chosen]])
    norm = np.ma.masked_equal(np.ma.masked_invalid(np.hypot(*downhill)), 0.0)
    figure = new_figure(6.4)
    figure.set_layout_engine("compressed")  # the bar is no higher than the axes
    axes = figure.add_subplot()
    function.draw(axes, function.domain)
    arrows = axes.quiver(
        x,
        y,
        *downhill / (norm**0.75 * norm.max() ** 0.25),
        norm,
        norm=LogNorm() if norm.count() else LogNorm(0.1, 1.0),  # level ground has no range
        cmap="viridis_r",
        angles="xy",
        scale_units="width",
        scale=(ARROWS - 1) / LONGEST,
        width=0.0035,
        zorder=2,
    )
    figure.colorbar(arrows, label="norm of the gradient (arrow length: its fourth root)")
    figure.suptitle(function.title)
    axes.set(xlabel=function.labels[0], ylabel=function.labels[1])
    return figure


def _spread(points: int) -> np.ndarray:
    """Return at most :data:`ARROWS` indices spread evenly over the points of one side."""
    return np.linspace(0, points - 1, min(ARROWS, points)).round().astype(int)
