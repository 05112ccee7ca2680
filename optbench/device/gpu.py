"""CuPy on a CUDA GPU; the only file that names CuPy."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from importlib.util import find_spec
from math import prod
from typing import Any

import numpy as np
from typing_extensions import override

from optbench.arrays import Array, Workspace
from optbench.device import cublas, cuda
from optbench.device.base import ApplyElementwise, Device
from optbench.device.programs import ElementwiseRule, trace
from optbench.device.stopwatch import EventStopwatch, Stopwatch

GPU_MEMORY_PART = 4
"""Training takes at most one part in so many of a card's memory; evaluation, data and libraries
need the rest."""


class CupyDevice(Device):
    """A CUDA device through CuPy; work is queued, and only :meth:`get` and times wait for it.

    Parameters
    ----------
    number
        Which of the machine's CUDA devices.

    Attributes
    ----------
    cupy
        The library.
    all_finite
        A kernel that says of the numbers along an axis whether all are finite.
    """

    def __init__(self, number: int = 0) -> None:
        import cupy
        from array_api_compat import cupy as xp

        super().__init__(xp, "gpu")
        self.cupy = cupy
        self._kernels: dict[Any, Any] = {}
        self.all_finite = cupy.ReductionKernel(*cuda.ALL_FINITE)
        self._number = number
        self._properties = cupy.cuda.runtime.getDeviceProperties(number)
        self.block_bytes = self._properties["totalGlobalMem"] // GPU_MEMORY_PART

    @property
    @override
    def memory_bytes(self) -> int | None:
        return int(self._properties["totalGlobalMem"])

    @override
    def active(self) -> AbstractContextManager[Any]:
        context: AbstractContextManager[Any] = self.cupy.cuda.Device(self._number)
        return context

    @override
    def get(self, array: Array) -> np.ndarray:
        host: np.ndarray = self.cupy.asnumpy(array)
        return host

    @override
    def workspace(self) -> Workspace:
        return CupyWorkspace(self)

    @override
    def elementwise(self) -> ApplyElementwise:
        """Return what runs each rule as one kernel launch for all lanes."""

        def apply(
            rule: ElementwiseRule, arrays: Sequence[Array], columns: Mapping[str, Array]
        ) -> None:
            key = (rule, len(arrays), tuple(columns))
            kernel = self._kernels.get(key)
            if kernel is None:
                kernel = self._kernels[key] = self.kernel(cuda.rule_source(trace(*key)))
            kernel(*arrays, *columns.values(), arrays[0], *arrays[2:])

        return apply

    def kernel(self, source: cuda.Source) -> Any:
        """Return a kernel, which CuPy compiles for the types that it first meets."""
        if source not in self._kernels:
            # A product and a sum in one rounding would give other bits than two operations.
            kernel = self.cupy.ElementwiseKernel(*source, options=("--fmad=false",))
            self._kernels[source] = kernel
        return self._kernels[source]

    @override
    def release(self) -> None:
        with self.active():  # the pool is that of the current device
            self.cupy.get_default_memory_pool().free_all_blocks()

    @override
    def lacks_memory(self, error: Exception) -> bool:
        """Say whether CuPy's pool, or cuBLAS for its workspace, found no memory."""
        # CuPy's OutOfMemoryError is a MemoryError; cuBLAS has a status of its own.
        return super().lacks_memory(error) or "CUBLAS_STATUS_ALLOC_FAILED" in str(error)

    @override
    def stopwatch(self) -> Stopwatch:
        """Return a stopwatch that reads CUDA events, so that no step waits for the host."""
        return EventStopwatch(self.cupy.cuda)

    @override
    def describe(self) -> dict[str, Any]:
        return {
            **super().describe(),
            "number": self._number,
            "name": self._properties["name"].decode(),
            "memory_bytes": self.memory_bytes,
            "cuda_runtime": self.cupy.cuda.runtime.runtimeGetVersion(),
        }


class CupyWorkspace(Workspace):
    """Work arrays of CuPy, and operations that take one launch each where that can be.

    Parameters
    ----------
    device
        The device of the arrays.
    """

    def __init__(self, device: CupyDevice) -> None:
        super().__init__(device.xp, writes_out=True)
        self._cupy = device.cupy
        self._kernel = device.kernel
        self._all_finite = device.all_finite

    @override
    def into(
        self, out: Array, function: Callable[..., Array], *operands: Any, **options: Any
    ) -> Array:
        if function is self.xp.matmul and not options:
            return self.matmul(out, *operands)
        reduces = function is self.xp.sum and not self._overlap(out, *operands)
        if reduces or isinstance(function, self._cupy.ufunc):
            function(*operands, out=out, **options)
        else:  # what array_api_compat wraps, for one, does not always take out=
            out[...] = function(*operands, **options)
        return out

    def _overlap(self, out: Array, *operands: Array) -> bool:
        return any(self._cupy.may_share_memory(out, operand) for operand in operands)

    def matmul(self, out: Array, a: Array, b: Array) -> Array:
        """Return ``out``, holding a @ b, by one strided batch of cuBLAS where that needs no copy.

        That is so for the layouts named in :mod:`optbench.device.cublas`. For others CuPy copies
        operands that are not C-contiguous and, up to version 13, repeats what lanes share.
        """
        if self._overlap(out, a, b):
            out[...] = self.xp.matmul(a, b)
            return out
        arguments = cublas.arguments(out, a, b)
        if arguments is None:
            self.xp.matmul(a, b, out=out)
        else:
            library = self._cupy.cuda
            gemm = getattr(library.cublas, cublas.GEMM[out.dtype])
            gemm(library.get_cublas_handle(), *arguments)
        return out

    @override
    def gather(self, rows: Array, indices: Array) -> Array:
        out = self.take((*indices.shape, *rows.shape[1:]), rows.dtype)
        return self.xp.take(rows, indices, axis=0, out=out)

    @override
    def gather_ratio(self, rows: Array, indices: Array, divisor: float, dtype: Any) -> Array:
        if not rows.flags.c_contiguous:
            return super().gather_ratio(rows, indices, divisor, dtype)
        out = self.take((*indices.shape, *rows.shape[1:]), dtype)
        columns = prod(rows.shape[1:])
        flat = self.xp.reshape(out, (len(indices), columns), copy=False)
        self._kernel(cuda.GATHER_RATIO)(rows, indices[:, None], columns, divisor, flat)
        return out

    @override
    def rectify(self, values: Array, shift: Array) -> Array:
        self._kernel(cuda.RECTIFY)(values, shift[:, None, :], values)
        return values

    @override
    def rectify_back(self, grads: Array, values: Array, sums: Array) -> Array:
        if not (grads.flags.c_contiguous and values.flags.c_contiguous):
            return super().rectify_back(grads, values, sums)
        _, rows, columns = values.shape
        self._kernel(cuda.RECTIFY_BACK)(values, rows, columns, grads, sums)
        return grads

    @override
    def softmax_losses(self, scores: Array, labels: Array, log_eps: float) -> tuple[Array, Array]:
        if not scores.flags.c_contiguous:
            return super().softmax_losses(scores, labels, log_eps)
        back = self.xp.empty_like(scores)
        losses = self.xp.empty(scores.shape[:2], dtype=scores.dtype)
        kernel = self._kernel(cuda.SOFTMAX_LOSSES)
        kernel(scores, labels, scores.shape[2], log_eps, bool(log_eps), back, losses)
        return losses, back

    @override
    def normal_cdf(self, out: Array, x: Array) -> Array:
        self._kernel(cuda.NORMAL_CDF)(x, out)
        return out

    @override
    def all_finite(self, rows: Array) -> Array:
        return self._all_finite(rows, axis=1)


def why_no_gpu(number: int = 0) -> str | None:
    """Say why a GPU cannot be used and what to do about it, or None where it works.

    CuPy imports and answers without a driver, so the driver is asked next, and then the device to
    do a little real work: compiler and cuBLAS may still be missing.
    """
    if find_spec("cupy") is None:
        return "CuPy is not installed; pip install 'optbench[gpu-cuda13]' (or gpu-cuda12)"
    try:
        import cupy
    except ImportError as error:
        return f"CuPy cannot be imported ({_first_line(error)}); install it for your CUDA version"
    try:
        devices = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # CuPy's class for it cannot be named without importing CuPy
        return _why_no_driver(_first_line(error))
    if number >= devices:
        return f"GPU {number} cannot be found; this machine has {devices}, counted from 0"
    try:
        with cupy.cuda.Device(number):
            ones = cupy.ones((2, 2), dtype=cupy.float32)
            float((ones @ ones + ones).sum())
    except Exception as error:  # each CUDA library raises its own class
        reason = _first_line(error)
        return f"the CUDA compiler or cuBLAS does not work ({reason}); install the CUDA toolkit"
    return None


def _why_no_driver(message: str) -> str:
    """Return the remedy that fits what the CUDA runtime said."""
    if "InsufficientDriver" in message:
        return "the NVIDIA driver is missing or too old for CuPy; install a newer one"
    if "NoDevice" in message:
        return "the driver sees no CUDA device; check nvidia-smi and CUDA_VISIBLE_DEVICES"
    return f"the CUDA runtime does not start ({message}); check that nvidia-smi works"


def list_gpus() -> list[dict[str, Any]]:
    """Return what run.json would record of each working GPU."""
    if why_no_gpu() is not None:
        return []
    import cupy

    return [CupyDevice(number).describe() for number in range(cupy.cuda.runtime.getDeviceCount())]


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
