"""``optbench clean``: delete runs and studies."""

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer
from rich.filesize import decimal

from optbench.cli.options import DEFAULT_OUT, Out, complete_run
from optbench.cli.output import console, say, tell
from optbench.errors import UsageError
from optbench.report.sections import Column, Section
from optbench.report.terminal import to_rich
from optbench.store.clean import DeletableRun, choose, delete_runs


def clean(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN",
            help="A run or a study directly under --out: its directory, its name, the beginning of "
            "that, or 'latest'. By default all of them.",
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
    """Delete runs, after listing them and asking; print the paths of those deleted.

    A study goes as one, with all its rounds. Baselines, links, runs that are still being written
    and anything that is not a run are kept.
    """
    chosen = choose(runs or [], out, say, keep=keep)
    if not chosen:
        say(f"nothing to delete under '{out}'")
    elif not yes and not _confirmed(chosen):
        say("nothing was deleted")
        return
    deleted: list[Path] = []
    try:
        delete_runs([run.path for run in chosen], out, say, deleted.append)
    finally:
        for path in deleted:
            tell(path)


def _confirmed(runs: Sequence[DeletableRun]) -> bool:
    """List the runs and ask whether they may be deleted."""
    columns = [
        Column("run", "name"),
        Column("status", "word", spare=2),
        Column("suite", "name", spare=4),
        Column("started", "word", spare=3),
        Column("size", spare=1),
    ]
    rows = [
        [
            run.path.name,
            run.status,
            run.suite,
            run.started[:16].replace("T", " "),
            decimal(run.size_bytes),
        ]
        for run in runs
    ]
    console(stderr=True).print(to_rich([Section("", columns, rows)]))
    count = "1 run" if len(runs) == 1 else f"{len(runs)} runs"
    what = f"{count}, {decimal(sum(run.size_bytes for run in runs))}"
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(f"no terminal to ask whether to delete {what}; give --yes")
    with redirect_stdout(sys.stderr):  # typer writes the end of a question to stdout
        return typer.confirm(f"Delete {what}?", err=True)
