"""Element-wise rules as programs, so that each device can run them in its own way.

A rule is one pure function of arrays. Called once with symbols in place of arrays it leaves behind
what it computes, from which :func:`trace` makes a :class:`Program`: a list of operations on arrays,
columns and a few registers, equal operations done once. On NumPy a program runs tile by tile in
registers that are allocated once (:class:`NumpyKernel`); for CUDA it is the source of one kernel
(:func:`cuda_source`). Each operation is the rule's own, so a program gives the same bits as the
rule itself.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from types import SimpleNamespace
from typing import Any, TypeAlias

import numpy as np

from optbench.arrays import Array

Rule: TypeAlias = Callable[..., tuple[Array, ...]]
"""``rule(*arrays, xp=xp, **columns)`` returns the new value of each array that it updates: the
first (parameters) and all from the third on (slots). The second (gradients) is only read."""

OPERATIONS = {
    "add": "{} + {}",
    "subtract": "{} - {}",
    "multiply": "{} * {}",
    "divide": "{} / {}",
    "negative": "-{}",
    "sqrt": "sqrt({})",
    "abs": "abs({})",
    "exp": "exp({})",
    "log": "log({})",
    "tanh": "tanh({})",
    "maximum": "max({}, {})",
    "minimum": "min({}, {})",
}
"""What a rule may do, by its name in the array API, and how CUDA writes it."""

TILE_BYTES = 128 * 2**10
"""Bytes of each array that a program works on at a time on the CPU: all operands fit a cache."""


class Symbol:
    """A value inside a rule; arithmetic on it is recorded, and equal operations are one symbol."""

    def __init__(self, table: dict[Any, "Symbol"], kind: str, *operands: Any) -> None:
        self._table = table
        self.kind = kind
        self.operands = operands

    def apply(self, operation: str, *operands: Any) -> "Symbol":
        """Return the symbol of an operation on symbols and numbers."""
        known = tuple(
            each if isinstance(each, Symbol) else self.find("number", float(each))
            for each in operands
        )
        return self.find(operation, *known)

    def find(self, kind: str, *operands: Any) -> "Symbol":
        """Return the one symbol of that kind with these operands."""
        key = (kind, *(id(each) if isinstance(each, Symbol) else each for each in operands))
        if key not in self._table:
            self._table[key] = Symbol(self._table, kind, *operands)
        return self._table[key]

    def __add__(self, other: Any) -> "Symbol":
        return self.apply("add", self, other)

    def __radd__(self, other: Any) -> "Symbol":
        return self.apply("add", other, self)

    def __sub__(self, other: Any) -> "Symbol":
        return self.apply("subtract", self, other)

    def __rsub__(self, other: Any) -> "Symbol":
        return self.apply("subtract", other, self)

    def __mul__(self, other: Any) -> "Symbol":
        return self.apply("multiply", self, other)

    def __rmul__(self, other: Any) -> "Symbol":
        return self.apply("multiply", other, self)

    def __truediv__(self, other: Any) -> "Symbol":
        return self.apply("divide", self, other)

    def __rtruediv__(self, other: Any) -> "Symbol":
        return self.apply("divide", other, self)

    def __neg__(self) -> "Symbol":
        return self.apply("negative", self)


@dataclass(frozen=True)
class Place:
    """Where a value is: ``array`` i, ``register`` i, ``column`` name, or the ``number`` itself."""

    kind: str
    key: Any


@dataclass(frozen=True)
class Operation:
    """One operation of a program; ``copy`` has one source and is no operation of a rule."""

    name: str
    sources: tuple[Place, ...]
    target: Place


@dataclass(frozen=True)
class Program:
    """What a rule does: operations in order, and the number of registers that they need."""

    operations: tuple[Operation, ...]
    registers: int
    arrays: int
    columns: tuple[str, ...]


@lru_cache(maxsize=256)
def trace(rule: Rule, arrays: int, columns: tuple[str, ...]) -> Program:
    """Return the program of a rule.

    Parameters
    ----------
    rule
        The rule; it may use the operators + − * / and the functions in :data:`OPERATIONS`.
    arrays
        How many arrays it takes.
    columns
        Names of the columns that it takes.
    """
    root = Symbol({}, "root")
    inputs = [root.find("array", index) for index in range(arrays)]
    names = {name: root.find("column", name) for name in columns}
    functions = {name: _function(root, name) for name in OPERATIONS}
    outputs = rule(*inputs, xp=SimpleNamespace(**functions), **names)
    updated = [index for index in range(arrays) if index != 1]
    results = dict(zip(updated, outputs, strict=True))
    order: dict[Symbol, int] = {}
    for symbol in results.values():
        _visit(symbol, order)
    return _Allocation(results, order).program(arrays, columns)


def _function(root: Symbol, name: str) -> Callable[..., Symbol]:
    return lambda *operands: root.apply(name, *operands)


def _visit(symbol: Symbol, order: dict[Symbol, int]) -> None:
    """Put the operations that a symbol needs in order, operands first."""
    if symbol.kind in OPERATIONS and symbol not in order:
        for operand in symbol.operands:
            _visit(operand, order)
        order[symbol] = len(order)


class _Allocation:
    """Decides where each value of a rule is kept.

    A result is written straight into its array if nobody reads the array's old value any more;
    else it waits in a register and is copied at the end. A register is free again after the last
    use of its value, also for the operation that uses it last.
    """

    def __init__(self, results: Mapping[int, Symbol], order: Mapping[Symbol, int]) -> None:
        self._results = results
        self._order = order
        self._end = len(order)
        self._last = dict.fromkeys(order, -1)
        for symbol, place in order.items():
            self._last |= dict.fromkeys(symbol.operands, place)
        self._last |= dict.fromkeys(results.values(), self._end)
        self._places: dict[Symbol, Place] = {}
        self._free: list[int] = []
        self._registers = count()

    def program(self, arrays: int, columns: tuple[str, ...]) -> Program:
        operations = []
        for symbol, position in self._order.items():
            sources = tuple(self._place(each) for each in symbol.operands)
            self._release(symbol.operands, position)
            self._places[symbol] = self._target(symbol, position)
            operations.append(Operation(symbol.kind, sources, self._places[symbol]))
        for index, symbol in self._results.items():
            place, target = self._place(symbol), Place("array", index)
            if place != target:
                operations.append(Operation("copy", (place,), target))
        return Program(tuple(operations), next(self._registers), arrays, columns)

    def _place(self, symbol: Symbol) -> Place:
        return self._places.get(symbol) or Place(symbol.kind, symbol.operands[0])

    def _release(self, operands: Sequence[Symbol], position: int) -> None:
        for symbol in dict.fromkeys(operands):
            place = self._places.get(symbol)
            if place and place.kind == "register" and self._last[symbol] <= position:
                self._free.append(place.key)

    def _target(self, symbol: Symbol, position: int) -> Place:
        taken = set(self._places.values())
        for index, result in self._results.items():
            old = [
                each for each in self._last if each.kind == "array" and each.operands[0] == index
            ]
            unread = all(self._last[each] <= position for each in old)
            if result is symbol and unread and Place("array", index) not in taken:
                return Place("array", index)
        return Place("register", self._free.pop() if self._free else next(self._registers))

    def _unread(self, array: Place, position: int) -> bool:
        """Say whether an array's old value is not needed after a position, nor a new one there."""
        old = [each for each in self._last if Place(each.kind, each.operands[0]) == array]
        written = array in self._places.values()
        return not written and all(self._last[each] <= position for each in old)


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
    """

    def __init__(self, program: Program, arrays: Sequence[np.ndarray]) -> None:
        lanes, dtype = len(arrays[0]), arrays[0].dtype
        self._columns = {name: np.empty((lanes, 1), dtype) for name in program.columns}
        columns = self._columns
        if not arrays[0].flags.c_contiguous:  # stored by coordinate: lanes run along the last axis
            arrays = [array.T for array in arrays]
            columns = {name: column.T for name, column in columns.items()}
        height, width = arrays[0].shape
        most = TILE_BYTES // dtype.itemsize
        wide = min(width, most)
        high = max(1, min(height, most // wide))
        registers = np.empty((program.registers, high, wide), dtype)
        self._calls: list[tuple[np.ufunc, tuple[Any, ...]]] = []
        for top in range(0, height, high):
            for left in range(0, width, wide):
                tile = (slice(top, top + high), slice(left, left + wide))
                places = _places(arrays, columns, registers, tile)
                self._calls += [_call(operation, places) for operation in program.operations]

    def __call__(self, columns: Mapping[str, np.ndarray]) -> None:
        """Update the arrays; columns have the shape (lanes, 1)."""
        for name, column in self._columns.items():
            column[...] = columns[name]
        for function, operands in self._calls:
            function(*operands)


def _places(
    arrays: Sequence[np.ndarray],
    columns: Mapping[str, np.ndarray],
    registers: np.ndarray,
    tile: tuple[slice, slice],
) -> dict[Place, np.ndarray]:
    """Return what each place means on a tile."""
    places = {Place("array", index): array[tile] for index, array in enumerate(arrays)}
    for name, column in columns.items():
        part = column[tile[0]] if column.shape[1] == 1 else column[:, tile[1]]
        places[Place("column", name)] = part
    high, wide = places[Place("array", 0)].shape
    for index, register in enumerate(registers):
        places[Place("register", index)] = register[:high, :wide]
    return places


def _call(
    operation: Operation, places: Mapping[Place, np.ndarray]
) -> tuple[np.ufunc, tuple[Any, ...]]:
    """Return an operation as a universal function and its operands, the target last."""
    function = getattr(np, "positive" if operation.name == "copy" else operation.name)
    sources = [each.key if each.kind == "number" else places[each] for each in operation.sources]
    return function, (*sources, places[operation.target])


def cuda_source(program: Program) -> tuple[str, str, str]:
    """Return inputs, outputs and body of a CUDA element-wise kernel.

    Inputs are ``a0``, ``a1``, … for the arrays, then ``c_<name>`` for the columns; outputs are
    ``o0``, ``o2``, …, all of type T.
    """
    outputs = [index for index in range(program.arrays) if index != 1]
    lines = [f"T n{index} = a{index};" for index in outputs]
    lines += [f"T r{index};" for index in range(program.registers)]
    for operation in program.operations:
        sources = [_cuda(place) for place in operation.sources]
        pattern = "{}" if operation.name == "copy" else OPERATIONS[operation.name]
        lines.append(f"{_cuda(operation.target)} = {pattern.format(*sources)};")
    lines += [f"o{index} = n{index};" for index in outputs]
    inputs = [f"T a{index}" for index in range(program.arrays)]
    inputs += [f"T c_{name}" for name in program.columns]
    return ", ".join(inputs), ", ".join(f"T o{index}" for index in outputs), "\n".join(lines)


def _cuda(place: Place) -> str:
    if place.kind == "number":
        return f"T({place.key!r})"
    if place.kind == "array":
        return "a1" if place.key == 1 else f"n{place.key}"
    return f"c_{place.key}" if place.kind == "column" else f"r{place.key}"
