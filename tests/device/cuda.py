"""Runs the source of a CUDA element-wise kernel in Python, so that no GPU is needed to check it.

The source is read as what it is, a list of assignments; a name that was not declared is an error,
as it would be to a compiler.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

FUNCTIONS: dict[str, Any] = {
    "sqrt": np.sqrt,
    "abs": np.abs,
    "exp": np.exp,
    "log": np.log,
    "tanh": np.tanh,
    "where": np.where,
}

DECLARATION = re.compile(r"T (\w+)(?: = (.+))?")
CHOICE = re.compile(r"\((.+) \|\| (.+) \? (.+) : (.+)\)")


def names(declared: str) -> list[str]:
    """Return the names in a kernel's list of inputs or outputs, all of type T."""
    return [DECLARATION.fullmatch(each)[1] for each in declared.split(", ")]


def run_source(
    inputs: str, outputs: str, body: str, arguments: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Return the outputs; T is the arguments' type, arrays stand for all elements at once."""
    values = dict(zip(names(inputs), arguments, strict=True))
    declared = {*values, *names(outputs)}
    scope = {**FUNCTIONS, "T": arguments[0].dtype.type}
    for line in body.splitlines():
        assert line.endswith(";")
        statement = line[:-1]
        declaration = DECLARATION.fullmatch(statement)
        if declaration:
            assert declaration[1] not in declared, f"{declaration[1]} is declared twice"
            declared.add(declaration[1])
            statement = statement[2:]
        target, equals, expression = statement.partition(" = ")
        assert target in declared, f"{target} is not declared"
        if equals:
            expression = CHOICE.sub(r"where((\1) | (\2), \3, \4)", expression)
            values[target] = eval(expression, {"__builtins__": {}}, {**scope, **values})
    return [values[name] for name in names(outputs)]


class ElementwiseKernel:
    """Takes the place of CuPy's."""

    def __init__(
        self, inputs: str, outputs: str, body: str, name: str, options: tuple[str, ...]
    ) -> None:
        assert name.isidentifier()
        assert "--fmad=false" in options  # else a product and a sum would be rounded once
        self._source = inputs, outputs, body
        self._inputs = len(names(inputs))

    def __call__(self, *arguments: np.ndarray) -> None:
        """Write the outputs, which stand after the inputs, in place."""
        given, written = arguments[: self._inputs], arguments[self._inputs :]
        results = run_source(*self._source, given)
        for array, result in zip(written, [np.array(each) for each in results], strict=True):
            array[...] = result
