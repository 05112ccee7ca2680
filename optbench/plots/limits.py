"""Which losses an axis shows: its scale and its limits."""

import numpy as np

DEPTH = 1e-10
"""How far down a logarithmic axis reaches, as a fraction of its top: below that, all is won."""

PADDING = 0.05
"""Room beyond the extreme values, as a fraction of the axis."""


def spans_decades(values: np.ndarray, decades: float) -> bool:
    """Say whether all values are above zero and reach over more than so many decades."""
    if not values.size or values.min() <= 0:
        return False
    return bool(np.log10(values.max()) - np.log10(values.min()) > decades)


def axis_limits(values: np.ndarray, *, ceiling: float, log: bool) -> tuple[float, float]:
    """Return limits round the finite values, as far as they are not above the ceiling.

    Parameters
    ----------
    values
        Losses of any shape; on a logarithmic axis only those above zero count.
    ceiling
        What lies above it does not stretch the axis.
    log
        Whether the axis is logarithmic; it then reaches down to :data:`DEPTH` of its top.
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
