"""Where output goes: data to stdout, progress and messages to stderr."""

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console

PIPE_COLUMNS = 160
"""Width of tables where the output is not a terminal, which has no width of its own."""


def console(*, stderr: bool = False) -> "Console":
    """Return a rich console; it leaves out control codes where the output is not a terminal."""
    from rich.console import Console

    found = Console(stderr=stderr, highlight=False)
    if found.is_terminal:
        return found
    return Console(stderr=stderr, highlight=False, width=PIPE_COLUMNS)


def say(message: str) -> None:
    """Print a message for the user to stderr."""
    typer.echo(message, err=True)
