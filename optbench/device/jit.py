"""Programs compiled for the CPU by Numba, where the extra ``jit`` is installed.

A compiled program reads and writes each array once per step, where NumPy makes one pass for each
operation. It gives NumPy's bits: it is made of operations that IEEE 754 rounds correctly, one after
the other and never contracted; a program with any other operation stays with NumPy. So nothing but
the time of a run depends on whether Numba is installed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np

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

COMPILE_AFTER = 10**10
"""Operations on numbers that NumPy makes for a program before it is compiled: about a second's
worth, which is what loading Numba and compiling costs."""


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
        self._operands = self._arrays
        self._program = program
        self._numpy: NumpyKernel | None = None
        self._compiled: Callable[..., None] | None = None
        self._work = _work_on(program, arrays[0].dtype.name)
        self._operations = len(program.operations) * arrays[0].size
        self._can_compile = numba_available() and can_compile(program, self._arrays)

    @property
    def is_compiled(self) -> bool:
        """Whether NumPy no longer runs it."""
        return self._compiled is not None

    def __call__(self, columns: Mapping[str, np.ndarray]) -> None:
        """Update the arrays; columns have the shape (lanes, 1)."""
        if self._compiled is None and self._can_compile and self._work.done >= COMPILE_AFTER:
            by_lane = self._arrays[0].flags.c_contiguous
            self._compiled = compiled(self._program, self._arrays[0].dtype.name, by_lane=by_lane)
            if not by_lane:
                self._operands = tuple(array.T for array in self._arrays)
        if self._compiled is None:
            self._numpy = self._numpy or NumpyKernel(self._program, self._arrays)
            self._numpy(columns)
            self._work.done += self._operations
        else:
            count = len(self._arrays[0])
            lanes = (
                np.ascontiguousarray(np.broadcast_to(columns[name], (count, 1))[:, 0])
                for name in self._program.columns
            )
            self._compiled(*self._operands, *lanes)


@dataclass
class _Work:
    """Operations on numbers that NumPy has made for a program, in all blocks of the process."""

    done: int = 0


@cache
def _work_on(program: Program, dtype: str) -> _Work:
    return _Work()


@cache
def numba_available() -> bool:
    """Say whether Numba is installed."""
    return find_spec("numba") is not None


def can_compile(program: Program, arrays: Sequence[np.ndarray]) -> bool:
    """Say whether all operations are exact, and all arrays contiguous in the same order."""
    return {operation.name for operation in program.operations} <= set(EXACT) and (
        all(array.flags.c_contiguous for array in arrays)
        or all(array.flags.f_contiguous for array in arrays)
    )


@lru_cache(maxsize=256)
def compiled(program: Program, dtype: str, *, by_lane: bool) -> Callable[..., None]:
    """Return a program as a function of its arrays and columns.

    The arrays are C-contiguous, (lanes, parameters) if ``by_lane``, else (parameters, lanes); the
    columns have the shape (lanes,). It releases the interpreter's lock while it runs.
    """
    import numba

    names: dict[str, Any] = {"sqrt": np.sqrt, "T": np.dtype(dtype).type}
    exec(source(program, by_lane=by_lane), names)  # made of a Program's names and numbers alone
    function: Callable[..., None] = numba.njit(nogil=True, error_model="numpy")(names["kernel"])
    return function


def source(program: Program, *, by_lane: bool) -> str:
    """Return a program as Python that Numba can compile.

    >>> from optbench.device.programs import trace
    >>> sgd = trace(lambda w, g, *, lr, xp: (w - lr * g,), 2, ("lr",))
    >>> print(source(sgd, by_lane=True))
    def kernel(a0, a1, c_lr):
        for i in range(a0.shape[0]):
            p0 = a0[i]
            p1 = a1[i]
            s_lr = c_lr[i]
            for j in range(a0.shape[1]):
                n0 = p0[j]
                n1 = p1[j]
                r0 = s_lr * n1
                n0 = n0 - r0
                p0[j] = n0
    """
    arrays = range(program.arrays)
    outer = [f"p{index} = a{index}[i]" for index in arrays]
    inner = [f"n{index} = p{index}[j]" for index in arrays]
    columns = [f"s_{name} = c_{name}[{'i' if by_lane else 'j'}]" for name in program.columns]
    (outer if by_lane else inner).extend(columns)
    for operation in program.operations:
        value = EXACT[operation.name].format(*map(_written, operation.sources))
        inner.append(f"{_written(operation.target)} = {value}")
    inner += [f"p{index}[j] = n{index}" for index in arrays if index != 1]
    parameters = [f"a{index}" for index in arrays] + [f"c_{name}" for name in program.columns]
    return "\n".join(
        (
            f"def kernel({', '.join(parameters)}):",
            "    for i in range(a0.shape[0]):",
            *(f"        {line}" for line in outer),
            "        for j in range(a0.shape[1]):",
            *(f"            {line}" for line in inner),
        )
    )


def _written(operand: Operand) -> str:
    if operand.kind == "number":
        return f"T({operand.key!r})"
    return {"array": "n", "register": "r", "column": "s_"}[operand.kind] + str(operand.key)
