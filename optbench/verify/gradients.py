"""A problem's gradient compared with differences of its loss, in float64.

Whatever a problem is, it is seen through its contract alone: ``loss_and_grad`` once, and ``loss``
at points that differ in one parameter each, on the same minibatch with the same masks and fresh
buffers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from optbench import datasets, rng
from optbench.arrays import Array, Tensor, stack
from optbench.device.cpu import NumpyDevice
from optbench.engine.executor import one_blas_thread
from optbench.problems.base import Problem
from optbench.problems.differences import derivatives, scale
from optbench.problems.registry import PROBLEMS, get_problem_class, make_problem
from optbench.suite.format import builtin_suites, read_suite
from optbench.suite.resolve import SHARED_OPTIONS
from optbench.suite.sweep import with_swept_problems

TOLERANCE = 1e-6
"""Largest error of an entry."""

ENTRIES = 32
"""Entries of each tensor that are compared, where it has as many."""

TRIES = 4
"""At most so many times as many entries are drawn, where some lie at kinks."""

FLOOR = 1e-4
"""Errors are relative to the entry, or to this part of the largest entry of the whole gradient."""

AWAY = 0.01
"""Standard deviation of what each parameter is moved by, times its size, or times 1 if that is
smaller."""

WORK_VALUES = 4_000_000
"""Numbers that the lanes computed together may hold."""

MOST_LANES = 64

EMBEDDED = "mnist-5k"
BATCH_SIZE = 4
SUITE_ENDINGS = (".toml", ".json")


def problems_to_check(source: str) -> tuple[tuple[str, Problem], ...]:
    """Return the problems that a name or a file means, each with its title, made ready for a check.

    They are in float64, on few examples, and without what their gradients leave out.

    Parameters
    ----------
    source
        The name of a problem, else that of a built-in suite, or a suite's TOML file or run.json.

    Raises
    ------
    SuiteError
        If there is no such problem or suite, or it is malformed.
    DataError
        If a data set that is needed cannot be found.
    """
    is_suite = Path(source).suffix in SUITE_ENDINGS or source in builtin_suites()
    if source in PROBLEMS or not is_suite:
        return ((source, _problem(source, {}, {})),)
    suite = with_swept_problems(read_suite(source))
    shared = {key: getattr(suite, key) for key in SHARED_OPTIONS}
    return tuple(
        (entry.title, _problem(entry.name, entry.options, shared)) for entry in suite.problem
    )


def _problem(name: str, own: Mapping[str, Any], shared: Mapping[str, Any]) -> Problem:
    """Return a problem with the options given, except for those that the check decides."""
    known = {option.name: option for option in get_problem_class(name).options}
    taken = {key: value for key, value in shared.items() if key in known and value is not None}
    options = {**taken, **own}
    if "dtype" in known:
        options["dtype"] = "float64"
    if "batch_size" in known:
        size = options.get("batch_size", known["batch_size"].default)
        options["batch_size"] = min(size, BATCH_SIZE) if isinstance(size, int) else BATCH_SIZE
    if "log_eps" in known:
        options["log_eps"] = 0.0  # only the reported loss has it, not its gradient
    if "data" in known:
        data = options.get("data", known["data"].default)
        # Images of one shape; the embedded ones are always there.
        if data == "auto" or data in tuple(datasets.COLLECTIONS):
            options["data"] = EMBEDDED
    problem, _ = make_problem(name, options)
    return problem


@dataclass(frozen=True)
class TensorCheck:
    """How far a tensor's gradient lies from differences of the loss.

    ``error`` is the largest of all entries compared: |a − n| / max(|a|, |n|, 1e-4·‖a‖∞), with a the
    gradient's entry, n that of the differences and ‖a‖∞ the largest entry of the whole gradient. It
    is infinite where the gradient is not finite, or where no entry could be compared.
    """

    tensor: str
    size: int
    entries: int  # how many were compared
    redrawn: int  # how many were drawn and left out, since they lie at kinks
    error: float
    worst: tuple[int, ...] = ()  # index of the entry with that error
    analytic: float = np.nan  # its a
    numeric: float = np.nan  # and its n

    @property
    def passed(self) -> bool:
        """Whether entries were compared, and all were within the tolerance."""
        return self.error <= TOLERANCE


@dataclass(frozen=True)
class GradientCheck:
    """What the check of one problem found."""

    title: str
    loss_error: float  # how far loss and loss_and_grad lie apart, relative to the larger
    tensors: tuple[TensorCheck, ...]
    shared: str = ""  # what depends on other lanes, blocks or calls, where that was looked at

    @property
    def passed(self) -> bool:
        """Whether the two losses agree, every tensor passed and nothing is shared."""
        right = self.loss_error <= TOLERANCE and all(check.passed for check in self.tensors)
        return right and not self.shared


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
        Decides start, minibatch and masks, the way from the start, and the entries compared.
    """
    with one_blas_thread():
        return _check_gradient(problem, title, seed)


def _check_gradient(problem: Problem, title: str, seed: int) -> GradientCheck:
    start = problem.start(seed)
    way = rng.stream(seed, "verify/way").standard_normal(start.size)
    point = Point(problem, seed, start + AWAY * np.maximum(1.0, np.abs(start)) * way)
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


class Point:
    """A point (parameters,) of a problem in float64, with a seed's first batch.

    ``base`` is the loss there.
    """

    def __init__(self, problem: Problem, seed: int, position: np.ndarray) -> None:
        self._problem = problem
        self._seed = seed
        self._work = NumpyDevice().workspace()
        self.position = position
        self._batch = self._first_batch(seed)
        values = position.size + problem.work_values
        lanes = min(MOST_LANES, max(1, WORK_VALUES // max(1, values)))
        self._rows = np.tile(self.position, (lanes, 1))
        self.base = float(self._losses()[0])

    def _first_batch(self, seed: int) -> Mapping[str, Array]:
        draws = {name: numbers[:1] for name, numbers in self._problem.draws(seed, 0).items()}
        batch = self._problem.batch(self._problem.data(), draws, work=self._work)
        return {name: np.array(array) for name, array in batch.items()}

    def _buffers(self, lanes: int) -> dict[str, Array]:
        starts = self._problem.start_buffers(self._seed)
        return {name: np.repeat(start[None], lanes, axis=0) for name, start in starts.items()}

    def loss_and_gradient(self) -> tuple[float, np.ndarray]:
        """Return the loss and its gradient (parameters,), NaN where nothing was written."""
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
        losses = np.empty(entries.size)
        for first in range(0, entries.size, len(self._rows)):
            some = entries[first : first + len(self._rows)]
            lanes = np.arange(some.size)
            self._rows[lanes, some] = values[first : first + some.size]
            losses[first : first + some.size] = self._losses()[lanes]
            self._rows[lanes, some] = self.position[some]
        return losses

    def _losses(self) -> Array:
        params = stack(self._rows, self._problem.tensors, np)
        buffers = self._buffers(len(self._rows))
        with np.errstate(all="ignore"):
            return self._problem.loss(params, self._batch, buffers=buffers, work=self._work).total


def _check_tensor(
    tensor: Tensor, entries: slice, gradient: np.ndarray, floor: float, point: Point, seed: int
) -> TensorCheck:
    """Compare entries of one tensor; others are drawn for those that lie at kinks."""
    order = rng.stream(seed, f"verify/{tensor.name}").permutation(tensor.size)
    order = entries.start + order[: TRIES * ENTRIES]
    kept, numeric, drawn = order[:0], np.empty(0), 0
    while kept.size < min(ENTRIES, tensor.size) and drawn < order.size:
        some = order[drawn : drawn + ENTRIES - kept.size]
        drawn += some.size
        slopes = derivatives(some, gradient[some], floor, point, TOLERANCE)
        good = ~np.isnan(slopes) | ~np.isfinite(gradient[some])
        kept, numeric = np.append(kept, some[good]), np.append(numeric, slopes[good])
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
        tuple(int(position) for position in index),
        float(analytic[worst]),
        float(numeric[worst]),
    )
