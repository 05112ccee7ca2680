"""The best path of each optimizer over a function of two variables, and where it leaves."""

from dataclasses import dataclass, replace

import numpy as np

from optbench.records import RunTables
from optbench.report.configurations import (
    bad_endings,
    configurations,
    hyperparameter_text,
    swept_columns,
)
from optbench.report.domain import lanes_outside
from optbench.report.plots.landscape import FARTHEST
from optbench.report.plots.style import Style, display_name, literal, styles

LEFT, LEFT_FIGURE = "left the domain", "left the figure"
"""What is said of a path that ends beyond the domain that its function was given, or a guess."""


@dataclass(frozen=True)
class Path:
    """The first seed of the best configuration of a label."""

    positions: np.ndarray  # as far as they are finite, shape (rows, 2)
    iterations: np.ndarray  # of these positions, shape (rows,)
    exits: np.ndarray  # where it crosses the edge of the domain outwards, shape (exits, 2)
    lost: np.ndarray | None  # where it does so for good, or stops being finite; None: inside
    style: Style
    name: str
    notes: str  # what of its setting and its end needs saying


def best_paths(tables: RunTables, problem: str, domain: np.ndarray) -> list[Path]:
    """Return one path per label over a domain, ((x low, x high), (y low, y high))."""
    lanes = tables.lanes[tables.lanes["problem"] == problem]
    trace = tables.trace[tables.trace["lane"].isin(lanes["lane"])]
    tables = replace(tables, lanes=lanes, trace=trace)  # others would be ranked for nothing
    outside = lanes_outside(tables)
    table = configurations(tables)
    best = table[table["best"]]
    look = styles(zip(best["label"], best["optimizer"], strict=True))
    paths = []
    for _, configuration in best.iterrows():
        label, lane = configuration["label"], configuration["lane_numbers"][0]
        swept = swept_columns(table[table["label"] == label])
        positions, iterations = _positions(tables, lane)
        ending = bad_endings(tables.lanes, [lane])
        if not ending and not within(positions[-1:], domain).all():
            ending = LEFT if lane in outside else LEFT_FIGURE
        setting = literal(hyperparameter_text(configuration, swept))
        notes = ", ".join(filter(None, [setting, ending]))
        exits = exits_of(positions, domain)
        lost = _lost(positions, exits, domain) if ending else None
        name = display_name(label)
        paths.append(Path(positions, iterations, exits, lost, look[label], name, notes))
    return paths


def _positions(tables: RunTables, lane: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions of a lane as far as they are finite, (rows, 2), and their iterations."""
    rows = tables.trace[tables.trace["lane"] == lane].sort_values("iteration")
    path: np.ndarray = rows[["x", "y"]].to_numpy(dtype=np.float64)
    finite = np.isfinite(path).all(axis=1)
    path = path[: len(path) if finite.all() else int(np.argmin(finite))]
    clipped: np.ndarray = np.clip(path, -FARTHEST, FARTHEST)
    return clipped, rows["iteration"].to_numpy()[: len(path)]


def exits_of(path: np.ndarray, domain: np.ndarray) -> np.ndarray:
    """Return where a path, (rows, 2), crosses the edge of the domain outwards, (exits, 2)."""
    seen = within(path, domain)
    last = np.flatnonzero(seen[:-1] & ~seen[1:])
    start, step = path[last], path[last + 1] - path[last]
    edge = np.where(step > 0, domain[:, 1], domain[:, 0])
    share = np.full(step.shape, np.inf)
    np.divide(edge - start, step, out=share, where=step != 0)
    crossing: np.ndarray = start + step * share.min(axis=1, keepdims=True)
    return crossing


def within(path: np.ndarray, domain: np.ndarray) -> np.ndarray:
    """Say which positions, (rows, 2), lie in the domain: booleans, shape (rows,)."""
    inside: np.ndarray = np.all((path >= domain[:, 0]) & (path <= domain[:, 1]), axis=1)
    return inside


def _lost(path: np.ndarray, exits: np.ndarray, domain: np.ndarray) -> np.ndarray | None:
    """Return where a path that did not end well is seen for the last time."""
    if not len(path):
        return None
    last: np.ndarray = path[-1]
    if within(path[-1:], domain)[0]:
        return last
    seen: np.ndarray = exits[-1] if len(exits) else np.clip(path[0], domain[:, 0], domain[:, 1])
    return seen
