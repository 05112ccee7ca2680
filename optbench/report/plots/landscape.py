"""A function of two variables on the grid of its plot domain, as its figures need it."""

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from optbench.errors import ResultsError
from optbench.records import RunTables
from optbench.report.configurations import describe
from optbench.report.curves import LARGEST
from optbench.report.plots.style import NAME_CHARACTERS, literal

CONTOURS = 20
"""Contours of a function that names no levels."""

MOST_CONTOURS = 200
"""Contours of a function that names more levels: they could not be told apart."""

LOWEST_SHARE = 0.002
"""Share of the domain that the lowest of those contours encloses, roughly."""

MOST_DECADES = 8
"""Decades below the highest value that they reach down to at most."""

FARTHEST = 1e100
"""The largest coordinate that can be drawn: a canvas computes with them and would overflow."""

GLOBAL_TOLERANCE = 1e-9
"""How far above the lowest minimum one is as low: values are known to about ten digits."""

SHADES = (0.8, 1.0)
"""Brightness from the lowest to the highest part of the domain: pale beside every path."""

CONTOUR: dict[str, Any] = {
    "colors": "#8a8a8a",
    "linewidths": 0.5,
    "linestyles": "solid",
    "alpha": 0.8,
}

PLUS: dict[str, Any] = {
    "marker": "+",
    "markersize": 11,
    "markeredgewidth": 1.6,
    "linestyle": "none",
}
"""A global minimum."""

SMALL_PLUS: dict[str, Any] = {**PLUS, "markersize": 7, "markeredgewidth": 1.0}
"""A local minimum."""


@dataclass(frozen=True)
class Landscape:
    """A function of two variables, on a grid."""

    x: np.ndarray  # ascending, shape (nx,)
    y: np.ndarray  # ascending, shape (ny,)
    value: np.ndarray  # shape (nx, ny), as its gradient; NaN where they are not finite
    gradient_x: np.ndarray
    gradient_y: np.ndarray
    variables: tuple[str, str]  # as matplotlib takes them
    domain: np.ndarray  # limits of the axes, ((x low, x high), (y low, y high))
    levels: np.ndarray  # of contours, ascending; none where it is the same everywhere
    minima: np.ndarray  # positions of the known ones inside the domain, shape (minima, 2)
    lowest: np.ndarray  # which of them are as low as the lowest, booleans, shape (minima,)


def landscape(tables: RunTables, problem: str) -> Landscape:
    """Read a function from the tables of a run."""
    meta = describe(tables, problem)
    rows = tables.surface[tables.surface["problem"] == problem].sort_values(["x", "y"])
    x, y = np.unique(rows["x"]), np.unique(rows["y"])
    is_far = not (rows[["x", "y"]].abs() <= FARTHEST).all(axis=None)
    if len(rows) != x.size * y.size or min(x.size, y.size) < 2 or is_far:
        raise ResultsError(f"'{tables.path}' is damaged: its surface of '{problem}' is no grid")
    shaped = {
        name: rows[name].to_numpy(dtype=np.float64).reshape(x.size, y.size)
        for name in ("value", "gradient_x", "gradient_y")
    }
    shaped = {
        name: np.where(np.isfinite(grid), np.clip(grid, -LARGEST, LARGEST), np.nan)
        for name, grid in shaped.items()
    }
    domain = np.array([[side[0], side[-1]] for side in (x, y)])
    positions = np.array([minimum["position"] for minimum in meta["minima"]], dtype=np.float64)
    positions = positions.reshape(-1, 2)
    inside = ((positions >= domain[:, 0]) & (positions <= domain[:, 1])).all(axis=1)
    depths = np.array([minimum["value"] for minimum in meta["minima"]], dtype=np.float64)[inside]
    return Landscape(
        x=x,
        y=y,
        **shaped,
        variables=(
            literal(meta["variables"][0], NAME_CHARACTERS),
            literal(meta["variables"][1], NAME_CHARACTERS),
        ),
        domain=domain,
        levels=_levels(meta, shaped["value"]),
        minima=positions[inside],
        lowest=depths <= depths.min(initial=np.inf) + GLOBAL_TOLERANCE,
    )


def _levels(meta: dict[str, Any], value: np.ndarray) -> np.ndarray:
    """Return the levels that the problem names, or log-spaced ones above its minimum."""
    if meta["plot"]["levels"] is not None:
        named = np.asarray(meta["plot"]["levels"], dtype=np.float64)
        named = np.unique(np.clip(named, -LARGEST, LARGEST))
        return named[:: ceil(named.size / MOST_CONTOURS) or 1]
    values = value[np.isfinite(value)]
    if not values.size or values.min() == values.max():
        return np.array([])
    lowest = min([float(values.min()), *(float(minimum["value"]) for minimum in meta["minima"])])
    height = float(values.max()) - lowest
    first = max(float(np.quantile(values, LOWEST_SHARE)) - lowest, height / 10**MOST_DECADES)
    levels: np.ndarray = lowest + np.geomspace(first, height, CONTOURS, endpoint=False)
    return levels


def draw_contours(axes: Axes, function: Landscape) -> None:
    """Draw contours and minima, and make the axes exactly the plot domain."""
    if function.levels.size:
        grid = (function.x, function.y, function.value.T)
        axes.contour(*grid, levels=function.levels, zorder=1, **CONTOUR)
        shades = np.linspace(*SHADES, len(function.levels) + 1).astype(str)
        axes.contourf(*grid, levels=function.levels, extend="both", colors=shades, zorder=0)
    for chosen, sign in ((function.lowest, PLUS), (~function.lowest, SMALL_PLUS)):
        if chosen.any():
            axes.plot(*function.minima[chosen].T, color="black", zorder=6, **sign)
    axes.set_xlim(*function.domain[0])
    axes.set_ylim(*function.domain[1])
