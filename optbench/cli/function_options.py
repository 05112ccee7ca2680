"""``--function`` and ``--start``: a function of your own, without a suite file."""

from collections.abc import Sequence
from typing import Any

from optbench.errors import SuiteError
from optbench.grids import toml_value

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
