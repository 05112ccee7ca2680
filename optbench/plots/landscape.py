"""A function of two variables on the grid of its plot domain, as its figures need it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from optbench import analysis
from optbench.records import RunTables

CONTOURS = 20
"""Contours of a function that names no levels."""

CONTOUR_DECADES = 4
"""Decades below the highest value that those contours reach down to."""

PLUS: dict[str, Any] = {
    "marker": "+",
    "markersize": 11,
    "markeredgewidth": 1.6,
    "linestyle": "none",
}


@dataclass(frozen=True)
class Landscape:
    """A function of two variables.

    Attributes
    ----------
    x, y
        Points of the grid, ascending, shapes (nx,) and (ny,).
    value, gradient_x, gradient_y
        The function and its gradient, shape (nx, ny).
    variables
        Names of the two variables.
    domain
        Limits of the axes, ((x low, x high), (y low, y high)).
    levels
        Contour levels, ascending.
    minima
        Positions of the known minima inside the domain, shape (minima, 2).
    """

    x: np.ndarray
    y: np.ndarray
    value: np.ndarray
    gradient_x: np.ndarray
    gradient_y: np.ndarray
    variables: tuple[str, str]
    domain: np.ndarray
    levels: np.ndarray
    minima: np.ndarray


def landscape(tables: RunTables, problem: str) -> Landscape:
    """Read a function from the tables of a run."""
    meta = analysis.describe(tables, problem)
    rows = tables.surface[tables.surface["problem"] == problem].sort_values(["x", "y"])
    x, y = np.unique(rows["x"]), np.unique(rows["y"])
    shaped = {
        name: rows[name].to_numpy(dtype=np.float64).reshape(x.size, y.size)
        for name in ("value", "gradient_x", "gradient_y")
    }
    domain = np.asarray(meta["plot"]["domain"], dtype=np.float64)
    positions = np.array([each["position"] for each in meta["minima"]], dtype=np.float64)
    positions = positions.reshape(-1, 2)
    inside = ((positions >= domain[:, 0]) & (positions <= domain[:, 1])).all(axis=1)
    return Landscape(
        x=x,
        y=y,
        **shaped,
        variables=(meta["variables"][0], meta["variables"][1]),
        domain=domain,
        levels=_levels(meta, shaped["value"]),
        minima=positions[inside],
    )


def _levels(meta: dict[str, Any], value: np.ndarray) -> np.ndarray:
    """Return the levels that the problem names, or log-spaced ones above its minimum."""
    if meta["plot"]["levels"] is not None:
        return np.asarray(meta["plot"]["levels"], dtype=np.float64)
    lowest = min([float(np.nanmin(value)), *(float(each["value"]) for each in meta["minima"])])
    height = float(np.nanmax(value)) - lowest
    return lowest + height * np.logspace(-CONTOUR_DECADES, 0, CONTOURS, endpoint=False)


def draw_contours(axes: Axes, function: Landscape) -> None:
    """Draw contours and minima, and make the axes exactly the plot domain."""
    axes.contour(
        function.x,
        function.y,
        function.value.T,
        levels=function.levels,
        colors="#8a8a8a",
        linewidths=0.6,
        alpha=0.8,
        zorder=1,
    )
    axes.plot(*function.minima.T, color="black", zorder=6, **PLUS)
    axes.set_xlim(*function.domain[0])
    axes.set_ylim(*function.domain[1])
