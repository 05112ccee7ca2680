"""Reads a run's directory."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from optbench.errors import ResultsError
from optbench.records import (
    EVALUATION_COLUMNS,
    LANE_COLUMNS,
    SCHEMA_VERSION,
    SURFACE_COLUMNS,
    TRACE_COLUMNS,
    RunTables,
)


def read_meta(path: Path) -> dict[str, Any]:
    """Return the run.json of a run's directory.

    Raises
    ------
    ResultsError
        If there is none, it is damaged, or of a version that this optbench does not know.
    """
    file = path / "run.json"
    try:
        meta = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ResultsError(f"'{path}' is no run: it holds no run.json") from None
    except (OSError, ValueError) as error:
        raise ResultsError(f"'{file}' cannot be read: {error}") from None
    version = meta.get("schema_version") if isinstance(meta, dict) else None
    if not isinstance(version, int):
        raise ResultsError(f"'{file}' was not written by optbench: it has no schema_version")
    if version > SCHEMA_VERSION:
        raise ResultsError(
            f"'{file}' has schema_version {version}, this optbench reads up to {SCHEMA_VERSION}; "
            "install a newer optbench"
        )
    return {**meta, "schema_version": version}


def read_run(path: Path) -> RunTables:
    """Return all tables of a run.

    Raises
    ------
    ResultsError
        If the directory is no run, or one of its files is damaged.
    """
    meta = read_meta(path)
    return RunTables(
        path=path,
        meta=meta,
        lanes=_read_table(path / "lanes.parquet", LANE_COLUMNS),
        trace=_read_table(path / "trace", TRACE_COLUMNS),
        evaluation=_read_table(path / "evaluation", EVALUATION_COLUMNS),
        surface=_read_table(path / "surface", SURFACE_COLUMNS),
    )


def _read_table(path: Path, kinds: Mapping[str, str]) -> Any:
    """Return a file, or all files of a folder one after the other, as a DataFrame."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = [path] if path.suffix else sorted(path.glob("*.parquet"))
    if not files:
        return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in kinds.items()})
    tables = []
    for file in files:
        try:
            tables.append(pq.read_table(file))
        except (OSError, pa.ArrowException) as error:
            reason = (str(error).splitlines() or ["no reason given"])[0]
            raise ResultsError(f"'{file}' is missing or damaged: {reason}") from None
    return pa.concat_tables(tables, promote_options="default").to_pandas()
