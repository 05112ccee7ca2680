"""Suites without a file: a function as a formula, or problems by name."""

from collections.abc import Mapping, Sequence
from typing import Any

from optbench.errors import SuiteError, argument, shown
from optbench.suite.format import (
    OptimizerEntry,
    SuiteFile,
    distinct,
    given_entry,
    new_entry,
    parse_suite,
)
from optbench.suite.names import optimizer_name, problem_name

FUNCTION_SUITE = "function"
"""The name of the suite that a formula makes."""

TEXTBOOK = ("sgd", "momentum", "adagrad", "adam")
"""What runs, at its defaults, where neither a suite nor ``-o`` names an optimizer."""


def function_suite(expression: str, start: Mapping[str, Any]) -> dict[str, Any]:
    """Return the suite of a function given as a formula, for ``parse_suite``.

    The formula is checked when the suite is resolved.

    >>> function_suite("x**2 + y**2", {"x": -7, "y": 2})["problem"]
    [{'name': 'function', 'expression': 'x**2 + y**2', 'start': {'x': -7, 'y': 2}}]
    """
    if not start:
        raise SuiteError(
            f"{argument('function')} needs a start; give each variable a value, as "
            + argument("start", {"x": -7, "y": [1, 2]})
        )
    return {
        "name": FUNCTION_SUITE,
        "problem": [{"name": "function", "expression": expression, "start": dict(start)}],
        "optimizer": [{"name": name} for name in TEXTBOOK],
    }


def problem_entries(names: Sequence[str]) -> list[dict[str, Any]]:
    """Return a ``[[problem]]`` for each name; what comes from a file or module gets a label.

    The label is what stands after the colon, and the whole name where that is not unique.

    >>> problem_entries(["anisotropic", "mine.py:Valley"])
    [{'name': 'anisotropic'}, {'name': 'mine.py:Valley', 'label': 'Valley'}]
    """
    distinct = list(dict.fromkeys(map(problem_name, names)))
    labels = [name.rpartition(":")[2] for name in distinct]
    return [
        {"name": name, "label": label if label and labels.count(label) == 1 else name}
        if ":" in name
        else {"name": name}
        for name, label in zip(distinct, labels, strict=True)
    ]


def with_problems(suite: SuiteFile, names: Sequence[str]) -> SuiteFile:
    """Return a suite with its optimizers on other problems, or as it is where none is named."""
    return suite.changed(problem=problem_entries(names)) if names else suite


def suite_of_problems(
    names: Sequence[str], optimizers: Sequence[str | Mapping[str, Any]] = ()
) -> SuiteFile:
    """Return a suite of at least one problem, named after the first, for runs that name no suite.

    Optimizers that are only named have their defaults; where there is none, they are those of the
    textbook.
    """
    entries = problem_entries(names)
    chosen: list[OptimizerEntry] = []
    wanted = [optimizer_name(each) if isinstance(each, str) else each for each in optimizers]
    for given in distinct(wanted or TEXTBOOK):
        taken = [entry.title for entry in chosen]
        chosen.append(new_entry(given, taken) if isinstance(given, str) else given_entry(given))
    title = entries[0].get("label", entries[0]["name"])
    optimizer = [entry.model_dump(exclude_unset=True) for entry in chosen]
    suite = {"name": shown(title), "problem": entries, "optimizer": optimizer}
    return parse_suite(suite, argument("problem"))
