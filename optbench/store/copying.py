"""Lanes of finished runs, copied into the directory of another run under other numbers.

Rows are read, compared and written piece by piece: memory does not grow with a run's length.
"""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np

from optbench.records import (
    EVALUATION_COLUMNS,
    PENALTY,
    POSITION_NAMES,
    SURFACE_COLUMNS,
    TRACE_COLUMNS,
)
from optbench.store.columns import copied_lanes, trace_kinds
from optbench.store.files import write_parquet
from optbench.store.reader import TABLES, column_names, read_pieces, read_table, tables_in

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

COMPARED = {
    "trace": (*TRACE_COLUMNS, *POSITION_NAMES, PENALTY),
    "evaluation": (*EVALUATION_COLUMNS,),
}
"""The columns in which rows of the same lane are the same, after that of the lane's number."""

Numbers = Mapping[int, int]
"""Numbers of lanes in the run that they are copied to, by those in the run that they are from."""


def write_lanes(path: Path, parts: Sequence[tuple["pd.DataFrame", Numbers]]) -> None:
    """Write lanes.parquet from the rows of several; each part is a table and its numbers here."""
    taken = []
    for rows, here in parts:
        own = rows[rows["lane"].isin(list(here))]
        taken.append(own.assign(lane=own["lane"].map(here)))
    kinds, columns = copied_lanes(taken)
    write_parquet(path / "lanes.parquet", kinds, [columns])


def write_rows(path: Path, parts: Sequence[tuple[Path, Numbers]]) -> None:
    """Write trace and evaluation from those of several runs: one file of each for each part."""
    names = {name for run, _ in parts for name in column_names(tables_in(run / "trace"))}
    extra = [name for name in (*POSITION_NAMES, PENALTY) if name in names]
    for table, kinds in (("trace", trace_kinds(extra)), ("evaluation", EVALUATION_COLUMNS)):
        for number, (run, here) in enumerate(parts):
            pieces = _columns(run / table, kinds, here)
            first = next(pieces, None)
            if first is not None:
                file = path / table / f"block-{number:05d}.parquet"
                write_parquet(file, kinds, chain([first], pieces))


def write_surfaces(path: Path, runs: Mapping[str, Path]) -> None:
    """Write the surface of each problem as one of the runs has it."""
    for number, (problem, run) in enumerate(runs.items()):
        surface = read_table(tables_in(run / "surface"), SURFACE_COLUMNS)
        rows = surface[surface["problem"] == problem]
        if not rows.empty:
            file = path / "surface" / f"problem-{number:05d}.parquet"
            write_parquet(file, SURFACE_COLUMNS, [{name: rows[name] for name in SURFACE_COLUMNS}])


def row_digests(run: Path, lanes: Collection[int]) -> dict[int, dict[str, str]]:
    """Return for each of the lanes the SHA-256 of its rows in trace and evaluation, by table.

    It does not depend on how the rows are cut into files and pieces.
    """
    found: dict[int, dict[str, str]] = {lane: {} for lane in lanes}
    wanted = {lane: lane for lane in lanes}
    for table, names in COMPARED.items():
        digests: defaultdict[int, Any] = defaultdict(hashlib.sha256)
        for piece in _pieces(run / table, TABLES[table], wanted):
            rows = np.stack([_numbers(piece, name) for name in names], axis=1)
            ends = np.flatnonzero(np.diff(rows[:, 0])) + 1
            for part in np.split(rows, ends):
                digests[int(part[0, 0])].update(part[:, 1:].tobytes())
        for lane in lanes:
            found[lane][table] = digests[lane].hexdigest()
    return found


def _numbers(piece: "pa.Table", name: str) -> np.ndarray:
    """Return a column as float64, in which every NaN has the same bits; words by their CRC."""
    if name not in piece.column_names:
        return np.full(piece.num_rows, np.nan)
    column = piece.column(name)
    if name == "split":
        return np.array([crc32(word.encode()) for word in column.to_pylist()], dtype=np.float64)
    values = np.array(column.to_numpy(), dtype=np.float64)
    values[np.isnan(values)] = np.nan
    return values


def _columns(folder: Path, kinds: Mapping[str, str], here: Numbers) -> Iterator[dict[str, Any]]:
    """Yield the columns of the lanes' rows; those that the files do not have are null."""
    known = {name: kinds[name] for name in TABLES[folder.name]}
    for piece in _pieces(folder, known, here):
        missing = [None] * piece.num_rows
        yield {
            name: piece.column(name) if name in piece.column_names else missing for name in kinds
        }


def _pieces(folder: Path, kinds: Mapping[str, str], here: Numbers) -> Iterator["pa.Table"]:
    """Yield the rows of lanes under their numbers here, in the order of these within a piece."""
    import pyarrow as pa
    import pyarrow.compute as pc

    old, new = (pa.array([*numbers], pa.int32()) for numbers in (here.keys(), here.values()))
    for file in tables_in(folder):
        for piece in read_pieces(file, kinds):
            places = pc.index_in(piece.column("lane"), value_set=old)
            number = piece.column_names.index("lane")
            rows = piece.set_column(number, "lane", new.take(places)).filter(pc.is_valid(places))
            if rows.num_rows:
                yield rows.take(
                    pc.sort_indices(rows, [("lane", "ascending"), ("iteration", "ascending")])
                )
