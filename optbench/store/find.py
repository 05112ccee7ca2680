"""Finds runs, as a RUN argument on the command line means them."""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from os.path import isfile
from pathlib import Path
from typing import Any

from optbench.errors import ResultsError, nearest
from optbench.store.files import PART
from optbench.store.lock import LOCK, is_locked
from optbench.store.reader import read_meta
from optbench.store.writer import TIME_FORMAT

LATEST = "latest"

RUN_NAME = re.compile(r"(?P<suite>.+)-(?P<time>\d{8}T\d{6}Z)-[0-9a-f]{8}")
"""Name of the directory that :func:`optbench.store.writer.new_run_directory` makes."""

FIRST_FILES = (LOCK, "lanes.parquet", PART.format("*"))
"""All that a run's directory can hold before its run.json."""


def list_runs(out: Path) -> list[Path]:
    """Return the directories of all runs under ``out``, oldest first; damaged ones included."""
    try:
        runs = [(_modified(file), file.parent) for file in out.glob("*/run.json")]
    except OSError as error:
        raise ResultsError(f"'{out}' cannot be searched for runs: {error.strerror}") from None
    return [path for _, path in sorted(runs)]


@dataclass(frozen=True)
class UnbegunRun:
    """A run that was killed before it had a run.json, and what its name says."""

    path: Path
    suite: str
    started: str


def list_unbegun(out: Path) -> list[UnbegunRun]:
    """Return the runs directly in ``out`` that were killed before they had a run.json."""
    with suppress(OSError):
        return [run for path in sorted(out.iterdir()) if (run := _unbegun(path))]
    return []


def _unbegun(path: Path) -> UnbegunRun | None:
    named = RUN_NAME.fullmatch(path.name)
    if not named or path.is_symlink():
        return None
    with suppress(OSError, ValueError):  # it is no folder that we may read, or names no time
        started = datetime.strptime(named["time"], TIME_FORMAT).replace(tzinfo=UTC)
        begun = any(not any(file.match(name) for name in FIRST_FILES) for file in path.iterdir())
        if not begun and not is_locked(path):
            return UnbegunRun(path, named["suite"], started.isoformat(timespec="milliseconds"))
    return None


def _modified(file: Path) -> int:
    """Return when a file was written last; a run may be deleted while others are listed."""
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def find_runs(
    arguments: Sequence[str], out: Path, *, unbegun: Sequence[UnbegunRun] = ()
) -> list[Path]:
    """Return the directories that RUN arguments mean.

    Each is a path, a directory name under ``out``, an unambiguous prefix of one, or ``latest``;
    none at all means every run of the latest invocation. What is ``unbegun`` can be named, too.
    """
    more = [run.path for run in unbegun]
    if not arguments:
        runs = _readable(out)
        invocation = runs[-1][1].get("invocation_id")
        return [path for path, meta in runs if meta.get("invocation_id") == invocation]
    return list(dict.fromkeys(_find(argument, out, more) for argument in arguments))


def _find(argument: str, out: Path, more: Sequence[Path]) -> Path:
    if argument == LATEST:
        return _readable(out)[-1][0]
    for path in (Path(argument), out / argument):
        if isfile(path / "run.json") or path in more:
            return path
    if Path(argument).name == "run.json" and isfile(argument):
        return Path(argument).parent
    names = [path.name for path in (*list_runs(out), *more)]
    meant = [name for name in names if argument and name.startswith(argument)]
    if len(meant) == 1:
        return out / meant[0]
    if meant:
        some = ", ".join(meant[:3]) + (", …" if len(meant) > 3 else "")
        raise ResultsError(f"'{argument}' means {len(meant)} runs: {some}; write more of it")
    if not names:
        raise ResultsError(f"there is no run '{argument}': '{out}' holds none; see optbench run")
    raise ResultsError(f"there is no run '{argument}' under '{out}'; {nearest(argument, names)}")


def _readable(out: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Return all runs with a readable run.json, at least one, in the order of their starts."""
    runs = []
    for path in list_runs(out):
        with suppress(ResultsError):  # a damaged run is named only where it is asked for
            runs.append((path, read_meta(path)))
    if not runs:
        raise ResultsError(f"there are no runs under '{out}'; make one with: optbench run")
    return sorted(runs, key=lambda run: str(run[1].get("started")))
