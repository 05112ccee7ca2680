"""Programs compiled for the CPU by Numba, where it can be imported.

A compiled program reads and writes each array once per step, where NumPy makes one pass for each
operation. It gives NumPy's bits: it is made of operations that IEEE 754 rounds correctly, one after
the other and never contracted; a program with any other operation stays with NumPy. So nothing but
the time of a run depends on Numba. Compiled programs are kept in the user's cache.
"""

import hashlib
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, ClassVar

import numpy as np

from optbench.device import loops
from optbench.device.kernels import NumpyKernel
from optbench.device.programs import Operand, Program

EXACT = {
    "add": "{} + {}",
    "subtract": "{} - {}",
    "multiply": "{} * {}",
    "divide": "{} / {}",
    "negative": "-{}",
    "sqrt": "sqrt({})",
    "abs": "abs({})",
    "sign": "({0} if {0} != {0} else T({0} > 0) - T({0} < 0))",
    "maximum": "({0} if {0} > {1} or {0} != {0} else {1})",
    "minimum": "({0} if {0} < {1} or {0} != {0} else {1})",
    "copy": "{}",
}
"""Operations with one correct result, and how Python writes them."""

LOAD_AFTER = 3 * 10**9
"""Operations on numbers that NumPy makes for all programs of a process before Numba is loaded:
about what they could have cost less, had it been loaded, and what loading it costs: 0.3 s."""

COMPILE_AFTER = 10**9
"""Operations that NumPy makes for one program before that one is compiled, or read from the
cache."""


class CpuKernel:
    """A program bound to NumPy arrays: run by NumPy, and compiled once it has run for long.

    Parameters
    ----------
    program
        What to do.
    arrays
        Parameters, gradients, then slots, each of shape (lanes, parameters).
    """

    def __init__(self, program: Program, arrays: Sequence[np.ndarray]) -> None:
        self._arrays = tuple(arrays)  # whoever finds a kernel by its arrays' ids relies on them
        self._operands: list[tuple[np.ndarray, ...]] = []
        self._apart = False  # whether rows are parts of longer ones, and run one by one
        self._program = program
        self._numpy: NumpyKernel | None = None
        self._compiled: dict[frozenset[str], Callable[..., None]] = {}
        self._work = _work_on(program, arrays[0].dtype.name)
        self._operations = len(program.operations) * arrays[0].size
        self._can_compile = numba_available() and can_compile(program, self._arrays)

    @property
    def is_compiled(self) -> bool:
        """Whether NumPy no longer runs it."""
        return bool(self._compiled)

    def __call__(self, columns: Mapping[str, np.ndarray]) -> None:
        """Update the arrays; columns have the shape (lanes, 1), or (1, 1) where all lanes share."""
        if not self._can_compile or not (self._compiled or self._work.is_long):
            self._numpy = self._numpy or NumpyKernel(self._program, self._arrays)
            self._numpy(columns)
            self._work.add(self._operations)
            return
        values = [np.ascontiguousarray(columns[name][:, 0]) for name in self._program.columns]
        named = zip(self._program.columns, values, strict=True)
        shared = frozenset(name for name, value in named if len(value) == 1)
        kernel = self._compiled.get(shared) or self._compile(shared)
        for lane, operands in enumerate(self._operands):
            kernel(*operands, *(_of_lane(values, lane) if self._apart else values))

    def _compile(self, shared: frozenset[str]) -> Callable[..., None]:
        together = all(array.flags.c_contiguous for array in self._arrays)
        by_lane = together or not _by_coordinate(self._arrays)
        self._apart = by_lane and not together
        if together:
            self._operands = [self._arrays]
        elif by_lane:
            lanes = range(len(self._arrays[0]))
            self._operands = [tuple(array[i : i + 1] for array in self._arrays) for i in lanes]
        else:
            self._operands = list(zip(*(array.T for array in self._arrays), strict=True))
        dtype = self._arrays[0].dtype.name
        made = compiled(self._program, dtype, by_lane=by_lane, shared=shared)
        self._compiled[shared] = made
        return made


@dataclass
class _Work:
    """Operations on numbers that NumPy has made for a program, in all blocks of the process."""

    done: int = 0
    of_all: ClassVar[int] = 0

    def add(self, count: int) -> None:
        self.done += count
        _Work.of_all += count

    @property
    def is_long(self) -> bool:
        """Whether compiling the program is worth its time."""
        return self.done >= COMPILE_AFTER and _Work.of_all >= LOAD_AFTER


@cache
def _work_on(program: Program, dtype: str) -> _Work:
    return _Work()


@cache
def numba_available() -> bool:
    """Say whether Numba is installed."""
    return find_spec("numba") is not None


def can_compile(program: Program, arrays: Sequence[np.ndarray]) -> bool:
    """Say whether all operations are exact, and arrays store each lane or coordinate together."""
    return {operation.name for operation in program.operations} <= set(EXACT) and (
        all(array[:1].flags.c_contiguous for array in arrays) or _by_coordinate(arrays)
    )


def _by_coordinate(arrays: Sequence[np.ndarray]) -> bool:
    return all(array.strides[0] == array.itemsize for array in arrays)


def _of_lane(columns: Sequence[np.ndarray], lane: int) -> list[np.ndarray]:
    """Return the part of columns (lanes,) or (1,) that a lane takes."""
    return [column[lane : lane + 1] if len(column) > 1 else column for column in columns]


@lru_cache(maxsize=256)
def compiled(
    program: Program, dtype: str, *, by_lane: bool, shared: frozenset[str] = frozenset()
) -> Callable[..., None]:
    """Return a program as a function of its arrays and columns.

    The arrays are C-contiguous, (lanes, parameters) if ``by_lane``, else (lanes,) of one parameter;
    the columns have the shape (lanes,), or (1,) if they are ``shared``. It releases the
    interpreter's lock while it runs.
    """
    import numba

    number = numba.from_dtype(np.dtype(dtype))
    array, column = number[:, ::1] if by_lane else number[::1], number[::1]
    signature = (array,) * program.arrays + (column,) * len(program.columns)
    names = {"sqrt": np.sqrt, "T": np.dtype(dtype).type}
    return _compiled("kernel", source(program, by_lane=by_lane, shared=shared), names, signature)


_loop_work = _Work()
"""What NumPy has done in place of all loops."""

_LOOPS: dict[tuple[Callable[..., None], Any], Callable[..., None]] = {}
"""Those compiled so far, by loop and type of numbers."""


def loop(function: Callable[..., None], dtype: Any, operations: int) -> Callable[..., None] | None:
    """Return a loop of :mod:`optbench.device.loops`, compiled, or None while NumPy is to do it.

    ``operations`` is how many on numbers NumPy makes in its place.
    """
    found = _LOOPS.get((function, dtype))
    if found is None and numba_available():
        if _loop_work.is_long:
            found = _LOOPS[function, dtype] = _compiled_loop(function, np.dtype(dtype))
        else:
            _loop_work.add(operations)
    return found


def _compiled_loop(function: Callable[..., None], dtype: np.dtype[Any]) -> Callable[..., None]:
    from numba import from_dtype, types

    number, bits = from_dtype(dtype), from_dtype(np.dtype(f"i{dtype.itemsize}"))
    rows, values = number[:, ::1], number[:, :, ::1]
    strided, bytes_ = types.Array(number, 2, "A"), types.Array(types.uint8, 2, "C", readonly=True)
    signature = {
        loops.rectify: (values, strided),
        loops.rectify_back: (values, values, strided),
        loops.gather_ratio: (rows, bytes_, types.int64[::1], number[::1]),
        loops.less_largest: (rows, rows),
        loops.softmax_back: (values, rows, bytes_, values, rows, rows),
        loops.all_finite: (bits[:, ::1], bits[::1], types.boolean[::1]),
    }[function]
    return _compiled(function.__name__, inspect.getsource(function), {"np": np}, signature)


def _compiled(
    name: str, text: str, names: Mapping[str, Any], signature: tuple[Any, ...]
) -> Callable[..., None]:
    """Return a function of that name in a source, compiled, and kept in the user's cache."""
    import numba

    file = _kept(text)
    # Numba imports the module that cached code names as its own.
    scope: dict[str, Any] = {"__name__": __name__, **names}
    # Made of a Program's names and numbers, or of this package's own code.
    exec(compile(text, "<kernel>" if file is None else str(file), "exec"), scope)

    def made(*, kept: bool) -> Callable[..., None]:
        function = numba.njit(nogil=True, error_model="numpy", cache=kept)(scope[name])
        function.compile(signature)
        return function

    try:
        return made(kept=file is not None)
    except Exception:  # what a damaged cache raises depends on where it is damaged
        return made(kept=False)


def _kept(text: str) -> Path | None:
    """Return a file of a program's source in the user's cache, beside which Numba keeps its code.

    None where there can be no such file.
    """
    import platformdirs

    name = f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.py"
    file = platformdirs.user_cache_path("optbench") / "kernels" / name
    try:
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.parent.mkdir(parents=True, exist_ok=True)
            with NamedTemporaryFile("w", dir=file.parent, encoding="utf-8", delete=False) as beside:
                beside.write(text)
            os.replace(beside.name, file)
        return file if os.access(file.parent, os.W_OK) else None
    except OSError:
        return None


def source(program: Program, *, by_lane: bool, shared: frozenset[str] = frozenset()) -> str:
    """Return a program as Python that Numba can compile.

    >>> from optbench.device.programs import trace
    >>> sgd = trace(lambda w, g, *, lr, xp: (w - lr * g,), 2, ("lr",))
    >>> print(source(sgd, by_lane=True))
    def kernel(a0, a1, c_lr):
        for i in range(a0.shape[0]):
            s_lr = c_lr[i]
            for j in range(a0.shape[1]):
                n0 = a0[i, j]
                n1 = a1[i, j]
                r0 = s_lr * n1
                n0 = n0 - r0
                a0[i, j] = n0
    """
    arrays = range(program.arrays)
    place = "[i, j]" if by_lane else "[i]"
    body = [f"n{index} = a{index}{place}" for index in arrays]
    columns = [f"s_{name} = c_{name}[i]" for name in program.columns if name not in shared]
    outside = [f"s_{name} = c_{name}[0]" for name in program.columns if name in shared]
    for operation in program.operations:
        value = EXACT[operation.name].format(*map(_written, operation.sources))
        body.append(f"{_written(operation.target)} = {value}")
    changed = {operation.target for operation in program.operations}
    body += [
        f"a{index}{place} = n{index}" for index in arrays if Operand("array", index) in changed
    ]
    if by_lane:
        body = ["for j in range(a0.shape[1]):", *(f"    {line}" for line in body)]
    parameters = [f"a{index}" for index in arrays] + [f"c_{name}" for name in program.columns]
    return "\n".join(
        (
            f"def kernel({', '.join(parameters)}):",
            *(f"    {line}" for line in outside),
            "    for i in range(a0.shape[0]):",
            *(f"        {line}" for line in (*columns, *body)),
        )
    )


def _written(operand: Operand) -> str:
    if operand.kind == "number":
        return f"T({operand.key!r})"
    return {"array": "n", "register": "r", "column": "s_"}[operand.kind] + str(operand.key)
