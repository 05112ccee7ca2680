"""Mistakes in expressions, shown where they are."""

from optbench.errors import SuiteError

SHOWN = 72
"""Characters of an expression that are shown around a mistake."""


class ExpressionError(SuiteError):
    """An expression is wrong: one line that says how, and below it the place with a caret.

    Parameters
    ----------
    message
        What is wrong, and what would be right.
    text
        The expression.
    column
        Number of the character, from 0, that the caret is to stand under.
    """

    def __init__(self, message: str, text: str, column: int) -> None:
        super().__init__(message, text, column)
        self.message, self.text, self.column = message, text, column

    def __str__(self) -> str:
        return f"{' '.join(self.message.split())}\n{self.excerpt}"

    @property
    def excerpt(self) -> str:
        """The expression around the mistake, and a line with the caret."""
        line = "".join(_visible(character) for character in self.text)
        column = min(max(self.column, 0), len(line))
        first = 0 if len(line) <= SHOWN else max(0, min(column - SHOWN // 2, len(line) - SHOWN))
        shown = line[first : first + SHOWN]
        before = "…" if first else ""
        after = "…" if first + SHOWN < len(line) else ""
        margin = " " * (4 + len(before) + column - first)
        return f"    {before}{shown}{after}\n{margin}^"

    def within(self, place: str) -> "ExpressionError":
        """Return the same mistake, its message begun with the place where it stands."""
        return ExpressionError(f"{place}: {self.message}", self.text, self.column)


def _visible(character: str) -> str:
    """Return one character in one column's place: breaks as spaces, what cannot be printed as ?."""
    if character.isspace():
        return " "
    return character if character.isprintable() else "?"
