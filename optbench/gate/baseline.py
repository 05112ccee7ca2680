"""Baselines on disk: the references that runs are compared with, in ``<out>/baselines/<name>/``.

A baseline's folder holds baseline.json, lanes.parquet, trace.parquet and tolerance.parquet.
Checksums guard all that is in it but the thresholds, which may be edited by hand.

It is written beside its place and renamed, under a lock of the folder that holds all baselines.
One that is replaced goes to ``.<name>.old`` for a moment; a kill then leaves it there, and whoever
looks for the baseline next puts it back.
"""

import hashlib
import json
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import nan
from numbers import Real
from os.path import isfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from pydantic import BaseModel, FiniteFloat, PositiveFloat

from optbench.errors import (
    NothingToCompareError,
    ResultsError,
    UsageError,
    argument,
    nearest,
    shown,
)
from optbench.records import LANE_COLUMNS, TRACE_COLUMNS
from optbench.store.description import check_description, check_shape
from optbench.store.files import arrow_type, write_beside, write_json, write_tables
from optbench.store.lock import locked
from optbench.store.places import sync, writing
from optbench.store.reader import read_json, read_table, show_names

if TYPE_CHECKING:
    import pandas as pd

FOLDER = "baselines"

DESCRIPTION = "baseline.json"

TABLES = ("lanes.parquet", "trace.parquet", "tolerance.parquet")

OLDEST_VERSION = 3
"""schema_version of the first baselines with checksums, and with final losses as they are now."""

UNGUARDED = ("checksums", "thresholds")
"""Keys of baseline.json that its checksum leaves out."""

LARGEST_THRESHOLD = 1.0
"""A loss twice as large is worse whatever the noise; and 5 is not how to write 5 %."""

MAKE_ONE = "make one with: optbench baseline save RUN"

TOLERANCE_COLUMNS = {"lane": "int32", "iteration": "int32", "tolerance": "float64"}
"""Columns of tolerance.parquet."""

NUMERICS_ITERATIONS = 50
"""Rows at the start of each trace whose bits and tolerances are kept."""


@dataclass(frozen=True)
class Baseline:
    """A run that was saved as a reference.

    ``meta`` is baseline.json: ``name``, ``schema_version``, ``saved``, what the run's run.json says
    under the keys of :data:`optbench.gate.save.KEPT`, and ``targets``, a loss by problem;
    ``test_error``, a mean by problem and label; ``thresholds``, relative changes of the loss that
    are let through, by problem; ``checksums``, see :func:`checksums`. ``trace`` holds the first
    rows of each lane and a thinned rest; ``tolerance``, how far the losses of the first rows may
    lie from the stored ones. ``changed`` names the files that are not those that were saved.
    """

    path: Path
    meta: dict[str, Any]
    lanes: "pd.DataFrame"
    trace: "pd.DataFrame"
    tolerance: "pd.DataFrame"
    changed: tuple[str, ...] = ()


class _Suite(BaseModel, strict=True):
    given: dict[str, Any]
    resolved: dict[str, Any]


class _Description(BaseModel, strict=True):
    """What a check needs of baseline.json beside what readers need of a run.json."""

    suite: _Suite
    seeds: list[int]
    optimizers: list[Any]
    environment: dict[str, Any]
    device: dict[str, Any]
    targets: dict[str, FiniteFloat]
    test_error: dict[str, dict[str, FiniteFloat]] = {}
    thresholds: dict[str, float] = {}
    checksums: dict[str, str] = {}
    calibration_seconds: PositiveFloat | None = None


LOCK_SECONDS = 60.0
"""How long one writer of baselines waits for another, which takes far less than a second."""


def write(baseline: Baseline, *, replace: bool = False) -> None:
    """Write a baseline into its folder; a kill leaves the old one or the new one."""
    folder = baseline.path
    beside = folder.with_name(f".{folder.name}.part")
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.parent, seconds=LOCK_SECONDS), writing(folder):
        _put_back(folder)
        if not replace:
            check_free(folder)
        shutil.rmtree(beside, ignore_errors=True)  # of a writer that was killed: the lock is ours
        beside.mkdir()
        try:
            _write_table(beside / "lanes.parquet", baseline.lanes, LANE_COLUMNS)
            _write_table(beside / "trace.parquet", baseline.trace, TRACE_COLUMNS)
            _write_table(beside / "tolerance.parquet", baseline.tolerance, TOLERANCE_COLUMNS)
            meta = {**baseline.meta, "checksums": checksums(beside, baseline.meta)}
            write_json(beside / DESCRIPTION, meta, indent=1)
            if folder.exists():
                folder.rename(_old(folder))
            beside.rename(folder)
            sync(folder.parent)
        except BaseException:
            _put_back(folder)
            shutil.rmtree(beside, ignore_errors=True)
            raise
        shutil.rmtree(_old(folder), ignore_errors=True)


def _old(folder: Path) -> Path:
    """Return where a baseline is while another takes its place."""
    return folder.with_name(f".{folder.name}.old")


def _put_back(folder: Path) -> None:
    """Put back a baseline that was to be replaced and was not; the lock is ours."""
    if folder.exists():
        shutil.rmtree(_old(folder), ignore_errors=True)
    elif _old(folder).exists():
        _old(folder).rename(folder)


def settle(folder: Path) -> None:
    """Wait until a baseline that is being replaced is there, and put back one that was lost."""
    if not folder.exists() and _old(folder).exists():
        with locked(folder.parent, seconds=LOCK_SECONDS), writing(folder):
            _put_back(folder)


def checksums(folder: Path, meta: Mapping[str, Any]) -> dict[str, str]:
    """Return the SHA-256 of each file of a baseline by name.

    That of baseline.json is of what it says, in whatever layout, without :data:`UNGUARDED`.
    """
    guarded = {key: value for key, value in meta.items() if key not in UNGUARDED}
    text = json.dumps(json.loads(json.dumps(guarded)), sort_keys=True, separators=(",", ":"))
    found = {DESCRIPTION: hashlib.sha256(text.encode()).hexdigest()}
    for name in TABLES:
        try:
            with (folder / name).open("rb") as file:
                found[name] = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            reason = error.strerror or error
            raise ResultsError(f"'{folder / name}' cannot be read: {reason}") from None
    return found


def check_free(folder: Path) -> None:
    """Refuse a folder in which a baseline is."""
    settle(folder)
    if folder.exists():
        name = folder.name
        raise ResultsError(
            f"there is already a baseline '{name}'; give another {argument('name')}, or refresh "
            "it with: "
            f"optbench check {name} --update"
        )


def _write_table(path: Path, rows: "pd.DataFrame", kinds: Mapping[str, str]) -> None:
    """Write a table as small as it gets, for git."""
    import pyarrow as pa

    table = pa.Table.from_pandas(rows, preserve_index=False).replace_schema_metadata(None)
    fields = [
        field.with_type(arrow_type(kinds[field.name])) if field.name in kinds else field
        for field in table.schema
    ]
    table = table.cast(pa.schema(fields))
    write_beside(
        path,
        lambda place: write_tables(
            place, table.schema, [table], compression="zstd", compression_level=19
        ),
    )


def load(folder: Path) -> Baseline:
    """Return a baseline, unless it is damaged or of a version that this optbench does not know.

    What can be read but is not what was saved is named in ``changed``.
    """
    meta = _read_description(folder)
    try:
        baseline = _load_as(meta, folder)
    except ResultsError:
        if _read_description(folder) == meta:
            raise
        return load(folder)
    # One that was replaced meanwhile has other tables now.
    return baseline if _read_description(folder) == meta else load(folder)


def _read_description(folder: Path) -> dict[str, Any]:
    settle(folder)
    file = folder / DESCRIPTION
    meta = read_json(file, "baseline")
    check_shape(_Description, meta, file)
    check_description({"started": "", "status": "", "invocation_id": "", **meta}, file)
    show_names(meta)
    for key in {"targets", "test_error", "thresholds"} & meta.keys():
        meta[key] = _with_names_shown(meta[key])
    return meta


def _with_names_shown(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values by problem, and by label within it, under the names that tables have."""
    return {
        shown(name): _with_names_shown(value) if isinstance(value, Mapping) else value
        for name, value in values.items()
    }


def _load_as(meta: dict[str, Any], folder: Path) -> Baseline:
    """Return the baseline with this baseline.json."""
    file = folder / DESCRIPTION
    lanes = read_table([folder / "lanes.parquet"], LANE_COLUMNS)
    check_described(lanes, meta, file)
    if lanes["lane"].duplicated().any():
        raise ResultsError(f"'{folder / 'lanes.parquet'}' is damaged: it holds a lane twice")
    try:
        check_problems(parse_thresholds(meta.get("thresholds", {})), titles(meta))
    except UsageError as error:
        raise ResultsError(f"'{file}': {error}") from None
    trace = _read_rows(folder / "trace.parquet", TRACE_COLUMNS)
    tolerance = _read_rows(folder / "tolerance.parquet", TOLERANCE_COLUMNS)
    saved, found = meta.get("checksums", {}), checksums(folder, meta)
    changed = tuple(name for name, digest in found.items() if saved.get(name) != digest)
    return Baseline(folder, meta, lanes, trace, tolerance, changed)


def titles(meta: Mapping[str, Any]) -> list[str]:
    """Return the titles of the problems that a baseline or a run describes."""
    return [str(problem["problem"]) for problem in meta["problems"]]


def check_described(lanes: "pd.DataFrame", meta: Mapping[str, Any], file: Path) -> None:
    """Refuse lanes of problems that their baseline or run, whose JSON file it is, lacks."""
    lost = set(lanes["problem"]) - set(titles(meta))
    if lost:
        raise ResultsError(f"'{file}' is damaged: problems: '{min(lost)}' is missing")


def _read_rows(file: Path, kinds: Mapping[str, str]) -> "pd.DataFrame":
    """Return a table with one row per lane and iteration."""
    rows = read_table([file], kinds)
    if rows.duplicated(["lane", "iteration"]).any():
        raise ResultsError(f"'{file}' is damaged: it holds an iteration of a lane twice")
    return rows


def find(names: list[str], out: Path) -> list[Path]:
    """Return the folders of baselines by name or path; without any, those of all."""
    try:
        whole = [file.parent for file in (out / FOLDER).glob(f"[!.]*/{DESCRIPTION}")]
        old = [file.parent.name[1:-4] for file in (out / FOLDER).glob(f".?*.old/{DESCRIPTION}")]
        known = sorted({*whole, *(out / FOLDER / name for name in old)})
    except OSError as error:
        reason = error.strerror
        raise ResultsError(f"'{out}' cannot be searched for baselines: {reason}") from None
    if names:
        return [_find(name, known, out) for name in dict.fromkeys(names)]
    if known:
        return known
    raise NothingToCompareError(f"there are no baselines under '{out / FOLDER}'; {MAKE_ONE}")


def _find(name: str, known: list[Path], out: Path) -> Path:
    for folder in (out / FOLDER / name, Path(name)):
        if not name:
            break
        if folder.name in ("", ".."):
            folder = folder.resolve()
        settle(folder)
        if isfile(folder / DESCRIPTION):
            return folder
    titles = [folder.name for folder in known]
    hint = nearest(name, titles) if titles else MAKE_ONE
    raise NothingToCompareError(f"there is no baseline '{name}' under '{out / FOLDER}'; {hint}")


Thresholds: TypeAlias = float | Mapping[str, float] | Sequence[str]
"""A threshold for all problems, thresholds by problem, or texts as ``--threshold`` takes them."""


def parse_thresholds(thresholds: Thresholds) -> dict[str, float]:
    """Return thresholds by problem, each above 0 and at most :data:`LARGEST_THRESHOLD`.

    The key ``""`` holds that of all other problems.

    >>> parse_thresholds(["0.1", "mnist-mlp=0.2"])
    {'': 0.1, 'mnist-mlp': 0.2}
    >>> parse_thresholds(0.1)
    {'': 0.1}
    """
    shares: dict[str, float | str]
    if isinstance(thresholds, Mapping):
        shares = dict(thresholds)
    elif isinstance(thresholds, int | float | Real):
        shares = {"": float(thresholds)}
    else:
        texts = [thresholds] if isinstance(thresholds, str) else thresholds
        shares = {problem: share for problem, _, share in (text.rpartition("=") for text in texts)}
    parsed = {}
    for problem, share in shares.items():
        try:
            parsed[problem] = float(share)
        except (TypeError, ValueError):
            parsed[problem] = nan
        if not 0.0 < parsed[problem] <= LARGEST_THRESHOLD:
            text = f"{problem}={share}" if problem else share
            raise UsageError(
                f"threshold '{text}' must be above 0 and at most {LARGEST_THRESHOLD:g}: "
                "write 0.05 for 5 %"
            )
    return parsed


def of_problems(thresholds: Mapping[str, float], problems: Collection[str]) -> dict[str, float]:
    """Return those thresholds that mean all problems, or one of these."""
    return {title: share for title, share in thresholds.items() if title in ("", *problems)}


def check_problems(thresholds: Mapping[str, float], problems: Collection[str]) -> None:
    """Refuse thresholds of problems that there are not."""
    for problem in thresholds:
        if problem and problem not in problems:
            raise UsageError(
                f"threshold '{problem}={thresholds[problem]:g}': there is no problem '{problem}'; "
                f"{nearest(problem, problems)}"
            )
