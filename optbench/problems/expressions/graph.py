"""Expressions as a graph in which equal subexpressions are one node.

A node is a number in the order in which nodes were made, so that arguments come before what is
made of them. Shapes are ``()`` for scalars, ``(n,)`` for vectors and ``(m, n)`` for constant
matrices; a scalar meets a vector as if it stood in every coordinate. What can be known without
values is simplified when a node is made: arithmetic of numbers is done, sums with 0, products with
0 and 1 and powers of 0 and 1 go. ``u**0`` is 1 and ``0*u`` is 0 whatever u is.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from optbench.problems.expressions.operations import OPERATIONS, Context

Shape: TypeAlias = tuple[int, ...]

SYMMETRIC = {"add", "multiply", "minimum", "maximum", "equal"}
"""Operations of two arguments whose order changes nothing, not even bits."""

HOST = Context(np, np.float64)


@dataclass(frozen=True, slots=True)
class Node:
    """An operation and the nodes that it is applied to, with the shape of its value in one lane.

    The operation is a key of :data:`optbench.problems.expressions.operations.OPERATIONS`, or
    ``number``, ``variable`` or ``constant``; ``data`` the value of a number, the name of a variable
    or constant, or the bounds of a slice.
    """

    operation: str
    arguments: tuple[int, ...] = ()
    shape: Shape = ()
    data: Any = None


class Graph:
    """Nodes, each made once; arithmetic takes and returns their numbers.

    >>> graph = Graph()
    >>> x = graph.variable("x")
    >>> graph.multiply(x, graph.number(0)) == graph.number(0)
    True
    >>> graph.add(x, graph.number(2)) == graph.add(graph.number(2), x)
    True
    """

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self._places: dict[tuple[Any, ...], int] = {}

    def shape(self, node: int) -> Shape:
        """Return the shape of a node's value."""
        return self.nodes[node].shape

    def value(self, node: int) -> float | None:
        """Return the value of a number, and None for all other nodes."""
        described = self.nodes[node]
        return float(described.data) if described.operation == "number" else None

    def negated(self, node: int) -> int | None:
        """Return u where a node is −u, and None for all other nodes."""
        described = self.nodes[node]
        return described.arguments[0] if described.operation == "negative" else None

    # Leaves.

    def number(self, value: float) -> int:
        """Return a number, which may also be infinite or NaN."""
        return self._node("number", data=float(value))

    def variable(self, name: str, shape: Shape = ()) -> int:
        """Return a variable."""
        return self._node("variable", shape=shape, data=name)

    def constant(self, name: str, shape: Shape) -> int:
        """Return a constant vector or matrix, whose values are given when the graph is run."""
        return self._node("constant", shape=shape, data=name)

    # Arithmetic, coordinate by coordinate.

    def add(self, one: int, other: int) -> int:
        """Return one + other."""
        return self._binary("add", one, other)

    def subtract(self, one: int, other: int) -> int:
        """Return one − other."""
        return self._binary("subtract", one, other)

    def multiply(self, one: int, other: int) -> int:
        """Return one · other."""
        return self._binary("multiply", one, other)

    def divide(self, one: int, other: int) -> int:
        """Return one / other."""
        return self._binary("divide", one, other)

    def power(self, base: int, exponent: int) -> int:
        """Return base**exponent."""
        return self._binary("power", base, exponent)

    def apply(self, operation: str, *arguments: int) -> int:
        """Return any operation that works coordinate by coordinate, by its name."""
        if len(arguments) == 2:
            return self._binary(operation, *arguments)
        return self._unary(operation, *arguments)

    def where(self, condition: int, one: int, other: int) -> int:
        """Return one where the condition is not 0, else the other."""
        nodes = (condition, one, other)
        shape = next((self.shape(node) for node in nodes if self.shape(node)), ())
        condition, one, other = map(self._stripped, nodes)
        known = self.value(condition)
        if one == other or known is not None:
            return self.spread(other if known == 0.0 else one, shape)
        shapes = map(self.shape, (condition, one, other))
        inner = next((each for each in shapes if each), ())
        return self.spread(self._node("where", (condition, one, other), inner), shape)

    # Vectors.

    def slice(self, vector: int, start: int, stop: int, *, scalar: bool = False) -> int:
        """Return the coordinates from ``start`` to before ``stop``, or the one as a scalar."""
        shape = () if scalar else (stop - start,)
        node = self.nodes[vector]
        if node.operation == "spread":
            return self.spread(node.arguments[0], shape)
        if shape == node.shape:
            return vector
        return self._node("slice", (vector,), shape, (start, stop))

    def pad(self, part: int, start: int, stop: int, n: int) -> int:
        """Return a vector of n coordinates: a part at its place, and zeros."""
        return self._node("pad", (self._stripped(part),), (n,), (start, stop, n))

    def spread(self, scalar: int, shape: Shape) -> int:
        """Return a vector all of whose coordinates are a scalar; a scalar itself if that is it."""
        if shape == self.shape(scalar):
            return scalar
        return self._node("spread", (scalar,), shape, shape[0])

    def sum(self, vector: int) -> int:
        """Return the sum of a vector's coordinates."""
        node = self.nodes[vector]
        if node.operation == "spread":
            return self.multiply(self.number(node.shape[0]), node.arguments[0])
        return self._node("sum", (vector,))

    def product(self, vector: int) -> int:
        """Return the product of a vector's coordinates."""
        node = self.nodes[vector]
        if node.operation == "spread":
            return self.power(node.arguments[0], self.number(node.shape[0]))
        return self._node("product", (vector,))

    def extreme(self, operation: str, vector: int) -> int:
        """Return the ``largest`` or the ``smallest`` of a vector's coordinates."""
        node = self.nodes[vector]
        if node.operation == "spread":
            return node.arguments[0]
        return self._node(operation, (vector,))

    def matrix_product(self, matrix: int, vector: int, *, transposed: bool = False) -> int:
        """Return matrix · vector, or matrixᵀ · vector."""
        rows, columns = self.shape(matrix)
        shape = (columns,) if transposed else (rows,)
        if self.value(self._stripped(vector)) == 0.0:
            return self.spread(self.number(0.0), shape)
        return self._node("matrix_product", (matrix, vector), shape, transposed)

    # How nodes are made.

    def _node(
        self, operation: str, arguments: tuple[int, ...] = (), shape: Shape = (), data: Any = None
    ) -> int:
        node = Node(operation, arguments, shape, data)
        # Written in hexadecimal, 0 is not −0, and NaN is itself.
        key = data.hex() if isinstance(data, float) else data
        place = self._places.setdefault((operation, arguments, shape, key), len(self.nodes))
        if place == len(self.nodes):
            self.nodes.append(node)
        return place

    def _stripped(self, node: int) -> int:
        """Return the scalar that stands in every coordinate; other nodes as they are."""
        described = self.nodes[node]
        return described.arguments[0] if described.operation == "spread" else node

    def _folded(self, operation: str, arguments: tuple[int, ...]) -> int | None:
        """Return the number that an operation makes of numbers, None if some are none."""
        values = [self.value(argument) for argument in arguments]
        if None in values:
            return None
        with np.errstate(all="ignore"):
            arrays = [np.full((1, 1), value) for value in values]
            return self.number(OPERATIONS[operation](HOST, None, *arrays).item())

    def _unary(self, operation: str, one: int) -> int:
        scalar, shape = self._stripped(one), self.shape(one)
        if scalar != one:
            return self.spread(self._unary(operation, scalar), shape)
        folded = self._folded(operation, (one,))
        if folded is not None:
            return folded
        simplified = _negative(self, one) if operation == "negative" else None
        return self._node(operation, (one,), shape) if simplified is None else simplified

    def _binary(self, operation: str, one: int, other: int) -> int:
        shape = self.shape(one) or self.shape(other)
        first, second = self._stripped(one), self._stripped(other)
        if operation in SYMMETRIC:
            # Numbers come first; beyond that, any order does as long as it is always the same.
            first, second = sorted(
                (first, second), key=lambda node: (self.value(node) is None, node)
            )
        result = self._folded(operation, (first, second))
        if result is None and operation in BINARY_RULES:
            result = BINARY_RULES[operation](self, first, second)
        if result is None:
            inner = self.shape(first) or self.shape(second)
            result = self._node(operation, (first, second), inner)
        return self.spread(result, shape)


# What can be simplified when a node is made; None where nothing can.


def _negative(graph: Graph, one: int) -> int | None:
    """Simplify −one."""
    twice = graph.negated(one)
    if twice is not None:
        return twice
    node = graph.nodes[one]
    if node.operation == "multiply":
        factor = graph.value(node.arguments[0])
        if factor is not None:
            return graph.multiply(graph.number(-factor), node.arguments[1])
    return None


def _add(graph: Graph, one: int, other: int) -> int | None:
    if graph.value(one) == 0.0:
        return other
    if one == other:
        return graph.multiply(graph.number(2.0), one)
    for plain, signed in ((one, other), (other, one)):
        inner = graph.negated(signed)
        if inner is not None:
            return graph.subtract(plain, inner)
    return None


def _subtract(graph: Graph, one: int, other: int) -> int | None:
    if graph.value(other) == 0.0:
        return one
    if graph.value(one) == 0.0:
        return graph.apply("negative", other)
    inner = graph.negated(other)
    return None if inner is None else graph.add(one, inner)


def _multiply(graph: Graph, one: int, other: int) -> int | None:
    factor = graph.value(one)
    if factor == 0.0:
        return one
    if factor == 1.0:
        return other
    if factor == -1.0:
        return graph.apply("negative", other)
    node = graph.nodes[other]
    if factor is not None and node.operation == "multiply":
        second = graph.value(node.arguments[0])
        if second is not None and _is_ordinary(factor * second):
            return graph.multiply(graph.number(factor * second), node.arguments[1])
    return _sign_outside(graph, graph.multiply, one, other)


def _divide(graph: Graph, one: int, other: int) -> int | None:
    if graph.value(one) == 0.0 or graph.value(other) == 1.0:
        return one
    return _sign_outside(graph, graph.divide, one, other)


def _power(graph: Graph, base: int, exponent: int) -> int | None:
    known = graph.value(exponent)
    if known == 0.0 or graph.value(base) == 1.0:
        return graph.number(1.0)
    if known == 0.5:
        return graph.apply("sqrt", base)
    return base if known == 1.0 else None


def _sign_outside(
    graph: Graph, operation: Callable[[int, int], int], one: int, other: int
) -> int | None:
    """Return −(u ∘ v) for (−u) ∘ v and u ∘ (−v), where ∘ is a product or a quotient."""
    inner = graph.negated(one)
    if inner is not None:
        return graph.apply("negative", operation(inner, other))
    inner = graph.negated(other)
    if inner is None:
        return None
    factor = graph.value(one)
    if factor is not None:
        return operation(graph.number(-factor), inner)
    return graph.apply("negative", operation(one, inner))


def _is_ordinary(value: float) -> bool:
    """Say whether a number is finite and has not lost digits for being too small."""
    return math.isfinite(value) and abs(value) >= 2.0**-1000


BINARY_RULES: dict[str, Callable[[Graph, int, int], int | None]] = {
    "add": _add,
    "subtract": _subtract,
    "multiply": _multiply,
    "divide": _divide,
    "power": _power,
    "divide_or_zero": lambda graph, one, other: one if graph.value(one) == 0.0 else None,
    "minimum": lambda graph, one, other: one if one == other else None,
    "maximum": lambda graph, one, other: one if one == other else None,
}
"""Rules by operation."""
