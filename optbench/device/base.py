"""What a device is: which array library does the work, and what the array API leaves out.

NumPy is the CPU; CuPy is the GPU; any other namespace of the array API standard works through the
base class, only slower.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from optbench.arrays import Array, Namespace, Workspace
from optbench.device.programs import ElementwiseRule, new_values
from optbench.device.stopwatch import Clock, Stopwatch

if sys.platform == "linux":
    import resource

ApplyElementwise = Callable[[ElementwiseRule, Sequence[Array], Mapping[str, Array]], None]
"""``elementwise(rule, arrays, columns)`` applies a rule in place; arrays (parameters, gradients,
then slots) have the shape (lanes, parameters), columns (lanes, 1)."""

CPU_BLOCK_BYTES = 10 * 2**20
"""What the arrays of a block may take on a CPU: a core's part of the caches."""


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
        self._resident_scopes: set[object] = set()

    @property
    def memory_bytes(self) -> int | None:
        """Memory of the machine, or of the card; None where the system does not say."""
        if not hasattr(os, "sysconf"):
            return None
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

    @property
    def spare_bytes(self) -> int | None:
        """What a limit on this process (``ulimit -v``) leaves it; None where there is no limit."""
        if sys.platform != "linux":
            return None
        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit == resource.RLIM_INFINITY:
            return None
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        return max(0, limit - pages * resource.getpagesize())

    def active(self) -> AbstractContextManager[Any]:
        """Return a context in which a thread's work goes to this device."""
        return nullcontext()

    def release(self) -> None:
        """Give back memory that no array uses, after a block did not fit."""

    def lacks_memory(self, error: Exception) -> bool:
        """Say whether an exception means that arrays did not fit into memory."""
        return isinstance(error, MemoryError)

    def put(self, array: np.ndarray) -> Array:
        """Return a host array, which nobody changes from now on, on the device."""
        return self.xp.asarray(array, copy=True)

    def resident(self, array: np.ndarray) -> Array:
        """Return a read-only host array on the device; inside :meth:`residents` copied once."""
        if id(array) in self._resident:
            return self._resident[id(array)][1]
        there = self.put(array)
        if self._resident_scopes:
            self._resident[id(array)] = (array, there)  # the host array too, which keeps its id
        return there

    @contextmanager
    def residents(self) -> Iterator[None]:
        """Keep what :meth:`resident` copies here until no such context is left."""
        scope = object()
        self._resident_scopes.add(scope)
        try:
            yield
        finally:
            self._resident_scopes.discard(scope)
            if not self._resident_scopes:
                self._resident.clear()

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

    def elementwise(self) -> ApplyElementwise:
        """Return what applies element-wise rules for one block."""

        def apply(
            rule: ElementwiseRule, arrays: Sequence[Array], columns: Mapping[str, Array]
        ) -> None:
            results = new_values(rule, rule(*arrays, xp=self.xp, **columns), len(arrays))
            # An array that is itself a result may be written before it is read.
            results = tuple(
                self.xp.asarray(result, copy=True)
                if any(result is array for array in arrays)
                else result
                for result in results
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
