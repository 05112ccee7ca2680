"""Figures of many curves: names stand at the ends of the curves, ordered as they end."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

MANY = 14
"""Curves beyond which a legend can no longer be read against them."""

ROW_INCHES = 0.165
"""Height that a name takes."""

NAME_PLACE, LEADER_PLACE = 1.075, 1.065
"""Where names and the lines that lead to them stand beside the axes, in widths of the axes."""


@dataclass(frozen=True)
class End:
    """Where a curve ends; y is not finite where it left the figure for good."""

    name: str
    color: str
    x: float
    y: float


def height_inches(curves: int, usual: float) -> float:
    """Return the height of a figure in which all names have room."""
    return max(usual, 1.0 + ROW_INCHES * curves)


def name_ends(axes: Axes, ends: Sequence[End]) -> None:
    """Write names beside the axes, the largest end at the top, each with a line to its curve."""
    low, high = axes.get_ylim()

    def height(end: End) -> float:
        return float(np.clip(end.y, low, high)) if np.isfinite(end.y) else high

    ordered = sorted(ends, key=lambda end: end.y if np.isfinite(end.y) else np.inf)
    for position, end in zip(np.linspace(0.0, 1.0, len(ordered)), ordered, strict=True):
        loss = f"{end.y:.3g}" if np.isfinite(end.y) else ""
        axes.annotate(
            "",
            xy=(end.x, height(end)),
            xytext=(LEADER_PLACE, position),
            textcoords="axes fraction",
            arrowprops={"arrowstyle": "-", "color": end.color, "linewidth": 0.6, "shrinkB": 0},
            annotation_clip=False,
        )
        axes.text(
            NAME_PLACE,
            position,
            f"{end.name}  {loss}",
            transform=axes.transAxes,
            color=end.color,
            fontsize=7.5,
            verticalalignment="center",
        )


DEPTH = 1e-10
"""How far down a logarithmic axis reaches, as a fraction of its top: below that, all is won."""

PADDING = 0.05
"""Room beyond the extreme values, as a fraction of the axis."""


def spans_decades(values: np.ndarray, decades: float) -> bool:
    """Say whether all values are above zero and span more than so many decades."""
    if not values.size or values.min() <= 0:
        return False
    return bool(np.log10(values.max()) - np.log10(values.min()) > decades)


def axis_limits(values: np.ndarray, *, ceiling: float, log: bool) -> tuple[float, float]:
    """Return limits round the finite values, as far as they are not above the ceiling.

    On a logarithmic axis only values above zero count; it reaches down to :data:`DEPTH` of its top.
    """
    shown = values[np.isfinite(values) & ((values > 0) | (not log))]
    if not shown.size:
        return (0.1, 1.0) if log else (0.0, 1.0)
    low = float(shown.min())
    high = max(low, min(float(shown.max()), ceiling))
    if log:
        low = max(low, high * DEPTH)
        factor = max(high / low, 10.0) ** PADDING
        return low / factor, high * factor
    room = PADDING * ((high - low) or abs(high) or 1.0)
    return low - room, high + room
