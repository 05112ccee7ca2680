"""Products of stacked matrices as cuBLAS takes them, which reads arrays where they lie.

cuBLAS counts down columns, so what are rows here are columns to it: it is asked for outᵀ = bᵀ aᵀ.
The leading dimension of a matrix is the distance from row to row; that of a transposed view is the
distance from column to column, and cuBLAS is told to transpose it. The stride is the distance from
matrix to matrix: a row of all parameters for weights, 0 for what lanes share.
"""

from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np

from optbench.arrays import Array

GEMM: dict[Any, str] = {
    np.dtype("float32"): "sgemmStridedBatched",
    np.dtype("float64"): "dgemmStridedBatched",
}
"""cuBLAS's function for each type."""

_FACTORS = {dtype: np.array([1.0, 0.0], dtype=dtype) for dtype in GEMM}
_ADDRESSES = {dtype: factors.ctypes.data for dtype, factors in _FACTORS.items()}
"""Where the factors of the product and of what ``out`` held are, which cuBLAS reads on the host."""


class Stack(NamedTuple):
    """How the matrices of an array (…, rows, columns) lie in memory, counted in numbers."""

    transposed: bool
    leading: int
    stride: int


def arguments(out: Array, a: Array, b: Array) -> tuple[Any, ...] | None:
    """Return what cuBLAS's function is called with for ``out`` = a @ b, but for its handle.

    None where one call cannot do it: other types or numbers of axes, shapes that do not fit,
    nothing to multiply, matrices of which neither rows nor columns lie together, or at distances
    that differ.
    """
    dtype = out.dtype
    same = dtype == a.dtype == b.dtype and out.ndim == a.ndim == b.ndim
    if dtype not in GEMM or not same or out.ndim < 2 or not (out.size and a.size):
        return None
    *batch, rows, columns = out.shape
    inner = a.shape[-1]
    c, left, right = (
        _stack(array.shape, array.strides, array.itemsize, (*batch, *shape))
        for array, shape in ((out, (rows, columns)), (b, (inner, columns)), (a, (rows, inner)))
    )
    if c is None or c.transposed or left is None or right is None:
        return None
    one = _ADDRESSES[dtype]
    return (
        *(int(left.transposed), int(right.transposed)),
        *(columns, rows, inner, one),
        *(b.data.ptr, left.leading, left.stride),
        *(a.data.ptr, right.leading, right.stride, one + dtype.itemsize),
        *(out.data.ptr, c.leading, c.stride, prod(batch)),
    )


@lru_cache(maxsize=1024)
def _stack(
    own: tuple[int, ...], strides: tuple[int, ...], itemsize: int, shape: tuple[int, ...]
) -> Stack | None:
    """Return how the matrices of an array lie, repeated to a shape of as many axes."""
    *batch, rows, columns = shape
    if own[-2:] != (rows, columns):
        return None
    *steps, down, across = (stride // itemsize for stride in strides)
    distance, count = 0, 1
    for size, copies, step in reversed(list(zip(batch, own, steps, strict=False))):
        if copies not in (1, size):
            return None
        if size == 1:
            continue
        step = step if copies > 1 else 0
        if step < 0 or (count > 1 and step != distance * count):
            return None
        distance = step if count == 1 else distance
        count *= size
    if (across == 1 or columns == 1) and (down >= columns or rows == 1):
        return Stack(False, columns if rows == 1 else down, distance)
    if (down == 1 or rows == 1) and across >= rows:
        return Stack(True, across, distance)
    return None
