"""Where output goes: data to stdout, progress and messages to stderr."""

import sys

import typer

from optbench.display.screen import console, printable_lines, say

__all__ = ["console", "debug", "say", "tell", "want_tracebacks"]


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


def tell(answer: object, *, end: str = "\n") -> None:
    """Print what was asked for to stdout: for the user as :func:`say` does, for programs as is."""
    text = f"{answer}{end}"
    typer.echo(printable_lines(text) if sys.stdout.isatty() else text, nl=False)
