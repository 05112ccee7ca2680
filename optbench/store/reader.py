"""Reads a run's directory, also while the run is being written."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from optbench.errors import ResultsError
from optbench.records import (
    EVALUATION_COLUMNS,
    HYPERPARAMETER_PREFIX,
    LANE_COLUMNS,
    PENALTY,
    POSITION_NAMES,
    SCHEMA_VERSION,
    SURFACE_COLUMNS,
    TRACE_COLUMNS,
    LaneResult,
    RunTables,
    Status,
)
from optbench.store.columns import RARE_COLUMNS, Table, evaluation_table, trace_table
from optbench.store.files import VERSION_KEY, arrow_table, arrow_type
from optbench.store.journal import journals
from optbench.store.lock import is_locked

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

NEVER_NULL = ("lane", "problem", "optimizer", "label", "seed", "status", "iteration", "split")
"""Columns without which a row means nothing."""


def read_meta(path: Path) -> dict[str, Any]:
    """Return the run.json of a run's directory; a run whose writer is gone is interrupted."""
    meta = read_json(path / "run.json", "run")
    if meta.get("status") == Status.RUNNING and not is_locked(path):
        meta["status"] = Status.INTERRUPTED.value
    return meta


def read_json(file: Path, kind: str) -> dict[str, Any]:
    """Return what the JSON file says that makes its folder a run or a baseline."""
    try:
        meta: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ResultsError(f"'{file.parent}' is not a {kind}: it holds no {file.name}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ResultsError(f"'{file}' cannot be read: {error}") from None
    _check_version(meta, file)
    return meta


def _check_version(meta: Any, file: Path) -> None:
    """Refuse what was written in a later schema, or by something else."""
    version = meta.get("schema_version") if isinstance(meta, dict) else None
    if not isinstance(version, int):
        raise ResultsError(f"'{file}' was not written by optbench: it has no schema_version")
    if version > SCHEMA_VERSION:
        raise ResultsError(
            f"'{file}' has schema_version {version}, this optbench reads up to {SCHEMA_VERSION}; "
            "install a newer optbench"
        )


def read_description(path: Path) -> dict[str, Any]:
    """Return the run.json of a run's directory, checked for all that readers need of it."""
    from optbench.store.description import check_description

    meta = read_meta(path)
    check_description(meta, path / "run.json")
    return meta


def read_lanes(path: Path) -> "pd.DataFrame":
    """Return lanes.parquet as it was written."""
    lanes = read_table([path / "lanes.parquet"], LANE_COLUMNS)
    if lanes.empty:
        raise ResultsError(f"'{path / 'lanes.parquet'}' is damaged: it holds no lanes")
    return lanes


def read_run(path: Path) -> RunTables:
    """Return all tables of a run, also of one that is being written."""
    meta = read_description(path)
    try:
        tables = _read_as(meta, path)
    except ResultsError:
        if read_meta(path) == meta:
            raise
        return read_run(path)
    # A run that began, ended or was planned anew meanwhile has other files now.
    return tables if read_meta(path) == meta else read_run(path)


def _read_as(meta: dict[str, Any], path: Path) -> RunTables:
    """Return all tables of a run with this run.json."""
    lanes = read_lanes(path)
    if (lanes["status"] == Status.RUNNING).any():
        lanes = fill_in(lanes, path, meta["status"])
    # A block that ends is first a file and then no longer in the journal, so that is read first.
    rows, evaluations = journaled(path)
    traces, evaluated = _tables(path / "trace"), _tables(path / "evaluation")
    trace = read_table(traces, TRACE_COLUMNS, _without(rows, traces))
    evaluation = read_table(evaluated, EVALUATION_COLUMNS, _without(evaluations, evaluated))
    for table, keys, place in (
        (lanes, ["lane"], "lanes.parquet"),
        (trace, ["lane", "iteration"], "trace"),
        (evaluation, ["lane", "iteration", "split"], "evaluation"),
    ):
        check_once(table, keys, path / place)
    return RunTables(
        path=path,
        meta=meta,
        lanes=lanes,
        trace=trace,
        evaluation=evaluation,
        surface=read_table(_tables(path / "surface"), SURFACE_COLUMNS),
    )


def check_once(rows: "pd.DataFrame", keys: list[str], place: Path) -> None:
    """Refuse a table that holds anything twice that these columns tell apart."""
    if keys == ["lane", "iteration"]:  # as below, in a tenth of the time
        numbers = (rows["lane"].to_numpy(np.int64) << 32) + rows["iteration"].to_numpy(np.int64)
        numbers.sort(kind="stable")  # which merges what is in order already
        if (numbers[1:] > numbers[:-1]).all():
            return
    twice = rows.duplicated(keys)
    if twice.any():
        named = ", ".join(f"{key} {rows.loc[twice, key].iloc[0]}" for key in keys)
        raise ResultsError(f"'{place}' is damaged: it holds {named} twice")


def _without(tables: Mapping[str, Table], files: Sequence[Path]) -> list[Table]:
    """Return the tables of blocks that have no file."""
    written = {file.stem for file in files}
    return [table for name, table in tables.items() if name not in written]


def _tables(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.parquet"))


def read_table(
    files: Sequence[Path], kinds: Mapping[str, str], more: Sequence[Table] = ()
) -> "pd.DataFrame":
    """Return files, then more tables, as one table; an empty one where there are none."""
    import pandas as pd
    import pyarrow as pa

    if not files and not more:
        return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in kinds.items()})
    tables = [_read_file(file, kinds) for file in files]
    tables += [arrow_table(*table) for table in more]
    try:
        whole = pa.concat_tables(tables, promote_options="default")
        rows: pd.DataFrame = whole.to_pandas(ignore_metadata=True)
        return rows
    except pa.ArrowException as error:
        raise _damaged(files[0].parent if files else Path(), error) from None


def _read_file(file: Path, kinds: Mapping[str, str]) -> "pa.Table":
    """Return one table with the columns that optbench knows in the types that they should have.

    Pages carry checksums, so that a flipped bit in data is noticed.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file, page_checksum_verification=True) as opened:
            table = opened.read()
        version = (table.schema.metadata or {}).get(VERSION_KEY.encode())
        if version is not None and version.isdigit():  # a file that says none is read as it is
            _check_version({"schema_version": int(version)}, file)
        for name in kinds:
            column = table.column(name)
            if name in NEVER_NULL and column.null_count:
                raise pa.ArrowInvalid(f"column '{name}' has gaps")
        return table.cast(pa.schema([_field(field, kinds) for field in table.schema]))
    except (OSError, KeyError, ValueError, AttributeError, pa.ArrowException) as error:
        raise _damaged(file, error) from None


def _field(field: "pa.Field", kinds: Mapping[str, str]) -> "pa.Field":
    """Return a column's field as it should be; columns that optbench does not know stay."""
    import pyarrow.types as types

    words = types.is_string(field.type) or types.is_large_string(field.type)
    number = field.name in POSITION_NAMES or (
        field.name.startswith(HYPERPARAMETER_PREFIX) and not words
    )
    kind = kinds.get(field.name, "float64" if number else None)
    return field if kind is None else field.with_type(arrow_type(kind))


def _damaged(place: Path, error: Exception) -> ResultsError:
    reason = (str(error).splitlines() or ["no reason given"])[0]
    return ResultsError(f"'{place}' is missing or damaged: {reason}")


def fill_in(lanes: "pd.DataFrame", run: Path, status: str) -> "pd.DataFrame":
    """Return lanes.parquet as it was at the start, with what has become of the lanes since.

    Its columns have the same types as those of a run that is done. Lanes that have not ended are
    running or interrupted like the run itself.
    """
    import pyarrow as pa

    waiting = Status.RUNNING if status == Status.RUNNING else Status.INTERRUPTED
    results = {
        lane.lane: lane
        for journal in journals(run)
        if (end := journal.result())
        for lane in end.lanes
    }
    ends = [results.get(lane, LaneResult(lane, waiting, None)) for lane in lanes["lane"].tolist()]
    filled = lanes.copy()
    for name in RARE_COLUMNS:
        if name not in filled.columns and any(getattr(end, name) is not None for end in ends):
            filled[name] = None
    kinds = LANE_COLUMNS | RARE_COLUMNS
    for name in {field.name for field in fields(LaneResult)} & set(filled.columns):
        values = [getattr(end, name) for end in ends]
        filled[name] = pa.array(values, arrow_type(kinds[name])).to_pandas()
    return filled


def journaled(run: Path) -> tuple[dict[str, Table], dict[str, Table]]:
    """Return traces and evaluations of the blocks that have not ended, by the block's name.

    Names are such as ``block-00003``; some blocks may have files as well.
    """
    traces, evaluations = {}, {}
    for journal in journals(run):
        if journal.ended:
            continue
        try:
            chunk, evaluated = journal.rows()
        except ResultsError:
            if journal.ended or not journal.exists:  # since we looked
                continue
            raise
        if chunk is not None:
            axes = 0 if chunk.position is None else chunk.position.shape[2]
            extra = [*POSITION_NAMES[:axes], *([] if chunk.penalty is None else [PENALTY])]
            traces[journal.name] = trace_table([chunk], extra)
        if evaluated:
            evaluations[journal.name] = evaluation_table(evaluated)
    return traces, evaluations
