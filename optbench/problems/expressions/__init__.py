"""Functions given as text: understood, differentiated, and compiled for stacks of lanes.

::

    text ─▶ parse ─▶ graph ─▶ differentiate ─▶ compile ─▶ program(lanes)

The arithmetic is our own rather than SymPy's: vectors of n dimensions, constant matrices and
programs in the array namespace of the device are needed, and a command has to start at once. The
tests hold the derivatives against SymPy's.
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
