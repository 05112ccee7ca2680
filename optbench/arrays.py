"""The type of an array of any namespace; nothing else.

NumPy, CuPy and array-api-strict arrays share no base class and the standard's typing protocols are
not published yet, so ``Array`` and ``Namespace`` are names for the reader. Shapes stand in
docstrings.
"""

from typing import Any, TypeAlias

Array: TypeAlias = Any
Namespace: TypeAlias = Any
