"""The option that holds the start, the constants or the domain of a function given as text."""

import keyword
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from unicodedata import normalize

import numpy as np
from typing_extensions import override

from optbench.errors import SuiteError, quoted
from optbench.problems.expressions import RESERVED
from optbench.settings import Number, Setting

LARGEST = 1e100
"""Tables hold no larger numbers."""

NOUNS = ("a number", "a list of numbers", "a matrix")
"""What a name in a table may stand for, by how deep lists are nested."""


@dataclass(frozen=True)
class TableOption(Setting):
    """An option that takes a table of names, each with numbers; they are recorded as floats.

    ``dimensions`` says how deep lists may be nested: 0 for a number, 1 for a list of them, 2 for a
    matrix; with ``pairs``, each list holds two numbers. ``example`` is a table that it takes.
    """

    dimensions: tuple[int, ...] = (0,)
    pairs: bool = False
    example: str = ""

    @override
    def check(self, value: Any) -> Any:
        if value is None and self.default is None:
            return None
        if not isinstance(value, Mapping):
            raise self.refusal(value, f"a table, such as {self.example}")
        for name in value:
            self._check_name(name)
        return {name: self._numbers(name, numbers) for name, numbers in value.items()}

    def _check_name(self, name: str) -> None:
        """Refuse what cannot stand in an expression as the name of a variable or constant."""
        if name in RESERVED:
            raise SuiteError(f"{self.name}: '{name}' already has a meaning; choose another name")
        proper = name.isidentifier() and not keyword.iskeyword(name)
        if not proper or normalize("NFKC", name) != name:
            raise SuiteError(
                f"{self.name}: {name!r} cannot be a name; use letters and digits, such as x1"
            )

    def _numbers(self, name: str, value: Any) -> Any:
        if _depth(value) not in self.dimensions or (self.pairs and len(value) != 2):
            nouns = ["a list of two numbers"] if self.pairs else [NOUNS[n] for n in self.dimensions]
            raise SuiteError(
                f"{self.name}: {name} = {quoted(value)} must be {' or '.join(nouns)}, "
                f"none beyond {LARGEST:g}, as in {self.example}"
            )
        floats: Any = np.asarray(value, dtype=np.float64).tolist()
        return floats

    @property
    @override
    def range(self) -> str:
        return self.example


class Known(Number):
    """A number that is known or not; None where it isn't."""

    @override
    def check(self, value: Any) -> float | None:
        return None if value is None else float(super().check(value))


def _depth(value: Any) -> int | None:
    """Return 0 for a number, 1 for a vector, 2 for a matrix, and None for anything else."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return 0 if abs(value) <= LARGEST else None
    if not isinstance(value, list | tuple) or not value:
        return None
    depths = {_depth(entry) for entry in value}
    if depths == {0}:
        return 1
    return 2 if depths == {1} and len({len(row) for row in value}) == 1 else None
