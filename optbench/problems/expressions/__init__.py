"""Functions given as text: parsed, differentiated, and compiled for stacks of lanes.

::

    text ─▶ parse ─▶ Graph ─▶ differentiate ─▶ compile ─▶ CompiledExpression(lanes)

The arithmetic is our own rather than SymPy's: vectors of n dimensions, constant matrices and
code in the array namespace of the device are needed, and a command has to start at once. The
tests compare the derivatives with SymPy's.
"""

from optbench.problems.expressions.compile import CompiledExpression, compile_graph
from optbench.problems.expressions.differentiate import gradient
from optbench.problems.expressions.graph import Graph, Shape
from optbench.problems.expressions.operations import Value
from optbench.problems.expressions.parse import RESERVED, Expression, ExpressionError, parse

__all__ = [
    "RESERVED",
    "CompiledExpression",
    "Expression",
    "ExpressionError",
    "Graph",
    "Shape",
    "Value",
    "compile_graph",
    "gradient",
    "parse",
]
