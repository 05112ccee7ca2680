"""The registry of problems; importing it loads no data."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from optbench.errors import SuiteError, nearest
from optbench.problems.base import Problem
from optbench.problems.functions import Anisotropic, Quadratic1D
from optbench.problems.networks import MnistMLP

PROBLEMS: dict[str, type[Problem]] = {
    problem.name: problem for problem in (Anisotropic, Quadratic1D, MnistMLP)
}
"""All problems by name."""


def get_problem_class(name: str) -> type[Problem]:
    """Return the class of the problem of that name.

    Raises
    ------
    SuiteError
        If there is none; it names the nearest.
    """
    if name not in PROBLEMS:
        raise SuiteError(f"unknown problem '{name}'; {nearest(name, PROBLEMS)}")
    return PROBLEMS[name]


def make_problem(
    name: str, given: Mapping[str, Any], data_dir: Path | None = None
) -> tuple[Problem, tuple[str, ...]]:
    """Return a problem with the options given and defaults for the others, checked and settled.

    Data sets are found, loaded and verified here; ``data = "auto"`` becomes the one that was found,
    and what the user should know of that is returned as notices.

    Raises
    ------
    SuiteError
        For an unknown problem or option, a value out of range, or a batch larger than the data.
    DataError
        If a data set is missing or damaged.
    """
    kind = get_problem_class(name)
    known = {option.name: option for option in kind.options}
    for key in given:
        if key not in known:
            raise SuiteError(f"{name} has no option '{key}'; {nearest(key, known)}")
    try:
        options = {key: each.check(given.get(key, each.default)) for key, each in known.items()}
    except SuiteError as error:
        raise SuiteError(f"{name}: {error}") from None
    problem = kind(options, data_dir)
    return problem, problem.settle()
