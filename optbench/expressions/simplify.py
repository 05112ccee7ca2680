"""What can be simplified without knowing any value.

Each rule is given the arguments of an operation of which at least one is no number, numbers first
where order does not matter, and returns the node that stands for it, or None. Signs move outwards,
which changes no bit; products of numbers are joined where the product is an ordinary number.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optbench.expressions.graph import Graph


def negative(graph: "Graph", one: int) -> int | None:
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


def _add(graph: "Graph", one: int, other: int) -> int | None:
    if graph.value(one) == 0.0:
        return other
    if one == other:
        return graph.multiply(graph.number(2.0), one)
    for plain, signed in ((one, other), (other, one)):
        inner = graph.negated(signed)
        if inner is not None:
            return graph.subtract(plain, inner)
    return None


def _subtract(graph: "Graph", one: int, other: int) -> int | None:
    if graph.value(other) == 0.0:
        return one
    if graph.value(one) == 0.0:
        return graph.apply("negative", other)
    inner = graph.negated(other)
    return None if inner is None else graph.add(one, inner)


def _multiply(graph: "Graph", one: int, other: int) -> int | None:
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


def _divide(graph: "Graph", one: int, other: int) -> int | None:
    if graph.value(one) == 0.0 or graph.value(other) == 1.0:
        return one
    return _sign_outside(graph, graph.divide, one, other)


def _power(graph: "Graph", base: int, exponent: int) -> int | None:
    known = graph.value(exponent)
    if known == 0.0 or graph.value(base) == 1.0:
        return graph.number(1.0)
    if known == 0.5:
        return graph.apply("sqrt", base)
    return base if known == 1.0 else None


def _divide_or_zero(graph: "Graph", one: int, other: int) -> int | None:
    return one if graph.value(one) == 0.0 else None


def _either(graph: "Graph", one: int, other: int) -> int | None:
    return one if one == other else None


def _sign_outside(
    graph: "Graph", operation: Callable[[int, int], int], one: int, other: int
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


BINARY_RULES: dict[str, Callable[["Graph", int, int], int | None]] = {
    "add": _add,
    "subtract": _subtract,
    "multiply": _multiply,
    "divide": _divide,
    "power": _power,
    "divide_or_zero": _divide_or_zero,
    "minimum": _either,
    "maximum": _either,
}
"""Rules by operation."""
