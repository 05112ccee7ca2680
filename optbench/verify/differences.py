"""Derivatives of a problem's loss from differences alone, in float64."""

from collections.abc import Mapping
from math import inf
from typing import NamedTuple

import numpy as np

from optbench import rng
from optbench.arrays import Array, stack
from optbench.device.cpu import NumpyDevice
from optbench.problems.base import Problem

AWAY = 0.01
"""Standard deviation of what each parameter is moved by, times its size, or 1 if that is less."""

LARGEST_STEP, STEPS = 0.1, 14
"""Steps are 0.1, 0.05, … times the parameter's size, or times 1 where that is less."""

SHARE_OF_TOLERANCE = 0.25
"""A derivative counts once its own error is known to be below this share of the tolerance."""

WORK_VALUES = 4_000_000
"""Numbers that the lanes looked at together may hold."""

MOST_LANES = 64


class Point:
    """A point beside the start of one lane, with the batch that its loss is of."""

    def __init__(self, problem: Problem, seed: int) -> None:
        self._problem = problem
        self._work = NumpyDevice().workspace()
        start = problem.start(seed)
        way = rng.stream(seed, "verify/way").standard_normal(start.size)
        self.position = start + AWAY * np.maximum(1.0, np.abs(start)) * way
        self._batch = self._first_batch(seed)
        values = start.size + problem.work_values
        lanes = min(MOST_LANES, max(1, WORK_VALUES // max(1, values)))
        self._rows = np.tile(self.position, (lanes, 1))
        self.base = float(self._losses()[0])

    def _first_batch(self, seed: int) -> Mapping[str, Array]:
        draws = {name: each[:1] for name, each in self._problem.draws(seed, 0).items()}
        batch = self._problem.batch(self._problem.data(), draws, work=self._work)
        return {name: np.array(each) for name, each in batch.items()}

    def _buffers(self, lanes: int) -> dict[str, Array]:
        return {
            each.name: np.full((lanes, *each.shape), each.start) for each in self._problem.buffers
        }

    def loss_and_gradient(self) -> tuple[float, np.ndarray]:
        """Return the loss and its gradient, float64, (parameters,); NaN where it wrote nothing."""
        tensors = self._problem.tensors
        params = stack(self.position[None].copy(), tensors, np)
        grads = stack(np.full_like(params.rows, np.nan), tensors, np)
        with np.errstate(all="ignore"):
            losses = self._problem.loss_and_grad(
                params, grads, self._batch, buffers=self._buffers(1), work=self._work
            )
        return float(losses.total[0]), grads.rows[0]

    def losses(self, entries: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return the loss with each entry replaced by its value, one at a time."""
        found = np.empty(entries.size)
        for first in range(0, entries.size, len(self._rows)):
            some = entries[first : first + len(self._rows)]
            lanes = np.arange(some.size)
            self._rows[lanes, some] = values[first : first + some.size]
            found[first : first + some.size] = self._losses()[lanes]
            self._rows[lanes, some] = self.position[some]
        return found

    def _losses(self) -> Array:
        params = stack(self._rows, self._problem.tensors, np)
        buffers = self._buffers(len(self._rows))
        with np.errstate(all="ignore"):
            return self._problem.loss(params, self._batch, buffers=buffers, work=self._work).total


def derivatives(
    entries: np.ndarray, analytic: np.ndarray, floor: float, tolerance: float, point: Point
) -> np.ndarray:
    """Return the derivative by each entry from differences; NaN where no step gives one.

    A central difference, (f(θ + h) − f(θ − h))/2h, is extrapolated to h = 0 from steps that halve
    until its error, as values of neighbouring orders and rounding show it, is small enough. An
    entry for which it never is, or at which the differences to both sides stay apart as h gets
    smaller, lies at a kink.

    Parameters
    ----------
    entries
        Places in a row, shape (entries,).
    analytic
        The gradient there; with ``floor`` it only says how accurate is accurate enough.

    Source: C. J. F. Ridders, "Accurate computation of F′(x) and F′(x)F″(x)", Advances in
    Engineering Software 4, 1982.
    """
    known = np.full(entries.size, np.nan)
    open_ = np.arange(entries.size)
    before, bends = np.empty((0, entries.size)), np.full(entries.size, np.nan)
    for level in range(STEPS):
        found = _differences(entries[open_], LARGEST_STEP / 2.0**level, point)
        best, error, row = _extrapolate(found.quotient, before)
        enough = tolerance * scale(analytic[open_], best, floor)
        settled = error + found.rounding <= SHARE_OF_TOLERANCE * enough
        # Differences to both sides come together as the step does, but for a kink between them.
        bend = np.abs(found.bend)
        kinked = (bend > 0.75 * bends) & (bend > 10.0 * enough)
        done = settled & ~kinked
        known[open_[done]] = best[done]
        open_, before, bends = open_[~done], row[:, ~done], bend[~done]
        if not open_.size:
            break
    return known


class _Differences(NamedTuple):
    """What two points beside the start tell of an entry; arrays (entries,).

    Attributes
    ----------
    quotient
        Central difference, divided by 2h.
    bend
        By how much the differences to both sides lie apart.
    rounding
        Error of the quotient that comes from rounding the losses.
    """

    quotient: np.ndarray
    bend: np.ndarray
    rounding: np.ndarray


def _differences(entries: np.ndarray, part: float, point: Point) -> _Differences:
    """Return differences with steps of ``part`` of each parameter's size, or of 1."""
    here = point.position[entries]
    step = part * np.maximum(1.0, np.abs(here))
    above, below = here + step, here - step
    losses = point.losses(np.append(entries, entries), np.append(above, below))
    higher, lower = losses[: entries.size], losses[entries.size :]
    with np.errstate(all="ignore"):
        bend = (higher - point.base) / (above - here) - (point.base - lower) / (here - below)
        rounding = 2.0 * np.finfo(float).eps * (np.abs(higher) + np.abs(lower)) / (above - below)
        return _Differences((higher - lower) / (above - below), bend, rounding)


def _extrapolate(
    quotient: np.ndarray, before: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the best derivative, its error, and the tableau's next row, (orders, entries).

    Each further order takes the next even power of the step out of two values of the order below,
    one from this step and one from the step twice as large (``before``).
    """
    row, best, error = [quotient], quotient, np.full(quotient.size, inf)
    with np.errstate(all="ignore"):
        for order, older in enumerate(before, start=1):
            newer = row[-1] + (row[-1] - older) / (4.0**order - 1.0)
            apart = np.maximum(np.abs(newer - row[-1]), np.abs(newer - older))
            best = np.where(apart < error, newer, best)
            error = np.fmin(error, apart)
            row.append(newer)
    return best, error, np.stack(row)


def scale(analytic: np.ndarray, numeric: np.ndarray, floor: float) -> np.ndarray:
    """Return what an error is relative to."""
    larger: np.ndarray = np.maximum(np.maximum(np.abs(analytic), np.abs(numeric)), floor)
    return larger
