"""Baselines: references that checks compare runs with, kept under ``<out>/baselines/<name>/``.

A baseline's folder holds baseline.json, lanes.parquet, trace.parquet and tolerance.parquet.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from os.path import isfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, FiniteFloat, PositiveFloat, ValidationError

from optbench.errors import NothingToCompareError, ResultsError, nearest
from optbench.records import LANE_COLUMNS, TRACE_COLUMNS
from optbench.store.description import check_description
from optbench.store.files import arrow_type, write_beside, writing
from optbench.store.reader import check_version, read_table

if TYPE_CHECKING:
    import pandas as pd

NUMERICS_ITERATIONS = 50
"""Rows at the start of each trace whose bits and tolerances are kept."""


@dataclass(frozen=True)
class Baseline:
    """A run that was saved as a reference.

    Attributes
    ----------
    path
        Its directory.
    meta
        baseline.json: ``name``, ``schema_version``, ``saved``, and of the run its ``suite``,
        ``seeds``, ``problems``, ``optimizers``, ``numerics_version``, ``device`` and
        ``environment`` as in run.json; ``calibration_seconds``, the time of the calibration loop
        beside that run; ``targets``, a loss by problem; ``test_error``, a mean by problem and
        label; ``thresholds``, relative changes of the loss that are let through, by problem.
    lanes
        lanes.parquet of the run.
    trace
        The columns lane, iteration and loss: the first rows, and a thinned rest.
    tolerance
        The columns lane, iteration and tolerance of the first rows: how far a loss may lie from
        the stored one.
    """

    path: Path
    meta: dict[str, Any]
    lanes: "pd.DataFrame"
    trace: "pd.DataFrame"
    tolerance: "pd.DataFrame"


FOLDER = "baselines"


DESCRIPTION = "baseline.json"


TOLERANCE_COLUMNS = {"lane": "int32", "iteration": "int32", "tolerance": "float64"}
"""Columns of tolerance.parquet."""


class _Part(BaseModel):
    model_config = ConfigDict(strict=True)


class _Suite(_Part):
    given: dict[str, Any]
    resolved: dict[str, Any]


class _Optimizer(_Part):
    label: str


class _Description(_Part):
    """What a check needs of baseline.json beside what readers need of a run.json."""

    suite: _Suite
    seeds: list[int]
    optimizers: list[_Optimizer]
    environment: dict[str, Any]
    device: dict[str, Any]
    targets: dict[str, FiniteFloat]
    test_error: dict[str, dict[str, FiniteFloat]] = {}
    thresholds: dict[str, PositiveFloat] = {}
    calibration_seconds: PositiveFloat | None = None


@dataclass(frozen=True)
class Content:
    """What a baseline's files hold."""

    description: Mapping[str, Any]
    lanes: "pd.DataFrame"
    trace: "pd.DataFrame"
    tolerance: Mapping[str, Any]


def save(folder: Path, content: Content, *, replace: bool = False) -> None:
    """Write a baseline into a folder of its own; a kill leaves the old one or the new one.

    Raises
    ------
    ResultsError
        If there is one of that name and it is not to be replaced, or it cannot be written.
    """
    if not replace:
        check_free(folder)
    beside, old = (folder.with_name(f".{folder.name}.{end}") for end in ("part", "old"))
    with writing(folder):
        for left in (beside, old):
            shutil.rmtree(left, ignore_errors=True)
        beside.mkdir(parents=True)
        _write(beside, content)
        if folder.exists():
            folder.rename(old)
        beside.rename(folder)
        shutil.rmtree(old, ignore_errors=True)


def check_free(folder: Path) -> None:
    """Refuse a folder in which a baseline is.

    Raises
    ------
    ResultsError
        If there is one.
    """
    if folder.exists():
        name = folder.name
        raise ResultsError(
            f"there is a baseline '{name}' already; give another --name, or refresh it with: "
            f"optbench check {name} --update"
        )


def _write(folder: Path, content: Content) -> None:
    import pandas as pd

    text = json.dumps(content.description, indent=1, ensure_ascii=False, allow_nan=False)
    write_beside(
        folder / DESCRIPTION, lambda place: place.write_text(text + "\n", encoding="utf-8")
    )
    tolerance = pd.DataFrame(dict(content.tolerance))
    _table(folder / "lanes.parquet", content.lanes, LANE_COLUMNS)
    _table(folder / "trace.parquet", content.trace, TRACE_COLUMNS)
    _table(folder / "tolerance.parquet", tolerance, TOLERANCE_COLUMNS)


def _table(path: Path, rows: "pd.DataFrame", kinds: Mapping[str, str]) -> None:
    """Write a table as small as it gets, for git."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(rows, preserve_index=False).replace_schema_metadata(None)
    fields = [
        field.with_type(arrow_type(kinds[field.name])) if field.name in kinds else field
        for field in table.schema
    ]
    table = table.cast(pa.schema(fields))
    write_beside(
        path,
        lambda place: pq.write_table(
            table, place, compression="zstd", compression_level=19, write_page_checksum=True
        ),
    )


def load(folder: Path) -> Baseline:
    """Return a baseline.

    Raises
    ------
    ResultsError
        If it is damaged, or of a version that this optbench does not know.
    """
    file = folder / DESCRIPTION
    try:
        meta = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ResultsError(f"'{file}' cannot be read: {error}") from None
    check_version(meta, file)
    _check(meta, file)
    lanes = read_table([folder / "lanes.parquet"], LANE_COLUMNS)
    lost = set(lanes["problem"]) - {each["problem"] for each in meta["problems"]}
    if lost:
        raise ResultsError(f"'{file}' is damaged: problems: there is no '{min(lost)}'")
    return Baseline(
        path=folder,
        meta=meta,
        lanes=lanes,
        trace=_rows(folder / "trace.parquet", TRACE_COLUMNS),
        tolerance=_rows(folder / "tolerance.parquet", TOLERANCE_COLUMNS),
    )


def _rows(file: Path, kinds: Mapping[str, str]) -> "pd.DataFrame":
    """Return a table of lanes and iterations, each pair of which stands there once."""
    found: pd.DataFrame = read_table([file], kinds)
    if found.duplicated(["lane", "iteration"]).any():
        raise ResultsError(f"'{file}' is damaged: it holds an iteration of a lane twice")
    return found


def _check(meta: Mapping[str, Any], file: Path) -> None:
    try:
        _Description.model_validate(meta)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        reason = f"{first['msg'][0].lower()}{first['msg'][1:]}"
        raise ResultsError(f"'{file}' is damaged: {where}: {reason}") from None
    check_description({"started": "", "status": "", "invocation_id": "", **meta}, file)


def find(names: list[str], out: Path) -> list[Path]:
    """Return the folders of baselines by name or path; without any, those of all.

    Raises
    ------
    NothingToCompareError
        If there is none at all, or none of a name.
    ResultsError
        If the folder cannot be searched.
    """
    try:
        known = sorted(file.parent for file in (out / FOLDER).glob(f"[!.]*/{DESCRIPTION}"))
    except OSError as error:
        reason = error.strerror
        raise ResultsError(f"'{out}' cannot be searched for baselines: {reason}") from None
    if not names and not known:
        raise NothingToCompareError(
            f"there are no baselines under '{out / FOLDER}'; make one with: "
            "optbench baseline save RUN"
        )
    if not names:
        return known
    return [_find(name, known, out) for name in dict.fromkeys(names)]


def _find(name: str, known: list[Path], out: Path) -> Path:
    for folder in (out / FOLDER / name, Path(name)):
        if name and isfile(folder / DESCRIPTION):
            return folder
    titles = [each.name for each in known]
    meant = nearest(name, titles) if titles else "make one with: optbench baseline save RUN"
    raise NothingToCompareError(f"there is no baseline '{name}' under '{out / FOLDER}'; {meant}")
