"""IDX files, the format of MNIST: a header of big-endian words, then the bytes of one array.

The header is a magic number ``0x0000ttdd`` (``tt`` the type of an element, 8 for unsigned bytes,
and ``dd`` the number of dimensions), then the size of each dimension, four bytes each. Source of
the format: Y. LeCun, C. Cortes and C. J. C. Burges, "The MNIST database of handwritten digits".

Nothing here trusts a file: no more is read than the right file would hold and one byte, and every
fault is a :class:`~optbench.errors.DataError` that names the file.
"""

import gzip
import struct
import zlib
from math import prod
from pathlib import Path
from typing import IO

import numpy as np

from optbench.errors import DataError

UNSIGNED_BYTE = 0x08
GZIP_MAGIC = b"\x1f\x8b"
OVERHEAD_BYTES = 1024 * 1024
"""Most that compression may add to a file."""


def size_bytes(examples: int, shape: tuple[int, ...]) -> int:
    """Return the size of an IDX file of ``examples`` arrays of ``shape``.

    >>> size_bytes(60_000, (28, 28)), size_bytes(60_000, ())
    (47040016, 60008)
    """
    return _header_bytes(shape) + examples * prod(shape)


def read(path: Path, limit: int) -> bytes:
    """Return at most ``limit + 1`` bytes of a file, decompressed where its name ends in ``.gz``."""
    try:
        with path.open("rb") as file:
            if path.suffix == ".gz":
                return gunzip(file, limit, str(path))
            return file.read(limit + 1)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None


def read_stored(path: Path, limit: int) -> bytes:
    """Return the bytes of a file as they are, at most ``limit`` and what compression may add."""
    try:
        with path.open("rb") as file:
            return file.read(limit + OVERHEAD_BYTES)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None


def gunzip(file: IO[bytes], limit: int, where: str) -> bytes:
    """Return at most ``limit + 1`` decompressed bytes; ``where`` names the file in a message."""
    try:
        with gzip.GzipFile(fileobj=file) as stream:
            return stream.read(limit + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{where}: its gzip compression is damaged ({error})") from None


def parse(content: bytes, where: str, shape: tuple[int, ...], examples: int) -> np.ndarray:
    """Return the array that a whole, decompressed IDX file of unsigned bytes holds.

    It may have as many ``examples`` of ``shape``, (28, 28) for images and () for labels, or fewer.
    The array is a read-only view of ``content``: (examples, features), or (examples,) for labels.
    """
    header = _header_bytes(shape)
    if len(content) < header:
        raise DataError(f"{where}: truncated: {len(content)} bytes, its header alone has {header}")
    magic, count, *found_shape = struct.unpack(f">{2 + len(shape)}I", content[:header])
    if magic != _magic(shape):
        raise DataError(f"{where}: magic number {magic:#010x}, expected {_magic(shape):#010x}")
    if tuple(found_shape) != shape:
        found, expected = ("×".join(map(str, sizes)) for sizes in (found_shape, shape))
        raise DataError(f"{where}: holds images of {found} pixels, expected {expected}")
    if count > examples:
        raise DataError(f"{where}: claims {count:,} examples, expected at most {examples:,}")
    missing = size_bytes(count, shape) - len(content)
    if missing > 0:
        raise DataError(f"{where}: truncated: {missing:,} bytes of {count:,} examples are missing")
    if missing < 0:
        raise DataError(f"{where}: there are bytes after the end of its {count:,} examples")
    array = np.frombuffer(content, dtype=np.uint8, offset=header)
    return array.reshape(count, prod(shape)) if shape else array


TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
"""Types of elements by the third byte of a file."""


def parse_any(content: bytes, where: str) -> np.ndarray:
    """Return the array that a whole, decompressed IDX file of any type and shape holds."""
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in TYPES or not content[3]:
        raise DataError(f"{where}: is no IDX file; its first bytes are {content[:4].hex()}")
    dtype, header = np.dtype(TYPES[content[2]]), 4 * (1 + content[3])
    if len(content) < header:
        raise DataError(f"{where}: truncated: {len(content)} bytes, its header alone has {header}")
    shape = struct.unpack(f">{content[3]}I", content[4:header])
    missing = header + prod(shape) * dtype.itemsize - len(content)
    if missing:
        fault = f"truncated: {missing:,} bytes are missing" if missing > 0 else "it is too long"
        raise DataError(f"{where}: {fault}, for the shape {'×'.join(map(str, shape))} it claims")
    array = np.frombuffer(content, dtype, offset=header).reshape(shape)
    array = array.astype(dtype.newbyteorder("="), copy=False)
    if not np.isfinite(array).all():
        example = int(np.argwhere(~np.isfinite(array))[0, 0])
        raise DataError(f"{where}: example {example} is not finite")
    return array


def check_labels(labels: np.ndarray, where: str, classes: int) -> None:
    """Raise a DataError for the first label that is not one of 0 to ``classes - 1``."""
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if wrong.size:
        first = int(wrong[0])
        raise DataError(
            f"{where}: label {labels[first]} at position {first}, expected 0 to {classes - 1}"
        )


def _header_bytes(shape: tuple[int, ...]) -> int:
    return 4 * (2 + len(shape))


def _magic(shape: tuple[int, ...]) -> int:
    return UNSIGNED_BYTE << 8 | 1 + len(shape)
