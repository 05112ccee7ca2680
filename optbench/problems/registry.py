"""The problems that names stand for, built in or plug-ins; importing it loads no data."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from optbench.errors import SuiteError, nearest
from optbench.problems.base import Problem
from optbench.problems.expressions.function import ExpressionFunction
from optbench.problems.functions.multimodal import FUNCTIONS as MULTIMODAL
from optbench.problems.functions.noisy import NOISY
from optbench.problems.functions.oscillating import FUNCTIONS as OSCILLATING
from optbench.problems.functions.quadratic_deep import QuadraticDeep
from optbench.problems.functions.quadratics import FUNCTIONS as QUADRATICS
from optbench.problems.functions.valleys import FUNCTIONS as VALLEYS
from optbench.problems.models.adopt import model_problem
from optbench.problems.networks.catalogue import NETWORKS
from optbench.problems.plugin import offered, plugin_problem
from optbench.settings import complete

FUNCTIONS = (*QUADRATICS, *VALLEYS, *MULTIMODAL, *OSCILLATING)
"""All functions without noise."""

_ALL: tuple[type[Problem], ...] = (*FUNCTIONS, *NOISY, QuadraticDeep, ExpressionFunction, *NETWORKS)

PROBLEMS: dict[str, type[Problem]] = {problem.name: problem for problem in _ALL}
"""All built-in problems by name."""


def get_problem_class(name: str) -> type[Problem]:
    """Return the class of the problem of that name, built in or from a plug-in."""
    kind = PROBLEMS.get(name) or model_problem(name) or plugin_problem(name)
    if kind is None:
        known = [*PROBLEMS, *offered()]
        raise SuiteError(f"unknown problem '{name}'; {nearest(name, known, most=3)}")
    return kind


def make_problem(
    name: str, given: Mapping[str, Any], data_dir: Path | None = None
) -> tuple[Problem, tuple[str, ...]]:
    """Return a problem with the options given and defaults for the others, checked and prepared.

    Data sets are found, loaded and verified here; ``data = "auto"`` becomes the one that was found,
    and what the user should know of that is returned as notices.
    """
    kind = get_problem_class(name)
    problem = kind(complete(name, "option", kind.options, given), data_dir)
    return problem, problem.prepare()
