"""NumPy on the CPU."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from typing_extensions import override

from optbench.arrays import Array, Workspace
from optbench.device.base import ApplyElementwise, Device
from optbench.device.jit import CpuKernel
from optbench.device.programs import ElementwiseRule, trace
from optbench.device.stopwatch import Clock


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
    def workspace(self) -> Workspace:
        return Workspace(np, writes_out=True)

    @override
    def elementwise(self) -> ApplyElementwise:
        """Return what runs rules as programs, either tile by tile in the cache or compiled."""
        kernels: dict[tuple[Any, ...], CpuKernel] = {}

        def apply(
            rule: ElementwiseRule, arrays: Sequence[Array], columns: Mapping[str, Array]
        ) -> None:
            key = (rule, *map(id, arrays))  # a kernel keeps its arrays, so no id comes twice
            if key not in kernels:
                kernels[key] = CpuKernel(trace(rule, len(arrays), tuple(columns)), arrays)
            kernels[key](columns)

        return apply
