"""The paths of lanes over a function, which of them a figure shows, and what part of the plane."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, LogNorm, Normalize
from matplotlib.lines import Line2D

from optbench.records import HYPERPARAMETER_PREFIX, RunTables
from optbench.report.configurations import (
    bad_endings,
    configurations,
    hyperparameter_text,
    sensitivity,
    swept_columns,
    swept_numbers,
)
from optbench.report.domain import lanes_outside
from optbench.report.plots.landscape import FARTHEST, Ground, within
from optbench.report.plots.sensitivity import is_log_spaced
from optbench.report.plots.style import Style, display_name, literal, styles

LEFT, LEFT_FIGURE = "left the domain", "left the figure"
"""What is said of a path that ends beyond the domain that its function was given, or a guess."""

RATE = f"{HYPERPARAMETER_PREFIX}lr"
"""The hyperparameter that is named whether it was swept or not."""

MOST_VALUES = 50
"""Values of a hyperparameter that are shown together, spread evenly over those that were tried."""

COLORS = ListedColormap(colormaps["plasma"](np.linspace(0.0, 0.85, 256)))
"""From dark blue to orange; all of them are seen on grey."""

AWAY = 2.0
"""How many times larger a view is at most for paths that end badly or are some of a crowd."""


class PathLine(Line2D):
    """A path as it is drawn; it knows the iterations of its points, shape (rows,)."""

    def __init__(self, positions: np.ndarray, iterations: np.ndarray, **look: Any) -> None:
        super().__init__(*positions.T, **look)
        self.iterations = iterations


@dataclass(frozen=True)
class Path:
    """Where the first seed of a configuration was, in the plane of its function's figures."""

    positions: np.ndarray  # as far as they are finite, shape (rows, 2)
    iterations: np.ndarray  # of these positions, shape (rows,)
    ending: str  # what became of it unless it ended well
    setting: str  # its learning rate and what else was swept, for instance "lr 0.95"
    value: float  # of the hyperparameter whose values are told by colour
    best: bool  # whether it is the best of its label

    def exits(self, view: np.ndarray) -> np.ndarray:
        """Return where it crosses the edge of a view outwards, (exits, 2)."""
        return exits_of(self.positions, view)

    def seen(self, view: np.ndarray) -> np.ndarray:
        """Return its positions as far as a line leads to one in view, and the next, (rows, 2)."""
        inside = np.flatnonzero(within(self.positions, view))
        return self.positions[: inside[-1] + 2 if inside.size else 1]

    def lost(self, view: np.ndarray) -> np.ndarray | None:
        """Return where it is seen for the last time if it ends badly or out of view."""
        if not len(self.positions):
            return None
        last: np.ndarray = self.positions[-1]
        if within(self.positions[-1:], view)[0]:
            return last if self.ending else None
        exits = self.exits(view)
        seen: np.ndarray = exits[-1] if len(exits) else np.clip(self.positions[0], *view.T)
        return seen


@dataclass(frozen=True)
class Family:
    """Paths of one label, in the order of their values."""

    name: str
    style: Style
    paths: tuple[Path, ...]
    configurations: int  # that the label has

    @property
    def best(self) -> Path:
        """The path of its best configuration."""
        return next(path for path in self.paths if path.best)


class Paths:
    """The paths of all configurations of a problem, read as they are chosen."""

    def __init__(self, tables: RunTables, problem: str, ground: Ground) -> None:
        lanes = tables.lanes[tables.lanes["problem"] == problem]
        trace = tables.trace[tables.trace["lane"].isin(lanes["lane"])]
        self._lanes, self._ground = lanes, ground
        narrowed = replace(tables, lanes=lanes, trace=trace)  # others would be ranked for nothing
        self._outside = lanes_outside(narrowed)
        self._table = configurations(narrowed)
        self._look = styles(
            zip(self._table["label"], self._table["optimizer"], strict=True), tables.shared
        )
        self._none = trace.iloc[:0]
        self._rows = dict(iter(trace.groupby("lane")))
        self.swept = next(iter(swept_numbers(self._table)), None)
        """The hyperparameter that has most values, None if none was swept."""

    @property
    def swept_name(self) -> str:
        """The name of that hyperparameter as matplotlib takes it."""
        return literal((self.swept or "").removeprefix(HYPERPARAMETER_PREFIX))

    @property
    def counts(self) -> list[int]:
        """How many configurations each label has."""
        return self._table.groupby("label", sort=False).size().tolist()

    def all(self) -> list[Family]:
        """Return every path."""
        return self._families(self._table)

    def best(self) -> list[Family]:
        """Return the best path of each label."""
        return self._families(self._table[self._table["best"]])

    def swept_over(self) -> list[Family]:
        """Return the best path of each label and value of the swept hyperparameter.

        Of many values there are :data:`MOST_VALUES`. Where none was swept that is the best path.
        """
        if self.swept is None:
            return self.best()
        points = sensitivity(self._table, self.swept)
        shown = self._table["best"].copy()
        for _, rows in points.groupby("label"):
            shown[rows.index[np.linspace(0, len(rows) - 1, MOST_VALUES).round().astype(int)]] = True
        chosen = self._table[shown]
        return self._families(chosen.sort_values(self.swept, kind="stable"))

    def _families(self, chosen: pd.DataFrame) -> list[Family]:
        """Return the paths of some configurations by label, labels in their usual order."""
        families = []
        for label, rows in self._table.groupby("label", sort=False):
            shown = chosen[chosen["label"] == label]
            names = [RATE] if RATE in rows else []
            names += [name for name in swept_columns(rows) if name != RATE]
            paths = tuple(self._path(one, names) for _, one in shown.iterrows())
            families.append(
                Family(display_name(str(label)), self._look[str(label)], paths, len(rows))
            )
        return families

    def _path(self, configuration: "pd.Series[Any]", names: list[str]) -> Path:
        lane = configuration["lane_numbers"][0]
        positions, iterations = self._positions(lane)
        ending = bad_endings(self._lanes, [lane])
        if not ending and not within(positions[-1:], self._ground.domain).all():
            ending = LEFT if lane in self._outside else LEFT_FIGURE
        return Path(
            positions=positions,
            iterations=iterations,
            ending=ending,
            setting=literal(hyperparameter_text(configuration, names, link=" ")),
            value=np.nan if self.swept is None else float(configuration[self.swept]),
            best=bool(configuration["best"]),
        )

    def _positions(self, lane: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the positions of a lane as far as they are finite, (rows, 2), and iterations."""
        rows = self._rows.get(lane, self._none).sort_values("iteration")
        path: np.ndarray = rows[list(self._ground.columns)].to_numpy(dtype=np.float64)
        finite = np.isfinite(path).all(axis=1)
        path = path[: len(path) if finite.all() else int(np.argmin(finite))]
        clipped: np.ndarray = np.clip(path, -FARTHEST, FARTHEST)
        return clipped, rows["iteration"].to_numpy()[: len(path)]


def view_of(families: Iterable[Family], ground: Ground, *, crowded: bool) -> np.ndarray:
    """Return the part of the plane that figures of some paths show, as limits of both axes.

    It holds the paths that end well as far as they stay in the domain, in a crowd only the best
    ones, and of each path the start and the nearest of the lowest minima. Others stretch it to at
    most :data:`AWAY` times that.
    """
    paths = [path for family in families for path in family.paths if len(path.positions)]
    if not paths:
        return ground.extent
    minima = ground.minima[ground.lowest]
    well = [path for path in paths if not path.ending and (path.best or not crowded)]
    held = [path.positions for path in well] + [path.positions[:1] for path in paths]
    if len(minima):
        scale = np.ptp(ground.extent, axis=1)
        ends = np.array([path.positions[0 if path.ending else -1] for path in paths])
        away = np.abs((minima[:, None] - ends) / scale).max(axis=2)
        held.append(minima[np.unique(away.argmin(axis=0))])
    box = _box(held, ground.extent)
    everything = _box([box.T, *(path.positions for path in paths)], ground.extent)
    if well:
        room = (AWAY - 1) / 2 * np.ptp(box, axis=1)
        reach = np.column_stack([box[:, 0] - room, box[:, 1] + room])
        everything = np.clip(everything, reach[:, :1], reach[:, 1:])
    return ground.framed(everything)


def _box(points: Sequence[np.ndarray], extent: np.ndarray) -> np.ndarray:
    """Return the limits of points, each (points, 2), as far as they reach in an extent."""
    inside = np.clip(np.concatenate(points), *extent.T)
    return np.column_stack([inside.min(axis=0), inside.max(axis=0)])


def value_colors(families: Iterable[Family]) -> ScalarMappable:
    """Return what gives each value of the swept hyperparameter its colour."""
    values = np.array([path.value for family in families for path in family.paths])
    values = np.unique(values[np.isfinite(values)])
    norm = LogNorm if is_log_spaced(values) else Normalize
    return ScalarMappable(norm(values[0], values[-1]), COLORS)


def exits_of(path: np.ndarray, view: np.ndarray) -> np.ndarray:
    """Return where a path, (rows, 2), crosses the edge of a view outwards, (exits, 2)."""
    seen = within(path, view)
    last = np.flatnonzero(seen[:-1] & ~seen[1:])
    start, step = path[last], path[last + 1] - path[last]
    edge = np.where(step > 0, view[:, 1], view[:, 0])
    share = np.full(step.shape, np.inf)
    np.divide(edge - start, step, out=share, where=step != 0)
    crossing: np.ndarray = start + step * share.min(axis=1, keepdims=True)
    return crossing
