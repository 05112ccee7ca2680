"""``optbench clean``: delete runs."""

import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from optbench.cli.options import DEFAULT_OUT, Out, complete_run
from optbench.cli.output import console, say, table
from optbench.errors import ResultsError, UsageError

BASELINES = "baselines"
"""The folder under the results directory that holds references of checks, no runs."""


def clean(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN",
            help="A run under --out: its directory, its name, an unambiguous prefix of that, or "
            "'latest'. Without one: all of them.",
            autocompletion=complete_run,
            show_default=False,
        ),
    ] = None,
    keep: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=0, help="Keep the N runs that were started last.", show_default=False
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking.")] = False,
    out: Out = DEFAULT_OUT,
) -> None:
    """Delete runs, after listing them and asking; print the paths of those that are gone.

    Baselines, links, runs that are still being written and all that is no run are kept.
    """
    from optbench.store.find import leftovers

    if runs and keep is not None:
        raise UsageError("--keep chooses among all runs; leave RUN or --keep out")
    if _resolved(out).name == BASELINES:
        raise UsageError(f"'{out}' holds baselines, no runs; give another --out")
    chosen = _given(runs, out) if runs else _all_but(keep or 0, out)
    chosen = [run for run in chosen if not _is_written(run.path)]
    if not chosen:
        say(f"nothing to delete under '{out}'")
    elif not yes and not _agreed(chosen):
        say("nothing was deleted")
        return
    # Resolved, since the working directory may be in a run: ".." is another folder once that moves.
    _delete({run.path: run.path.resolve() for run in chosen}, leftovers(out.resolve()))


def _resolved(out: Path) -> Path:
    try:
        return out.resolve()
    except (OSError, RuntimeError):
        raise UsageError(f"'{out}' is a link to itself; give another --out") from None


@dataclass(frozen=True)
class _Run:
    """A run that may be deleted, and what is shown of it."""

    path: Path
    suite: str
    status: str
    started: str
    size_bytes: int


def _look(path: Path) -> _Run:
    """Return what is shown of a run.

    Raises
    ------
    ResultsError
        If it is damaged, or not of this optbench.
    """
    from optbench.store.find import size_bytes
    from optbench.store.reader import read_description

    meta = read_description(path)
    return _Run(path, meta["suite"]["name"], meta["status"], meta["started"], size_bytes(path))


def _given(arguments: list[str], out: Path) -> list[_Run]:
    """Return the runs that were named, each once; only directories in ``out`` itself may be."""
    from optbench.store.find import find_runs

    found = {}
    for path in find_runs(arguments, out):
        if path.is_symlink():
            raise UsageError(f"'{path}' is a link; name the run itself, or remove the link by hand")
        whole = path.resolve()
        if whole.parent != out.resolve() or whole.name == BASELINES:
            raise UsageError(f"'{path}' is no run in '{out}' itself; give its folder as --out")
        found[whole] = out / whole.name
    return [_look(path) for path in found.values()]


def _all_but(newest: int, out: Path) -> list[_Run]:
    """Return all runs but the newest, oldest first; say which directories are left alone."""
    from optbench.store.find import list_runs

    found = []
    for path in list_runs(out):
        if path.name == BASELINES:
            continue
        if path.is_symlink():
            say(f"note: '{path}' is a link and is kept")
            continue
        try:
            found.append(_look(path))
        except ResultsError as error:
            say(f"note: {error}; '{path}' is kept")
    found.sort(key=lambda run: run.started)
    return found[: max(0, len(found) - newest)]


def _is_written(path: Path) -> bool:
    """Say whether a run is still being written, also to the user."""
    from optbench.store.lock import is_locked

    locked = is_locked(path)
    if locked:
        say(f"note: '{path}' is still being written and is kept")
    return locked


def _agreed(chosen: list[_Run]) -> bool:
    """List the runs and ask whether they may be deleted.

    Raises
    ------
    UsageError
        If there is no terminal to ask on.
    """
    from rich.filesize import decimal

    listed = table("run", "suite", "status", "started", "size")
    for run in chosen:
        started = run.started[:16].replace("T", " ")
        listed.add_row(run.path.name, run.suite, run.status, started, decimal(run.size_bytes))
    for column in listed.columns:
        column.overflow, column.no_wrap = "fold", column.header in ("status", "started", "size")
    listed.columns[-1].justify = "right"
    console(stderr=True).print(listed)
    count = "1 run" if len(chosen) == 1 else f"{len(chosen)} runs"
    what = f"{count}, {decimal(sum(run.size_bytes for run in chosen))}"
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(f"there is no terminal to ask whether to delete {what}; give --yes")
    with redirect_stdout(sys.stderr):  # of a question, too, the last sign goes to stdout
        return typer.confirm(f"Delete {what}?", err=True)


def _delete(runs: dict[Path, Path], left: list[Path]) -> None:
    """Delete runs and what earlier deletions left; print the paths of the runs that are gone.

    Parameters
    ----------
    runs
        Where each run is, absolute, by the path that users see.

    Raises
    ------
    ResultsError
        If some cannot be deleted; the others are all the same.
    """
    from optbench.store.find import delete_run, remove_leftover

    failures, deleted = [], []
    try:
        for path, place in runs.items():
            if _is_written(place):
                continue
            try:
                delete_run(place)
                deleted.append(path)
            except ResultsError as error:
                failures.append(str(error))
        for folder in left:
            try:
                remove_leftover(folder)
                say("removed what an earlier deletion had left")
            except ResultsError as error:
                failures.append(str(error))
    finally:
        for path in deleted:
            typer.echo(str(path))
    if failures:
        more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        raise ResultsError(f"{failures[0]}{more}; {len(deleted)} of {len(runs)} runs were deleted")
