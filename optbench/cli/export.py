"""``optbench export``: a table of runs for other programs."""

import os
import sys
from collections.abc import Iterator
from os.path import isdir, isfile, lexists
from pathlib import Path
from typing import Annotated

import typer

from optbench.cli.options import DEFAULT_OUT, Out, Runs
from optbench.errors import UsageError, nearest
from optbench.report.export import _pieces, _rows

TABLES = ("trace", "lanes", "evaluation", "summary")


FORMATS = ("csv", "json", "parquet")


def export(
    runs: Runs = None,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="|".join(FORMATS),
            help="How to write it; otherwise as FILE ends, otherwise csv.",
            show_default=False,
        ),
    ] = None,
    table: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="trace (a row an iteration), lanes, evaluation, or summary as optbench show has "
            "it.",
        ),
    ] = TABLES[0],
    output: Annotated[
        Path | None,
        typer.Option(
            "-O",
            "--output",
            metavar="FILE",
            help="Write to a file that is not there yet; otherwise to stdout.",
            show_default=False,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite FILE.")] = False,
    out: Out = DEFAULT_OUT,
) -> None:
    """Write a table of runs as CSV, JSON or Parquet, for programs of your own.

    Rows of trace and evaluation also have what was chosen for their lane.

    Numbers read back as the same float64; what is missing or NaN is empty in CSV, otherwise null.
    """
    form = _format(format_, output)
    if table not in TABLES:
        raise UsageError(f"unknown table '{table}'; {nearest(table, TABLES)}")
    if force and output is None:
        raise UsageError("--force belongs to --output; give both")
    if output is not None:
        _check_file(output, force=force)
    elif form == "parquet" and sys.stdout.isatty():
        raise UsageError("parquet is nothing for a terminal; give --output FILE, or --format csv")
    from optbench.cli.output import say
    from optbench.store.find import find_runs
    from optbench.store.reader import read_run

    places = {path.resolve(): path for path in find_runs(runs or [], out)}
    rows = _rows([read_run(path) for path in places.values()], table)
    if rows.empty:
        say(f"note: the {table} of these runs holds no rows")
    if output is None:
        _print(_pieces(rows, form))
    else:
        _write(_pieces(rows, form), output)
        typer.echo(str(output))


def _format(given: str | None, file: Path | None) -> str:
    """Return the format that was asked for: by name, by the ending of a file, else CSV."""
    if given is not None and given not in FORMATS:
        raise UsageError(f"unknown format '{given}'; {nearest(given, FORMATS)}")
    if file is None:
        return given or FORMATS[0]
    ending = file.suffix.removeprefix(".").lower()
    if ending not in FORMATS:
        if given is None:
            raise UsageError(f"how '{file}' ends says no format; give --format {'|'.join(FORMATS)}")
        return given
    if given not in (None, ending):
        raise UsageError(f"'{file}' is no {given}; give --format or a file that ends so, not both")
    return ending


def _check_file(file: Path, *, force: bool) -> None:
    """Refuse a file that cannot or must not be written, before anything is read."""
    if lexists(file) and not isfile(file):
        raise UsageError(f"'{file}' is there and no file; give another --output")
    if lexists(file) and not force:
        raise UsageError(f"'{file}' is there already; give --force, or another --output")
    if not isdir(file.parent):
        raise UsageError(f"there is no folder '{file.parent}'; make it first")


def _print(pieces: Iterator[bytes]) -> None:
    """Write to stdout; who reads it may close it before the end, as ``head`` does."""
    stream = getattr(sys.stdout, "buffer", None)
    try:
        for piece in pieces:
            if stream is None:
                sys.stdout.write(piece.decode())
            else:
                stream.write(piece)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _write(pieces: Iterator[bytes], file: Path) -> None:
    """Write a file beside its place and rename it there; a link stays and what it names changes."""
    from optbench.store.files import write_beside

    def write(beside: Path) -> None:
        try:
            with beside.open("wb") as target:
                target.writelines(pieces)
        except OSError as error:
            raise UsageError(f"'{file}' cannot be written: {error.strerror or error}") from None

    write_beside(file.resolve(), write)
