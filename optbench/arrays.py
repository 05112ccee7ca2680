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


def lane_sum(terms: Array, xp: Namespace) -> Array:
    """Return the sum of an array (lanes, …) within each lane, shape (lanes, 1)."""
    return _sum(_stored_by_lane(terms, xp), xp)


def inner(a: Array, b: Array, xp: Namespace) -> Array:
    """Return Σ a·b within each lane, shape (lanes, 1), of arrays of the same shape (lanes, …).

    >>> import numpy as np
    >>> rows = np.array([[3.0, 4.0], [1.0, 0.0]])
    >>> inner(rows, rows, np).tolist()
    [[25.0], [1.0]]
    """
    product = _stored_by_lane(a, xp)
    product *= b
    return _sum(product, xp)


def _stored_by_lane(array: Array, xp: Namespace) -> Array:
    """Return a copy that stores each lane together.

    Sums add in the order of storage: by coordinate, it would depend on the number of lanes.
    """
    stored = xp.empty(array.shape, dtype=array.dtype)
    stored[...] = array
    return stored


def _sum(stored: Array, xp: Namespace) -> Array:
    return xp.sum(xp.reshape(stored, (stored.shape[0], -1)), axis=1, keepdims=True)
