"""What a problem of your own is made of.

``optbench new problem FILE`` writes a complete one; docs/problems.md explains it. The built-in
problems are in :mod:`optbench.problems.functions` and :mod:`optbench.problems.networks`, and
:mod:`optbench.problems.registry` finds a problem by its name.
"""

from optbench.arrays import Array, Buffer, Namespace, Stacked, Tensor, Workspace
from optbench.problems.base import DTYPES, Losses, Minimum, Problem
from optbench.problems.python.function import function
from optbench.rng import stream
from optbench.settings import Option

__all__ = [
    "DTYPES",
    "Array",
    "Buffer",
    "Losses",
    "Minimum",
    "Namespace",
    "Option",
    "Problem",
    "Stacked",
    "Tensor",
    "Workspace",
    "function",
    "stream",
]
