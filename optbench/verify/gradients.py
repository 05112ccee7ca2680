"""A problem's gradient beside differences of its loss, in float64.

Whatever a problem is, it is seen through its contract alone: ``loss_and_grad`` once, and ``loss``
at points that differ in one parameter each, on the same minibatch with the same masks and fresh
buffers.
"""

from dataclasses import dataclass
from math import inf

import numpy as np

from optbench import rng
from optbench.arrays import Tensor
from optbench.engine.executor import one_blas_thread
from optbench.problems.base import Problem
from optbench.verify.differences import Point, derivatives, scale

TOLERANCE = 1e-6
"""Largest error of an entry."""

ENTRIES = 32
"""Entries of each tensor that are looked at, where it has as many."""

TRIES = 4
"""So many times as many entries are drawn at most, where some lie at kinks."""

FLOOR = 1e-4
"""Errors are relative to the entry, or to this part of the largest entry of the whole gradient."""


@dataclass(frozen=True)
class TensorCheck:
    """How far a tensor's gradient lies from differences of the loss.

    Attributes
    ----------
    entries
        How many were compared.
    redrawn
        How many were drawn and left out, since no step gave a derivative: those at kinks.
    error
        The largest of all entries: |a − n| / max(|a|, |n|, 1e-4·‖a‖∞), with a the
        gradient's entry, n that of the differences and ‖a‖∞ the largest entry of the whole
        gradient. Infinite where the gradient is not finite, or where no entry could be compared.
    worst
        Index of that entry in the tensor.
    analytic, numeric
        Its a and n.
    """

    tensor: str
    size: int
    entries: int
    redrawn: int
    error: float
    worst: tuple[int, ...] = ()
    analytic: float = np.nan
    numeric: float = np.nan

    @property
    def passed(self) -> bool:
        """Whether entries were compared, and all were within the tolerance."""
        return self.error <= TOLERANCE


@dataclass(frozen=True)
class GradientCheck:
    """What the check of one problem found.

    Attributes
    ----------
    title
        What the suite calls the problem, or its name.
    loss_error
        How far ``loss`` and ``loss_and_grad`` lie apart, relative to the larger.
    tensors
        One a tensor.
    """

    title: str
    loss_error: float
    tensors: tuple[TensorCheck, ...]

    @property
    def passed(self) -> bool:
        """Whether the two losses agree and every tensor passed."""
        return self.loss_error <= TOLERANCE and all(each.passed for each in self.tensors)


def check_gradient(problem: Problem, title: str, seed: int = 0) -> GradientCheck:
    """Compare a problem's gradient beside its start, on its first minibatch, with differences.

    The point is the start with every parameter moved a little: at the start itself whole tensors
    may lie at a kink, such as biases of 0 under rectifiers where images are black. An entry that
    lies at one all the same is left out, and another one is drawn for it.

    Parameters
    ----------
    problem
        In float64, with a small minibatch.
    seed
        Of start, minibatch and masks, of the way from the start, and of the entries looked at.
    """
    with one_blas_thread():
        return _check_gradient(problem, title, seed)


def _check_gradient(problem: Problem, title: str, seed: int) -> GradientCheck:
    point = Point(problem, seed)
    loss, gradient = point.loss_and_gradient()
    finite = np.abs(gradient[np.isfinite(gradient)])
    floor = FLOOR * finite.max(initial=0.0)
    checks, offset = [], 0
    for tensor in problem.tensors:
        entries = slice(offset, offset + tensor.size)
        checks.append(_check_tensor(tensor, entries, gradient, floor, point, seed))
        offset += tensor.size
    apart = abs(loss - point.base)
    relative = apart / max(abs(loss), abs(point.base)) if apart else 0.0
    return GradientCheck(title, relative if np.isfinite(relative) else inf, tuple(checks))


def _check_tensor(
    tensor: Tensor, entries: slice, gradient: np.ndarray, floor: float, point: Point, seed: int
) -> TensorCheck:
    """Compare entries of one tensor; drawn anew where they lie at kinks."""
    order = rng.stream(seed, f"verify/{tensor.name}").permutation(tensor.size)
    order = entries.start + order[: TRIES * ENTRIES]
    kept, numeric, drawn = order[:0], np.empty(0), 0
    while kept.size < min(ENTRIES, tensor.size) and drawn < order.size:
        some = order[drawn : drawn + ENTRIES - kept.size]
        drawn += some.size
        found = derivatives(some, gradient[some], floor, TOLERANCE, point)
        good = ~np.isnan(found) | ~np.isfinite(gradient[some])
        kept, numeric = np.append(kept, some[good]), np.append(numeric, found[good])
    redrawn = drawn - kept.size
    if not kept.size:
        return TensorCheck(tensor.name, tensor.size, 0, redrawn, inf)
    analytic = gradient[kept]
    apart = np.abs(analytic - numeric)
    with np.errstate(invalid="ignore", divide="ignore"):
        errors = np.where(apart == 0.0, 0.0, apart / scale(analytic, numeric, floor))
    errors = np.where(np.isfinite(analytic), errors, inf)
    worst = int(errors.argmax())
    index = np.unravel_index(kept[worst] - entries.start, tensor.shape) if tensor.shape else ()
    return TensorCheck(
        tensor.name,
        tensor.size,
        kept.size,
        redrawn,
        float(errors[worst]),
        tuple(int(each) for each in index),
        float(analytic[worst]),
        float(numeric[worst]),
    )
