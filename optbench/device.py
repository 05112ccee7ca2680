"""Devices: the one place that knows which array library does the work.

A :class:`Device` hands out the array namespace ``xp``, moves arrays between host and device, runs
element-wise rules and measures time. NumPy is the CPU; CuPy is the GPU; any other namespace of the
array API standard works through the base class, only slower.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from typing import Any

import numpy as np

from optbench.arrays import Array, Namespace
from optbench.errors import DeviceError, nearest
from optbench.jit import CpuKernel
from optbench.kernels import cuda_source
from optbench.programs import Rule, trace
from optbench.stopwatch import Clock, EventStopwatch, Stopwatch
from optbench.workspace import Workspace

DEVICE_NAMES = ("cpu", "gpu", "auto")

Elementwise = Callable[[Rule, Sequence[Array], Mapping[str, Array]], None]
"""``elementwise(rule, arrays, columns)`` applies a rule in place; arrays (parameters, gradients,
then slots) have the shape (lanes, parameters), columns (lanes, 1)."""

CPU_BLOCK_BYTES = 10 * 2**20
"""What the arrays of a block take on a CPU: a core's part of the caches."""

GPU_MEMORY_PART = 4
"""Training takes at most this part of a card's memory; evaluation, data and libraries need more."""


class Device:
    """An array namespace and what the standard leaves out.

    Parameters
    ----------
    xp
        An array namespace of the array API standard.
    kind
        ``"cpu"`` or ``"gpu"``; part of every lane key.
    clock
        Returns seconds; tests give a fake one.

    Attributes
    ----------
    block_bytes
        What a block's parameters, gradients, slots and work arrays may take.
    """

    block_bytes = CPU_BLOCK_BYTES

    def __init__(self, xp: Namespace, kind: str, clock: Clock = time.perf_counter) -> None:
        self.xp = xp
        self.kind = kind
        self._clock = clock
        self._resident: dict[int, tuple[np.ndarray, Array]] = {}

    @property
    def memory_bytes(self) -> int | None:
        """Memory of the machine, or of the card; None where the system does not tell."""
        if not hasattr(os, "sysconf"):
            return None
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

    def active(self) -> AbstractContextManager[Any]:
        """Return a context in which a thread's work goes to this device."""
        return nullcontext()

    def release(self) -> None:
        """Give memory that no array uses back, after a block did not fit."""

    def lacks_memory(self, error: Exception) -> bool:
        """Say whether an exception means that arrays did not fit into memory."""
        return isinstance(error, MemoryError)

    def put(self, array: np.ndarray) -> Array:
        """Return a host array, which nobody changes any more, on the device."""
        return self.xp.asarray(array, copy=True)

    def resident(self, array: np.ndarray) -> Array:
        """Return a read-only host array on the device; copied once, then kept there."""
        if id(array) not in self._resident:
            self._resident[id(array)] = (array, self.put(array))
        return self._resident[id(array)][1]

    def get(self, array: Array) -> np.ndarray:
        """Return a device array on the host, waiting for what computes it."""
        return np.asarray(array)

    def rows(self, lanes: int, parameters: int, dtype: str, *, by_coordinate: bool) -> Array:
        """Allocate zeros of logical shape (lanes, parameters).

        ``by_coordinate`` stores each parameter of all lanes together, which suits functions of a
        few variables; otherwise each lane is contiguous, which suits networks.
        """
        xp = self.xp
        kind = getattr(xp, dtype)
        if by_coordinate:
            return xp.permute_dims(xp.zeros((parameters, lanes), dtype=kind), (1, 0))
        return xp.zeros((lanes, parameters), dtype=kind)

    def workspace(self) -> Workspace:
        """Return work arrays for one block."""
        return Workspace(self.xp)

    def elementwise(self) -> Elementwise:
        """Return what applies element-wise rules for one block."""

        def apply(rule: Rule, arrays: Sequence[Array], columns: Mapping[str, Array]) -> None:
            results = rule(*arrays, xp=self.xp, **columns)
            # An array that is itself a result may be written before it is read.
            results = tuple(
                self.xp.asarray(each, copy=True) if any(each is array for array in arrays) else each
                for each in results
            )
            for array, result in zip((arrays[0], *arrays[2:]), results, strict=True):
                array[...] = result

        return apply

    def quiet(self) -> AbstractContextManager[Any]:
        """Return a context in which overflow and invalid operations raise no warnings."""
        return np.errstate(all="ignore")

    def stopwatch(self) -> Stopwatch:
        """Return a stopwatch for work on this device."""
        return Stopwatch(self._clock)

    def describe(self) -> dict[str, Any]:
        """Return what run.json records of the device."""
        return {"kind": self.kind, "namespace": self.xp.__name__}


class NumpyDevice(Device):
    """The CPU."""

    def __init__(self, clock: Clock = time.perf_counter) -> None:
        super().__init__(np, "cpu", clock)

    def put(self, array: np.ndarray) -> Array:
        """Return the array itself."""
        return array

    def resident(self, array: np.ndarray) -> Array:
        """Return the array itself."""
        return array

    def workspace(self) -> Workspace:
        """Return work arrays for one block, which operations write into."""
        return Workspace(np, writes_out=True)

    def elementwise(self) -> Elementwise:
        """Return what runs rules as programs, tile by tile in the cache or compiled."""
        kernels: dict[tuple[Any, ...], CpuKernel] = {}

        def apply(rule: Rule, arrays: Sequence[Array], columns: Mapping[str, Array]) -> None:
            key = (rule, *map(id, arrays))  # a kernel keeps its arrays, so no id comes twice
            if key not in kernels:
                kernels[key] = CpuKernel(trace(rule, len(arrays), tuple(columns)), arrays)
            kernels[key](columns)

        return apply


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
    def memory_bytes(self) -> int | None:
        """Memory of the card."""
        return int(self._properties["totalGlobalMem"])

    def active(self) -> AbstractContextManager[Any]:
        """Return a context in which this is the thread's current CUDA device."""
        context: AbstractContextManager[Any] = self._cupy.cuda.Device(self._number)
        return context

    def get(self, array: Array) -> np.ndarray:
        """Return a device array on the host, waiting for what computes it."""
        host: np.ndarray = self._cupy.asnumpy(array)
        return host

    def elementwise(self) -> Elementwise:
        """Return what runs each rule as one kernel launch for all lanes."""

        def apply(rule: Rule, arrays: Sequence[Array], columns: Mapping[str, Array]) -> None:
            kernel = self._kernel(rule, len(arrays), tuple(columns))
            kernel(*arrays, *columns.values(), arrays[0], *arrays[2:])

        return apply

    def _kernel(self, rule: Rule, arrays: int, columns: tuple[str, ...]) -> Any:
        key = (rule, arrays, columns)
        if key not in self._kernels:
            inputs, outputs, body = cuda_source(trace(rule, arrays, columns))
            # A product and a sum in one rounding would give other bits than the rule's operations.
            kernel = self._cupy.ElementwiseKernel(
                inputs, outputs, body, "optbench_rule", options=("--fmad=false",)
            )
            self._kernels[key] = kernel
        return self._kernels[key]

    def release(self) -> None:
        """Give memory that no array uses back to the device."""
        with self.active():  # the pool is that of the current device
            self._cupy.get_default_memory_pool().free_all_blocks()

    def lacks_memory(self, error: Exception) -> bool:
        """Say whether CuPy's pool, or cuBLAS for its workspace, found no memory."""
        # CuPy's OutOfMemoryError is a MemoryError; cuBLAS has a status of its own.
        return super().lacks_memory(error) or "CUBLAS_STATUS_ALLOC_FAILED" in str(error)

    def stopwatch(self) -> Stopwatch:
        """Return a stopwatch that reads CUDA events, so that no step waits for the host."""
        return EventStopwatch(self._cupy.cuda)

    def describe(self) -> dict[str, Any]:
        """Return what run.json records of the device."""
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
        return f"there is no GPU {number}; this machine has {devices}, counted from 0"
    try:
        with cupy.cuda.Device(number):
            ones = cupy.ones((2, 2), dtype=cupy.float32)
            float((ones @ ones + ones).sum())
    except Exception as error:  # each CUDA library raises its own class
        return f"compiler or cuBLAS do not work ({_first_line(error)}); install the CUDA toolkit"
    return None


def _why_no_driver(message: str) -> str:
    """Return the remedy that fits what the CUDA runtime said."""
    if "InsufficientDriver" in message:
        return "there is no NVIDIA driver, or it is too old for CuPy; install a newer one"
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


def get_device(name: str) -> Device:
    """Return a device: ``cpu``, ``gpu``, ``gpu:1``, or ``auto`` for a GPU where one works.

    Raises
    ------
    DeviceError
        For an unknown name, or for a GPU that does not work, with the reason and the remedy.
    """
    kind, colon, number = name.partition(":")
    if kind not in DEVICE_NAMES or (colon and not (kind == "gpu" and number.isdecimal())):
        meant = nearest(kind, DEVICE_NAMES)
        raise DeviceError(f"unknown device '{name}'; {meant} (gpu:1 is the second GPU)")
    if kind == "cpu":
        return NumpyDevice()
    wanted = int(number) if colon else 0
    reason = why_no_gpu(wanted)
    if reason is None:
        return CupyDevice(wanted)
    if kind == "auto":
        return NumpyDevice()
    raise DeviceError(f"no GPU can be used: {reason}; or run with --device cpu")
