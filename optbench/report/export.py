"""Tables of runs as CSV, JSON or Parquet, for other programs."""

from collections.abc import Iterator, Sequence
from io import BytesIO
from json import JSONEncoder
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from optbench.errors import ResultsError, UsageError, nearest
from optbench.records import BEST_AT, GRADIENTS, HYPERPARAMETER_PREFIX, LANE_COLUMNS, RunTables
from optbench.report.configurations import ranked_lanes
from optbench.report.formats import format_of
from optbench.report.summaries import summary
from optbench.store.files import check_place, write_output
from optbench.store.studies import run_name

TABLES = ("trace", "lanes", "evaluation", "summary")
FORMATS = ("csv", "json", "parquet")

PIECE_ROWS = 20_000
"""Rows that are turned into text at once."""


def export(
    runs: Sequence[RunTables],
    table: str = TABLES[0],
    format_: str | None = None,
    output: Path | None = None,
    *,
    force: bool = False,
) -> pd.DataFrame:
    """Return one table of all runs, and write it to a file if there is to be one.

    Rows of trace and evaluation also have what was chosen for their lane, and lanes what they are
    ranked by; the first column is the name of the run. Arguments are those of :func:`check_export`.
    """
    written_as = check_export(table, format_, output, force=force)
    by_name = named(runs)
    if table == "summary":
        rows = _concatenate([_with_name(name, summary(run)) for name, run in by_name.items()])
    elif table == "lanes":
        rows = _concatenate([_with_name(name, _with_score(run)) for name, run in by_name.items()])
    else:
        rows = _concatenate(
            [_with_name(name, _integers(run.lanes)) for name, run in by_name.items()]
        )
        rows = _with_lanes(runs, rows, table)
    if output is not None:
        write_table(rows, written_as, output)
    return rows


def named(runs: Sequence[RunTables]) -> dict[str, RunTables]:
    """Return runs by their names, or by their paths where two have the same name."""
    by_name = {run_name(run.path.resolve()): run for run in runs}
    return by_name if len(by_name) == len(runs) else {str(run.path): run for run in runs}


def check_export(
    table: str, format_: str | None = None, output: Path | None = None, *, force: bool = False
) -> str:
    """Refuse what cannot be exported, before any run is read, and return the format.

    Where no format is given the suffix of the file says it, otherwise it is CSV; ``force`` lets
    the file be overwritten.
    """
    if format_ is not None and format_ not in FORMATS:
        raise UsageError(f"unknown format '{format_}'; {nearest(format_, FORMATS)}")
    if table not in TABLES:
        raise UsageError(f"unknown table '{table}'; {nearest(table, TABLES)}")
    if output is None:
        return format_ or FORMATS[0]
    written_as = format_of(output, format_, {form: form for form in FORMATS})
    check_place(output, force=force)
    return written_as


def _with_name(name: str, rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(run=name)[["run", *rows.columns.drop("run", errors="ignore")]]


def _with_score(run: RunTables) -> pd.DataFrame:
    """Return lanes in order with what they are ranked by, null where it is not finite."""
    ranked = ranked_lanes(run)
    lanes = run.lanes.sort_values("lane", kind="stable").reset_index(drop=True)
    score = ranked["score"].where(np.isfinite(ranked["score"]))
    return _integers(lanes).assign(criterion=ranked["criterion"], score=score)


def _integers(lanes: pd.DataFrame) -> pd.DataFrame:
    """Return lanes with whole numbers where gaps had made a column one of floats."""
    kinds = {name: kind for name, kind in LANE_COLUMNS.items() if kind.startswith("int")}
    kinds |= {BEST_AT: "int32", GRADIENTS: "int64"}
    kinds = {name: kind.capitalize() for name, kind in kinds.items()}
    return lanes.astype({name: kind for name, kind in kinds.items() if name in lanes})


def _concatenate(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Join tables one below the other; a column of numbers here and words there becomes words."""
    filled = [table for table in tables if not table.empty] or tables[:1]
    rows = pd.concat(filled, ignore_index=True)
    for name, column in rows.items():
        if column.dtype == object and column.map(lambda value: isinstance(value, str)).any():
            rows[name] = column.map(str, na_action="ignore")
    return rows


def _with_lanes(runs: Sequence[RunTables], lanes: pd.DataFrame, table: str) -> pd.DataFrame:
    """Return the trace or the evaluations by lane, with the columns of ``lanes`` that explain them.

    These are categories, which take one byte per row instead of a text.
    """
    parts, positions, before = [], [], 0
    for run in runs:
        rows: pd.DataFrame = getattr(run, table).sort_values("lane", kind="stable")
        parts.append(rows)
        positions.append(_positions(run, rows, table) + before)
        before += len(run.lanes)
    rows, position = _concatenate(parts), np.concatenate(positions)
    swept = [name for name in lanes if str(name).startswith(HYPERPARAMETER_PREFIX)]
    repeated = ["run", "problem", "optimizer", "label", "seed", *swept, "status"]
    columns = {name: pd.Categorical(lanes[name]).take(position) for name in repeated}
    return pd.concat([pd.DataFrame(columns, index=rows.index), rows], axis=1)


def _positions(run: RunTables, rows: pd.DataFrame, table: str) -> Any:
    """Return the position in lanes.parquet of each row's lane."""
    lanes = pd.Index(run.lanes["lane"])
    if not rows["lane"].isin(lanes).all():
        raise ResultsError(f"'{run.path}' is damaged: its {table} and lanes.parquet do not agree")
    return lanes.get_indexer(rows["lane"])


def write_table(rows: pd.DataFrame, format_: str, file: Path) -> None:
    """Write a table into a file in a format."""

    def write(beside: Path) -> None:
        with beside.open("wb") as target:
            target.writelines(pieces(rows, format_))

    write_output(file, write)


def pieces(rows: pd.DataFrame, format_: str) -> Iterator[bytes]:
    """Yield a table in a format, piece by piece; text is UTF-8."""
    match format_:
        case "parquet":
            # Without Arrow's own schema readers get plain columns, not categories.
            target = BytesIO()
            rows.to_parquet(target, index=False, engine="pyarrow", store_schema=False)
            yield target.getvalue()
        case "json":
            yield from _json_pieces(rows)
        case _:
            for first in range(0, max(1, len(rows)), PIECE_ROWS):
                piece = rows.iloc[first : first + PIECE_ROWS]
                yield piece.to_csv(index=False, header=first == 0, lineterminator="\n").encode()


def _json_pieces(rows: pd.DataFrame) -> Iterator[bytes]:
    """Yield a JSON array of objects (RFC 8259), one per line, null for what is not finite."""
    names, between = [str(name) for name in rows.columns], "[\n"
    write = JSONEncoder(ensure_ascii=False, allow_nan=False, default=str).encode
    for first in range(0, len(rows), PIECE_ROWS):
        piece = rows.iloc[first : first + PIECE_ROWS]
        columns = []
        for _, column in piece.items():
            lost = column.isna() | column.isin([inf, -inf])
            pairs = zip(column.tolist(), lost.tolist(), strict=True)
            columns.append([None if is_lost else value for value, is_lost in pairs])
        lines = (write(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True))
        yield (between + ",\n".join(lines)).encode()
        between = ",\n"
    yield b"\n]\n" if len(rows) else b"[]\n"
