"""Functions and classes that a Python program hands over in the place of names."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from optbench.errors import SuiteError, argument
from optbench.optimizers.base import Optimizer
from optbench.plugins import given_name
from optbench.problems.base import Problem
from optbench.problems.python.check import check_gradient
from optbench.problems.python.function import PythonFunction, function, plain_name

Given = str | Callable[..., Any]
"""A name, or a function or class in its place."""


def named_problems(
    given: Given | Sequence[Given],
    start: Mapping[str, Any] | Sequence[float] | None = None,
    gradient: Callable[..., Any] | None = None,
    *,
    vectorized: bool = False,
) -> list[str]:
    """Return the names of problems; functions and classes are handed over under theirs.

    Parameters
    ----------
    given
        Names, problems, or Python functions.
    start, gradient, vectorized
        Of Python functions, as :func:`optbench.problems.function` takes them.

    Raises
    ------
    SuiteError
        If something is no problem, a function has no start, or its gradient is wrong.
    """
    each: list[Any] = list(given) if isinstance(given, list | tuple) else [given]
    plain = [one for one in each if not isinstance(one, str) and not _is_problem(one)]
    if start and not plain:
        raise SuiteError(
            f"a start belongs to a function; give {argument('function')}, or in Python problem=f"
        )
    if gradient is not None and len(plain) != 1:
        raise SuiteError("gradient is that of one function; give it with problem=f")
    if vectorized and not plain:
        raise SuiteError("vectorized is said of a function; give it with problem=f")
    if plain and not start:
        raise SuiteError(
            f"{plain_name(plain[0])} needs a start: start=[1.0, 2.0] for a function of an array, "
            "start={'x': 1.0, 'y': 2.0} for one of numbers by name"
        )
    names = []
    for one in each:
        if not isinstance(one, str) and not _is_problem(one):
            assert start
            one = function(one, start=start, gradient=gradient, vectorized=vectorized)
        names.append(one if isinstance(one, str) else _problem_name(one))
    return names


def _is_problem(given: Any) -> bool:
    return isinstance(given, type) and issubclass(given, Problem)


def _problem_name(kind: type[Problem]) -> str:
    """Hand a problem over."""
    if not issubclass(kind, PythonFunction):
        return given_name(kind, kind.__name__, [kind])
    check_gradient(kind)
    calls = kind.calls
    parts = [part for part in (calls.function, calls.gradient) if part is not None]
    return given_name(kind, kind.name, parts)


def named_optimizers(given: Any) -> Any:
    """Return optimizers as a request holds them; classes and factories are handed over by name.

    Parameters
    ----------
    given
        A name, an update rule, an optimizer of PyTorch or a factory of optax's, or a list of these
        and of entries, whose ``name`` may be any of them.

    Raises
    ------
    SuiteError
        If something is none of these.
    """
    if isinstance(given, list | tuple):
        return [named_optimizers(each) for each in given]
    if isinstance(given, Mapping) and "name" in given:
        return {**given, "name": named_optimizers(given["name"])}
    return _optimizer_name(given) if callable(given) else given


def _optimizer_name(given: Callable[..., Any]) -> str:
    name = plain_name(given)
    module = str(getattr(given, "__module__", ""))
    if isinstance(given, type) and issubclass(given, Optimizer):
        built_in = module.startswith("optbench.optimizers.rules.")
        return given.name if built_in else given_name(given, name, [given])
    torch, optax = sys.modules.get("torch"), sys.modules.get("optax")
    if isinstance(given, type):
        if torch is None or not issubclass(given, torch.optim.Optimizer):
            raise SuiteError(
                f"{name} is a class, but no optimizer; give a subclass of "
                "optbench.optimizers.Optimizer or of torch.optim.Optimizer"
            )
        if getattr(torch.optim, name, None) is given:
            return f"torch:{name}"
        return f"torch:{given_name(given, name, [given])}"
    if optax is None:
        raise SuiteError(
            f"{name} is a function, but no optimizer; give a class, or a function that returns a "
            "gradient transformation of optax"
        )
    if getattr(optax, name, None) is given:
        return f"optax:{name}"
    return f"optax:{given_name(given, name, [given])}"
