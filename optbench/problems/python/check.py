"""Whether the gradient that somebody wrote is that of the function."""

import numpy as np

from optbench import rng
from optbench.errors import OptbenchError, SuiteError
from optbench.problems.differences import central_differences, derivatives, scale
from optbench.problems.python.calls import Calls
from optbench.problems.python.function import PythonFunction

TOLERANCE = 1e-4
"""Largest relative error of a derivative; a gradient may have been computed in float32."""

FLOOR = 1e-4
"""Errors are relative to the derivative, or to this part of the largest one."""

MOST = 32
"""Derivatives that are compared at most, drawn from all."""

AWAY = 0.01
"""Standard deviation of the way to the nearby point, times a parameter's size, or times 1."""


def check_gradient(kind: type[PythonFunction]) -> None:
    """Compare a gradient with differences of the loss, at the start and at a point nearby.

    Of a gradient that optbench finds itself nothing is compared. Where the loss has a kink, or
    differences tell too little, a derivative is not judged.

    Raises
    ------
    SuiteError
        If a derivative is wrong; the message says by which variable, where, and by how much. Also
        if the function cannot be called at its start.
    """
    calls = kind.calls
    try:
        ours = calls.way.ours
    except OptbenchError:
        raise
    except Exception as error:  # a user's code may raise anything
        said = f"{type(error).__name__}: {error}"
        raise SuiteError(f"{kind.name} fails at its start: {said}") from error
    if ours:
        return
    start = np.array(kind.origin)
    way = rng.stream(0, "gradient/way").standard_normal(start.size)
    nearby = start + AWAY * np.maximum(1.0, np.abs(start)) * way
    entries = np.sort(rng.stream(0, "gradient/entries").permutation(start.size)[:MOST])
    with np.errstate(all="ignore"):
        for where, position in (("at the start", start), ("beside the start", nearby)):
            found = _wrong(calls, position, entries)
            if found is not None:
                entry, written, right = found
                name = kind.variables[entry]
                raise SuiteError(
                    f"{kind.name}: its gradient is wrong {where}: by {name} it is {written:.6g} "
                    f"where {_point(kind.variables, position)}, but the loss has the slope "
                    f"{right:.6g}; mend it, or leave it out and the slopes are taken"
                )


def _wrong(
    calls: Calls, position: np.ndarray, entries: np.ndarray
) -> tuple[int, float, float] | None:
    """Return the entry of a gradient that is farthest off, with its value and the right one."""
    point = _Point(calls, position)
    gradient = calls.losses_and_gradients(position[None])[1][0]
    floor = FLOOR * np.abs(gradient[np.isfinite(gradient)]).max(initial=0.0)
    written = gradient[entries]
    slopes = point.slopes(entries)
    doubted = ~(np.abs(written - slopes) <= TOLERANCE * scale(written, slopes, floor))
    if not doubted.any():
        return None
    # What a plain difference does not confirm, a better one has to refute.
    expected = np.nan_to_num(written[doubted], posinf=0.0, neginf=0.0)
    slopes[doubted] = derivatives(entries[doubted], expected, floor, point, TOLERANCE)
    apart = np.abs(written - slopes)
    errors = np.where(doubted, apart / scale(written, slopes, floor), 0.0)
    errors[np.isnan(slopes) | (apart == 0.0)] = 0.0
    errors[~np.isnan(slopes) & ~np.isfinite(written)] = np.inf
    worst = int(errors.argmax())
    if not errors[worst] > TOLERANCE:
        return None
    return int(entries[worst]), float(written[worst]), float(slopes[worst])


class _Point:
    """A point, and the losses of points that differ from it in one parameter."""

    def __init__(self, calls: Calls, position: np.ndarray) -> None:
        self._calls = calls
        self.position = position
        self.base = float(calls.losses(position[None])[0])

    def losses(self, entries: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return the loss with each entry replaced by its value, NaN where there is none."""
        points = np.tile(self.position, (entries.size, 1))
        points[np.arange(entries.size), entries] = values
        return self._anywhere(points)

    def slopes(self, entries: np.ndarray) -> np.ndarray:
        """Return central differences by some entries."""

        def moved(parts: np.ndarray) -> np.ndarray:
            points = np.tile(self.position, (len(parts), 1))
            points[:, entries] = parts
            return self._anywhere(points)

        found: np.ndarray = central_differences(moved, self.position[None, entries])[0]
        return found

    def _anywhere(self, points: np.ndarray) -> np.ndarray:
        """Return losses also at points where the function may have none."""
        losses = np.full(len(points), np.nan)
        together = len(points) if self._calls.vectorized else 1
        for first in range(0, len(points), together):
            part = slice(first, first + together)
            try:
                losses[part] = self._calls.losses(points[part])
            except (ArithmeticError, ValueError):
                continue
        return losses


def _point(variables: tuple[str, ...], position: np.ndarray) -> str:
    """Write where a point is; of many variables, the first three."""
    named = [f"{name} = {x:.6g}" for name, x in zip(variables[:3], position, strict=False)]
    return ", ".join([*named, "…"] if position.size > 3 else named)
