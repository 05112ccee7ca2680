"""Finds runs and studies, as a RUN or STUDY argument on the command line means them.

Where a run is meant, a study stands for its final run.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import SequenceMatcher
from os.path import isfile
from pathlib import Path
from shlex import quote
from typing import Any

from optbench.errors import ResultsError, did_you_mean
from optbench.records import Status
from optbench.store.files import PART
from optbench.store.kept import FOLDER as CODE
from optbench.store.lock import LOCK, is_locked
from optbench.store.pack import is_pack, unfold
from optbench.store.places import DEFAULT_OUT
from optbench.store.reader import read_meta
from optbench.store.studies import FINAL, TUNE, is_study, read_tune
from optbench.store.writer import TIME_FORMAT

LATEST = "latest"

MOST_NAMED = 3
"""Runs that a message names in place of one that there is not."""

LEAST_LIKENESS = 0.6
"""Share of characters from which on a name may have been meant."""

RUN_NAME = re.compile(r"(?P<suite>.+)-(?P<time>\d{8}T\d{6}Z)-[0-9a-f]{8}")
"""Name of the directory that :func:`optbench.store.writer.new_run_directory` makes."""

FIRST_FILES = (LOCK, CODE, "lanes.parquet", PART.format("*"))
"""All that a run's directory can hold before its run.json."""


@dataclass(frozen=True)
class Kind:
    """What is looked for: what it is called, the files that make a directory one, what makes it."""

    noun: str
    plural: str
    files: tuple[str, ...]
    command: str


RUN = Kind("run", "runs", ("run.json", TUNE), "optbench run")
STUDY = Kind("study", "studies", (TUNE,), "optbench tune")


def list_runs(out: Path, kind: Kind = RUN) -> list[Path]:
    """Return the directories of all runs and studies directly under ``out``, or of studies alone.

    The one written last is the last; damaged ones are included. Under a study they are its rounds.
    """
    try:
        found = [
            (_modified(file), file.parent) for name in kind.files for file in out.glob(f"*/{name}")
        ]
    except OSError as error:
        raise ResultsError(f"'{out}' cannot be searched for runs: {error.strerror}") from None
    return [path for _, path in sorted(found)]


def list_rounds(out: Path) -> list[Path]:
    """Return the directories of all runs under ``out``, those of studies' rounds among them."""
    runs = [
        run for path in list_runs(out) for run in (list_runs(path) if is_study(path) else [path])
    ]
    return sorted(runs, key=lambda run: _modified(run / "run.json"))


@dataclass(frozen=True)
class UnbegunRun:
    """A run that was killed before it had a run.json, and what its name says."""

    path: Path
    suite: str
    started: str


def list_unbegun(out: Path) -> list[UnbegunRun]:
    """Return the runs directly in ``out`` that were killed before they had a run.json."""
    with suppress(OSError, ValueError):  # of a name with NUL, which no folder has
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


def find_runs(arguments: Sequence[str], out: Path) -> list[Path]:
    """Return the directories of the runs that RUN arguments mean.

    Each is a path, of a directory or a pack, a directory name under ``out``, an unambiguous prefix
    of one, or ``latest``; none at all means every run of the latest invocation. A study means its
    final run.

    Raises
    ------
    ResultsError
        If there is no such run, an argument means several, or a study's final has not begun.
    """
    return list(dict.fromkeys(map(_run_of, find_entries(arguments, out))))


def find_entries(
    arguments: Sequence[str], out: Path, *, unbegun: Sequence[UnbegunRun] = ()
) -> list[Path]:
    """Return the directories that RUN arguments name: of runs, and of studies themselves.

    What is ``unbegun`` can be named, too.
    """
    more = [run.path for run in unbegun]
    if not arguments:
        runs = _readable(out, RUN)
        invocation = _invocation(*runs[-1])
        return [path for path, meta in runs if _invocation(path, meta) == invocation]
    return list(dict.fromkeys(_find(argument, out, RUN, more) for argument in arguments))


def find_study(argument: str, out: Path) -> Path:
    """Return the directory of the study that an argument means.

    It is named as a run is (:func:`find_runs`); ``latest`` is the study that was started last.
    """
    return _find(argument, out, STUDY)


def _run_of(path: Path) -> Path:
    """Return a run that was named, or the final run of a study that was."""
    if not is_study(path):
        return path
    final = path / FINAL
    if isfile(final / "run.json"):
        return final
    status = read_tune(path)["status"]
    ways = {
        Status.RUNNING: "wait for it",
        Status.INTERRUPTED: f"go on with: optbench tune --resume {quote(str(path))}",
    }
    way = f"; {ways[status]}" if status in ways else ""
    rounds = list_runs(path)
    named = f"; its rounds can be named, as {rounds[-1]}" if rounds else ""
    raise ResultsError(f"study '{path}' is {status} and has no final run yet{way}{named}")


def _find(argument: str, out: Path, kind: Kind, more: Sequence[Path] = ()) -> Path:
    if argument == LATEST:
        return _readable(out, kind)[-1][0]
    for path in (Path(argument), out / argument):
        if is_pack(path):
            path = unfold(path)
        if path in more or any(isfile(path / name) for name in kind.files):
            return path
        if path.name in kind.files and isfile(path):
            return path.parent
        if any(isfile(path / name) for name in RUN.files):
            raise ResultsError(f"'{path}' is a run, not a {kind.noun}; see {kind.command}")
    names = [path.name for path in (*list_runs(out, kind), *more)]
    meant = [name for name in names if argument and name.startswith(argument)]
    if len(meant) == 1:
        return out / meant[0]
    if meant:
        some = ", ".join(meant[:3]) + (", …" if len(meant) > 3 else "")
        raise ResultsError(
            f"'{argument}' means {len(meant)} {kind.plural}: {some}; write more of it"
        )
    missing = f"there is no {kind.noun} '{argument}'"
    if not names:
        raise ResultsError(f"{missing}: '{out}' holds none; see {kind.command}")
    where = "" if out == DEFAULT_OUT else f" --out {quote(str(out))}"
    raise ResultsError(
        f"{missing} under '{out}'; {_nearest(argument, names)} (see: optbench list runs{where})"
    )


def _nearest(argument: str, names: Sequence[str]) -> str:
    """Say which runs were probably meant, else which are the newest; the last name is the newest.

    As an argument may be the beginning of a name, it is compared with those, too.
    """

    def likeness(name: str) -> float:
        return max(
            SequenceMatcher(None, argument, each).ratio() for each in (name, name[: len(argument)])
        )

    newest = names[::-1]
    by_likeness = sorted(newest, key=likeness, reverse=True)
    close = [name for name in by_likeness[:MOST_NAMED] if likeness(name) >= LEAST_LIKENESS]
    if argument and close:
        return did_you_mean(close)
    *others, last = newest[:MOST_NAMED]
    return f"the newest are {', '.join(others)} and {last}" if others else f"there is {last}"


def _invocation(path: Path, meta: Mapping[str, Any]) -> object:
    """Return what runs of one invocation have in common; a study is one by itself."""
    return path if is_study(path) else meta.get("invocation_id")


def _readable(out: Path, kind: Kind) -> list[tuple[Path, dict[str, Any]]]:
    """Return all runs that can be read, at least one, in the order of their starts."""
    runs = []
    for path in list_runs(out, kind):
        with suppress(ResultsError):  # a damaged run is named only where it is asked for
            runs.append((path, read_tune(path) if is_study(path) else read_meta(path)))
    if not runs:
        raise ResultsError(
            f"there are no {kind.plural} under '{out}'; make one with: {kind.command}"
        )
    return sorted(runs, key=lambda run: str(run[1].get("started")))
