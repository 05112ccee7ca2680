"""Tables of runs as CSV, JSON or Parquet."""

from collections.abc import Iterator
from io import BytesIO
from json import JSONEncoder
from typing import TYPE_CHECKING, Any

from optbench.errors import ResultsError

if TYPE_CHECKING:
    import pandas as pd

    from optbench.records import RunTables

PIECE_ROWS = 20_000
"""Rows that are turned into text at once."""


def _rows(found: "list[RunTables]", table: str) -> "pd.DataFrame":
    """Return a table of all runs, ``run`` first; what was chosen for a lane is repeated."""
    names = _by_name(found)
    if table == "summary":
        from optbench.report import summary

        return _together([_named(name, summary(run)) for name, run in names.items()])
    lanes = [_named(name, _integers(run.lanes)) for name, run in names.items()]
    if table == "lanes":
        return _together(lanes)
    return _joined(found, _together(lanes), table)


def _by_name(found: "list[RunTables]") -> "dict[str, RunTables]":
    """Return the runs by name; by path where two have the same name."""
    named = {run.path.resolve().name: run for run in found}
    return named if len(named) == len(found) else {str(run.path): run for run in found}


def _named(name: str, rows: "pd.DataFrame") -> "pd.DataFrame":
    return rows.assign(run=name)[["run", *rows.columns.drop("run", errors="ignore")]]


def _integers(lanes: "pd.DataFrame") -> "pd.DataFrame":
    """Return lanes with whole numbers where gaps had made a column one of floats."""
    from optbench.records import BEST_AT, LANE_COLUMNS

    kinds = {name: kind for name, kind in LANE_COLUMNS.items() if kind.startswith("int")}
    kinds = {name: kind.capitalize() for name, kind in (kinds | {BEST_AT: "int32"}).items()}
    return lanes.astype({name: kind for name, kind in kinds.items() if name in lanes})


def _together(tables: "list[pd.DataFrame]") -> "pd.DataFrame":
    """Return tables one after the other; columns of numbers here and words there become words."""
    import pandas as pd

    filled = [each for each in tables if not each.empty] or tables[:1]
    rows = pd.concat(filled, ignore_index=True)
    for name, column in rows.items():
        if column.dtype == object and column.map(lambda value: isinstance(value, str)).any():
            rows[name] = column.map(str, na_action="ignore")
    return rows


def _joined(found: "list[RunTables]", lanes: "pd.DataFrame", table: str) -> "pd.DataFrame":
    """Return the trace or the evaluations by lane, with the columns of ``lanes`` that explain them.

    These are categories, which take a byte a row instead of a text.
    """
    import numpy as np
    import pandas as pd

    from optbench.records import HYPERPARAMETER_PREFIX

    parts, places, before = [], [], 0
    for run in found:
        rows: pd.DataFrame = getattr(run, table).sort_values("lane", kind="stable")
        parts.append(rows)
        places.append(_places(run, rows, table) + before)
        before += len(run.lanes)
    rows, place = _together(parts), np.concatenate(places)
    swept = [name for name in lanes if str(name).startswith(HYPERPARAMETER_PREFIX)]
    told = ["run", "problem", "optimizer", "label", "seed", *swept, "status"]
    columns = {name: pd.Categorical(lanes[name]).take(place) for name in told}
    return pd.concat([pd.DataFrame(columns, index=rows.index), rows], axis=1)


def _places(run: "RunTables", rows: "pd.DataFrame", table: str) -> Any:
    """Return where in lanes.parquet each row's lane stands."""
    import pandas as pd

    lanes = pd.Index(run.lanes["lane"])
    if not lanes.is_unique or not rows["lane"].isin(lanes).all():
        raise ResultsError(f"'{run.path}' is damaged: its {table} and lanes.parquet do not agree")
    return lanes.get_indexer(rows["lane"])


def _pieces(rows: "pd.DataFrame", form: str) -> Iterator[bytes]:
    """Yield a table in a format, a piece after the other; text is UTF-8."""
    match form:
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


def _json_pieces(rows: "pd.DataFrame") -> Iterator[bytes]:
    """Yield a JSON array of objects (RFC 8259), an object a line."""
    names, between = [str(name) for name in rows.columns], "[\n"
    write = JSONEncoder(ensure_ascii=False, allow_nan=False, default=str).encode
    for first in range(0, len(rows), PIECE_ROWS):
        piece = rows.iloc[first : first + PIECE_ROWS]
        columns = [_json_values(column) for _, column in piece.items()]
        lines = (write(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True))
        yield (between + ",\n".join(lines)).encode()
        between = ",\n"
    yield b"\n]\n" if len(rows) else b"[]\n"


def _json_values(column: "pd.Series[Any]") -> list[Any]:
    """Return what JSON has for values: null where one is missing or not finite."""
    from optbench.store.files import null_unless_finite

    values = column.astype(object).where(column.notna(), None).tolist()
    finite: list[Any] = null_unless_finite(values)
    return finite
