"""Devices: the one place that knows which array library does the work.

A :class:`Device` hands out the array namespace ``xp``, moves arrays between host and device, runs
element-wise rules and measures time. NumPy is the CPU; CuPy is the GPU; any other namespace of the
array API standard works through the base class, only slower.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from optbench.arrays import Array, Namespace, Workspace
from optbench.device.programs import ElementwiseRule, new_values
from optbench.device.stopwatch import Clock, Stopwatch

ApplyElementwise = Callable[[ElementwiseRule, Sequence[Array], Mapping[str, Array]], None]
"""``elementwise(rule, arrays, columns)`` applies a rule in place; arrays (parameters, gradients,
then slots) have the shape (lanes, parameters), columns (lanes, 1)."""


CPU_BLOCK_BYTES = 10 * 2**20
"""What the arrays of a block take on a CPU: a core's part of the caches."""


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

    def elementwise(self) -> ApplyElementwise:
        """Return what applies element-wise rules for one block."""

        def apply(
            rule: ElementwiseRule, arrays: Sequence[Array], columns: Mapping[str, Array]
        ) -> None:
            results = new_values(rule, rule(*arrays, xp=self.xp, **columns), len(arrays))
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
