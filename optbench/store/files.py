"""Writing files so that nothing half written is ever seen."""

import json
import lzma
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from io import BytesIO
from math import isfinite
from os.path import isfile, lexists, realpath
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_STORED, BadZipFile, ZipFile

import numpy as np

from optbench.errors import ResultsError, argument
from optbench.records import SCHEMA_VERSION
from optbench.store.lock import hold
from optbench.store.places import make_folder, sync, writing

if TYPE_CHECKING:
    import pyarrow as pa

VERSION_KEY = "optbench.schema_version"
"""Key of a parquet file's metadata that holds the version of the schema."""

COUNT = "number of arrays"
"""Name of a number in npz files: a damaged directory may leave some of the arrays out."""


LONGEST_FILE_NAME = 120
"""Bytes of a title that go into the name of a file; suffixes and the time must fit, too."""


def file_name(title: str) -> str:
    """Return a title as any file system and shell takes it.

    >>> file_name("Rosenbrock, a = 2"), file_name("比較"), file_name("../*")
    ('Rosenbrock-a-2', '比較', 'unnamed')
    """
    name = re.sub(r"[^\w.-]+", "-", title)
    cut = name.encode()[:LONGEST_FILE_NAME].decode(errors="ignore")
    return cut.strip("-.") or "unnamed"


def null_unless_finite(value: Any) -> Any:
    """Return plain data with null in place of NaN and infinity, which JSON cannot say.

    >>> null_unless_finite({"loss": float("nan"), "seeds": (0, 1)})
    {'loss': None, 'seeds': [0, 1]}
    """
    if isinstance(value, Mapping):
        return {str(key): null_unless_finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [null_unless_finite(inner) for inner in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def json_text(value: Any) -> str:
    """Return plain data as JSON (RFC 8259), null in place of NaN and infinity."""
    plain = null_unless_finite(value)
    return json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False)


def write_json(
    path: Path, value: Any, *, indent: int | None = None, allow_nan: bool = False
) -> None:
    """Write plain data as a JSON file; NaN and infinity, which JSON does not have, if allowed."""
    text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=allow_nan)
    content = f"{text}\n".encode(errors="backslashreplace")  # paths may hold what is no text
    write_beside(path, lambda beside: beside.write_bytes(content))


PART = ".optbench-{}.part"
"""Name of a file that is being written, beside the one that it becomes."""


def check_place(file: Path, *, force: bool) -> None:
    """Refuse a file's place where something is already; ``force`` lets a file be overwritten."""
    if lexists(file) and not isfile(file):
        raise ResultsError(f"'{file}' exists and is not a file; give another name")
    if lexists(file) and not force:
        raise ResultsError(
            f"'{file}' already exists; give {argument('force', True)}, or another name"
        )


def write_output(file: Path, write: Callable[[Path], Any]) -> None:
    """Write a file where the user wants it, and make its folders.

    A link stays, and what it names changes.
    """
    with writing(file, "name"):
        file.parent.mkdir(parents=True, exist_ok=True)
        _replace(Path(realpath(file)), write)


def write_beside(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file beside its place, see it on the disk, and rename it there.

    Whatever ends the process or the machine meanwhile, and whoever else writes the same file, there
    is one whole file or what was there before. What writers that were killed have left in the
    folder is removed.
    """
    make_folder(path.parent)
    with writing(path):
        _replace(path, write)


def _replace(path: Path, write: Callable[[Path], Any]) -> None:
    _remove_leftovers(path.parent)
    beside, opened = _new_part(path.parent)
    try:
        write(beside)
        sync(beside)
        os.replace(beside, path)
        sync(path.parent)
    finally:
        if opened is not None:
            os.close(opened)
        beside.unlink(missing_ok=True)


def _new_part(folder: Path) -> tuple[Path, int | None]:
    """Make a file that no other process knows; it is held, as its writer lives, while it is open.

    Windows renames no open file, nor lets a locked one be written by another name.
    """
    while True:
        beside = folder / PART.format(token_hex(8))
        opened = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        if os.name == "nt":
            os.close(opened)
            return beside, None
        try:
            held = hold(opened)
        except OSError:  # no locks here
            held = True
        if held and beside.exists():
            return beside, opened
        os.close(opened)  # it was taken for a leftover before it was held


def _remove_leftovers(folder: Path) -> None:
    """Remove files that were being written in a folder and that no process holds any more."""
    for beside in folder.glob(PART.format("*")):
        with suppress(OSError):  # another process removes it, or there are no locks here
            opened = os.open(beside, os.O_RDWR)
            try:
                if hold(opened):
                    beside.unlink()
            finally:
                os.close(opened)


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by name as an npz file, whose checksums tell if it is damaged."""

    def write(place: Path) -> None:
        with place.open("wb") as file:
            np.savez(file, allow_pickle=False, **{COUNT: np.array(len(arrays))}, **arrays)

    write_beside(path, write)


_NO_ZIP = (BadZipFile, zlib.error, lzma.LZMAError, struct.error)
"""What reading a damaged zip file raises beside what Python itself does."""


def read_arrays(
    path: Path, wanted: Callable[[str], bool] = lambda name: True
) -> dict[str, np.ndarray]:
    """Return the arrays of an npz file that are wanted, by their names, unless it is damaged."""
    try:
        with ZipFile(path) as members:
            if any(member.compress_type != ZIP_STORED for member in members.infolist()):
                raise BadZipFile("it is compressed")  # it might unfold beyond all measure
            names = [name.removesuffix(".npy") for name in members.namelist()]

            def array(name: str) -> np.ndarray:
                # Whole, so that its checksum is compared: an array may end before its file does.
                whole = BytesIO(members.read(f"{name}.npy"))
                found: np.ndarray = np.load(whole, allow_pickle=False)
                return found

            arrays = {name: array(name) for name in names if name != COUNT and wanted(name)}
            if int(array(COUNT)) != len(names) - 1:
                raise BadZipFile("arrays are missing")
            return arrays
    except (OSError, ValueError, EOFError, KeyError, RuntimeError, *_NO_ZIP) as error:
        reason = (str(error).splitlines() or ["no reason given"])[0]
        raise ResultsError(f"'{path}' is damaged: {reason}") from None


def arrow_table(kinds: Mapping[str, str], columns: Mapping[str, Any]) -> "pa.Table":
    """Return columns of the types named in ``kinds``, with the schema's version."""
    import pyarrow as pa

    schema = arrow_schema(kinds)
    values = [columns[name] for name in kinds]
    try:
        return pa.table(values, schema=schema)
    except UnicodeEncodeError:  # the path of a plug-in need not be text
        return pa.table([_as_text(column) for column in values], schema=schema)


def _as_text(column: Any) -> Any:
    """Return a column with escapes in place of what is no text."""
    if not any(isinstance(value, str) for value in column):
        return column
    return [value and value.encode(errors="backslashreplace").decode() for value in column]


def write_parquet(
    path: Path, kinds: Mapping[str, str], pieces: Iterable[Mapping[str, Any]]
) -> None:
    """Write columns of the types named in ``kinds``, given in pieces, as a parquet file."""
    # Floats hardly ever repeat; looking for it would take most of the time.
    repeating = [name for name, kind in kinds.items() if not kind.startswith("float")]
    options = {"compression": "snappy", "use_dictionary": repeating or False}
    tables = map(partial(arrow_table, kinds), pieces)
    write_beside(path, lambda place: write_tables(place, arrow_schema(kinds), tables, **options))


def write_tables(
    place: Path, schema: "pa.Schema", tables: Iterable["pa.Table"], **options: Any
) -> None:
    """Write tables one after another into a parquet file with checksums.

    A path need not be text, as Arrow has it.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with (
        pa.OSFile(os.fsencode(place), "wb") as sink,
        pq.ParquetWriter(sink, schema, write_page_checksum=True, **options) as writer,
    ):
        for table in tables:
            writer.write_table(table)
            del table  # before the next one is made


def arrow_schema(kinds: Mapping[str, str]) -> "pa.Schema":
    """Return the schema of columns of the types named in ``kinds``, with its version."""
    import pyarrow as pa

    fields = [(name, arrow_type(kind)) for name, kind in kinds.items()]
    return pa.schema(fields, metadata={VERSION_KEY: str(SCHEMA_VERSION)})


def arrow_type(kind: str) -> "pa.DataType":
    """Return the type of a column whose kind is ``string`` or the name of a NumPy dtype."""
    import pyarrow as pa

    return pa.string() if kind == "string" else pa.from_numpy_dtype(np.dtype(kind))
