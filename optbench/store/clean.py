"""Chooses the runs under a results directory that may be deleted, and deletes them.

A study is deleted as one, with the runs of all its rounds.
"""

import os
import re
import secrets
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from optbench.errors import ResultsError, UsageError
from optbench.records import Status
from optbench.store.find import UnbegunRun, find_entries, list_runs, list_unbegun
from optbench.store.lock import is_locked
from optbench.store.pack import refuse_pack
from optbench.store.reader import read_description
from optbench.store.studies import is_study, read_tune

BASELINES = "baselines"
"""The folder under a results directory that holds the references of checks, which are no runs."""

PREFIX = ".deleted-"
"""Begins the names of folders, beside the runs, that hold a run while it is deleted."""

Notice = Callable[[str], object]
"""Takes a sentence for the user."""


@dataclass(frozen=True)
class DeletableRun:
    """A run or a study that may be deleted, and what is shown of it."""

    path: Path
    suite: str
    status: str
    started: str
    size_bytes: int


def choose(
    arguments: Sequence[str], out: Path, notice: Notice, *, keep: int | None = None
) -> list[DeletableRun]:
    """Return the runs directly in a results directory that were named, or all but the newest.

    ``keep`` is how many of those that were started last are kept; runs that were killed before they
    began are none. ``notice`` is told what is kept for another reason: links, damaged runs, runs
    still being written.
    """
    if arguments and keep is not None:
        raise UsageError("--keep chooses among all runs; leave out RUN or --keep")
    try:
        whole = out.resolve()
    except (OSError, RuntimeError):
        raise UsageError(f"'{out}' is a link to itself; give another --out") from None
    except ValueError:
        raise UsageError(
            f"'{out}' names no folder, since it holds NUL; give another --out"
        ) from None
    if whole.name == BASELINES:
        raise UsageError(f"'{out}' holds baselines, not runs; give another --out")
    if is_study(whole):
        raise UsageError(f"'{out}' is a study; {_as_one(whole)}")
    runs = _named(arguments, out) if arguments else _all_but(keep or 0, out, notice)
    return [run for run in runs if not _is_written(run.path, run.path, notice)]


def _as_one(study: Path) -> str:
    """Say how a study is deleted."""
    return (
        f"it is deleted as one: optbench clean {quote(study.name)} --out {quote(str(study.parent))}"
    )


def _named(arguments: Sequence[str], out: Path) -> list[DeletableRun]:
    paths = {}
    unbegun = list_unbegun(out)
    for path in find_entries(arguments, out, unbegun=unbegun):
        refuse_pack(path, "delete the file itself")
        if path.is_symlink():
            raise UsageError(f"'{path}' is a link; name the run itself, or remove the link by hand")
        whole = path.resolve()
        if is_study(whole.parent):
            raise UsageError(f"'{path}' is a round of a study; {_as_one(whole.parent)}")
        if whole.parent != out.resolve() or whole.name == BASELINES:
            raise UsageError(f"'{path}' is not a run directly in '{out}'; give its folder as --out")
        paths[whole] = out / whole.name
    known = {run.path: run for run in unbegun}
    return [
        _describe_unbegun(known[path]) if path in known else _describe(path)
        for path in paths.values()
    ]


def _all_but(newest: int, out: Path, notice: Notice) -> list[DeletableRun]:
    """Return all runs but the newest, oldest first."""
    runs = []
    for path in list_runs(out):
        if path.name == BASELINES:
            continue
        if path.is_symlink():
            notice(f"note: '{path}' is a link and is kept")
            continue
        try:
            runs.append(_describe(path))
        except ResultsError as error:
            notice(f"note: {error}; '{path}' is kept")
    runs.sort(key=lambda run: run.started)
    unbegun = [_describe_unbegun(run) for run in list_unbegun(out)]
    chosen = [*runs[: max(0, len(runs) - newest)], *unbegun]
    return sorted(chosen, key=lambda run: run.started)


def _describe(path: Path) -> DeletableRun:
    meta = read_tune(path) if is_study(path) else read_description(path)
    suite, status, started = meta["suite"]["name"], meta["status"], meta["started"]
    return DeletableRun(path, suite, status, started, size_bytes(path))


def _describe_unbegun(run: UnbegunRun) -> DeletableRun:
    status = Status.INTERRUPTED.value
    return DeletableRun(run.path, run.suite, status, run.started, size_bytes(run.path))


def _is_written(place: Path, path: Path, notice: Notice) -> bool:
    rounds = place.iterdir() if is_study(place) else ()
    locked = any(map(is_locked, (place, *rounds)))
    if locked:
        notice(f"note: '{path}' is still being written and is kept")
    return locked


def delete_runs(
    paths: Sequence[Path], out: Path, notice: Notice, deleted: Callable[[Path], object]
) -> None:
    """Delete runs, and what earlier deletions left behind in the results directory.

    Runs that are being written again are kept; ``deleted`` is called with each that is gone. Where
    some cannot be deleted, the others are deleted all the same, and then a ResultsError is raised.
    """
    # Resolved, since the working directory may be in a run: ".." is another folder once that moves.
    places = {path: path.resolve() for path in paths}
    folders = leftovers(out.resolve())
    failures, count = [], 0
    for path, place in places.items():
        if _is_written(place, path, notice):
            continue
        try:
            delete_run(place)
        except ResultsError as error:
            failures.append(str(error))
        else:
            deleted(path)
            count += 1
    for folder in folders:
        try:
            remove_leftover(folder)
        except ResultsError as error:
            failures.append(str(error))
        else:
            notice("removed what an earlier deletion had left behind")
    if failures:
        more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        raise ResultsError(f"{failures[0]}{more}; {count} of {len(paths)} runs were deleted")


def delete_run(run: Path) -> None:
    """Delete a run: move it into a folder of its own at once, then remove that.

    A run that cannot be moved is as it was; what cannot be removed, :func:`leftovers` finds.
    """
    folder = run.parent / f"{PREFIX}{secrets.token_hex(4)}"
    try:
        folder.mkdir()
        os.rename(run, folder / run.name)
    except OSError as error:
        with suppress(OSError):
            folder.rmdir()
        if os.path.lexists(run):  # else another process deleted it first
            reason = error.strerror or error
            raise ResultsError(f"'{run}' cannot be deleted: {reason}") from None
    else:
        remove_leftover(folder)


def leftovers(out: Path) -> list[Path]:
    """Return the folders of deletions that did not come to their end."""

    def is_leftover(path: Path) -> bool:
        named = re.fullmatch(rf"{re.escape(PREFIX)}[0-9a-f]{{8}}", path.name)
        if not named or path.is_symlink() or not path.is_dir():
            return False
        with suppress(OSError):
            return len(list(path.iterdir())) <= 1
        return False

    return sorted(filter(is_leftover, out.glob(f"{PREFIX}*")))


def remove_leftover(folder: Path) -> None:
    """Remove a folder with all that it holds; links are removed, not followed."""
    while os.path.lexists(folder):
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            continue  # another process removes it as well
        except OSError as error:
            reason = error.strerror or error
            raise ResultsError(f"'{folder}', a deleted run, cannot be removed: {reason}") from None


def size_bytes(run: Path) -> int:
    """Return the size of all files of a run; links are not followed."""
    total = 0
    for folder, _, names in os.walk(run):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(folder, name)).st_size
    return total
