"""From graphs to programs that compute whole stacks of lanes.

A program is a flat list of steps without a graph, so that it can be pickled and walks no deep
structure. Every node is computed once, and its array is let go after its last use.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optbench.arrays import Array, Namespace
from optbench.problems.expressions.graph import Graph
from optbench.problems.expressions.operations import OPERATIONS, Context, Value


@dataclass(frozen=True)
class Instruction:
    """One operation.

    Attributes
    ----------
    operation
        A key of :data:`optbench.problems.expressions.operations.OPERATIONS`.
    data
        What it is told beside its arguments.
    arguments
        Places of its arguments.
    place
        Where its value goes.
    done
        Places whose values nothing needs after this step.
    """

    operation: str
    data: Any
    arguments: tuple[int, ...]
    place: int
    done: tuple[int, ...]


@dataclass(frozen=True)
class CompiledExpression:
    """What a graph computes, in order.

    Attributes
    ----------
    numbers
        Values by place.
    inputs
        Places of variables and constants by name.
    steps
        What is done, in order.
    results
        Places of the results.
    work_values
        The most numbers that a lane's arrays hold at one time, variables not counted.
    """

    numbers: Mapping[int, float]
    inputs: Mapping[str, int]
    steps: tuple[Instruction, ...]
    results: tuple[int, ...]
    work_values: int

    def __call__(self, inputs: Mapping[str, Array], xp: Namespace, dtype: Any) -> list[Value]:
        """Compute all lanes.

        Parameters
        ----------
        inputs
            Variables by name, of shape (lanes, 1) for scalars and (lanes, n) for vectors, and
            constants, of shape (1, n) and (1, m, n).
        xp
            The array namespace.
        dtype
            The dtype of all inputs, as the namespace calls it.

        Returns
        -------
        list
            An array (lanes, n) a result; (1, n) or a float where no variable is in it.
        """
        context = Context(xp, dtype)
        values: dict[int, Value] = dict(self.numbers)
        values |= {place: inputs[name] for name, place in self.inputs.items()}
        for step in self.steps:
            arguments = [values[each] for each in step.arguments]
            values[step.place] = OPERATIONS[step.operation](context, step.data, *arguments)
            for each in step.done:
                del values[each]
        return [values[each] for each in self.results]


def compile_graph(graph: Graph, results: Sequence[int]) -> CompiledExpression:
    """Return the program that computes some nodes of a graph, and nothing that they don't need.

    >>> import numpy as np
    >>> graph = Graph()
    >>> x = graph.variable("x")
    >>> program = compile_graph(graph, [graph.add(graph.multiply(x, x), graph.number(1))])
    >>> program({"x": np.array([[2.0], [3.0]])}, np, np.float64)[0].tolist()
    [[5.0], [10.0]]
    """
    order = _needed(graph, results)
    last_use = {each: node for node in order for each in graph.nodes[node].arguments}
    numbers, inputs, steps = {}, {}, []
    for place in order:
        node = graph.nodes[place]
        value = graph.value(place)
        if value is not None:
            numbers[place] = value
        elif node.operation in ("variable", "constant"):
            inputs[node.data] = place
        else:
            done = tuple(
                each
                for each in dict.fromkeys(node.arguments)
                if last_use[each] == place and each not in results
            )
            steps.append(Instruction(node.operation, node.data, node.arguments, place, done))
    return CompiledExpression(
        numbers, inputs, tuple(steps), tuple(results), _most_values(graph, steps)
    )


def _needed(graph: Graph, results: Sequence[int]) -> list[int]:
    """Return the nodes that the results are made of, arguments first."""
    needed = set(results)
    for node in range(max(results), -1, -1):
        if node in needed:
            needed.update(graph.nodes[node].arguments)
    return sorted(needed)


def _most_values(graph: Graph, steps: Sequence[Instruction]) -> int:
    """Return how many numbers the values of steps hold in one lane when they hold the most."""
    made = {step.place for step in steps}
    held = most = 0
    for step in steps:
        held += _width(graph, step.place)
        most = max(most, held)
        held -= sum(_width(graph, each) for each in step.done if each in made)
    return most


def _width(graph: Graph, node: int) -> int:
    shape = graph.shape(node)
    return shape[0] if shape else 1
