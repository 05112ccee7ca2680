"""Whether a problem of a user's own gives what the contract asks for, found before anything runs.

:func:`probe` asks a problem for all that a run would, and makes one step of two lanes: what a lane
alone would hide, such as a loss summed over lanes, shows with two.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from optbench import rng
from optbench.arrays import Stacked, Tensor, stack
from optbench.problems.base import RECORDS, Losses, Problem
from optbench.workspace import Workspace

LANES = 2


def probe(problem: Problem) -> None:
    """Ask a problem for all that a run needs, on the host, with two lanes at the start of seed 0.

    Raises
    ------
    TypeError, ValueError
        If something does not fit the contract; the message says what.
    Exception
        Whatever the problem raises.
    """
    if problem.record not in RECORDS:
        raise ValueError(f"record = {problem.record!r}; it is one of {', '.join(RECORDS)}")
    _check_tensors(problem.tensors)
    _check_shape("start(0)", problem.start(0), (problem.parameters,))
    for split, size in problem.split_sizes().items():
        if not isinstance(size, int) or size < 1:
            raise TypeError(f"split_sizes() gives {size!r} for {split!r}; it is to be a number")
    epoch = problem.iterations_per_epoch
    if epoch is not None and (not isinstance(epoch, int) or epoch < 1):
        raise ValueError(f"iterations_per_epoch = {epoch!r}; it is None, or at least 1")
    problem.definition()
    _check_plain(problem.describe())
    with np.errstate(all="ignore"):
        _step(problem)


def _check_tensors(tensors: Any) -> None:
    good = isinstance(tensors, tuple) and all(isinstance(each, Tensor) for each in tensors)
    if not good or not tensors:
        raise TypeError("tensors is to be a tuple of Tensor(name, shape), at least one")
    names = [each.name for each in tensors]
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"the tensors' names are to be texts, not {names!r}")
    if len(set(names)) < len(names) or any(min(each.shape, default=1) < 1 for each in tensors):
        raise ValueError("tensors are to have different names, and sizes of at least 1")


def _check_shape(what: str, given: Any, shape: tuple[int, ...]) -> None:
    if not isinstance(given, np.ndarray | np.number) or given.shape != shape:
        found = getattr(given, "shape", type(given).__name__)
        raise TypeError(f"{what} is to be an array of the shape {shape}, not {found}")


def _check_plain(description: dict[str, Any]) -> None:
    try:
        json.dumps(description, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        raise TypeError(f"describe() is no plain data: {error}") from None


def _step(problem: Problem) -> None:
    """Take one batch, and loss and gradient of it for two lanes."""
    work = Workspace(np)
    draws = problem.draws(0, 0)
    for name, each in draws.items():
        if not isinstance(each, np.ndarray) or len(each) < rng.ITERATIONS_PER_BLOCK:
            rows = rng.ITERATIONS_PER_BLOCK
            raise TypeError(f"draws(0, 0) gives no array of {rows} rows for {name!r}")
    data = problem.data()
    batch = problem.batch(data, {name: each[:1] for name, each in draws.items()}, work=work)
    for what, given in (("data", data), ("batch", batch)):
        if not isinstance(given, Mapping):
            raise TypeError(f"{what}() gives {type(given).__name__}; it is to give arrays by name")
        for name, each in given.items():
            if not isinstance(each, np.ndarray):
                raise TypeError(f"{what}() gives no array for {name!r}")
    params, grads = _stacked(problem, problem.start(0)), _stacked(problem, 0.0)
    buffers = {
        each.name: np.full((LANES, *each.shape), each.start, dtype=problem.dtype)
        for each in problem.buffers
    }
    losses = problem.loss_and_grad(params, grads, batch, buffers=buffers, work=work)
    _check_losses("loss_and_grad", losses)
    _check_losses("loss", problem.loss(params, batch, buffers=buffers, work=work))


def _stacked(problem: Problem, values: Any) -> Stacked:
    rows = np.empty((LANES, problem.parameters), dtype=problem.dtype)
    rows[...] = values
    return stack(rows, problem.tensors, np)


def _check_losses(what: str, given: Any) -> None:
    if not isinstance(given, Losses):
        raise TypeError(f"{what} returns {type(given).__name__}; it is to return Losses(total)")
    _check_shape(f"of {LANES} lanes, the total of {what}", given.total, (LANES,))
    if given.penalty is not None:
        _check_shape(f"of {LANES} lanes, the penalty of {what}", given.penalty, (LANES,))
