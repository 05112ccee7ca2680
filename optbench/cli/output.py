"""Where output goes: data to stdout, progress and messages to stderr."""

import typer
from rich import box
from rich.console import Console
from rich.table import Table

PIPE_COLUMNS = 160
"""Width of tables where the output is not a terminal, which has no width of its own."""


def console(*, stderr: bool = False) -> Console:
    """Return a rich console; it leaves out control codes where the output is not a terminal.

    Square brackets are printed as they are: what users and errors say is not markup.
    """
    screen = Console(stderr=stderr, highlight=False, markup=False)
    if not screen.is_terminal:
        screen.width = PIPE_COLUMNS
    return screen


def table(*headings: str) -> Table:
    """Return an empty table in the style of all tables; the last column folds where it is long."""
    empty = Table(*headings, box=box.SIMPLE_HEAD, pad_edge=False)
    empty.columns[-1].overflow = "fold"
    return empty


class _Debugging:
    """Whether tracebacks are printed, as ``--debug`` asks for."""

    wanted = False


def want_tracebacks(wanted: bool) -> None:
    """Say whether :func:`debug` prints."""
    _Debugging.wanted = wanted


def debug(text: str) -> None:
    """Print a traceback to stderr if it is wanted."""
    if _Debugging.wanted:
        typer.echo(text.rstrip("\n"), err=True)


def say(message: str) -> None:
    """Print a message for the user to stderr."""
    typer.echo(message, err=True)
