"""From text to a graph, through a whitelist of Python's own syntax tree.

Nothing of the text is ever run. Only numbers, names that were given, arithmetic, calls of the
functions in :data:`FUNCTIONS`, comparisons in ``where``, indices and slices become nodes;
everything else is refused with a caret under it, and so is what would take long or end in no
number: overlong text, deep nesting, huge exponents and numbers.
"""

import ast
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from optbench.errors import SuiteError, nearest
from optbench.problems.expressions.graph import Graph, Shape

# What an expression may hold.

NUMBERS = {"pi": math.pi, "e": math.e}

OF_NUMBERS = {
    **{name: name for name in ("exp", "log", "log10", "sin", "cos", "tan", "sinh", "cosh", "tanh")},
    **{name: name for name in ("sqrt", "abs", "sign", "minimum", "maximum")},
    "arctan": "atan",
}
"""Functions that work coordinate by coordinate, and the operations that they are."""

OF_VECTORS = ("sum", "prod", "mean", "norm", "max", "min")
"""Functions that make one number of a vector."""

FUNCTIONS: dict[str, int] = {
    **dict.fromkeys((*OF_NUMBERS, *OF_VECTORS), 1),
    **dict.fromkeys(("minimum", "maximum", "dot"), 2),
    "where": 3,
}
"""Functions, and how many arguments they take; ``max`` and ``min`` also take several numbers."""

SAME = {"ln": "log", "atan": "arctan", "amax": "max", "amin": "min"}
"""Other names of functions, which canonical texts do not have."""

PAIRWISE = {"max": "maximum", "min": "minimum"}
"""What these are of several numbers, or vectors."""

LIBRARIES = ("np", "numpy", "np.linalg", "numpy.linalg", "math", "jnp", "torch")
"""What may stand before the name of a function or a number, and means nothing."""

COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
}

CONDITION = "the condition of where(condition, a, b)"

RESERVED = {*FUNCTIONS, *SAME, *NUMBERS}
"""Names that mean something already."""

BINARY: dict[type[ast.operator], tuple[str, str, int]] = {
    ast.Add: ("add", " + ", 1),
    ast.Sub: ("subtract", " - ", 1),
    ast.Mult: ("multiply", "*", 2),
    ast.Div: ("divide", "/", 2),
}
"""Operation, canonical text and rank of the operators that go from left to right."""

SIGN_RANK, POWER_RANK, ATOM_RANK = 3, 4, 5

EQUALS = re.compile("[<>!=]=")
"""Comparisons that hold an equals sign."""

SYMBOLS = "+-*/()[].,:<>&|"

MAX_LENGTH = 4000
"""Characters of an expression."""

MAX_NESTING = 50
"""Levels of brackets, signs and powers in each other; a sum of many terms is one level."""

MAX_EXPONENT = 1000.0

# What mistakes say.

SHOWN = 72
"""Characters of an expression that are shown around a mistake."""

MOST_QUOTED = 40
"""Characters that a message quotes of an expression."""

WORDS: dict[type[ast.expr], str] = {
    ast.Attribute: "an attribute",
    ast.Lambda: "a lambda",
    ast.Tuple: "a comma here",
    ast.List: "a list",
    ast.ListComp: "a loop",
    ast.GeneratorExp: "a loop",
    ast.Starred: "a star before a name",
    ast.Slice: "a slice here",
}
"""What messages call the syntax that is refused most often."""

INSTEAD = {
    **dict.fromkeys(("fabs", "absolute"), "abs(x)"),
    **dict.fromkeys(("pow", "power"), "x**y"),
    "square": "x**2",
    "log2": "log(x)/log(2)",
    "cbrt": "sign(x)*abs(x)**(1/3)",
    "hypot": "sqrt(x**2 + y**2)",
    "sec": "1/cos(x)",
    "csc": "1/sin(x)",
    "cot": "1/tan(x)",
    "sech": "1/cosh(x)",
    "csch": "1/sinh(x)",
    "coth": "1/tanh(x)",
    **dict.fromkeys(("sigmoid", "expit"), "1/(1 + exp(-x))"),
    "softplus": "log(1 + exp(x))",
    "relu": "max(x, 0)",
    "clip": "min(max(x, low), high)",
    "softmax": "exp(x)/sum(exp(x))",
    "logsumexp": "log(sum(exp(x)))",
}
"""What to write in place of functions that there are elsewhere."""

PERHAPS_A_PRODUCT = ("invalid syntax", "invalid decimal literal")
"""What Python says of ``x y`` and of ``2x``."""

HINTS = {
    "^": "powers are written **",
    "=": "write only what is to be minimised; equal is written ==",
    "!": "unequal is written !=, and not stands before a condition",
    "@": "write dot(A, x)",
    "−": "the minus sign is written -",
    "×": "products are written *",
    "⋅": "products are written *",
    "÷": "quotients are written /",
    "√": "write sqrt(…)",
    **dict.fromkeys("²³⁴⁵⁶⁷⁸⁹", "powers are written **"),
    **dict.fromkeys("\"'", "text is not allowed here"),
}


class ExpressionError(SuiteError):
    """An expression is wrong: one line that says how, and below it the place with a caret.

    ``column`` is the number, from 0, of the character of the text that the caret stands under.
    """

    def __init__(self, message: str, text: str, column: int) -> None:
        super().__init__(message, text, column)
        self.message, self.text, self.column = message, text, column

    def __str__(self) -> str:
        return f"{' '.join(self.message.split())}\n{self.excerpt}"

    @property
    def excerpt(self) -> str:
        """The expression around the mistake, and a line with the caret."""
        line = "".join(_visible(character) for character in self.text)
        column = min(max(self.column, 0), len(line))
        first = 0 if len(line) <= SHOWN else max(0, min(column - SHOWN // 2, len(line) - SHOWN))
        shown = line[first : first + SHOWN]
        before = "…" if first else ""
        after = "…" if first + SHOWN < len(line) else ""
        margin = " " * (4 + len(before) + column - first)
        return f"    {before}{shown}{after}\n{margin}^"

    def within(self, place: str) -> "ExpressionError":
        """Return the same mistake, its message begun with the place where it stands."""
        return ExpressionError(f"{place}: {self.message}", self.text, self.column)


def _visible(character: str) -> str:
    """Return one character in one column's place: breaks as spaces, what cannot be printed as ?."""
    if character.isspace():
        return " "
    return character if character.isprintable() else "?"


@dataclass(frozen=True)
class Expression:
    """An expression that was parsed: its canonical text, without needless blanks and brackets.

    ``result`` is the node of its value, a scalar; ``names`` are the variables and constants in it.
    """

    text: str
    graph: Graph
    result: int
    names: frozenset[str]


def parse(
    text: str, variables: Mapping[str, Shape], constants: Mapping[str, Shape | float]
) -> Expression:
    """Parse an expression of variables and constants: numbers, vectors (n,) and matrices (m, n).

    An ExpressionError shows where it is not a scalar made of the names given.

    >>> parse("x**2/20+(y)**2.0", {"x": (), "y": ()}, {}).text
    'x**2/20 + y**2'
    """
    return _Parser(text, variables, constants).expression()


class Part(NamedTuple):
    """A part of an expression: its node, its canonical text, and how strongly it holds together.

    The rank goes from 1 for sums to 5 for names and calls.
    """

    node: int
    text: str
    rank: int = ATOM_RANK

    def inside(self, rank: int) -> str:
        """Return the text, in brackets where its parts hold together less than ``rank``."""
        return self.text if self.rank >= rank else f"({self.text})"


class _Parser:
    def __init__(
        self, text: str, variables: Mapping[str, Shape], constants: Mapping[str, Shape | float]
    ) -> None:
        self._text = text
        self._graph = Graph()
        self._used: set[str] = set()
        self._names = {name: self._graph.variable(name, shape) for name, shape in variables.items()}
        for name, value in (NUMBERS | dict(constants)).items():
            self._names[name] = (
                self._graph.constant(name, value)
                if isinstance(value, tuple)
                else self._graph.number(value)
            )

    def expression(self) -> Expression:
        tree = syntax_tree(self._text)
        whole = self._part(tree, 0)
        shape = self._graph.shape(whole.node)
        if shape != ():
            raise self._mistake(
                tree, f"the result is {noun(shape)}; it must be one number, such as sum(…) makes"
            )
        return Expression(whole.text, self._graph, whole.node, frozenset(self._used))

    def _mistake(self, node: ast.expr, message: str) -> ExpressionError:
        return ExpressionError(message, self._text, column_of(node, self._text))

    def _part(self, node: ast.expr, depth: int, *, matrix: bool = False) -> Part:
        """Return what a node of the syntax tree stands for; a matrix only where one may stand."""
        if depth > MAX_NESTING:
            raise self._mistake(
                node, f"this is nested too deeply; at most {MAX_NESTING} levels are allowed"
            )
        match node:
            case ast.BinOp(op=ast.Pow()):
                left, right = (self._part(side, depth + 1) for side in (node.left, node.right))
                part = self._power(node, left, right)
            case ast.BinOp(op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div()):
                part = self._chain(node, depth + 1)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd()):
                part = self._signed(node, depth + 1)
            case ast.Call(keywords=[]):
                part = self._call(node, depth + 1)
            case ast.Subscript():
                part = self._subscript(node, depth + 1)
            case ast.Name():
                part = self._name(node)
            case ast.Constant():
                part = self._number(node)
            case ast.Attribute(attr=name) if name in NUMBERS and self._of_library(node):
                part = Part(self._graph.number(NUMBERS[name]), name)
            case ast.IfExp():
                raise self._mistake(node, "a condition is written where(condition, a, b)")
            case ast.Compare() | ast.BoolOp() | ast.UnaryOp(op=ast.Not()):
                raise self._mistake(node, f"a comparison is allowed only in {CONDITION}")
            case ast.BinOp(op=ast.BitAnd() | ast.BitOr()):
                raise self._mistake(node, f"& and | are allowed only in {CONDITION}")
            case _:
                what = WORDS.get(type(node), "this")
                raise self._mistake(
                    node, f"{what} is not allowed; only arithmetic and functions are"
                )
        if len(self._graph.shape(part.node)) == 2 and not matrix:
            raise self._mistake(node, f"'{part.text}' is a matrix, which is allowed only in dot(…)")
        return self._finite(node, part)

    def _finite(self, node: ast.expr, part: Part) -> Part:
        value = self._graph.value(part.node)
        if value is not None and not math.isfinite(value):
            raise self._mistake(node, f"'{cut(part.text)}' is not a finite number")
        return part

    def _chain(self, node: ast.BinOp, depth: int) -> Part:
        """Return sums and products from left to right, however many terms they have."""
        chain = [node]
        while isinstance(inner := chain[-1].left, ast.BinOp) and type(inner.op) in BINARY:
            chain.append(inner)
        part = self._part(chain[-1].left, depth)
        for link in reversed(chain):
            operation, symbol, rank = BINARY[type(link.op)]
            right = self._part(link.right, depth)
            self._check_shapes(link.right, part, right)
            text = f"{part.inside(rank)}{symbol}{right.inside(rank + 1)}"
            made = self._graph.apply(operation, part.node, right.node)
            part = self._finite(link, Part(made, text, rank))
        return part

    def _power(self, node: ast.BinOp, base: Part, exponent: Part) -> Part:
        self._check_shapes(node.right, base, exponent)
        known = self._graph.value(exponent.node)
        if known is not None and abs(known) > MAX_EXPONENT:
            most = f"at most {MAX_EXPONENT:g} is allowed"
            raise self._mistake(node.right, f"the exponent {known:g} is too large; {most}")
        text = f"{base.inside(ATOM_RANK)}**{exponent.inside(SIGN_RANK)}"
        return Part(self._graph.apply("power", base.node, exponent.node), text, POWER_RANK)

    def _signed(self, node: ast.UnaryOp, depth: int) -> Part:
        part = self._part(node.operand, depth)
        if isinstance(node.op, ast.UAdd):
            return part
        made = self._graph.apply("negative", part.node)
        return Part(made, f"-{part.inside(SIGN_RANK)}", SIGN_RANK)

    def _call(self, node: ast.Call, depth: int) -> Part:
        name = self._function(node.func)
        count, given = FUNCTIONS[name], len(node.args)
        if name in PAIRWISE and given > 1:
            return self._pairwise(node, PAIRWISE[name], depth)
        if given != count:
            arguments = "1 argument" if count == 1 else f"{count} arguments"
            raise self._mistake(node, f"{name} takes {arguments}, not {given}")
        if name == "where":
            return self._where(node, depth)
        parts = [self._part(argument, depth, matrix=name == "dot") for argument in node.args]
        if name == "dot":
            made = self._dot(node, *(part.node for part in parts))
        elif name in OF_VECTORS:
            made = self._of_vector(node, name, parts[0])
        else:
            self._check_shapes(node.args[-1], parts[0], parts[-1])
            made = self._graph.apply(OF_NUMBERS[name], *(part.node for part in parts))
        return Part(made, f"{name}({', '.join(part.text for part in parts)})")

    def _pairwise(self, node: ast.Call, name: str, depth: int) -> Part:
        """Return the largest or smallest of several numbers, or vectors, from left to right."""
        whole = self._part(node.args[0], depth)
        for argument in node.args[1:]:
            part = self._part(argument, depth)
            self._check_shapes(argument, whole, part)
            made = self._graph.apply(name, whole.node, part.node)
            whole = Part(made, f"{name}({whole.text}, {part.text})")
        return whole

    def _of_vector(self, node: ast.Call, name: str, part: Part) -> int:
        """Return one number made of a vector."""
        graph, vector = self._graph, part.node
        if graph.shape(vector) == ():
            several = f"; of several numbers it is {name}(x, y)" if name in PAIRWISE else ""
            message = f"{name} takes a vector; '{cut(part.text)}' is a scalar{several}"
            raise self._mistake(node.args[0], message)
        match name:
            case "prod":
                return graph.product(vector)
            case "mean":
                return graph.divide(graph.sum(vector), graph.number(graph.shape(vector)[0]))
            case "norm":
                return graph.apply("sqrt", graph.sum(graph.power(vector, graph.number(2.0))))
            case "max":
                return graph.extreme("largest", vector)
            case "min":
                return graph.extreme("smallest", vector)
        return graph.sum(vector)

    def _where(self, node: ast.Call, depth: int) -> Part:
        condition = self._condition(node.args[0], depth)
        one, other = (self._part(argument, depth) for argument in node.args[1:])
        self._check_shapes(node.args[1], condition, one)
        self._check_shapes(node.args[2], condition, other)
        self._check_shapes(node.args[2], one, other)
        made = self._graph.where(condition.node, one.node, other.node)
        return Part(made, f"where({condition.text}, {one.text}, {other.text})")

    def _condition(self, node: ast.expr, depth: int) -> Part:
        """Return a condition: a node of 1 where it holds, and of 0 elsewhere."""
        if depth > MAX_NESTING:
            raise self._mistake(
                node, f"this is nested too deeply; at most {MAX_NESTING} levels are allowed"
            )
        match node:
            case ast.Compare():
                return self._comparison(node, depth + 1)
            case ast.BoolOp(op=ast.And(), values=sides):
                return self._joined("multiply", " and ", sides, depth + 1)
            case ast.BoolOp(op=ast.Or(), values=sides):
                return self._joined("maximum", " or ", sides, depth + 1)
            case ast.BinOp(op=ast.BitAnd()):
                return self._joined("multiply", " and ", [node.left, node.right], depth + 1)
            case ast.BinOp(op=ast.BitOr()):
                return self._joined("maximum", " or ", [node.left, node.right], depth + 1)
            case ast.UnaryOp(op=ast.Not()):
                part = self._condition(node.operand, depth + 1)
                return Part(self._negated(part.node), f"not ({part.text})")
        raise self._mistake(node, f"{CONDITION} is a comparison, such as x < 0")

    def _comparison(self, node: ast.Compare, depth: int) -> Part:
        """Return one comparison or several in a chain, as ``0 < x <= 1``."""
        parts = [self._part(side, depth) for side in (node.left, *node.comparators)]
        whole, text = self._graph.number(1.0), parts[0].text
        for operator, sides, argument in zip(
            node.ops, pairwise(parts), node.comparators, strict=True
        ):
            if type(operator) not in COMPARISONS:
                raise self._mistake(node, "numbers are compared with <, <=, >, >=, == and !=")
            self._check_shapes(argument, *sides)
            made = self._compared(operator, *(side.node for side in sides))
            self._check_shapes(argument, Part(whole, ""), Part(made, ""))
            whole = self._graph.multiply(whole, made)
            text += f" {COMPARISONS[type(operator)]} {sides[1].text}"
        return Part(whole, text)

    def _compared(self, operator: ast.cmpop, one: int, other: int) -> int:
        match operator:
            case ast.Lt():
                return self._graph.apply("less", one, other)
            case ast.LtE():
                return self._graph.apply("less_equal", one, other)
            case ast.Gt():
                return self._graph.apply("less", other, one)
            case ast.GtE():
                return self._graph.apply("less_equal", other, one)
            case ast.Eq():
                return self._graph.apply("equal", one, other)
        return self._negated(self._graph.apply("equal", one, other))

    def _negated(self, condition: int) -> int:
        return self._graph.subtract(self._graph.number(1.0), condition)

    def _joined(self, operation: str, word: str, sides: Sequence[ast.expr], depth: int) -> Part:
        """Return what holds where all sides do, or any of them."""
        parts = [self._condition(side, depth) for side in sides]
        whole = parts[0].node
        for side, part in zip(sides[1:], parts[1:], strict=True):
            self._check_shapes(side, Part(whole, ""), part)
            whole = self._graph.apply(operation, whole, part.node)
        return Part(whole, word.join(f"({part.text})" for part in parts))

    def _of_library(self, node: ast.Attribute) -> bool:
        """Say whether an attribute is one of NumPy's or the like, and no variable is in the way."""
        library = ast.unparse(node.value)
        return library in LIBRARIES and library.partition(".")[0] not in self._names

    def _function(self, node: ast.expr) -> str:
        """Return the name of the function that is called."""
        if isinstance(node, ast.Attribute) and self._of_library(node):
            name = node.attr
        elif isinstance(node, ast.Attribute):
            right, wrong = INSTEAD.get(node.attr, f"{node.attr}(…)"), f"{ast.unparse(node)}(…)"
            message = f"functions stand alone; write {cut(right)}, not {cut(wrong)}"
            raise self._mistake(node, message)
        elif not isinstance(node, ast.Name):
            raise self._mistake(node, "only functions can be called; products are written *")
        elif node.id in self._names:
            raise self._mistake(node, f"'{cut(node.id)}' is not a function; products are written *")
        else:
            name = node.id
        name = SAME.get(name, name)
        if name not in FUNCTIONS:
            meant = f"known are {', '.join(FUNCTIONS)}"
            if name in INSTEAD:
                meant = f"write {INSTEAD[name]}"
            elif not hasattr(np, name):  # what NumPy has is no other one misspelt
                meant = nearest(name, FUNCTIONS)
            raise self._mistake(node, f"unknown function '{cut(name)}'; {meant}")
        return name

    def _dot(self, node: ast.Call, one: int, other: int) -> int:
        first, second = self._graph.shape(one), self._graph.shape(other)
        match len(first), len(second):
            case 1, 1 if first == second:
                return self._graph.sum(self._graph.multiply(one, other))
            case 2, 1 if first[1] == second[0]:
                return self._graph.matrix_product(one, other)
            case 1, 2 if first == second[:1]:
                return self._graph.matrix_product(other, one, transposed=True)
        raise self._mistake(
            node,
            f"dot takes vectors of one size, or a matrix and a vector that fit; "
            f"these are {noun(first)} and {noun(second)}",
        )

    def _check_shapes(self, node: ast.expr, one: Part, other: Part) -> None:
        """Refuse two vectors of different sizes."""
        first, second = self._graph.shape(one.node), self._graph.shape(other.node)
        if first and second and first != second:
            raise self._mistake(node, f"{noun(first)} and {noun(second)} do not fit together")

    def _subscript(self, node: ast.Subscript, depth: int) -> Part:
        vector = self._part(node.value, depth)
        shape = self._graph.shape(vector.node)
        if shape == ():
            raise self._mistake(
                node, f"'{cut(vector.text)}' is a scalar; only vectors take an index"
            )
        (n,) = shape
        if isinstance(node.slice, ast.Slice) and node.slice.step is None:
            ends = (node.slice.lower, node.slice.upper)
            bounds = [None if end is None else self._whole(end) for end in ends]
            start, stop, _ = slice(*bounds).indices(n)
            if start >= stop:
                raise self._mistake(node.slice, f"this slice of {noun(shape)} is empty")
            text = ":".join("" if bound is None else str(bound) for bound in bounds)
            made = self._graph.slice(vector.node, start, stop)
        else:
            index = self._whole(node.slice)
            if not -n <= index < n:
                raise self._mistake(node.slice, f"{noun(shape)} has indices 0 to {n - 1}")
            text = str(index)
            made = self._graph.slice(vector.node, index % n, index % n + 1, scalar=True)
        return Part(made, f"{vector.inside(ATOM_RANK)}[{text}]")

    def _whole(self, node: ast.expr) -> int:
        """Return an index or a bound of a slice."""
        match node:
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=given)):
                sign = -1
            case ast.Constant(value=given):
                sign = 1
            case _:
                given, sign = None, 0
        if isinstance(given, int) and not isinstance(given, bool):
            return sign * given
        raise self._mistake(node, "an index is a whole number; write x[0], x[-1], x[1:] or x[:-1]")

    def _name(self, node: ast.Name) -> Part:
        if node.id in FUNCTIONS or node.id in SAME:
            raise self._mistake(node, f"'{node.id}' is a function; write {node.id}(…)")
        if node.id not in self._names:
            known = [*dict.fromkeys(self._names)]
            raise self._mistake(
                node,
                f"unknown name '{cut(node.id)}': the start gives it no value, "
                f"and it is not a constant; {nearest(node.id, known)}",
            )
        self._used.add(node.id)
        return Part(self._names[node.id], node.id)

    def _number(self, node: ast.Constant) -> Part:
        given = node.value
        if isinstance(given, bool) or not isinstance(given, int | float):
            raise self._mistake(node, f"{given!r} is not a real number")
        try:
            value = float(given)
        except OverflowError:
            raise self._mistake(node, "the number is too large") from None
        return Part(self._graph.number(value), f"{value!r}".removesuffix(".0"))


def noun(shape: Shape) -> str:
    """Return how messages call what has this shape."""
    match shape:
        case ():
            return "a scalar"
        case (n,):
            return f"a vector of {n} coordinate{'s' * (n > 1)}"
    return f"a {shape[0]}×{shape[1]} matrix"


def cut(text: str) -> str:
    """Return text short enough to be quoted in a line."""
    return text if len(text) <= MOST_QUOTED else f"{text[:MOST_QUOTED]}…"


def syntax_tree(text: str) -> ast.expr:
    """Return the syntax tree of an expression, which may spread over lines."""
    if len(text) > MAX_LENGTH:
        message = f"the expression has {len(text)} characters; at most {MAX_LENGTH} are allowed"
        raise ExpressionError(message, text, MAX_LENGTH)
    flat = _flat(text)
    if not flat.strip():
        raise ExpressionError("the expression is empty; write one as x**2/20 + y**2", text, 0)
    _check_characters(flat, text)
    indent = len(flat) - len(flat.lstrip())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # doubtful spellings, such as 1if
            return ast.parse(flat.lstrip(), mode="eval").body
    except SyntaxError as error:
        reason = (error.msg or "invalid syntax").split(". ")[0]
        # At the end of the text, Python names the line after it.
        column = indent + error.offset - 1 if error.offset else len(flat.rstrip())
        raise ExpressionError(_unreadable(reason, flat, column), text, column) from None
    except (RecursionError, MemoryError):  # what Python's own parser says of deep nesting
        raise ExpressionError("the expression is nested too deeply", text, 0) from None


def column_of(node: ast.expr, text: str) -> int:
    """Return the character of a text, from 0, at which a node of its syntax tree begins."""
    flat = _flat(text)
    source = flat.lstrip()
    return len(flat) - len(source) + len(source.encode()[: node.col_offset].decode())


def _unreadable(reason: str, flat: str, column: int) -> str:
    if column >= len(flat.rstrip()):
        return "something is missing at the end"
    hint = "; products are written *" if reason in PERHAPS_A_PRODUCT else ""
    return f"this cannot be read: {reason}{hint}"


def _flat(text: str) -> str:
    """Return the text in one line, each character in its place."""
    return "".join(" " if character.isspace() else character for character in text)


def _check_characters(flat: str, text: str) -> None:
    compared = {place for match in EQUALS.finditer(flat) for place in range(*match.span())}
    for column, character in enumerate(flat):
        if column in compared:
            continue
        if not (character in SYMBOLS or character == " " or f"_{character}".isidentifier()):
            hint = HINTS.get(character, "use numbers, names, + - * / **, brackets and commas")
            raise ExpressionError(f"{character!r} means nothing here; {hint}", text, column)
    if "//" in flat:
        raise ExpressionError("quotients are written /", text, flat.index("//"))
