"""The negative gradient of a function of two variables as arrows."""

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator, ScalarFormatter

from optbench.records import RunTables
from optbench.report.plots.landscape import landscape
from optbench.report.plots.options import PlotOptions
from optbench.report.plots.paths import COLORS
from optbench.report.plots.sheet import new_figure

ARROWS = 21
"""Arrows along each side."""

LONGEST = 0.95
"""Length of the longest arrow, in distances between arrows."""

FRAME_INCHES, HIGH_INCHES = 1.0, 5.4
"""Height of title and horizontal axis, and of a field that is as high as wide."""

FEW_POWERS = 30
"""Range of norms up to which there are numbers between the powers of ten."""

RANGE = 1e6
"""How many times smaller than the largest norm are the smallest that have a colour of their own."""


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
    # Level ground has no range.
    low, high = (norm.min(), norm.max()) if norm.count() else (0.1, 1.0)
    faint = low < high / RANGE
    sides = np.ptp(function.domain, axis=1)
    is_flat = function.is_to_scale and sides[1] < sides[0]
    figure = new_figure(FRAME_INCHES + HIGH_INCHES * (sides[1] / sides[0] if is_flat else 1.0))
    figure.set_layout_engine("compressed")  # the bar is no higher than the axes
    axes = figure.add_subplot()
    function.draw(axes, function.domain)
    arrows = axes.quiver(
        x,
        y,
        *downhill / (norm**0.75 * norm.max() ** 0.25),
        norm,
        norm=LogNorm(high / RANGE if faint else low, high),
        cmap=COLORS.reversed(),
        angles="xy",
        scale_units="height" if is_flat else "width",
        scale=(ARROWS - 1) / LONGEST,
        width=0.0035,
        zorder=2,
    )
    bar = figure.colorbar(arrows, extend="min" if faint else "neither")
    bar.set_label("norm of the gradient (arrow length: its fourth root)")
    if high < FEW_POWERS * low:  # powers of ten are too far apart to be its only numbers
        bar.ax.yaxis.set_major_locator(MaxNLocator(6))
        bar.ax.yaxis.set_major_formatter(ScalarFormatter())
        bar.ax.yaxis.set_minor_locator(NullLocator())
    figure.suptitle(function.title)
    axes.set(xlabel=function.labels[0], ylabel=function.labels[1])
    return figure


def _spread(points: int) -> np.ndarray:
    """Return at most :data:`ARROWS` indices spread evenly over the points of one side."""
    return np.linspace(0, points - 1, min(ARROWS, points)).round().astype(int)
