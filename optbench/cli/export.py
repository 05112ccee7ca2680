"""``optbench export``: a table of runs for other programs, or lanes for a tracker."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from optbench.cli.options import DEFAULT_OUT, Out, Runs, place
from optbench.cli.output import say, tell
from optbench.cli.reports import check_force
from optbench.cli.streams import is_lost
from optbench.errors import UsageError
from optbench.report import export as tables
from optbench.report.trackers import TARGETS, check_target, export_to
from optbench.report.trackers.lanes import ALL, BEST, MOST_LANES
from optbench.store.find import find_runs
from optbench.store.reader import read_run


def export(
    runs: Runs = None,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="|".join(tables.FORMATS),
            help="How to write it; by default as FILE's suffix says, or csv.",
            show_default=False,
        ),
    ] = None,
    table: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="trace (one row per iteration), lanes, evaluation, or summary, which is the "
            f"table of optbench show; by default {tables.TABLES[0]}.",
            show_default=False,
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(TARGETS),
            help="Instead of a table write lanes for this tracker, or the CSV of IOHanalyzer.",
            show_default=False,
        ),
    ] = None,
    lanes: Annotated[
        str | None,
        typer.Option(
            metavar=f"{BEST}|{ALL}|NUMBERS",
            help=f"Which lanes, as 0-9,12; by default {BEST}: those of each label's best "
            f"configuration, at most {MOST_LANES} of a run.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-O",
            "--output",
            metavar="PATH",
            parser=place,
            help="Write to a new file instead of stdout; for a tracker the new folder, by default "
            "one in the run's directory.",
            show_default=False,
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite PATH, a folder only if it is an export.")
    ] = False,
    out: Out = DEFAULT_OUT,
) -> None:
    """Write a table of runs as CSV, JSON or Parquet, or lanes for an experiment tracker.

    Rows of trace and evaluation also hold the optimizer, hyperparameters and seed of their lane.

    Numbers read back as the same float64; what is missing or NaN is empty in CSV, otherwise null.
    """
    check_target(to, lanes, table, format_, output, force=force)
    if to is not None:
        done = export_to(to, _found(runs, out), lanes, output, force=force)
        for note in done.notes:
            say(f"note: {note}")
        for written in done.places:
            tell(written)
        if not done.places:
            _print(tables.pieces(done.rows, "csv"))
        return
    check_force(output, force=force)
    table = tables.TABLES[0] if table is None else table
    written_as = tables.check_export(table, format_, output, force=force)
    if output is None and written_as == "parquet" and sys.stdout.isatty():
        raise UsageError("a terminal cannot show parquet; give --output FILE, or --format csv")
    found = [read_run(path) for path in _found(runs, out)]
    rows = tables.export(found, table, format_, output, force=force)
    if rows.empty:
        say(f"note: the {table} of these runs holds no rows")
    if output is None:
        _print(tables.pieces(rows, written_as))
    else:
        tell(output)


def _found(runs: list[str] | None, out: Path) -> list[Path]:
    """Return the runs that are named, each once."""
    return list({path.resolve(): path for path in find_runs(runs or [], out)}.values())


def _print(contents: Iterator[bytes]) -> None:
    """Write to stdout; who reads it may close it before the end, as ``head`` does."""
    stream = getattr(sys.stdout, "buffer", None)
    for piece in contents:
        if stream is None or sys.stdout.isatty():
            tell(piece.decode(), end="")
        else:
            stream.write(piece)
        if is_lost():
            return
