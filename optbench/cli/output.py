"""Where output goes: data to stdout, progress and messages to stderr."""

import sys
from typing import Any

import typer
from rich.console import Console
from rich.text import Text
from typing_extensions import override

from optbench.errors import printable

PIPE_COLUMNS = 160
"""Width of tables where the output is not a terminal, which has no width of its own."""


class Screen(Console):
    """A console on which text shows itself and nothing else, wherever it comes from.

    Square brackets are printed as they are: what users and errors say is not markup.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, markup=False, **options)

    @override
    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(_printable_lines(text), **options)


def _printable_lines(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))


def console(*, stderr: bool = False) -> Console:
    """Return a screen; it leaves out control codes where the output is not a terminal."""
    screen = Screen(stderr=stderr)
    if not screen.is_terminal:
        screen.width = PIPE_COLUMNS
    return screen


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
    typer.echo(_printable_lines(message), err=True)


def tell(answer: object, *, end: str = "\n") -> None:
    """Print what was asked for to stdout: for the user as :func:`say` does, for programs as is."""
    text = f"{answer}{end}"
    typer.echo(_printable_lines(text) if sys.stdout.isatty() else text, nl=False)
