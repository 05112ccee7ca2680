"""NumPy on the CPU."""

import time
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from typing_extensions import override

from optbench.arrays import Array, Workspace
from optbench.device import jit, loops
from optbench.device.base import ApplyElementwise, Device
from optbench.device.programs import ElementwiseRule, trace
from optbench.device.stopwatch import Clock

ALIGNMENT = 64
"""Bytes; JAX copies what begins elsewhere than at a multiple of them before it computes with it."""


def aligned_zeros(shape: tuple[int, ...], dtype: Any) -> Array:
    """Return zeros that begin at a multiple of :data:`ALIGNMENT` bytes.

    >>> aligned_zeros((3, 5), "float32").ctypes.data % ALIGNMENT
    0
    """
    size = prod(shape) * np.dtype(dtype).itemsize
    memory = np.zeros(size + ALIGNMENT, np.uint8)
    begin = -memory.ctypes.data % ALIGNMENT
    return memory[begin : begin + size].view(dtype).reshape(shape)


class NumpyDevice(Device):
    """The CPU."""

    def __init__(self, clock: Clock = time.perf_counter) -> None:
        super().__init__(np, "cpu", clock)

    @override
    def put(self, array: np.ndarray) -> Array:
        return array

    @override
    def resident(self, array: np.ndarray) -> Array:
        return array

    @override
    def rows(self, lanes: int, parameters: int, dtype: str, *, by_coordinate: bool) -> Array:
        if by_coordinate:
            return super().rows(lanes, parameters, dtype, by_coordinate=True)
        return aligned_zeros((lanes, parameters), dtype)

    @override
    def workspace(self) -> Workspace:
        return NumpyWorkspace()

    @override
    def elementwise(self) -> ApplyElementwise:
        """Return what runs rules as programs, either tile by tile in the cache or compiled."""
        kernels: dict[tuple[Any, ...], jit.CpuKernel] = {}

        def apply(
            rule: ElementwiseRule, arrays: Sequence[Array], columns: Mapping[str, Array]
        ) -> None:
            key = (rule, *map(id, arrays))  # a kernel keeps its arrays, so no id comes twice
            if key not in kernels:
                kernels[key] = jit.CpuKernel(trace(rule, len(arrays), tuple(columns)), arrays)
            kernels[key](columns)

        return apply


class NumpyWorkspace(Workspace):
    """Work arrays of NumPy, with compiled loops once those are worth it."""

    def __init__(self) -> None:
        super().__init__(np, writes_out=True)

    @override
    def _empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return aligned_zeros(shape, dtype)

    @override
    def by_lane(self, terms: Array) -> Array:
        return terms if terms.flags.c_contiguous else super().by_lane(terms)

    @override
    def rectify(self, values: Array, shift: Array) -> Array:
        loop = jit.loop(loops.rectify, values.dtype, 2 * values.size)
        if loop is None or not values.flags.c_contiguous:
            return super().rectify(values, shift)
        loop(values, shift)
        return values

    @override
    def rectify_back(self, grads: Array, values: Array, sums: Array) -> Array:
        loop = jit.loop(loops.rectify_back, grads.dtype, 3 * grads.size)
        stored = grads.flags.c_contiguous and values.flags.c_contiguous
        # NumPy sums a single column in another order.
        if loop is None or not stored or grads.shape[2] == 1:
            return super().rectify_back(grads, values, sums)
        loop(grads, values, sums)
        return grads

    @override
    def gather_ratio(self, rows: Array, indices: Array, divisor: float, dtype: Any) -> Array:
        flat = rows.reshape(len(rows), -1)
        loop = jit.loop(loops.gather_ratio, dtype, 2 * len(indices) * flat.shape[1])
        if loop is None or not flat.flags.c_contiguous or rows.dtype != np.uint8:
            return super().gather_ratio(rows, indices, divisor, dtype)
        out = self.take((*indices.shape, *rows.shape[1:]), dtype)
        loop(out.reshape(len(out), -1), flat, indices, np.asarray([divisor], dtype))
        return out

    @override
    def softmax_losses(self, scores: Array, labels: Array, log_eps: float) -> tuple[Array, Array]:
        kinds = loops.less_largest, loops.softmax_back
        first, last = (jit.loop(loop, scores.dtype, 5 * scores.size) for loop in kinds)
        stored = scores.flags.c_contiguous and labels.flags.c_contiguous
        if first is None or last is None or not stored or labels.dtype != np.uint8:
            return super().softmax_losses(scores, labels, log_eps)
        shifted, y = np.empty_like(scores), np.empty_like(scores)
        first(shifted.reshape(-1, shifted.shape[2]), scores.reshape(-1, scores.shape[2]))
        totals = np.exp(shifted, out=y).sum(axis=2)
        picked, likelihoods = np.empty_like(totals), np.empty_like(totals)
        last(y, totals, labels, shifted, picked, likelihoods)
        losses = -np.log(likelihoods + log_eps) if log_eps else np.log(totals) - picked
        return losses, y

    @override
    def normal_cdf(self, out: Array, x: Array) -> Array:
        from scipy.special import ndtr  # slow to import, and few networks need it

        return ndtr(x, out=out)

    @override
    def all_finite(self, rows: Array) -> Array:
        loop = jit.loop(loops.all_finite, rows.dtype, 2 * rows.size)
        if loop is None or not rows.flags.c_contiguous:
            return super().all_finite(rows)
        finite = np.empty(len(rows), bool)
        loop(rows.view(f"i{rows.itemsize}"), _LIMITS[rows.dtype.name], finite)
        return finite


_LIMITS = {
    kind: np.array([np.array(np.inf, kind).view(f"i{size}"), np.iinfo(f"i{size}").max]).astype(
        f"i{size}"
    )
    for kind, size in (("float32", 4), ("float64", 8))
}
"""Infinity as an integer with the same bits, and the one that has all bits but the sign's."""
