"""Arrays of any namespace: their type, and named views of stacked rows.

NumPy, CuPy and array-api-strict arrays share no base class and the standard's typing protocols are
not published yet, so ``Array`` and ``Namespace`` are names for the reader. Shapes stand in
docstrings.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

Array: TypeAlias = Any
Namespace: TypeAlias = Any


@dataclass(frozen=True)
class Tensor:
    """A named parameter tensor of a problem; every lane holds one in its row.

    Attributes
    ----------
    name
        Such as ``"dense1.weight"``, or a variable of a function.
    shape
        Shape in one lane; ``()`` for a variable.
    """

    name: str
    shape: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """Number of parameters."""
        return prod(self.shape)


@dataclass(frozen=True)
class Buffer(Tensor):
    """A named array of every lane that steps change but nothing trains, such as a running mean.

    Attributes
    ----------
    start
        All its values at the start.
    """

    start: float = 0.0


@dataclass(frozen=True)
class Stacked:
    """Rows of all lanes, and the tensors in them by name; both are the same memory.

    Attributes
    ----------
    rows
        Shape (lanes, parameters).
    views
        Tensor name to an array of shape (lanes, *shape).
    """

    rows: Array
    views: dict[str, Array]


def stack(rows: Array, tensors: Sequence[Tensor], xp: Namespace) -> Stacked:
    """Name the tensors in ``rows``, an array of shape (lanes, parameters), without copying.

    >>> import numpy as np
    >>> stacked = stack(np.zeros((2, 6)), (Tensor("w", (2, 2)), Tensor("b", (2,))), np)
    >>> stacked.views["b"][...] = 1.0
    >>> stacked.rows[0].tolist()
    [0.0, 0.0, 0.0, 0.0, 1.0, 1.0]
    """
    views = {}
    offset = 0
    for tensor in tensors:
        flat = rows[:, offset : offset + tensor.size]
        views[tensor.name] = xp.reshape(flat, (rows.shape[0], *tensor.shape), copy=False)
        offset += tensor.size
    return Stacked(rows, views)


def squared_norms(rows: Array, xp: Namespace) -> Array:
    """Return Σ x² of each lane, shape (lanes, 1), of rows (lanes, parameters).

    The squares are stored lane by lane whatever the rows' order in memory: sums add in the order
    of storage, and by coordinate that would depend on the number of lanes.

    >>> import numpy as np
    >>> squared_norms(np.array([[3.0, 4.0], [1.0, 0.0]]), np).tolist()
    [[25.0], [1.0]]
    """
    squares = xp.empty(rows.shape, dtype=rows.dtype)
    squares[...] = rows
    squares *= squares
    return xp.sum(squares, axis=1, keepdims=True)
