"""What paths run over: a function of one or two variables on the grid of its plot domain."""

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from typing_extensions import override

from optbench.errors import ResultsError
from optbench.records import RunTables
from optbench.report.configurations import describe
from optbench.report.curves import LARGEST
from optbench.report.plots.sheet import NO_BREAK
from optbench.report.plots.style import NAME_CHARACTERS, literal

CONTOURS = 20
"""Contours of a function that names no levels."""

MOST_CONTOURS = 200
"""Contours of a function that names more levels: they could not be told apart."""

LOWEST_SHARE = 0.002
"""Share of the view that the lowest of those contours encloses, roughly."""

MOST_DECADES = 8
"""Decades below the highest value that they reach down to at most."""

FARTHEST = 1e100
"""The largest coordinate that can be drawn: a canvas computes with them and would overflow."""

GLOBAL_TOLERANCE = 1e-9
"""How far above the lowest minimum one is as low: values are known to about ten digits."""

MARGIN = 0.08
"""Room round what a view is to hold, on each side, as a fraction of it."""

LEAST = 0.2
"""The smallest part of a domain that fills a view: its grid is not finer."""

COMPARABLE = 4.0
"""A view is to scale unless a side of the domain is more than so many times the other."""

FLATTEST, TALLEST = 0.5, 1.1
"""Limits of the height of a view that is to scale, as a fraction of its width."""

SHADES = (0.8, 1.0)
"""Brightness from the lowest to the highest part of the view: pale beside every path."""

CONTOUR: dict[str, Any] = {
    "colors": "#8a8a8a",
    "linewidths": 0.5,
    "linestyles": "solid",
    "alpha": 0.8,
}

CURVE: dict[str, Any] = {"color": "#8a8a8a", "linewidth": 1.5, "zorder": 1}

PLUS: dict[str, Any] = {
    "marker": "+",
    "markersize": 11,
    "markeredgewidth": 1.6,
    "linestyle": "none",
}
"""A global minimum."""

SMALL_PLUS: dict[str, Any] = {**PLUS, "markersize": 7, "markeredgewidth": 1.0}
"""A local minimum."""

LONGEST_FORMULA = 64
"""Characters of the longest formula that a title shows."""

SIGNS = ("+ ", "− ")
"""What begins a term of a formula that has others before it."""

SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Ground(ABC):
    """A function in the plane of its figures.

    Points of that plane are the variables of a function of two, (x, y), and of a function of one
    variable that and its value, (x, f(x)). A view is limits of axes, ((x low, x high), (y low, y
    high)). Texts are as matplotlib takes them.
    """

    title: str
    labels: tuple[str, str]  # of the axes
    columns: tuple[str, str]  # of a trace, which hold a lane's points
    domain: np.ndarray  # as a view; values have no limits
    extent: np.ndarray  # the view of all that is known of it
    minima: np.ndarray  # the known ones inside the domain, shape (minima, 2)
    lowest: np.ndarray  # which of them are as low as the lowest, booleans, shape (minima,)

    @abstractmethod
    def framed(self, box: np.ndarray) -> np.ndarray:
        """Return a view that holds a box, both limits of axes, with room around it."""

    def aspect(self, view: np.ndarray) -> float | None:
        """Return the height of a view as a fraction of its width, None if it is not to scale."""
        return None

    @abstractmethod
    def draw_function(self, axes: Axes, view: np.ndarray) -> None:
        """Draw what is in view, without minima."""

    def draw(self, axes: Axes, view: np.ndarray) -> None:
        """Draw what is in view, and make the axes show exactly that."""
        self.draw_function(axes, view)
        for chosen, sign in ((self.lowest, PLUS), (~self.lowest, SMALL_PLUS)):
            if chosen.any():
                axes.plot(*self.minima[chosen].T, color="black", zorder=6, **sign)
        axes.set(xlim=view[0], ylim=view[1])

    def signs(self, view: np.ndarray) -> dict[str, dict[str, Any]]:
        """Return the signs that stand for minima in view, by their names."""
        seen = within(self.minima, view)
        named = {"minimum": (self.lowest, PLUS), "local minimum": (~self.lowest, SMALL_PLUS)}
        return {name: sign for name, (chosen, sign) in named.items() if (chosen & seen).any()}


@dataclass(frozen=True)
class Landscape(Ground):
    """A function of two variables, on a grid."""

    x: np.ndarray  # ascending, shape (nx,)
    y: np.ndarray  # ascending, shape (ny,)
    value: np.ndarray  # shape (nx, ny), as its gradient; NaN where they are not finite
    gradient_x: np.ndarray
    gradient_y: np.ndarray
    bottom: float  # the smallest known value
    named: np.ndarray | None  # levels of contours that the problem names, ascending

    @property
    def is_to_scale(self) -> bool:
        """Whether both axes have one scale."""
        width, height = np.ptp(self.domain, axis=1)
        return bool(max(width, height) <= COMPARABLE * min(width, height))

    @override
    def aspect(self, view: np.ndarray) -> float | None:
        width, height = np.ptp(view, axis=1)
        return float(height / width) if self.is_to_scale else None

    def levels(self, view: np.ndarray) -> np.ndarray:
        """Return levels of contours, ascending; none where what is in view is level.

        They are those that the problem names, or spaced by logarithm above its smallest value.
        """
        if self.named is not None:
            return self.named
        values = self.value[np.ix_(_seen(self.x, view[0]), _seen(self.y, view[1]))]
        values = values[np.isfinite(values)]
        if not values.size or values.min() == values.max():
            return np.array([])
        lowest = min(float(values.min()), self.bottom)
        height = float(values.max()) - lowest
        first = max(float(np.quantile(values, LOWEST_SHARE)) - lowest, height / 10**MOST_DECADES)
        levels: np.ndarray = lowest + np.geomspace(first, height, CONTOURS, endpoint=False)
        return levels

    @override
    def framed(self, box: np.ndarray) -> np.ndarray:
        most = np.ptp(self.extent, axis=1)
        width, height = np.maximum((1 + 2 * MARGIN) * np.ptp(box, axis=1), LEAST * most)
        if self.is_to_scale:
            width = max(width, height / TALLEST)
            height = max(height, width * FLATTEST)
        sides = zip(box, np.minimum([width, height], most), self.extent, strict=True)
        return np.array([_centred(*side) for side in sides])

    @override
    def draw_function(self, axes: Axes, view: np.ndarray) -> None:
        levels = self.levels(view)
        if levels.size:
            grid = (self.x, self.y, self.value.T)
            axes.contour(*grid, levels=levels, zorder=1, **CONTOUR)
            shades = np.linspace(*SHADES, len(levels) + 1).astype(str)
            axes.contourf(*grid, levels=levels, extend="both", colors=shades, zorder=0)
        axes.set_aspect("equal" if self.is_to_scale else "auto")


@dataclass(frozen=True)
class Curve(Ground):
    """A function of one variable."""

    x: np.ndarray  # ascending, shape (nx,)
    value: np.ndarray  # shape (nx,); NaN where it is not finite

    @override
    def framed(self, box: np.ndarray) -> np.ndarray:
        most = np.ptp(self.extent[0])
        width = min(max((1 + 2 * MARGIN) * np.ptp(box[0]), LEAST * most), most)
        x = _centred(box[0], width, self.extent[0])
        values = self.value[_seen(self.x, x) & np.isfinite(self.value)]
        low = min([*values, box[1, 0]])
        high = max(box[1, 1], low + LEAST * float(np.ptp(values)) if values.size else low)
        room = MARGIN * (high - low) or 1.0
        return np.array([x, (low - room, high + room)])

    @override
    def draw_function(self, axes: Axes, view: np.ndarray) -> None:
        axes.plot(self.x, self.value, **CURVE)


def within(points: np.ndarray, view: np.ndarray) -> np.ndarray:
    """Say which points, (points, 2), lie in a view: booleans, shape (points,)."""
    inside: np.ndarray = np.all((points >= view[:, 0]) & (points <= view[:, 1]), axis=1)
    return inside


def _seen(side: np.ndarray, limits: np.ndarray | tuple[float, float]) -> np.ndarray:
    """Say which coordinates lie in an interval."""
    low, high = limits
    seen: np.ndarray = (side >= low) & (side <= high)
    return seen


def _centred(side: np.ndarray, length: float, bounds: np.ndarray) -> tuple[float, float]:
    """Return an interval so long around another one, moved to lie in its bounds."""
    low, high = side.mean() - length / 2, side.mean() + length / 2
    if low < bounds[0]:
        low, high = bounds[0], min(bounds[0] + length, bounds[1])
    if high > bounds[1]:
        low, high = max(bounds[1] - length, bounds[0]), bounds[1]
    return float(low), float(high)


def ground_of(tables: RunTables, problem: str) -> Ground:
    """Read a function of one or two variables from the tables of a run."""
    if len(describe(tables, problem)["variables"]) == 2:
        return landscape(tables, problem)
    return curve(tables, problem)


def landscape(tables: RunTables, problem: str) -> Landscape:
    """Read a function of two variables from the tables of a run."""
    meta = describe(tables, problem)
    rows = tables.surface[tables.surface["problem"] == problem].sort_values(["x", "y"])
    x, y = np.unique(rows["x"]), np.unique(rows["y"])
    is_far = not (rows[["x", "y"]].abs() <= FARTHEST).all(axis=None)
    if len(rows) != x.size * y.size or min(x.size, y.size) < 2 or is_far:
        raise ResultsError(f"'{tables.path}' is damaged: its surface of '{problem}' is no grid")
    shaped = {
        name: _drawable(rows[name]).reshape(x.size, y.size)
        for name in ("value", "gradient_x", "gradient_y")
    }
    domain = np.array([[side[0], side[-1]] for side in (x, y)])
    minima, depths = _minima(meta, domain)
    names = [literal(name, NAME_CHARACTERS) for name in meta["variables"]]
    levels = meta["plot"]["levels"]
    return Landscape(
        title=_title(problem, meta),
        labels=(names[0], names[1]),
        columns=("x", "y"),
        domain=domain,
        extent=domain,
        minima=minima,
        lowest=_lowest(depths),
        x=x,
        y=y,
        **shaped,
        bottom=min((float(each["value"]) for each in meta["minima"]), default=np.inf),
        named=None if levels is None else _thinned(np.asarray(levels, dtype=np.float64)),
    )


def curve(tables: RunTables, problem: str) -> Curve:
    """Read a function of one variable from the tables of a run."""
    meta = describe(tables, problem)
    rows = tables.surface[tables.surface["problem"] == problem].sort_values("x")
    x, value = rows["x"].to_numpy(dtype=np.float64), _drawable(rows["value"])
    if len(x) < 2 or not (np.diff(x) > 0).all() or np.abs(x).max() > FARTHEST:
        raise ResultsError(f"'{tables.path}' is damaged: its surface of '{problem}' is no grid")
    finite = value[np.isfinite(value)]
    values = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    positions, depths = _minima(meta, np.array([[x[0], x[-1]]]))
    name = literal(meta["variables"][0], NAME_CHARACTERS)
    return Curve(
        title=_title(problem, meta),
        labels=(name, f"f({name})"),
        columns=("x", "loss"),
        domain=np.array([(x[0], x[-1]), (-np.inf, np.inf)]),
        extent=np.array([(x[0], x[-1]), values]),
        minima=np.column_stack([positions, depths]),
        lowest=_lowest(depths),
        x=x,
        value=value,
    )


def _drawable(values: "pd.Series[float]") -> np.ndarray:
    """Return numbers as a canvas takes them, NaN where they are not finite."""
    numbers = values.to_numpy(dtype=np.float64)
    return np.where(np.isfinite(numbers), np.clip(numbers, -LARGEST, LARGEST), np.nan)


def _minima(meta: dict[str, Any], domain: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return positions, (minima, variables), and values of the known minima inside a domain.

    Of a formula perhaps only the value is known.
    """
    placed = [each for each in meta["minima"] if each["position"] is not None]
    positions = np.array([each["position"] for each in placed], dtype=np.float64)
    positions = positions.reshape(-1, len(domain))
    inside = ((positions >= domain[:, 0]) & (positions <= domain[:, 1])).all(axis=1)
    depths = np.array([each["value"] for each in placed], dtype=np.float64)
    return positions[inside], depths[inside]


def _lowest(depths: np.ndarray) -> np.ndarray:
    lowest: np.ndarray = depths <= depths.min(initial=np.inf) + GLOBAL_TOLERANCE
    return lowest


def _thinned(levels: np.ndarray) -> np.ndarray:
    """Return levels as a canvas takes them, and no more than can be told apart."""
    levels = np.unique(np.clip(levels, -LARGEST, LARGEST))
    return levels[:: ceil(levels.size / MOST_CONTOURS) or 1]


def _title(problem: str, meta: dict[str, Any]) -> str:
    """Return the name of a function, with its formula unless that is long.

    It can be broken before the formula and between its terms.
    """
    formula = typeset(meta.get("formula") or "")
    if not 0 < len(formula) <= LONGEST_FORMULA:
        return literal(problem)
    value = f"f({', '.join(meta['variables'])}) =".replace(" ", NO_BREAK)
    return literal(f"{problem}: {value} {_between_terms(formula)}")


def _between_terms(formula: str) -> str:
    """Return a formula that is broken before a + or a − outside of parentheses, or not at all."""
    depth, parts = 0, []
    for place, character in enumerate(formula):
        depth += (character in "([") - (character in ")]")
        is_break = character == " " and depth == 0 and formula[place + 1 : place + 3] in SIGNS
        parts.append(NO_BREAK if character == " " and not is_break else character)
    return "".join(parts)


def typeset(formula: str) -> str:
    """Return a formula in Python as it is written by hand.

    >>> typeset("(1 - x)**2 + 100*(y - x**2)**2"), typeset("x**4/4 - x*y/(4*pi**2)")
    ('(1 − x)² + 100(y − x²)²', 'x⁴/4 − x·y/(4π²)')
    """
    text = re.sub(r"\bpi\b", "π", formula)
    text = re.sub(r"\*\*(\d+)(?![\d.])", lambda power: power[1].translate(SUPERSCRIPTS), text)
    text = re.sub(r"(?<![\w.])(?<!e-)(\d+(?:\.\d+)?)\*(?=[(a-zπ])", r"\1", text)
    return text.replace("**", "^").replace("*", "·").replace("-", "−")
