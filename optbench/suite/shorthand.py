"""Suites without a file: ``--function``, ``--start`` and ``--problem``."""

import re
from collections.abc import Sequence
from typing import Any

from optbench.errors import SuiteError
from optbench.suite.format import OptimizerEntry, SuiteFile, new_entry, parse_suite
from optbench.suite.values import toml_value

SUITE_NAME = "function"


OPTIMIZERS = ("sgd", "momentum", "adagrad", "adam")
"""What runs unless ``-o`` says otherwise: the textbook's update rules at their defaults."""


EXAMPLE = "--start x=-7,y=2 (a vector: --start 'x=[1, 2, 3]')"


def function_suite(expression: str, starts: Sequence[str]) -> dict[str, Any]:
    """Return the suite that ``--function`` and ``--start`` mean, for ``parse_suite``.

    Parameters
    ----------
    expression
        What is to be minimised, as ``"x**2/20 + y**2"``. It is checked when the suite is settled.
    starts
        The values of ``--start``, each as ``x=-7,y=2``; together they name all variables.

    Raises
    ------
    SuiteError
        If there is no start, or it is malformed.

    >>> function_suite("x**2 + y**2", ["x=-7,y=2"])["problem"]
    [{'name': 'function', 'expression': 'x**2 + y**2', 'start': {'x': -7, 'y': 2}}]
    """
    if not starts:
        raise SuiteError(f"--function has no start; give each variable a value, as {EXAMPLE}")
    problem = {"name": "function", "expression": expression, "start": start_table(starts)}
    return {
        "name": SUITE_NAME,
        "problem": [problem],
        "optimizer": [{"name": name} for name in OPTIMIZERS],
    }


def start_table(starts: Sequence[str]) -> dict[str, Any]:
    """Return the start that the values of ``--start`` mean; values are TOML.

    Raises
    ------
    SuiteError
        If one is malformed, or a variable is given twice.

    >>> start_table(["x=[1, 2.5],y=2", "z=1e-3"])
    {'x': [1, 2.5], 'y': 2, 'z': 0.001}
    """
    table: dict[str, Any] = {}
    for text in starts:
        part = toml_value(f"{{{text}}}")
        if not isinstance(part, dict) or not part:
            raise SuiteError(f"--start '{text}' is malformed; write {EXAMPLE}")
        for name in part:
            if name in table:
                raise SuiteError(f"--start gives '{name}' twice; one value is needed")
        table |= part
    return table


TEXTBOOK = ("sgd", "momentum", "adagrad", "adam")
"""Optimizers that run where neither a suite nor ``-o`` names any."""


def problem_entries(names: Sequence[str]) -> list[dict[str, Any]]:
    """Return a ``[[problem]]`` for each name; what comes from a file or module gets a label.

    The label is what stands after the colon, and the whole name where that is not unique.

    >>> problem_entries(["anisotropic", "mine.py:Valley"])
    [{'name': 'anisotropic'}, {'name': 'mine.py:Valley', 'label': 'Valley'}]
    """
    distinct = list(dict.fromkeys(names))
    labels = [name.rpartition(":")[2] for name in distinct]
    return [
        {"name": name, "label": label if label and labels.count(label) == 1 else name}
        if ":" in name
        else {"name": name}
        for name, label in zip(distinct, labels, strict=True)
    ]


def with_problems(suite: SuiteFile, names: Sequence[str]) -> SuiteFile:
    """Return a suite with its optimizers on other problems, or as it is where none is named.

    Raises
    ------
    SuiteError
        If a name can be no label.
    """
    return suite.changed(problem=problem_entries(names)) if names else suite


def suite_of_problems(names: Sequence[str], optimizers: Sequence[str] = ()) -> SuiteFile:
    """Return a suite of at least one problem, named after the first, for runs that name no suite.

    Parameters
    ----------
    optimizers
        Names of optimizers; all at their defaults, and those of the textbook where none is named.

    Raises
    ------
    SuiteError
        If a name can be no label.
    """
    entries = problem_entries(names)
    chosen: list[OptimizerEntry] = []
    for name in dict.fromkeys(optimizers or TEXTBOOK):
        chosen.append(new_entry(name, [entry.title for entry in chosen]))
    title = entries[0].get("label", entries[0]["name"])
    plain = [each.model_dump(exclude_unset=True) for each in chosen]
    suite = {"name": _folder_name(title), "problem": entries, "optimizer": plain}
    return parse_suite(suite, "--problem")


def _folder_name(title: str) -> str:
    """Return a title as a name that a suite takes.

    >>> _folder_name("../my problems.py:_Valley"), _folder_name("∇")
    ('my-problems.py-_Valley', 'problem')
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", title).strip("._-")[:100] or "problem"
