"""An unpickler that can build nothing but arrays, tuples, lists and other plain values.

A pickle is a program that may call whatever it names. Here it may name the few things that arrays
are made of, and what it gets for them are stand-ins that keep plain numbers: no constructor of
NumPy sees input that was not checked. How much it may read, and in how many pieces, is bounded.
"""

import gzip
import pickle
import re
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from optbench.errors import DataError

LIMIT_BYTES = 512 * 2**20
"""Most that is decompressed; the right file has about 220 MB, and twice that as text."""

LIMIT_READS = 10_000
"""Most pieces that a pickle is read in; the right file has a few hundred."""

MALFORMED = (
    pickle.UnpicklingError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)
"""What an unpickler raises for a malformed pickle, as the documentation of :mod:`pickle` warns."""


def load(path: Path) -> object:
    """Return the content of a gzipped pickle, with stand-ins for its arrays; see :func:`array_of`.

    A file that is damaged or no pickle, holds far more than MNIST does, or asks for anything but
    arrays is a DataError.
    """
    try:
        with gzip.open(path, "rb") as file:
            content: object = _ArrayUnpickler(_Bounded(file)).load()
            # Reading to the end also lets gzip compare its checksum.
            if file.read(1):
                raise DataError(f"{path}: there are bytes after the end of its pickle")
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise DataError(f"{path}: truncated, or its gzip compression is damaged") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    except _RefusedError as error:
        raise DataError(
            f"{path}: refused, its pickle asks for {_printable(error)}; only NumPy arrays, tuples "
            "and lists are read"
        ) from None
    except MALFORMED as error:
        raise DataError(f"{path}: not a pickle of arrays ({_printable(error)})") from None
    return content


def array_of(value: object) -> np.ndarray | None:
    """Return the array that a value of :func:`load` stands for, or None."""
    array = getattr(value, "array", None)
    return array if isinstance(array, np.ndarray) else None


class _DtypeStandIn:
    """A pickled ``numpy.dtype``: a type code, then the byte order as its state."""

    def __init__(self, code: str | bytes, *_flags: object) -> None:
        self._code = code.decode("ascii") if isinstance(code, bytes) else code
        if re.fullmatch("[fiu][1248]", self._code) is None:
            raise ValueError(f"elements of type {self._code!r:.20}")
        self._order = "|"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = state[1].decode("ascii") if isinstance(state[1], bytes) else state[1]
        if order not in ("<", ">", "|"):
            raise ValueError(f"byte order {order!r:.20}")
        self._order = order

    def array(self, data: bytes, shape: tuple[int, ...], order: str) -> np.ndarray:
        dtype = np.dtype(self._order + self._code)
        return np.frombuffer(data, dtype).reshape(shape, order="F" if order == "F" else "C")


class _ArrayStandIn:
    """A pickled ``numpy.ndarray``; its constructor's arguments say nothing of interest."""

    def __init__(self, *_arguments: object) -> None:
        self.array: np.ndarray | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, shape, dtype, fortran_order, data = state
        self.array = dtype.array(data, shape, "F" if fortran_order else "C")


class _BufferStandIn:
    """A ``numpy.ndarray`` pickled with protocol 5."""

    def __init__(self, data: bytes, dtype: _DtypeStandIn, shape: tuple[int, ...], order: str):
        self.array = dtype.array(data, shape, order)


# NumPy's private package was numpy.core up to version 1 and is numpy._core since.
STAND_INS: Mapping[tuple[str, str], Any] = {
    ("numpy", "dtype"): _DtypeStandIn,
    ("numpy", "ndarray"): "numpy.ndarray",
    ("numpy.core.multiarray", "_reconstruct"): _ArrayStandIn,
    ("numpy._core.multiarray", "_reconstruct"): _ArrayStandIn,
    ("numpy.core.numeric", "_frombuffer"): _BufferStandIn,
    ("numpy._core.numeric", "_frombuffer"): _BufferStandIn,
}


class _Bounded:
    """A file of which only so much can be had, in only so many pieces."""

    def __init__(self, file: gzip.GzipFile) -> None:
        self._file = file
        self._bytes_left = LIMIT_BYTES
        self._reads_left = LIMIT_READS

    def read(self, size: int) -> bytes:
        if size > self._bytes_left:
            raise ValueError("more data than the right file holds")
        return self._count(self._file.read(size))

    def readline(self) -> bytes:
        return self._count(self._file.readline(self._bytes_left))

    def _count(self, data: bytes) -> bytes:
        self._bytes_left -= len(data)
        self._reads_left -= 1
        if self._reads_left < 0:
            raise ValueError("more objects than the right file holds")
        return data


def _latin1_encoder() -> Callable[[str, str], bytes]:
    """Return what stands in for ``_codecs.encode``: Python 3 writes bytes as text for Python 2."""
    left = LIMIT_BYTES

    def encode(text: str, _encoding: str) -> bytes:
        nonlocal left
        left -= len(text)
        if left < 0:
            raise ValueError("more data than the right file holds")
        return text.encode("latin-1")

    return encode


def _skip_frame(unpickler: Any) -> None:
    """Ignore that what follows is a frame, so that every read is counted."""
    unpickler.read(8)


def _load_bytearray8(unpickler: Any) -> None:
    """Read before allocating, which the inherited method does the other way round."""
    (size,) = struct.unpack("<Q", unpickler.read(8))
    unpickler.append(unpickler.read(size))


class _RefusedError(pickle.UnpicklingError):
    """The pickle names something that is not an array."""


# The unpickler written in Python: the one in C believes the lengths and memo numbers that a file
# claims, and allocates gigabytes for a few bytes of input.
class _ArrayUnpickler(pickle._Unpickler):
    """Gives a pickle stand-ins for arrays, and nothing else."""

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        **pickle._Unpickler.dispatch,
        pickle.FRAME[0]: _skip_frame,
        pickle.BYTEARRAY8[0]: _load_bytearray8,
    }

    def __init__(self, file: _Bounded) -> None:
        # Python 2 wrote byte strings; as such they need no copy.
        super().__init__(file, encoding="bytes")
        self._encode = _latin1_encoder()

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):
            return self._encode
        try:
            return STAND_INS[module, name]
        except KeyError:
            raise _RefusedError(f"{module}.{name}") from None


def _printable(error: Exception) -> str:
    """Return an error's text on one short line, whatever the file put into it."""
    return ascii(str(error))[1:-1][:100]
