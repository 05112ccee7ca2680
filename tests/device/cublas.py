"""Strided batches of cuBLAS on the memory of the host: matrices by columns, read from addresses."""

import ctypes
from types import SimpleNamespace
from typing import Any

import numpy as np

HANDLE = 7


class Array(np.ndarray):
    """An array of NumPy whose ``data`` has an address, as that of CuPy's has."""

    @property
    def data(self) -> Any:
        return SimpleNamespace(ptr=self.ctypes.data)


def matrix(address: int, rows: int, columns: int, leading: int, number: Any) -> np.ndarray:
    """Return the matrix at an address whose columns begin ``leading`` numbers apart."""
    assert leading >= max(1, rows)  # cuBLAS refuses it otherwise
    flat = np.ctypeslib.as_array((number * ((columns - 1) * leading + rows)).from_address(address))
    strides = (flat.itemsize, leading * flat.itemsize)
    return np.lib.stride_tricks.as_strided(flat, (rows, columns), strides)


class Cublas:
    """Takes the place of ``cupy.cuda.cublas``; products are counted."""

    def __init__(self) -> None:
        self.products = 0

    def sgemmStridedBatched(self, *arguments: Any) -> None:  # noqa: N802 - cuBLAS's name
        """Compute C = alpha · op(A) op(B) for each matrix of the batch, in float32."""
        self._multiply(ctypes.c_float, *arguments)

    def dgemmStridedBatched(self, *arguments: Any) -> None:  # noqa: N802
        """Compute it in float64."""
        self._multiply(ctypes.c_double, *arguments)

    def _multiply(
        self,
        number: Any,
        handle: int,
        transa: int,
        transb: int,
        m: int,
        n: int,
        k: int,
        alpha: int,
        a: int,
        lda: int,
        stride_a: int,
        b: int,
        ldb: int,
        stride_b: int,
        beta: int,
        c: int,
        ldc: int,
        stride_c: int,
        count: int,
    ) -> None:
        assert handle == HANDLE
        assert number.from_address(beta).value == 0.0  # so that what C holds is not read
        assert min(stride_a, stride_b, stride_c) >= 0  # nothing is said of others
        factor = number.from_address(alpha).value
        size = ctypes.sizeof(number)
        self.products += 1
        for place in range(count):
            shape_a, shape_b = (k, m) if transa else (m, k), (n, k) if transb else (k, n)
            left = matrix(a + place * stride_a * size, *shape_a, lda, number)
            right = matrix(b + place * stride_b * size, *shape_b, ldb, number)
            result = matrix(c + place * stride_c * size, m, n, ldc, number)
            result[...] = np.nan  # it may be written before all operands have been read
            product = (left.T if transa else left) @ (right.T if transb else right)
            result[...] = factor * product
