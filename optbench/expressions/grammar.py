"""What expressions may hold: names, operators, limits, and how messages speak of them."""

import ast
import math
from typing import NamedTuple

from optbench.expressions.graph import Shape

MAX_NESTING = 50
"""Levels of brackets, signs and powers in each other; a sum of many terms is one level."""

MAX_EXPONENT = 1000.0

NUMBERS = {"pi": math.pi, "e": math.e}

FUNCTIONS: dict[str, int] = {
    **dict.fromkeys(("exp", "log", "sin", "cos", "tan", "tanh", "sqrt", "abs", "sum"), 1),
    **dict.fromkeys(("minimum", "maximum", "dot"), 2),
}
"""Functions, and how many arguments they take."""

RESERVED = {*FUNCTIONS, *NUMBERS}
"""Names that mean something already."""

MOST_QUOTED = 40
"""Characters that a message quotes of an expression."""

BINARY: dict[type[ast.operator], tuple[str, str, int]] = {
    ast.Add: ("add", " + ", 1),
    ast.Sub: ("subtract", " - ", 1),
    ast.Mult: ("multiply", "*", 2),
    ast.Div: ("divide", "/", 2),
}
"""Operation, canonical text and rank of the operators that go from left to right."""

SIGN_RANK, POWER_RANK, ATOM_RANK = 3, 4, 5

WORDS: dict[type[ast.expr], str] = {
    ast.Attribute: "an attribute",
    ast.Lambda: "a lambda",
    ast.IfExp: "a condition",
    ast.Compare: "a comparison",
    ast.Tuple: "a comma here",
    ast.List: "a list",
    ast.ListComp: "a loop",
    ast.GeneratorExp: "a loop",
    ast.Starred: "a star before a name",
    ast.Slice: "a slice here",
}
"""How messages call the syntax that is refused most often."""


class Part(NamedTuple):
    """A part of an expression.

    Attributes
    ----------
    node
        Its node in the graph.
    text
        Its canonical text.
    rank
        How strongly its parts hold together: 1 for sums up to 5 for names and calls.
    """

    node: int
    text: str
    rank: int = ATOM_RANK

    def inside(self, rank: int) -> str:
        """Return the text, in brackets where its parts hold together less than ``rank``."""
        return self.text if self.rank >= rank else f"({self.text})"


def noun(shape: Shape) -> str:
    """Say what has a shape."""
    match shape:
        case ():
            return "a scalar"
        case (n,):
            return f"a vector of {n} coordinate{'s' * (n > 1)}"
    return f"a {shape[0]}×{shape[1]} matrix"


def cut(text: str) -> str:
    """Return text short enough to be quoted in a line."""
    return text if len(text) <= MOST_QUOTED else f"{text[:MOST_QUOTED]}…"
