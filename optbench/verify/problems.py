"""Checks of a problem, and what it computes at a point, for users' own tests as well."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from optbench.engine.executor import one_blas_thread
from optbench.errors import CheckError, UsageError
from optbench.plugins import new_code_cache
from optbench.problems.base import Problem
from optbench.problems.plugin import PluginProblem
from optbench.problems.registry import make_problem
from optbench.settings import typed
from optbench.suite.handed import named_problems
from optbench.suite.values import seed_list
from optbench.verify.gradients import GradientCheck, Point, check_gradient, problems_to_check
from optbench.verify.sharing import shared_state


@typed
@new_code_cache()
def check_problem(name: str | Callable[..., Any], *, seed: int = 0) -> tuple[GradientCheck, ...]:
    """Compare a problem's gradient with central differences of its loss, in float64.

    Of a problem of yours it is also looked at whether lanes, blocks or calls share anything.

    Parameters
    ----------
    name
        A problem as a suite or a flag gives it, or a suite for all of its problems.
    seed
        That of start, minibatch, masks and the entries compared.

    Returns
    -------
    tuple
        What was found of each problem; ``passed`` says whether all is well.

    Raises
    ------
    UsageError
        If there is no such problem.
    CheckError
        If a problem of yours raises.

    >>> [check.passed for check in check_problem("booth")]
    [True]
    """
    (seed,) = seed_list([seed])
    (source,) = named_problems(name)
    return tuple(_checked(problem, title, seed) for title, problem in problems_to_check(source))


def _checked(problem: Problem, title: str, seed: int) -> GradientCheck:
    """Check a gradient, and what a user's own code shares; code that raises has not passed."""
    try:
        shared = shared_state(problem, seed) if isinstance(problem, PluginProblem) else ""
        return replace(check_gradient(problem, title, seed), shared=shared)
    except (Exception, SystemExit) as error:  # a user's code may raise anything
        if not isinstance(problem, PluginProblem):
            raise
        raise CheckError(problem.failure("fails beside its start", error)) from error


@typed
@new_code_cache()
def loss_and_gradient(
    name: str, point: Sequence[float] | np.ndarray, *, seed: int = 0, **options: Any
) -> tuple[float, np.ndarray]:
    """Return a problem's loss and its gradient at a point, in float64.

    Parameters
    ----------
    name
        A problem as a suite or a flag gives it.
    point
        Of shape (parameters,), tensor after tensor.
    seed
        Whose first minibatch they are of, where there are minibatches.
    options
        Those of the problem that are not to have their defaults, but for dtype.

    Returns
    -------
    float, ndarray
        The loss, and its gradient of shape (parameters,).

    Raises
    ------
    UsageError
        If there is no such problem or option, or the point has another shape.

    >>> loss, gradient = loss_and_gradient("anisotropic", [-7.0, 2.0])
    >>> loss, gradient.tolist()
    (6.45, [-0.7, 4.0])
    """
    (seed,) = seed_list([seed])
    if "dtype" in options:
        raise UsageError("dtype is float64 here; leave it out")
    problem, _ = make_problem(name, {**options, "dtype": "float64"})
    try:
        position = np.array(point, dtype=float)
    except (TypeError, ValueError):
        raise UsageError("point must be numbers") from None
    if position.shape != (problem.parameters,):
        raise UsageError(f"point must have the shape ({problem.parameters},), not {position.shape}")
    with one_blas_thread():
        return Point(problem, seed, position).loss_and_gradient()
