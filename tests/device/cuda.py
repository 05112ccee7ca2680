"""Runs CUDA sources without a GPU, so that none is needed to check them.

The source of a rule is evaluated in Python: it is read as what it is, a list of assignments; a name
that was not declared is an error, as it would be to a compiler. Bodies with loops are compiled as
C++, and run thread by thread on arrays of NumPy.
"""

import ctypes
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from optbench.device.cuda import Source

FUNCTIONS: dict[str, Any] = {
    "sqrt": np.sqrt,
    "abs": np.abs,
    "exp": np.exp,
    "log": np.log,
    "tanh": np.tanh,
    "where": np.where,
}

DECLARATION = re.compile(r"T (\w+)(?: = (.+))?")
CHOICE = re.compile(r"\((.+) \|\| (.+) \? (.+) : (.+)\)")

COMPILER = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")

needs_compiler = pytest.mark.skipif(
    COMPILER is None, reason="there is no C++ compiler to run CUDA's loops"
)


def names(declared: str) -> list[str]:
    """Return the names in a kernel's list of inputs or outputs, all of type T."""
    return [DECLARATION.fullmatch(each)[1] for each in declared.split(", ")]


def run_source(source: Source, arguments: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the outputs; T is the arguments' type, arrays stand for all elements at once."""
    values = dict(zip(names(source.inputs), arguments, strict=True))
    declared = {*values, *names(source.outputs)}
    scope = {**FUNCTIONS, "T": arguments[0].dtype.type}
    for line in source.body.splitlines():
        assert line.endswith(";")
        statement = line[:-1]
        declaration = DECLARATION.fullmatch(statement)
        if declaration:
            assert declaration[1] not in declared, f"{declaration[1]} is declared twice"
            declared.add(declaration[1])
            statement = statement[2:]
        target, equals, expression = statement.partition(" = ")
        assert target in declared, f"{target} is not declared"
        if equals:
            expression = CHOICE.sub(r"where((\1) | (\2), \3, \4)", expression)
            values[target] = eval(expression, {"__builtins__": {}}, {**scope, **values})
    return [values[name] for name in names(source.outputs)]


class ElementwiseKernel:
    """Takes the place of CuPy's."""

    calls = 0

    def __init__(
        self, inputs: str, outputs: str, body: str, name: str, options: tuple[str, ...]
    ) -> None:
        assert name.isidentifier()
        assert "--fmad=false" in options  # else a product and a sum would be rounded once
        self._source = Source(inputs, outputs, body, name)

    def __call__(self, *arguments: Any) -> None:
        """Write the outputs, which stand after the inputs, in place."""
        ElementwiseKernel.calls += 1
        if self._source.name != "optbench_rule":
            run_threads(self._source, arguments)
            return
        inputs = len(names(self._source.inputs))
        given, written = arguments[:inputs], arguments[inputs:]
        results = run_source(self._source, given)
        for array, result in zip(written, [np.array(each) for each in results], strict=True):
            array[...] = result


class ReductionKernel:
    """Takes the place of CuPy's, for two axes of which the second is reduced."""

    calls = 0

    def __init__(
        self,
        inputs: str,
        outputs: str,
        mapped: str,
        reduced: str,
        after: str,
        start: str,
        name: str,
    ) -> None:
        kind, number = inputs.split()
        result, _ = outputs.split()
        body = f"""
        {result} so_far = {start};
        for (ptrdiff_t place = i * count; place < (i + 1) * count; ++place) {{
            const {kind} {number} = numbers[place];
            const {result} a = so_far, b = {mapped};
            so_far = {reduced};
        }}
        const {result} a = so_far;
        {after};
        """
        self._source = Source(f"raw {kind} numbers, int64 count", outputs, body, name)
        self._result = np.dtype(result)

    def __call__(self, array: np.ndarray, axis: int) -> np.ndarray:
        """Return what is made of each row."""
        ReductionKernel.calls += 1
        assert (array.ndim, axis) == (2, 1)
        results = np.empty(len(array), self._result)
        run_threads(self._source, (np.ascontiguousarray(array), array.shape[1], results))
        return results


class Parameter(NamedTuple):
    """An input or output of a kernel."""

    kind: str
    name: str
    raw: bool
    written: bool


C_TYPES = {
    "float32": "float",
    "float64": "double",
    "uint8": "unsigned char",
    "int64": "long long",
    "bool": "bool",
}

PROGRAM = """
#include <cmath>
#include <cstddef>
using std::erfc, std::exp, std::isfinite, std::log, std::ptrdiff_t;
static bool is_outside = false;
template <typename T> struct Raw {
    T* const data;
    const ptrdiff_t size;
    T& operator[](ptrdiff_t place) const {
        const bool fits = 0 <= place && place < size;
        is_outside = is_outside || !fits;
        return data[fits ? place : 0];
    }
};
%(types)s
extern "C" bool run(
    ptrdiff_t threads, void** data, const ptrdiff_t* sizes, const ptrdiff_t** places
) {
    %(once)s
    for (ptrdiff_t i = threads; i-- > 0;) {
        %(each)s
        %(body)s;
    }
    return is_outside;
}
"""


def parameters(source: Source) -> list[Parameter]:
    """Return the inputs, then the outputs."""
    found = []
    for text, written in ((source.inputs, False), (source.outputs, True)):
        for declared in text.split(", "):
            *raw, kind, name = declared.split()
            assert raw in ([], ["raw"])
            found.append(Parameter(kind, name, bool(raw), written))
    return found


def types_of(source: Source, arguments: Sequence[Any]) -> dict[str, str]:
    """Return the type of each letter, which arrays decide, and all have to agree on."""
    found: dict[str, str] = {}
    for parameter, argument in zip(parameters(source), arguments, strict=True):
        if isinstance(argument, np.ndarray):
            letter = len(parameter.kind) == 1
            kind = found.setdefault(parameter.kind, argument.dtype.name) if letter else None
            assert argument.dtype.name == (kind or parameter.kind), parameter
    return found


def run_threads(source: Source, arguments: Sequence[Any]) -> None:
    """Run the body once for each element of what is not raw, last element first.

    Outputs stand after the inputs and are written in place. Raw arrays are C-contiguous, and a
    place outside of one is an error.
    """
    declared, types = parameters(source), types_of(source, arguments)
    shapes = [
        argument.shape
        for parameter, argument in zip(declared, arguments, strict=True)
        if isinstance(argument, np.ndarray) and not parameter.raw
    ]
    shape = np.broadcast_shapes(*shapes)
    arrays, places = [], []
    for parameter, argument in zip(declared, arguments, strict=True):
        if not isinstance(argument, np.ndarray):
            kind = types.get(parameter.kind, parameter.kind)
            argument = np.array(argument, dtype=kind)
        elif parameter.raw:
            assert argument.flags.c_contiguous
        else:
            assert argument.shape == shape or not parameter.written
        arrays.append(argument)
        places.append(elements(argument, () if parameter.raw else shape))
    scalars = tuple(not isinstance(argument, np.ndarray) for argument in arguments)
    run = compiled(source, tuple(types.items()), scalars)
    is_outside = run(
        ctypes.c_ssize_t(int(np.prod(shape))),
        (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays)),
        (ctypes.c_ssize_t * len(arrays))(*(array.size for array in arrays)),
        (ctypes.c_void_p * len(arrays))(*(place.ctypes.data for place in places)),
    )
    assert not is_outside, f"{source.name} reads or writes outside of an array"


def elements(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return where an array broadcast to a shape has its elements, counted from the first."""
    if not shape:
        return np.zeros(1, np.intp)
    strides = np.broadcast_to(array, shape).strides
    steps = [np.arange(size) * step for size, step in zip(shape, strides, strict=True)]
    return np.ascontiguousarray(sum(np.ix_(*steps)) // array.itemsize, np.intp)


@cache
def compiled(
    source: Source, types: tuple[tuple[str, str], ...], scalars: tuple[bool, ...]
) -> ctypes._CFuncPtr:
    """Return the C++ function of a kernel for some types."""
    assert COMPILER is not None
    once, each = [], []
    for number, (parameter, scalar) in enumerate(zip(parameters(source), scalars, strict=True)):
        kind = C_TYPES.get(parameter.kind, parameter.kind)
        kind = kind if parameter.written else f"const {kind}"
        name, data = parameter.name, f"static_cast<{kind}*>(data[{number}])"
        if scalar:
            once.append(f"{kind} {name} = *{data};")
        elif parameter.raw:
            once.append(f"const Raw<{kind}> {name} = {{{data}, sizes[{number}]}};")
        else:
            each.append(f"{kind} &{name} = {data}[places[{number}][i]];")
    program = PROGRAM % {
        "types": "\n".join(f"typedef {C_TYPES[kind]} {letter};" for letter, kind in types),
        "once": "\n".join(once),
        "each": "\n".join(each),
        "body": source.body,
    }
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder, "kernel.so")
        flags = ["-O1", "-std=c++17", "-ffp-contract=off", "-Wall", "-Werror", "-fPIC", "-shared"]
        subprocess.run(
            [COMPILER, *flags, "-x", "c++", "-", "-o", library],
            input=program,
            text=True,
            check=True,
        )
        run = ctypes.CDLL(str(library)).run
    run.restype = ctypes.c_bool
    return run
