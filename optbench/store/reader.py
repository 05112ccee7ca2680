"""Reads a run's directory, also while the run is being written."""

import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from optbench.errors import LONGEST_NAME, ResultsError, shown
from optbench.records import (
    EVALUATION_COLUMNS,
    HYPERPARAMETER_PREFIX,
    LANE_COLUMNS,
    PENALTY,
    POSITION_NAMES,
    SCHEMA_VERSION,
    SURFACE_COLUMNS,
    TRACE_COLUMNS,
    UNIT_PREFIX,
    LaneResult,
    LastRows,
    RunTables,
    Status,
    TraceChunk,
)
from optbench.store.columns import RARE_COLUMNS, Table, evaluation_table, last_table, trace_table
from optbench.store.files import VERSION_KEY, arrow_table, arrow_type
from optbench.store.journal import journals
from optbench.store.lock import is_locked, writer_of

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

MOST_VALUES_PER_BYTE, SMALL_VALUES = 10, 10**6
"""Values in a column for each byte of a file, and how many are always allowed; floats that are all
the same take a third of a byte each where optbench writes them."""

MOST_UNFOLDED, SMALL_BYTES = 100, 64 * 2**20
"""Bytes that each byte of a file may unfold to, and how many are always allowed."""

PIECE_ROWS = 2**18
"""Rows that are read together where not all of a table is wanted at once."""

NAMES = {"name", "problem", "variant_of", "data", "status", "started", "invocation_id"}
"""Keys of run.json whose values are shown."""

TABLES = {"trace": TRACE_COLUMNS, "evaluation": EVALUATION_COLUMNS}
"""Folders with a file for each block, and the columns that these have."""

NEVER_NULL = (
    *("lane", "problem", "optimizer", "label", "seed", "status", "iteration", "split"),
    *("trial", "phase", "round", "chosen"),
)
"""Columns without which a row means nothing."""


def read_meta(path: Path) -> dict[str, Any]:
    """Return the run.json of a run's directory; a run whose writer is gone is interrupted."""
    return read_state(path / "run.json", "run")


def read_state(file: Path, kind: str) -> dict[str, Any]:
    """Return what the JSON file says of a folder that a process writes while it holds its lock."""
    meta = read_json(file, kind)
    if meta.get("status") == Status.RUNNING and not is_locked(file.parent):
        meta["status"] = Status.INTERRUPTED.value
    return meta


def status_now(file: Path, kind: str) -> Status:
    """Return what the JSON file of a folder says, as :func:`read_state` takes it, at this moment.

    It is running also where its process is on another machine, whose lock may not be seen here.
    """
    status = read_json(file, kind).get("status")
    if status == Status.RUNNING and not is_locked(file.parent):
        writer = writer_of(file.parent)
        if writer is None or not writer.is_elsewhere:
            # It may have ended in order since: the lock goes last.
            status = read_json(file, kind).get("status")
            status = Status.INTERRUPTED if status == Status.RUNNING else status
    try:
        return Status(str(status))
    except ValueError:
        raise ResultsError(f"'{file}' is damaged: its status is '{shown(str(status))}'") from None


def read_json(file: Path, kind: str) -> dict[str, Any]:
    """Return what the JSON file says that makes its folder a run, a study or a baseline."""
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
    """Return the run.json of a run's directory, checked for all that readers need of it.

    What names suite, problems, data and variables is as :func:`optbench.errors.shown` has it.
    """
    from optbench.store.description import check_description

    meta = read_meta(path)
    check_description(meta, path / "run.json")
    show_names(meta)
    return meta


def show_names(meta: dict[str, Any]) -> None:
    """Make what names suite, problems, data and variables in a description what is shown of it."""
    for part in (meta, meta["suite"], *meta["problems"]):
        for key in NAMES & part.keys():
            value = part[key]
            part[key] = shown(value) if isinstance(value, str) else value
        if isinstance(part.get("variables"), list):
            part["variables"] = list(map(shown, part["variables"]))


def read_lanes(path: Path) -> "pd.DataFrame":
    """Return lanes.parquet as it was written."""
    lanes = read_table([path / "lanes.parquet"], LANE_COLUMNS)
    if lanes.empty:
        raise ResultsError(f"'{path / 'lanes.parquet'}' is damaged: it holds no lanes")
    return lanes


Keep = Callable[["pd.DataFrame", "pd.DataFrame"], "pd.DataFrame"]
"""From rows and lanes.parquet to the rows that count. It must be the same whether it is given all
rows at once or, time and again, those that it kept and more."""


def read_run(path: Path, keep: Mapping[str, Keep] | None = None) -> RunTables:
    """Return all tables of a run, also of one that is being written.

    ``keep`` names tables, trace or evaluation, of which only some rows are wanted. They are read
    piece by piece, and so are no larger in memory than what is kept of them.
    """
    meta = read_description(path)
    try:
        tables = _read_as(meta, path, keep or {})
    except ResultsError:
        if read_description(path) == meta:
            raise
        return read_run(path, keep)
    # A run that began, ended or was planned anew meanwhile has other files now.
    return tables if read_description(path) == meta else read_run(path, keep)


def _read_as(meta: dict[str, Any], path: Path, keep: Mapping[str, Keep]) -> RunTables:
    """Return all tables of a run with this run.json."""
    lanes = read_lanes(path)
    if (lanes["status"] == Status.RUNNING).any():
        lanes = fill_in(lanes, path, meta["status"])
    written = {name: {file.stem for file in tables_in(path / name)} for name in TABLES}
    # A block that ends is first a file and then no longer in the journal, so that is read first.
    unfinished = journaled(path, written)
    found = {}
    for name, kinds in TABLES.items():
        files = tables_in(path / name)
        if not written[name] <= {file.stem for file in files}:  # the run is being resumed
            return _read_as(meta, path, keep)
        more = _without(unfinished[name], files)
        if name in keep:
            found[name] = _read_some(files, kinds, more, keep[name], lanes)
        else:
            found[name] = read_table(files, kinds, more, by_lane=name == "trace")
    for table, keys, place in (
        (lanes, ["lane"], "lanes.parquet"),
        (found["trace"], ["lane", "iteration"], "trace"),
        (found["evaluation"], ["lane", "iteration", "split"], "evaluation"),
    ):
        check_once(table, keys, path / place)
    return RunTables(
        path=path,
        meta=meta,
        lanes=lanes,
        trace=found["trace"],
        evaluation=found["evaluation"],
        surface=read_table(tables_in(path / "surface"), SURFACE_COLUMNS),
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


def tables_in(folder: Path) -> list[Path]:
    """Return the parquet files of a folder of a run, in the order of their names."""
    return sorted(folder.glob("*.parquet"))


def read_table(
    files: Sequence[Path],
    kinds: Mapping[str, str],
    more: Sequence[Table] = (),
    *,
    by_lane: bool = False,
) -> "pd.DataFrame":
    """Return files, then more tables, as one table; an empty one where there are none.

    ``by_lane`` puts the rows of each file in the order of lanes, then iterations.
    """
    if not files and not more:
        return _empty(kinds)
    return _joined([_read_file(file, kinds, by_lane=by_lane) for file in files], files, more)


def _read_some(
    files: Sequence[Path],
    kinds: Mapping[str, str],
    more: Sequence[Table],
    keep: Keep,
    lanes: "pd.DataFrame",
) -> "pd.DataFrame":
    """Return what is kept of files, then more tables, reading one piece at a time."""
    import pandas as pd

    pieces = (_joined([piece], files, ()) for file in files for piece in read_pieces(file, kinds))
    rest = (_joined([], files, [table]) for table in more)
    kept = None
    for piece in chain(pieces, rest):
        rows = piece if kept is None else pd.concat([kept, piece], ignore_index=True)
        kept = keep(rows, lanes)
    return _empty(kinds) if kept is None else kept


def _empty(kinds: Mapping[str, str]) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in kinds.items()})


def _joined(
    tables: Sequence["pa.Table"], files: Sequence[Path], more: Sequence[Table]
) -> "pd.DataFrame":
    """Return tables of files, then more, as one table."""
    import pyarrow as pa

    try:
        whole = pa.concat_tables(
            [*tables, *(arrow_table(*table) for table in more)], promote_options="default"
        )
        rows: pd.DataFrame = whole.to_pandas(ignore_metadata=True)
        return rows
    except pa.ArrowException as error:
        raise _damaged(files[0].parent if files else Path(), error) from None


def _read_file(file: Path, kinds: Mapping[str, str], *, by_lane: bool) -> "pa.Table":
    """Return one table with the columns that optbench knows in the types that they should have."""
    with _opened(file) as (opened, flat):
        table = _checked(opened.read(flat), file, kinds)
        if by_lane and opened.num_row_groups > 1:  # else it was put in order before it was written
            return table.sort_by([("lane", "ascending"), ("iteration", "ascending")])
        return table


def check_file(file: Path, kinds: Mapping[str, str]) -> None:
    """Refuse a file that is missing or damaged."""
    for _ in read_pieces(file, kinds):
        pass


def column_names(files: Sequence[Path]) -> Iterator[str]:
    """Yield the names of the columns of all files, each as often as files have it."""
    for file in files:
        with _opened(file) as (_, flat):
            yield from flat


def read_pieces(file: Path, kinds: Mapping[str, str]) -> Iterator["pa.Table"]:
    """Yield one table in pieces, each with the columns in the types that they should have."""
    import pyarrow as pa

    with _opened(file) as (opened, flat):
        for group in range(opened.num_row_groups):  # of several, Arrow would keep the bytes
            for batch in opened.iter_batches(PIECE_ROWS, row_groups=[group], columns=flat):
                yield _checked(pa.Table.from_batches([batch]), file, kinds)


@contextmanager
def _opened(file: Path) -> Iterator[tuple["pq.ParquetFile", list[str]]]:
    """Yield a parquet file, and the names of its columns that are to be read.

    Pages carry checksums, so that a flipped bit in data is noticed. A file that would unfold beyond
    all measure is refused before it does. Columns of lists and the like, which optbench does not
    write, are left out.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq
    import pyarrow.types as types

    try:
        with pa.OSFile(os.fsencode(file)) as source:
            metadata = pq.read_metadata(source)
            _check_size(metadata, source.size())
            schema = metadata.schema.to_arrow_schema()
            words = [field.name for field in schema if _is_text(field)]
            flat = [field.name for field in schema if not types.is_nested(field.type)]
            with pq.ParquetFile(
                source, metadata=metadata, read_dictionary=words, page_checksum_verification=True
            ) as opened:
                yield opened, flat
    except (OSError, KeyError, ValueError, AttributeError, pa.ArrowException) as error:
        raise _damaged(file, error) from None


def _checked(table: "pa.Table", file: Path, kinds: Mapping[str, str]) -> "pa.Table":
    """Return what was read of a file as it should be: text as :func:`optbench.errors.shown` is."""
    import pyarrow as pa

    table = _tamed(table)
    version = (table.schema.metadata or {}).get(VERSION_KEY.encode())
    if version is not None and version.isdigit():  # a file that says none is read as it is
        _check_version({"schema_version": int(version)}, file)
    for name in kinds:
        column = table.column(name)
        if name in NEVER_NULL and column.null_count:
            raise pa.ArrowInvalid(f"column '{name}' has gaps")
    return table.cast(pa.schema([_field(field, kinds) for field in table.schema]))


def _check_size(metadata: Any, size: int) -> None:
    """Refuse a file that claims to hold more than optbench ever wrote into one of its size.

    Only row groups are asked: Arrow ends the process where what describes a column is damaged.
    """
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    rows = max(metadata.num_rows, sum(group.num_rows for group in groups))
    unfolded = sum(group.total_byte_size for group in groups)
    if (
        rows > MOST_VALUES_PER_BYTE * size + SMALL_VALUES
        or unfolded > MOST_UNFOLDED * size + SMALL_BYTES
    ):
        raise ValueError(f"it claims to hold {rows:,} rows in {size:,} bytes")


def _is_text(field: "pa.Field") -> bool:
    import pyarrow.types as types

    return bool(types.is_string(field.type) or types.is_large_string(field.type))


def _tamed(table: "pa.Table") -> "pa.Table":
    """Return a table, read with text as dictionaries, with plain text that can be shown."""
    import pyarrow as pa
    import pyarrow.types as types

    for place, field in enumerate(table.schema):
        column = table.column(place)
        if types.is_dictionary(field.type):
            chunks = [_tamed_text(chunk) for chunk in column.chunks]
            column = pa.chunked_array(chunks, pa.string())
        name = shown(field.name)
        if name != field.name or column is not table.column(place):
            table = table.set_column(place, name, column)
    return table


def _tamed_text(chunk: "pa.DictionaryArray") -> "pa.Array":
    import pyarrow as pa
    import pyarrow.compute as pc

    words = chunk.dictionary.cast(pa.string())
    short = pc.less_equal(pc.utf8_length(words), LONGEST_NAME)
    if not pc.all(pc.and_(pc.utf8_is_printable(words), short), min_count=0).as_py():
        words = pa.array([None if word is None else shown(word) for word in words.to_pylist()])
    return words.take(chunk.indices)


def _field(field: "pa.Field", kinds: Mapping[str, str]) -> "pa.Field":
    """Return a column's field as it should be; columns that optbench does not know stay."""
    number = field.name in (*POSITION_NAMES, PENALTY) or (
        field.name.startswith((HYPERPARAMETER_PREFIX, UNIT_PREFIX)) and not _is_text(field)
    )
    kind = kinds.get(field.name, RARE_COLUMNS.get(field.name, "float64" if number else None))
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


def journaled(
    run: Path, written: Mapping[str, Collection[str]] = MappingProxyType({})
) -> dict[str, dict[str, Table]]:
    """Return trace and evaluation of the blocks that have not ended, by the block's name.

    Names are such as ``block-00003``; ``written`` tells which blocks have a file of each and are
    left out.
    """
    found: dict[str, dict[str, Table]] = {name: {} for name in TABLES}
    for journal in journals(run):
        if journal.ended:
            continue
        wanted = [name for name in TABLES if journal.name not in written.get(name, ())]
        try:
            chunks, last = journal.trace() if "trace" in wanted else ([], None)
            evaluated = list(journal.evaluations()) if "evaluation" in wanted else []
        except ResultsError:
            if journal.ended or not journal.exists:  # since we looked
                continue
            raise
        if chunks:
            axes = 0 if chunks[0].position is None else chunks[0].position.shape[2]
            extra = [*POSITION_NAMES[:axes], *([] if chunks[0].penalty is None else [PENALTY])]
            found["trace"][journal.name] = _with_last(trace_table(chunks, extra), chunks[0], last)
        if evaluated:
            found["evaluation"][journal.name] = evaluation_table(evaluated)
    return found


def _with_last(table: Table, chunk: TraceChunk, last: LastRows | None) -> Table:
    """Return the kept rows of a block with the last row of each lane."""
    kinds, columns = table
    more = None if last is None else last_table(last, chunk.every, [*kinds][len(TRACE_COLUMNS) :])
    if more is None:
        return table
    return kinds, {name: np.concatenate([columns[name], more[1][name]]) for name in kinds}
