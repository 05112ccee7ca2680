"""The terminal: a console on which text shows itself, and messages to stderr."""

import sys
from typing import Any

from rich.console import Console
from rich.text import Text
from typing_extensions import override

from optbench.errors import called, printable

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
        return super().render_str(printable_lines(text), **options)


def printable_lines(text: str) -> str:
    """Return lines of text that do to a terminal no more than show themselves."""
    return "\n".join(map(printable, text.split("\n")))


def console(*, stderr: bool = False) -> Console:
    """Return a screen; it leaves out control codes where the output is not a terminal."""
    screen = Screen(stderr=stderr)
    if not screen.is_terminal:
        screen.width = PIPE_COLUMNS
    return screen


def say(message: str) -> None:
    """Print a message for the user to stderr."""
    sys.stderr.write(f"{printable_lines(called(message))}\n")
    sys.stderr.flush()
