"""Lanes of runs for experiment trackers and for IOHanalyzer.

A tracker is one file here; it alone names the tracker's library, and loads it when it writes.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from os.path import isdir, lexists, realpath
from pathlib import Path

import pandas as pd

from optbench.errors import ResultsError, UsageError, argument, nearest
from optbench.records import RunTables
from optbench.report.export import export, named, write_table
from optbench.report.trackers import iohanalyzer
from optbench.report.trackers.lanes import BEST, check_lanes, chosen, tracked
from optbench.store.files import check_place
from optbench.store.pack import beside
from optbench.store.places import remove_folder, writing
from optbench.store.reader import read_run

LIBRARIES = {
    "tensorboard": ("tensorboard",),
    "wandb": ("wandb",),
    "mlflow": ("mlflow", "sqlalchemy", "alembic"),
}
"""Trackers, which are extras of optbench by the same names, and what each needs."""

IOHANALYZER = "iohanalyzer"

TARGETS = (*LIBRARIES, IOHANALYZER)

MARK = ".optbench-export"
"""File that says of a folder that it holds nothing but an export."""


@dataclass(frozen=True)
class Exported:
    """What an export made.

    ``rows`` are those of IOHanalyzer's file, for a tracker those of the lanes; ``places`` are the
    folders, or the file, if there is one; ``notes`` say which lanes were left out.
    """

    rows: pd.DataFrame
    places: Sequence[Path]
    notes: Sequence[str]


def check_target(
    to: str | None,
    lanes: str | None = None,
    table: str | None = None,
    format_: str | None = None,
    output: Path | None = None,
    *,
    force: bool = False,
) -> None:
    """Refuse what cannot be exported, before any run is read or library loaded.

    Only tables are chosen by name and format, only for ``to`` something lanes.
    """
    if to is None:
        if lanes is not None:
            raise UsageError(f"{argument('lanes')} belongs to {argument('to')}; give both")
        return
    if to not in TARGETS:
        raise UsageError(f"unknown tracker '{to}'; {nearest(to, TARGETS)}")
    for option, given in (("table", table), ("format", format_)):
        if given is not None:
            raise UsageError(
                f"{argument(option)} is for tables, and {argument('to', to)} writes none; "
                "leave one out"
            )
    check_lanes(BEST if lanes is None else lanes)
    for library in LIBRARIES.get(to, ()):
        spec = find_spec(library)
        if spec is None or spec.origin is None:  # a folder of that name is no library
            raise UsageError(
                f"{argument('to', to)} needs {library}, which is not installed; "
                f"pip install 'optbench[{to}]'"
            )
    if output is None and force and to == IOHANALYZER:
        raise UsageError(f"{argument('force', True)} belongs to {argument('output')}; give both")
    if output is not None:
        check = check_place if to == IOHANALYZER else _check_folder
        check(output, force=force)


def export_to(
    to: str,
    runs: Sequence[Path],
    lanes: str | None = None,
    output: Path | None = None,
    *,
    force: bool = False,
) -> Exported:
    """Write lanes of runs for a tracker; see :func:`check_target` and :func:`.lanes.chosen`.

    Without ``output`` each run gets a folder, named as the tracker, in its directory or beside its
    pack; for IOHanalyzer no file is written.
    """
    if to == IOHANALYZER:
        parts, notes = _chosen(runs, lanes)
        rows = iohanalyzer.table(parts)
        if output is not None:
            write_table(rows, "csv", output)
        return Exported(rows, [output] if output else [], notes)
    places = [output or beside(path, to) for path in runs]
    for place in places:
        _check_folder(place, force=force)
    parts, notes = _chosen(runs, lanes)
    folders: dict[Path, list[RunTables]] = {}
    for place, part in zip(places, parts, strict=True):
        folders.setdefault(place, []).append(part)
    for folder, its in folders.items():
        _write(to, its, folder)
    return Exported(export(parts, "lanes"), list(folders), notes)


def _chosen(runs: Sequence[Path], lanes: str | None) -> tuple[list[RunTables], list[str]]:
    pairs = [chosen(read_run(path), BEST if lanes is None else lanes) for path in runs]
    return [part for part, _ in pairs], [note for _, note in pairs if note]


def _check_folder(folder: Path, *, force: bool) -> None:
    """Refuse a folder's place where something is already but, by ``force``, another export."""
    if not lexists(folder):
        return
    if not isdir(folder):
        raise ResultsError(f"'{folder}' exists and is not a folder; give another name")
    with writing(folder, "name"):
        held = os.listdir(folder)
    if held and MARK not in held:
        raise ResultsError(f"'{folder}' holds other files; give another name")
    if held and not force:
        raise ResultsError(
            f"'{folder}' already exists; give {argument('force', True)}, or another name"
        )


def _write(to: str, runs: Sequence[RunTables], folder: Path) -> None:
    """Write lanes of runs into a folder that is whole or not there, in place of one before it."""
    place = Path(realpath(folder))
    part = place.with_name(f".{place.name}.part")
    writer = import_module(f"optbench.report.trackers.{to}")
    with writing(folder, "name"):
        shutil.rmtree(part, ignore_errors=True)  # somebody was killed while writing it
        part.mkdir(parents=True)
        try:
            writer.write(tracked(named(runs)), part, place)
            (part / MARK).touch()
            remove_folder(place)
            os.replace(part, place)
        finally:
            shutil.rmtree(part, ignore_errors=True)
