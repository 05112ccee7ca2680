"""``optbench export``: a table of runs for other programs."""

import sys
from collections.abc import Iterator
from typing import Annotated

import typer

from optbench.cli.options import DEFAULT_OUT, Out, Runs
from optbench.cli.output import say, tell
from optbench.cli.reports import Force, Output, check_force
from optbench.cli.streams import is_lost
from optbench.errors import UsageError
from optbench.report import export as tables
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
        str,
        typer.Option(
            metavar="NAME",
            help="trace (one row per iteration), lanes, evaluation, or summary, which is the "
            "table of optbench show.",
        ),
    ] = tables.TABLES[0],
    output: Output = None,
    force: Force = False,
    out: Out = DEFAULT_OUT,
) -> None:
    """Write a table of runs as CSV, JSON or Parquet, for programs of your own.

    Rows of trace and evaluation also hold the optimizer, hyperparameters and seed of their lane.

    Numbers read back as the same float64; what is missing or NaN is empty in CSV, otherwise null.
    """
    check_force(output, force=force)
    written_as = tables.check_export(table, format_, output, force=force)
    if output is None and written_as == "parquet" and sys.stdout.isatty():
        raise UsageError("a terminal cannot show parquet; give --output FILE, or --format csv")
    paths = {path.resolve(): path for path in find_runs(runs or [], out)}
    found = [read_run(path) for path in paths.values()]
    rows = tables.export(found, table, format_, output, force=force)
    if rows.empty:
        say(f"note: the {table} of these runs holds no rows")
    if output is None:
        _print(tables.pieces(rows, written_as))
    else:
        tell(output)


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
