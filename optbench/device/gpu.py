"""CuPy on a CUDA GPU; the only file that names CuPy."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from importlib.util import find_spec
from typing import Any

import numpy as np
from typing_extensions import override

from optbench.arrays import Array
from optbench.device.base import ApplyElementwise, Device
from optbench.device.programs import OPERATIONS, ElementwiseRule, Operand, Program, trace
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
    """

    def __init__(self, number: int = 0) -> None:
        import cupy
        from array_api_compat import cupy as xp

        super().__init__(xp, "gpu")
        self._cupy = cupy
        self._kernels: dict[Any, Any] = {}
        self._number = number
        self._properties = cupy.cuda.runtime.getDeviceProperties(number)
        self.block_bytes = self._properties["totalGlobalMem"] // GPU_MEMORY_PART

    @property
    @override
    def memory_bytes(self) -> int | None:
        return int(self._properties["totalGlobalMem"])

    @override
    def active(self) -> AbstractContextManager[Any]:
        context: AbstractContextManager[Any] = self._cupy.cuda.Device(self._number)
        return context

    @override
    def get(self, array: Array) -> np.ndarray:
        host: np.ndarray = self._cupy.asnumpy(array)
        return host

    @override
    def elementwise(self) -> ApplyElementwise:
        """Return what runs each rule as one kernel launch for all lanes."""

        def apply(
            rule: ElementwiseRule, arrays: Sequence[Array], columns: Mapping[str, Array]
        ) -> None:
            kernel = self._kernel(rule, len(arrays), tuple(columns))
            kernel(*arrays, *columns.values(), arrays[0], *arrays[2:])

        return apply

    def _kernel(self, rule: ElementwiseRule, arrays: int, columns: tuple[str, ...]) -> Any:
        key = (rule, arrays, columns)
        if key not in self._kernels:
            inputs, outputs, body = cuda_source(trace(rule, arrays, columns))
            # A product and a sum in one rounding would give other bits than the rule's operations.
            kernel = self._cupy.ElementwiseKernel(
                inputs, outputs, body, "optbench_rule", options=("--fmad=false",)
            )
            self._kernels[key] = kernel
        return self._kernels[key]

    @override
    def release(self) -> None:
        with self.active():  # the pool is that of the current device
            self._cupy.get_default_memory_pool().free_all_blocks()

    @override
    def lacks_memory(self, error: Exception) -> bool:
        """Say whether CuPy's pool, or cuBLAS for its workspace, found no memory."""
        # CuPy's OutOfMemoryError is a MemoryError; cuBLAS has a status of its own.
        return super().lacks_memory(error) or "CUBLAS_STATUS_ALLOC_FAILED" in str(error)

    @override
    def stopwatch(self) -> Stopwatch:
        """Return a stopwatch that reads CUDA events, so that no step waits for the host."""
        return EventStopwatch(self._cupy.cuda)

    @override
    def describe(self) -> dict[str, Any]:
        return {
            **super().describe(),
            "number": self._number,
            "name": self._properties["name"].decode(),
            "memory_bytes": self.memory_bytes,
            "cuda_runtime": self._cupy.cuda.runtime.runtimeGetVersion(),
        }


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


def cuda_source(program: Program) -> tuple[str, str, str]:
    """Return inputs, outputs and body of a CUDA element-wise kernel.

    Inputs are ``a0``, ``a1``, … for the arrays, then ``c_<name>`` for the columns; outputs are
    ``o0``, ``o2``, …, all of type T.
    """
    outputs = [index for index in range(program.arrays) if index != 1]
    lines = [f"T n{index} = a{index};" for index in outputs]
    lines += [f"T r{index};" for index in range(program.registers)]
    for operation in program.operations:
        sources = [_cuda(operand) for operand in operation.sources]
        pattern = "{}" if operation.name == "copy" else OPERATIONS[operation.name]
        lines.append(f"{_cuda(operation.target)} = {pattern.format(*sources)};")
    lines += [f"o{index} = n{index};" for index in outputs]
    inputs = [f"T a{index}" for index in range(program.arrays)]
    inputs += [f"T c_{name}" for name in program.columns]
    return ", ".join(inputs), ", ".join(f"T o{index}" for index in outputs), "\n".join(lines)


def _cuda(operand: Operand) -> str:
    if operand.kind == "number":
        return f"T({operand.key!r})"
    if operand.kind == "array":
        return "a1" if operand.key == 1 else f"n{operand.key}"
    return f"c_{operand.key}" if operand.kind == "column" else f"r{operand.key}"
