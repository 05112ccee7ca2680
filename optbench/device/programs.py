"""Element-wise rules as programs, so that each device can run them in its own way.

A rule is one pure function of arrays. Called once with symbols in place of arrays, it leaves a
record of what it computes, from which :func:`trace` makes a :class:`Program`: a list of operations
on arrays, columns and a few registers, equal operations done once.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from optbench.arrays import Array
from optbench.errors import SuiteError

ElementwiseRule: TypeAlias = Callable[..., tuple[Array, ...]]
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
    "sign": "({0} != {0} || {0} != {0} ? {0} : T({0} > 0) - T({0} < 0))",
    "maximum": "({0} > {1} || {0} != {0} ? {0} : {1})",
    "minimum": "({0} < {1} || {0} != {0} ? {0} : {1})",
}
"""What a rule may do, by its name in the array API, and how CUDA writes it.

CUDA's own max and min would drop NaN, and a lane's divergence with it; comparisons alone would drop
it from a sign.
"""

APART = {"sign"}
"""Operations that NumPy does ten times as fast into another register as in place."""


def _binary(operation: str, *, reflected: bool = False) -> Callable[["Symbol", Any], "Symbol"]:
    def operator(self: "Symbol", other: Any) -> "Symbol":
        return self.apply(operation, *((other, self) if reflected else (self, other)))

    return operator


class Symbol:
    """A value inside a rule; arithmetic on it is recorded, and equal operations are one symbol."""

    def __init__(self, table: dict[Any, "Symbol"], kind: str, *operands: Any) -> None:
        self._table = table
        self.kind = kind
        self.operands = operands

    def apply(self, operation: str, *operands: Any) -> "Symbol":
        """Return the symbol of an operation on symbols and numbers."""
        return self.find(operation, *(self.value(operand) for operand in operands))

    def value(self, value: Any) -> "Symbol":
        """Return the symbol of a value, which may be a number."""
        return value if isinstance(value, Symbol) else self.find("number", float(value))

    def find(self, kind: str, *operands: Any) -> "Symbol":
        """Return the one symbol of that kind with these operands."""
        # By text, since 0 and −0 are equal as numbers.
        key = (kind, *(id(one) if isinstance(one, Symbol) else repr(one) for one in operands))
        if key not in self._table:
            self._table[key] = Symbol(self._table, kind, *operands)
        return self._table[key]

    __add__, __radd__ = _binary("add"), _binary("add", reflected=True)
    __sub__, __rsub__ = _binary("subtract"), _binary("subtract", reflected=True)
    __mul__, __rmul__ = _binary("multiply"), _binary("multiply", reflected=True)
    __truediv__, __rtruediv__ = _binary("divide"), _binary("divide", reflected=True)

    def __neg__(self) -> "Symbol":
        return self.apply("negative", self)

    def __bool__(self) -> bool:
        raise TypeError("an element-wise rule cannot branch on values; use xp.maximum or minimum")


class _Functions:
    """Stands in for the array namespace inside a rule."""

    def __init__(self, root: Symbol) -> None:
        self._root = root

    def __getattr__(self, name: str) -> Callable[..., Symbol]:
        if name not in OPERATIONS:
            known = ", ".join(OPERATIONS)
            raise AttributeError(f"an element-wise rule cannot use xp.{name}; it may use {known}")
        return partial(self._root.apply, name)


@dataclass(frozen=True)
class Operand:
    """Where a value is: ``array`` i, ``register`` i, ``column`` name, or the ``number`` itself."""

    kind: str
    key: Any


@dataclass(frozen=True)
class Operation:
    """One operation of a program; ``copy`` has one source and is no operation of a rule."""

    name: str
    sources: tuple[Operand, ...]
    target: Operand


@dataclass(frozen=True)
class Program:
    """What a rule does: operations in order, and the number of registers that they need."""

    operations: tuple[Operation, ...]
    registers: int
    arrays: int
    columns: tuple[str, ...]


_programs: WeakKeyDictionary[ElementwiseRule, dict[tuple[int, tuple[str, ...]], Program]]
_programs = WeakKeyDictionary()  # rules are users' code, which is freed with a run


def trace(rule: ElementwiseRule, arrays: int, columns: tuple[str, ...]) -> Program:
    """Return the program of a rule, made once.

    Parameters
    ----------
    rule
        The rule; it may use the operators + − * / and the functions in :data:`OPERATIONS`.
    arrays
        How many arrays it takes.
    columns
        Names of the columns that it takes.

    Raises
    ------
    SuiteError
        If it does not return what it is to update.
    """
    programs = _programs.setdefault(rule, {})
    if (arrays, columns) not in programs:
        programs[arrays, columns] = _trace(rule, arrays, columns)
    return programs[arrays, columns]


def _trace(rule: ElementwiseRule, arrays: int, columns: tuple[str, ...]) -> Program:
    root = Symbol({}, "root")
    inputs = [root.find("array", index) for index in range(arrays)]
    names = {name: root.find("column", name) for name in columns}
    returned = new_values(rule, rule(*inputs, xp=_Functions(root), **names), arrays)
    outputs = [root.value(value) for value in returned]
    updated = [index for index in range(arrays) if index != 1]
    results = dict(zip(updated, outputs, strict=True))
    order: dict[Symbol, int] = {}
    for symbol in results.values():
        _visit(symbol, order)
    return _Allocation(results, order).program(arrays, columns)


def new_values(rule: ElementwiseRule, returned: Any, arrays: int) -> tuple[Any, ...]:
    """Return what a rule of so many arrays returned, if that is one value for each it updates.

    Raises
    ------
    SuiteError
        If it is not.
    """
    if isinstance(returned, tuple | list) and len(returned) == arrays - 1:
        return tuple(returned)
    slots = ", then each of its slots" if arrays > 2 else ""
    number = len(returned) if isinstance(returned, tuple | list) else "no tuple"
    raise SuiteError(
        f"{getattr(rule, '__qualname__', rule)} must return a tuple of {arrays - 1}: "
        f"the new parameters{slots}; it returned {number}"
    )


def _visit(symbol: Symbol, order: dict[Symbol, int]) -> None:
    """Put the operations that a symbol needs in order, operands first."""
    if symbol.kind in OPERATIONS and symbol not in order:
        for operand in symbol.operands:
            _visit(operand, order)
        order[symbol] = len(order)


class _Allocation:
    """Decides where each value of a rule is kept.

    A result is written straight into its array if nothing reads the array's old value any more;
    otherwise it waits in a register and is copied at the end. A register is free again after the
    last use of its value, also for the operation that uses it last.
    """

    def __init__(self, results: Mapping[int, Symbol], order: Mapping[Symbol, int]) -> None:
        self._results = results
        self._order = order
        self._end = len(order)
        self._last = dict.fromkeys(order, -1)
        for symbol, place in order.items():
            self._last |= dict.fromkeys(symbol.operands, place)
        self._last |= dict.fromkeys(results.values(), self._end)
        self._places: dict[Symbol, Operand] = {}
        self._free: list[int] = []
        self._registers = count()

    def program(self, arrays: int, columns: tuple[str, ...]) -> Program:
        operations = []
        for symbol, position in self._order.items():
            sources = tuple(self._place(operand) for operand in symbol.operands)
            apart = symbol.kind in APART
            if not apart:
                self._release(symbol.operands, position)
            self._places[symbol] = self._target(symbol, position)
            if apart:
                self._release(symbol.operands, position)
            operations.append(Operation(symbol.kind, sources, self._places[symbol]))
        operations += self._copies()
        return Program(tuple(operations), next(self._registers), arrays, columns)

    def _copies(self) -> Iterator[Operation]:
        """Yield copies to the arrays whose results are elsewhere, none over what is still read."""
        moves = {
            Operand("array", index): self._place(result) for index, result in self._results.items()
        }
        moves = {target: source for target, source in moves.items() if target != source}
        while moves:
            target = next((array for array in moves if array not in moves.values()), None)
            if target is None:  # arrays that change places
                target = next(iter(moves))
                register = self._register()
                yield Operation("copy", (target,), register)
                moves = {key: register if each == target else each for key, each in moves.items()}
            yield Operation("copy", (moves.pop(target),), target)

    def _place(self, symbol: Symbol) -> Operand:
        return self._places.get(symbol) or Operand(symbol.kind, symbol.operands[0])

    def _release(self, operands: Sequence[Symbol], position: int) -> None:
        for symbol in dict.fromkeys(operands):
            place = self._places.get(symbol)
            if place and place.kind == "register" and self._last[symbol] <= position:
                self._free.append(place.key)

    def _target(self, symbol: Symbol, position: int) -> Operand:
        for index, result in self._results.items():
            array = Operand("array", index)
            if result is symbol and self._unread(array, position):
                return array
        return self._register()

    def _register(self) -> Operand:
        return Operand("register", self._free.pop() if self._free else next(self._registers))

    def _unread(self, array: Operand, position: int) -> bool:
        """Say whether nothing reads an array's old value after a position."""
        old = [symbol for symbol in self._last if Operand(symbol.kind, symbol.operands[0]) == array]
        return all(self._last[symbol] <= position for symbol in old)
