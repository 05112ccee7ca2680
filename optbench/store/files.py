"""Writing files so that nothing half written is ever seen."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from optbench.errors import ResultsError
from optbench.records import SCHEMA_VERSION

if TYPE_CHECKING:
    import pyarrow as pa

VERSION_KEY = "optbench.schema_version"
"""Where the metadata of a parquet file hold the version of the schema."""


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Turn what the system says about a place that cannot be written into one line."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise ResultsError(
            f"cannot write results to '{place}': {reason}; free it or choose another --out"
        ) from None


def write_beside(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file beside its place and rename it there."""
    beside = path.with_name(f".{path.name}.part")
    with writing(path):
        path.parent.mkdir(exist_ok=True)
        try:
            write(beside)
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)


def write_parquet(path: Path, kinds: Mapping[str, str], columns: Mapping[str, Any]) -> None:
    """Write columns of the types named in ``kinds`` as a parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields = [(name, arrow_type(kind)) for name, kind in kinds.items()]
    schema = pa.schema(fields, metadata={VERSION_KEY: str(SCHEMA_VERSION)})
    table = pa.table([columns[name] for name in kinds], schema=schema)
    # Floats hardly ever repeat; looking for it would take most of the time.
    repeating = [name for name, kind in kinds.items() if not kind.startswith("float")]
    write_beside(
        path,
        lambda place: pq.write_table(
            table, place, compression="snappy", use_dictionary=repeating or False
        ),
    )


def arrow_type(kind: str) -> "pa.DataType":
    """Return the type of a column whose kind is ``string`` or the name of a NumPy dtype."""
    import pyarrow as pa

    return pa.string() if kind == "string" else pa.from_numpy_dtype(np.dtype(kind))
