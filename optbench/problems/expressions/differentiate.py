"""Symbolic derivatives by the chain rule, from the result back to the variables.

One sweep gives all partial derivatives, as nodes of the same graph: what value and derivatives have
in common is computed once. (A. Griewank and A. Walther, "Evaluating Derivatives", SIAM 2008,
chapter 3.)

Where a function has a kink, or its slope is infinite at a minimum, the derivative is defined as a
subgradient: 0 for ``abs`` at 0, for ``sqrt`` at 0 and for ``u**c`` with 0 < c < 1 at 0; halfway
between both sides where the arguments of ``minimum`` or ``maximum`` are equal, and shared evenly
among the coordinates that are the largest or the smallest. These are the conventions of PyTorch
(``abs``, ``maximum``, ``amax``), but for ``sqrt`` and ``u**c``. ``sign`` and conditions are
constant wherever they have a derivative.

``where`` has the derivative of the branch taken. What is computed for the branch not taken gets an
adjoint of 0, and 0 it stays even where a derivative on the way is infinite or not a number.
"""

import math
from collections.abc import Callable, Iterable
from typing import TypeAlias

from optbench.problems.expressions.graph import Graph, Shape

Parts: TypeAlias = tuple[int | None, ...]
"""What each argument of a node contributes; None for one that no variable can be in."""

DerivativeRule: TypeAlias = Callable[[Graph, int, int], Parts]


def gradient(graph: Graph, result: int, variables: Iterable[int]) -> tuple[int, ...]:
    """Add the derivatives of a scalar by each variable, of the variable's shape, to its graph.

    >>> graph = Graph()
    >>> x = graph.variable("x")
    >>> square = graph.power(x, graph.number(2))
    >>> gradient(graph, square, [x]) == (graph.multiply(graph.number(2), x),)
    True
    """
    adjoints = {result: graph.number(1.0)}
    branches: set[int] = set()  # all that branches of where are made of
    for node in range(result, -1, -1):
        described = graph.nodes[node]
        if node not in adjoints or described.operation not in _RULES:
            continue
        parts = _RULES[described.operation](graph, node, adjoints[node])
        if node in branches or described.operation == "where":
            branches.update(described.arguments)
        for argument, part in zip(described.arguments, parts, strict=True):
            if part is not None:
                if node in branches and described.operation not in _LINEAR:
                    part = _zero_with(graph, adjoints[node], part)
                fitted = _fitted(graph, part, graph.shape(argument))
                before = adjoints.get(argument)
                adjoints[argument] = fitted if before is None else graph.add(before, fitted)
    zero = graph.number(0.0)
    return tuple(
        adjoints.get(variable, graph.spread(zero, graph.shape(variable))) for variable in variables
    )


def _fitted(graph: Graph, part: int, shape: Shape) -> int:
    """Return a contribution in its argument's shape: a scalar met every coordinate of a vector."""
    if shape == () and graph.shape(part) != ():
        return graph.sum(part)
    return graph.spread(part, shape)


def _zero_with(graph: Graph, adjoint: int, part: int) -> int:
    """Return a part of an adjoint, and 0 where the adjoint is 0."""
    zero = graph.number(0.0)
    return graph.where(graph.apply("equal", adjoint, zero), zero, part)


def _multiply(graph: Graph, node: int, adjoint: int) -> Parts:
    one, other = graph.nodes[node].arguments
    return graph.multiply(adjoint, other), graph.multiply(adjoint, one)


def _divide(graph: Graph, node: int, adjoint: int) -> Parts:
    _, divisor = graph.nodes[node].arguments
    part = graph.divide(adjoint, divisor)
    return part, graph.apply("negative", graph.multiply(part, node))


def _power(graph: Graph, node: int, adjoint: int) -> Parts:
    base, exponent = graph.nodes[node].arguments
    known = graph.value(exponent)
    if known is not None:
        return graph.multiply(adjoint, _power_slope(graph, node, base, known)), None
    # u**0 is 1 everywhere, so its slope is 0 even where u**(0 − 1) is infinite.
    lowered = graph.subtract(graph.apply("or_one", exponent), graph.number(1.0))
    by_base = graph.multiply(exponent, graph.power(base, lowered))
    # Where the base is 0, the power stays 0 as the exponent changes.
    by_exponent = graph.multiply(graph.apply("log", graph.apply("or_one", base)), node)
    return graph.multiply(adjoint, by_base), graph.multiply(adjoint, by_exponent)


def _power_slope(graph: Graph, node: int, base: int, exponent: float) -> int:
    """Return the derivative of base**exponent by the base."""
    factor = graph.number(exponent)
    if 0.0 < exponent < 1.0:
        return graph.multiply(factor, graph.apply("divide_or_zero", node, base))
    return graph.multiply(factor, graph.power(base, graph.number(exponent - 1.0)))


def _minimum(graph: Graph, node: int, adjoint: int) -> Parts:
    one, other = graph.nodes[node].arguments
    return tuple(
        graph.multiply(adjoint, graph.apply("below", *pair))
        for pair in ((one, other), (other, one))
    )


def _where(graph: Graph, node: int, adjoint: int) -> Parts:
    condition, _, _ = graph.nodes[node].arguments
    zero = graph.number(0.0)
    return None, graph.where(condition, adjoint, zero), graph.where(condition, zero, adjoint)


def _extreme(graph: Graph, node: int, adjoint: int) -> Parts:
    (vector,) = graph.nodes[node].arguments
    return (graph.multiply(adjoint, graph.apply("share", vector, node)),)


def _slice(graph: Graph, node: int, adjoint: int) -> Parts:
    described = graph.nodes[node]
    start, stop = described.data
    (n,) = graph.shape(described.arguments[0])
    return (graph.pad(adjoint, start, stop, n),)


def _matrix_product(graph: Graph, node: int, adjoint: int) -> Parts:
    described = graph.nodes[node]
    matrix, _ = described.arguments
    return None, graph.matrix_product(matrix, adjoint, transposed=not described.data)


def _slope(derivative: Callable[[Graph, int, int], int]) -> DerivativeRule:
    """Return the rule of a function of one argument, from ``derivative(graph, argument, node)``."""

    def rule(graph: Graph, node: int, adjoint: int) -> Parts:
        (argument,) = graph.nodes[node].arguments
        return (graph.multiply(adjoint, derivative(graph, argument, node)),)

    return rule


def _square(graph: Graph, node: int) -> int:
    return graph.multiply(node, node)


_RULES: dict[str, DerivativeRule] = {
    "add": lambda graph, node, adjoint: (adjoint, adjoint),
    "subtract": lambda graph, node, adjoint: (adjoint, graph.apply("negative", adjoint)),
    "multiply": _multiply,
    "divide": _divide,
    "power": _power,
    "negative": lambda graph, node, adjoint: (graph.apply("negative", adjoint),),
    "exp": _slope(lambda graph, one, node: node),
    "log": lambda graph, node, adjoint: (graph.divide(adjoint, graph.nodes[node].arguments[0]),),
    "log10": _slope(lambda graph, one, node: graph.divide(graph.number(1.0 / math.log(10.0)), one)),
    "sin": _slope(lambda graph, one, node: graph.apply("cos", one)),
    "cos": _slope(lambda graph, one, node: graph.apply("negative", graph.apply("sin", one))),
    "tan": _slope(lambda graph, one, node: graph.add(graph.number(1.0), _square(graph, node))),
    "atan": _slope(
        lambda graph, one, node: graph.divide(
            graph.number(1.0), graph.add(graph.number(1.0), _square(graph, one))
        )
    ),
    "sinh": _slope(lambda graph, one, node: graph.apply("cosh", one)),
    "cosh": _slope(lambda graph, one, node: graph.apply("sinh", one)),
    "tanh": _slope(
        lambda graph, one, node: graph.subtract(graph.number(1.0), _square(graph, node))
    ),
    "sqrt": _slope(lambda graph, one, node: graph.apply("divide_or_zero", graph.number(0.5), node)),
    "abs": _slope(lambda graph, one, node: graph.apply("sign", one)),
    "minimum": _minimum,
    "maximum": lambda graph, node, adjoint: _minimum(graph, node, adjoint)[::-1],
    "where": _where,
    "smallest": _extreme,
    "largest": _extreme,
    "product": _slope(lambda graph, one, node: graph.apply("product_of_others", one)),
    "slice": _slice,
    "sum": lambda graph, node, adjoint: (adjoint,),
    "matrix_product": _matrix_product,
}
"""Rules by operation: what the adjoint of a node contributes to each of its arguments."""

_LINEAR = {"add", "subtract", "negative", "where", "slice", "sum", "matrix_product"}
"""Operations that make no other number of an adjoint of 0 than 0."""
