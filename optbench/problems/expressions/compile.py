"""From graphs to compiled expressions that compute whole stacks of lanes.

A compiled expression is a flat list of instructions without a graph, so that it can be pickled and
walks no deep structure. Every node is computed once, and its array is freed after its last use.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optbench.arrays import Array, Namespace
from optbench.problems.expressions.graph import Graph
from optbench.problems.expressions.operations import OPERATIONS, Context, Value


@dataclass(frozen=True)
class Instruction:
    """One operation of :data:`~optbench.problems.expressions.operations.OPERATIONS`.

    It takes the values at the places of its arguments, and ``data``, and puts its own at ``place``;
    after it, nothing needs the values at ``done``.
    """

    operation: str
    data: Any
    arguments: tuple[int, ...]
    place: int
    done: tuple[int, ...]


@dataclass(frozen=True)
class CompiledExpression:
    """What a graph computes, in order: values, and where they lie.

    ``numbers`` are values by place; ``inputs``, variables and constants, have places by name.
    ``work_values`` is the most numbers that a lane's arrays hold at one time without variables.
    """

    numbers: Mapping[int, float]
    inputs: Mapping[str, int]
    instructions: tuple[Instruction, ...]
    results: tuple[int, ...]
    work_values: int

    def __call__(self, inputs: Mapping[str, Array], xp: Namespace, dtype: Any) -> list[Value]:
        """Compute all lanes: an array (lanes, n) per result; (1, n) or a float without variables.

        Inputs, all of the namespace's ``dtype``, are variables, (lanes, 1) for scalars, (lanes, n)
        for vectors, and constants, (1, n) and (1, m, n).
        """
        context = Context(xp, dtype)
        values: dict[int, Value] = dict(self.numbers)
        values |= {place: inputs[name] for name, place in self.inputs.items()}
        for instruction in self.instructions:
            operation = OPERATIONS[instruction.operation]
            arguments = [values[place] for place in instruction.arguments]
            values[instruction.place] = operation(context, instruction.data, *arguments)
            for place in instruction.done:
                del values[place]
        return [values[place] for place in self.results]


def compile_graph(graph: Graph, results: Sequence[int]) -> CompiledExpression:
    """Return what computes some nodes of a graph, and nothing that they don't need.

    >>> import numpy as np
    >>> graph = Graph()
    >>> x = graph.variable("x")
    >>> compiled = compile_graph(graph, [graph.add(graph.multiply(x, x), graph.number(1))])
    >>> compiled({"x": np.array([[2.0], [3.0]])}, np, np.float64)[0].tolist()
    [[5.0], [10.0]]
    """
    order = _needed(graph, results)
    last_use = {argument: node for node in order for argument in graph.nodes[node].arguments}
    numbers, inputs, instructions = {}, {}, []
    for place in order:
        node = graph.nodes[place]
        value = graph.value(place)
        if value is not None:
            numbers[place] = value
        elif node.operation in ("variable", "constant"):
            inputs[node.data] = place
        else:
            done = tuple(
                argument
                for argument in dict.fromkeys(node.arguments)
                if last_use[argument] == place and argument not in results
            )
            instructions.append(Instruction(node.operation, node.data, node.arguments, place, done))
    most_values = _most_values(graph, instructions)
    return CompiledExpression(numbers, inputs, tuple(instructions), tuple(results), most_values)


def _needed(graph: Graph, results: Sequence[int]) -> list[int]:
    """Return the nodes that the results are made of, arguments first."""
    needed = set(results)
    for node in range(max(results), -1, -1):
        if node in needed:
            needed.update(graph.nodes[node].arguments)
    return sorted(needed)


def _most_values(graph: Graph, instructions: Sequence[Instruction]) -> int:
    """Return how many numbers the values in one lane hold when they hold the most."""
    made = {instruction.place for instruction in instructions}
    held = most = 0
    for instruction in instructions:
        held += _width(graph, instruction.place)
        most = max(most, held)
        held -= sum(_width(graph, place) for place in instruction.done if place in made)
    return most


def _width(graph: Graph, node: int) -> int:
    shape = graph.shape(node)
    return shape[0] if shape else 1
