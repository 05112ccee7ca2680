"""Spaces: what may be tried of a hyperparameter, laid out over the unit interval.

==================  =================================================================
text                value at u, 0 ≤ u < 1
==================  =================================================================
``log(a, b)``       a·(b/a)ᵘ, 0 < a < b
``uniform(a, b)``   a + (b − a)·u, a < b
``1 - log(a, b)``   1 − a·(b/a)ᵘ, 0 < a < b ≤ 1: for shares kept, such as a momentum
``int(a, b)``       a + ⌊u·(b − a + 1)⌋, whole a < b
``choice(x, …)``    the ⌊u·n⌋-th of n values, counted from 0; words are allowed
==================  =================================================================

Numbers are rounded to 12 significant digits, so that another mathematical library tries the same
values and tables show what was tried.
"""

import json
import math
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from typing_extensions import override

from optbench.errors import SuiteError, quoted
from optbench.settings import Setting
from optbench.suite.values import grid_values, toml_value

EDGE = 0.05
"""Coordinates nearer to an end than this are at the edge of their space."""

LARGEST_WHOLE = 2**53
"""Whole numbers beyond have no float of their own."""


class Space(ABC):
    """What may be tried of a hyperparameter; ``str`` is its canonical text."""

    @abstractmethod
    def at(self, u: float) -> Any:
        """Return the value at a coordinate from 0 up to, in the limit, 1."""

    @abstractmethod
    def unit(self, value: Any) -> float:
        """Return the coordinate of a value; of a value outside there is none in [0, 1]."""

    @property
    @abstractmethod
    def extremes(self) -> Sequence[Any]:
        """Values that a hyperparameter takes only if it takes the whole space."""

    def edge(self, value: Any) -> Any:
        """Return the end that a value is next to; None where there is room on both sides."""
        return None


@dataclass(frozen=True)
class Interval(Space):
    """All numbers between two ends."""

    low: float
    high: float
    word: ClassVar[str]

    @abstractmethod
    def exact(self, u: float) -> float:
        """Return the value at a coordinate before it is rounded."""

    @override
    def at(self, u: float) -> float:
        return float(f"{self.exact(u):.12g}")

    @property
    @override
    def extremes(self) -> Sequence[float]:
        return self.at(0.0), self.at(0.5), self.at(1.0)

    @override
    def edge(self, value: float) -> float | None:
        u = self.unit(value)
        if u < EDGE:
            return self.at(0.0)
        return self.at(1.0) if u > 1.0 - EDGE else None

    def __str__(self) -> str:
        return f"{self.word}({_text(self.low)}, {_text(self.high)})"


class Log(Interval):
    """``log(a, b)``: every factor is as likely wherever it begins."""

    word = "log"

    @override
    def exact(self, u: float) -> float:
        return math.exp((1.0 - u) * math.log(self.low) + u * math.log(self.high))

    @override
    def unit(self, value: float) -> float:
        if value <= 0.0:
            return -math.inf
        low = math.log(self.low)
        return (math.log(value) - low) / (math.log(self.high) - low)


class OneMinusLog(Log):
    """``1 - log(a, b)``: what is left of 1 is spread as by ``log``."""

    word = "1 - log"

    @override
    def exact(self, u: float) -> float:
        return 1.0 - super().exact(u)

    @override
    def unit(self, value: float) -> float:
        return super().unit(1.0 - value)


class Uniform(Interval):
    """``uniform(a, b)``."""

    word = "uniform"

    @override
    def exact(self, u: float) -> float:
        return (1.0 - u) * self.low + u * self.high

    @override
    def unit(self, value: float) -> float:
        return (value - self.low) / (self.high - self.low)


class Finite(Space):
    """Several values; the coordinate of one is the middle of its share."""

    values: Sequence[Any]

    def place(self, u: float) -> int:
        """Return which value a coordinate stands for, counted from 0."""
        return min(int(u * len(self.values)), len(self.values) - 1)

    @override
    def at(self, u: float) -> Any:
        return self.values[self.place(u)]

    @override
    def unit(self, value: Any) -> float:
        whole = isinstance(value, float) and value.is_integer()
        try:
            return (self.values.index(int(value) if whole else value) + 0.5) / len(self.values)
        except ValueError:
            return math.nan

    @property
    @override
    def extremes(self) -> Sequence[Any]:
        return self.values


@dataclass(frozen=True)
class Whole(Finite):
    """``int(a, b)``: the whole numbers from one to another."""

    values: range

    @property
    @override
    def extremes(self) -> Sequence[int]:
        return self.values[0], self.values[-1]

    def __str__(self) -> str:
        return f"int({self.values[0]}, {self.values[-1]})"


@dataclass(frozen=True)
class Choice(Finite):
    """``choice(x, …)``: numbers, lists of numbers or words without an order."""

    values: tuple[Any, ...]

    def __str__(self) -> str:
        bare = ", ".join(value if isinstance(value, str) else _text(value) for value in self.values)
        unmistakable = tuple(_arguments(bare)) == self.values
        return f"choice({bare if unmistakable else ', '.join(map(_text, self.values))})"


@dataclass(frozen=True)
class Grid(Finite):
    """The values of a suite's ``grid.``, in their order; see :func:`grid`."""

    values: tuple[Any, ...]

    @override
    def edge(self, value: Any) -> Any:
        if not _are_numbers(self.values):
            return None
        ends = min(self.values), max(self.values)
        return value if value in ends and ends[0] < ends[1] else None

    def __str__(self) -> str:
        return f"grid({', '.join(map(_text, self.values))})"


def grid(given: Any) -> Grid:
    """Return the space of a suite's grid: a list of values, or text such as ``1e-4:1:9``.

    Raises
    ------
    SuiteError
        If it is malformed.

    >>> str(grid("1e-2:1:3"))
    'grid(0.01, 0.1, 1)'
    """
    values = grid_values(given)
    return Grid(tuple(tuple(value) if isinstance(value, list) else value for value in values))


def read(text: str) -> Space:
    """Return the space that a canonical text means; the inverse of ``str``.

    >>> read("grid(0.01, 0.1)"), str(read("log(1e-3, 10)"))
    (Grid(values=(0.01, 0.1)), 'log(0.001, 10)')
    """
    inside = text.removeprefix("grid(")
    return parse(text) if inside == text else Grid(tuple(_arguments(inside.removesuffix(")"))))


def _text(value: Any) -> str:
    """Return a value as TOML.

    >>> _text(1e-4), _text(10.0), _text("cosine"), _text((0.9, 0.99)), _text(True)
    ('0.0001', '10', '"cosine"', '[0.9, 0.99]', 'true')
    """
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, tuple):
        return f"[{', '.join(map(_text, value))}]"
    return str(value).lower() if isinstance(value, bool) else repr(value).removesuffix(".0")


def _are_numbers(given: Sequence[Any]) -> bool:
    return all(
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) <= sys.float_info.max
        for value in given
    )


def _are_rising(given: Sequence[Any]) -> bool:
    return len(given) == 2 and _are_numbers(given) and given[0] < given[1]


def _are_whole(given: Sequence[Any]) -> bool:
    return all(isinstance(value, int) and abs(value) <= LARGEST_WHOLE for value in given)


def _is_choice(given: Sequence[Any]) -> bool:
    """Say whether values are of the kinds that a hyperparameter may have, and all different."""
    kinds = all(
        _are_numbers(value)
        if isinstance(value, tuple)
        else isinstance(value, bool | str) or _are_numbers([value])
        for value in given
    )
    return kinds and len(set(given)) == len(given) >= 2


@dataclass(frozen=True)
class _Kind:
    """How a kind of space is written: what stands in its parentheses, and an example."""

    make: Callable[[list[Any]], Space]
    takes: Callable[[Sequence[Any]], bool]
    form: str
    example: str


_KINDS = {
    "log": _Kind(
        lambda given: Log(*map(float, given)),
        lambda given: _are_rising(given) and given[0] > 0,
        "log(a, b) with 0 < a < b",
        "log(1e-4, 1)",
    ),
    "uniform": _Kind(
        lambda given: Uniform(*map(float, given)),
        _are_rising,
        "uniform(a, b) with a < b",
        "uniform(0.1, 0.9)",
    ),
    "1-log": _Kind(
        lambda given: OneMinusLog(*map(float, given)),
        lambda given: _are_rising(given) and given[0] > 0 and given[1] <= 1,
        "1 - log(a, b) with 0 < a < b ≤ 1",
        "1 - log(1e-3, 0.5)",
    ),
    "int": _Kind(
        lambda given: Whole(range(given[0], given[1] + 1)),
        lambda given: _are_rising(given) and _are_whole(given),
        "int(a, b) with whole numbers a < b",
        "int(1, 5)",
    ),
    "choice": _Kind(
        lambda given: Choice(tuple(given)),
        _is_choice,
        "choice(x, …) with at least two different numbers or words",
        "choice(1, 2, 4)",
    ),
}


def parse(text: Any) -> Space:
    """Return the space that a text means, as in the module's table.

    Raises
    ------
    SuiteError
        If it is malformed, with the right form.

    >>> space = parse("log(1e-4, 1)")
    >>> space.at(0.25), space.unit(0.01), str(space)
    (0.001, 0.5, 'log(0.0001, 1)')
    """
    match = re.fullmatch(r"\s*([\w\s-]+?)\s*\((.*)\)\s*", text if isinstance(text, str) else "")
    kind = _KINDS.get("".join(match[1].split())) if match else None
    if match is None or kind is None:
        examples = ", ".join(each.example for each in _KINDS.values())
        raise SuiteError(f"space {quoted(text)} is malformed; write it as one of {examples}")
    given = _arguments(match[2])
    if not kind.takes(given):
        raise SuiteError(
            f"space {quoted(text)} is malformed; write {kind.form}, as in {kind.example}"
        )
    return kind.make(given)


def _arguments(text: str) -> list[Any]:
    """Return values between commas: TOML where all of them are, else also bare words.

    >>> _arguments("1, 2.5"), _arguments("cosine, 1/t"), _arguments("[0.9, 0.99], [0.9, 0.999]")
    ([1, 2.5], ['cosine', '1/t'], [(0.9, 0.99), (0.9, 0.999)])
    """
    whole = toml_value(f"[{text}]")
    if isinstance(whole, list):
        return [tuple(value) if isinstance(value, list) else value for value in whole]
    parts = [part.strip() for part in text.split(",")]
    values = [toml_value(part) for part in parts]
    bare = [part for part, value in zip(parts, values, strict=True) if part == value]
    return values if all(re.fullmatch(r"[^\s\"'\[\]{}]+", word) for word in bare) else []


def check(space: Space, setting: Setting) -> None:
    """Refuse a space that a hyperparameter does not take all of, both ends included.

    Raises
    ------
    SuiteError
        With the range, and the value that lies outside.

    >>> from optbench.settings import fraction
    >>> check(parse("1 - log(1e-3, 1)"), fraction("momentum", 0.9, ""))
    >>> check(parse("uniform(0, 1)"), fraction("momentum", 0.9, ""))
    Traceback (most recent call last):
    optbench.errors.SuiteError: momentum takes [0, 1), but uniform(0, 1) holds 1; all of it must fit
    """
    for value in space.extremes:
        try:
            setting.check(value)
        except SuiteError:
            raise SuiteError(
                f"{setting.name} takes {setting.range}, but {space} holds {_text(value)}; "
                "all of it must fit"
            ) from None
