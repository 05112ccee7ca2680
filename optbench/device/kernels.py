"""Programs of element-wise rules on NumPy, tile by tile, in registers that are allocated once.

Each operation is the rule's own, so a program gives the same bits as the rule itself.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from optbench.device.programs import Operand, Operation, Program

TILE_BYTES = 512 * 2**10
"""Bytes of each array that a program works on at a time on the CPU: all operands fit a cache."""


class NumpyKernel:
    """A program bound to NumPy arrays, which it updates in place.

    It goes over them tile by tile, so that operands stay in the cache. All views of all tiles are
    made once, and a step is nothing but calls.

    Parameters
    ----------
    program
        What to do.
    arrays
        Parameters, gradients, then slots, each of shape (lanes, parameters).

    Attributes
    ----------
    calls
        What a step does, in order: functions, their operands, and the tiles they write.
    """

    def __init__(self, program: Program, arrays: Sequence[np.ndarray]) -> None:
        self._arrays = tuple(arrays)  # whoever finds a kernel by its arrays' ids relies on them
        lanes, dtype = len(arrays[0]), arrays[0].dtype
        self._columns = {name: np.empty((lanes, 1), dtype) for name in program.columns}
        columns = self._columns
        if arrays[0].strides[0] < arrays[0].strides[1]:  # by coordinate: lanes along the last axis
            arrays = [array.T for array in arrays]
            columns = {name: column.T for name, column in columns.items()}
        height, width = arrays[0].shape
        most = TILE_BYTES // dtype.itemsize
        wide = min(width, most)
        high = max(1, min(height, most // wide))
        registers = np.empty((program.registers, high, wide), dtype)
        self.calls: list[tuple[np.ufunc, tuple[Any, ...], np.ndarray]] = []
        for top in range(0, height, high):
            for left in range(0, width, wide):
                tile = (slice(top, top + high), slice(left, left + wide))
                places = _places(arrays, columns, registers, tile)
                self.calls += [_call(operation, places) for operation in program.operations]

    def __call__(self, columns: Mapping[str, np.ndarray]) -> None:
        """Update the arrays; columns have the shape (lanes, 1)."""
        for name, column in self._columns.items():
            column[...] = columns[name]
        for function, sources, target in self.calls:
            function(*sources, out=target)


def _places(
    arrays: Sequence[np.ndarray],
    columns: Mapping[str, np.ndarray],
    registers: np.ndarray,
    tile: tuple[slice, slice],
) -> dict[Operand, np.ndarray]:
    """Return the array that each operand means on a tile."""
    places = {Operand("array", index): array[tile] for index, array in enumerate(arrays)}
    for name, column in columns.items():
        places[Operand("column", name)] = np.broadcast_to(column, arrays[0].shape)[tile]
    high, wide = places[Operand("array", 0)].shape
    for index, register in enumerate(registers):
        places[Operand("register", index)] = register[:high, :wide]
    return places


def _call(
    operation: Operation, places: Mapping[Operand, np.ndarray]
) -> tuple[np.ufunc, tuple[Any, ...], np.ndarray]:
    """Return an operation as a universal function, its operands and its target."""
    function = getattr(np, "positive" if operation.name == "copy" else operation.name)
    sources = (
        source.key if source.kind == "number" else places[source] for source in operation.sources
    )
    return function, tuple(sources), places[operation.target]
