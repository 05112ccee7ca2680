"""Options of a function given as an expression: text, and tables of numbers by name."""

import keyword
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from unicodedata import normalize

import numpy as np

from optbench.errors import SuiteError
from optbench.problems.expressions import RESERVED
from optbench.settings import Option

LARGEST = 1e100
"""Tables hold no larger numbers."""

MOST_QUOTED = 60
"""Characters that a message quotes of a value."""


@dataclass(frozen=True)
class TextOption(Option):
    """An option that takes text."""

    def check(self, value: Any) -> Any:
        """Return the text.

        Raises
        ------
        SuiteError
            If it is none.
        """
        if not isinstance(value, str):
            raise SuiteError(f"{self.name} = {_quoted(value)}; it takes text in quotation marks")
        return value

    @property
    def range(self) -> str:
        """For lists."""
        return "text"


@dataclass(frozen=True)
class TableOption(Option):
    """An option that takes a table of names, each with numbers.

    Attributes
    ----------
    dimensions
        How deep lists may be nested: 0 for a number, 1 for a list of them, 2 for a matrix.
    pairs
        Whether each list holds two numbers.
    example
        What would be right.
    """

    dimensions: tuple[int, ...] = (0,)
    pairs: bool = False
    example: str = ""

    def check(self, value: Any) -> Any:
        """Return the table with all its numbers as floats; None stands for a default.

        Raises
        ------
        SuiteError
            If it is no table, a name in it names no variable, or a value is no number or list.
        """
        if value is None and self.default is None:
            return None
        if not isinstance(value, Mapping):
            raise SuiteError(f"{self.name} = {_quoted(value)}; it takes a table, as {self.example}")
        for name in value:
            _check_name(name, self.name)
        return {name: self._numbers(name, each) for name, each in value.items()}

    def _numbers(self, name: str, value: Any) -> Any:
        if _depth(value) not in self.dimensions or (self.pairs and len(value) != 2):
            raise SuiteError(
                f"{self.name}: {name} = {_quoted(value)}; numbers go up to {LARGEST:g} and "
                f"stand as in {self.example}"
            )
        floats: Any = np.asarray(value, dtype=np.float64).tolist()
        return floats

    @property
    def range(self) -> str:
        """For lists."""
        return self.example.partition(" = ")[2]


def _depth(value: Any) -> int | None:
    """Return 0 for a number, 1 for a vector, 2 for a matrix, and None for anything else."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return 0 if abs(value) <= LARGEST else None
    if not isinstance(value, list | tuple) or not value:
        return None
    inner = {_depth(each) for each in value}
    if inner == {0}:
        return 1
    same_length = all(isinstance(each, list | tuple) for each in value) and (
        len({len(each) for each in value}) == 1
    )
    return 2 if inner == {1} and same_length else None


def _check_name(name: str, place: str) -> None:
    """Refuse what cannot stand in an expression as the name of a variable or constant."""
    if name in RESERVED:
        raise SuiteError(f"{place}: '{name}' means something already; take another name")
    proper = name.isidentifier() and not keyword.iskeyword(name)
    if not proper or normalize("NFKC", name) != name:
        raise SuiteError(f"{place}: {name!r} is no name; names are letters and digits, as x or x1")


def _quoted(value: Any) -> str:
    """Return a value short enough for a message."""
    text = f"{value!r}"
    return text if len(text) <= MOST_QUOTED else f"{text[:MOST_QUOTED]}…"
