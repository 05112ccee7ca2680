"""What a user may set: numbers, switches and words, each with its default and range."""

import math
import sys
from dataclasses import dataclass
from typing import Any, Protocol

from optbench.errors import SuiteError


class Setting(Protocol):
    """What all hyperparameters have in common."""

    @property
    def name(self) -> str:
        """The field's usual name."""

    @property
    def default(self) -> Any:
        """The value where a suite gives none."""

    @property
    def meaning(self) -> str:
        """A few words for lists."""

    @property
    def range(self) -> str:
        """The values that it takes, for lists."""

    def check(self, value: Any) -> float | str:
        """Return a value as it is recorded, or raise SuiteError if it is none."""

    def number(self, value: float | str) -> float:
        """Return a checked value as a number of a column."""


@dataclass(frozen=True)
class Hyperparameter:
    """A number that an update rule takes, with its default and its range.

    Attributes
    ----------
    name
        The field's usual name.
    default
        The value where a suite gives none.
    low, high
        The range; a bound is part of it unless it is infinite or said to be open.
    high_open
        Whether ``high`` itself is outside the range.
    meaning
        A few words for lists.
    """

    name: str
    default: float
    meaning: str
    low: float = 0.0
    high: float = math.inf
    high_open: bool = False

    def check(self, value: Any) -> float:
        """Return ``value`` as a float.

        Raises
        ------
        SuiteError
            If it is not a finite number in the range.
        """
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise SuiteError(f"{self.name} = {value!r} is not a number; {self._right()}")
        inside = self.low <= value <= self.high and not (self.high_open and value == self.high)
        if not inside or abs(value) > sys.float_info.max:
            raise SuiteError(f"{self.name} = {value} is out of range; {self._right()}")
        return float(value)

    def number(self, value: float | str) -> float:
        """Return a checked value."""
        return float(value)

    def _right(self) -> str:
        return f"it takes a number in {self.range}, by default {self.default:g}"

    @property
    def range(self) -> str:
        """The range in interval notation.

        >>> Hyperparameter("momentum", 0.9, "", high=1.0, high_open=True).range
        '[0, 1)'
        """
        closing = ")" if self.high_open or math.isinf(self.high) else "]"
        high = "∞" if math.isinf(self.high) else f"{self.high:g}"
        return f"[{self.low:g}, {high}{closing}"


@dataclass(frozen=True)
class Switch:
    """A hyperparameter that is on (1) or off (0); true and false are taken as well.

    Attributes
    ----------
    name, default, meaning
        As of :class:`Hyperparameter`.
    """

    name: str
    default: float
    meaning: str

    def check(self, value: Any) -> float:
        """Return 0.0 or 1.0.

        Raises
        ------
        SuiteError
            If ``value`` is something else.
        """
        if not isinstance(value, bool | int | float) or value not in (0, 1):
            raise SuiteError(f"{self.name} = {value!r} is neither on nor off; it takes 0 or 1")
        return float(value)

    def number(self, value: float | str) -> float:
        """Return a checked value."""
        return float(value)

    @property
    def range(self) -> str:
        """The two values."""
        return "0 | 1"


@dataclass(frozen=True)
class Choice:
    """A hyperparameter that is a word.

    Attributes
    ----------
    name, default, meaning
        As of :class:`Hyperparameter`.
    choices
        The words that it takes.
    """

    name: str
    default: str
    meaning: str
    choices: tuple[str, ...]

    def check(self, value: Any) -> str:
        """Return ``value``.

        Raises
        ------
        SuiteError
            If it is none of the choices.
        """
        if value not in self.choices:
            raise SuiteError(f"{self.name} = {value!r} is not known; it takes {self.range}")
        return str(value)

    def number(self, value: float | str) -> float:
        """Return the place of a checked value among the choices, counted from 0."""
        return float(self.choices.index(str(value)))

    @property
    def range(self) -> str:
        """The words that it takes."""
        return " | ".join(self.choices)


def fraction(name: str, default: float, meaning: str) -> Hyperparameter:
    """Return a hyperparameter with the range [0, 1), such as a decay rate."""
    return Hyperparameter(name, default, meaning, high=1.0, high_open=True)


@dataclass(frozen=True)
class Option:
    """A setting of a problem, with its default.

    The default's type says what it takes: a boolean; a whole number or a number, of at least
    ``low`` and at most ``high``; or a list of strings, given by a tuple. Text takes one of
    ``choices``.

    Attributes
    ----------
    choices
        The texts that it takes; beside numbers, those that may stand in a number's place.
    """

    name: str
    default: Any
    meaning: str
    choices: tuple[str, ...] = ()
    low: float = 0.0
    high: float = math.inf

    def check(self, value: Any) -> Any:
        """Return ``value`` in the default's type.

        Raises
        ------
        SuiteError
            If it is not of that type, not one of the choices, or out of range.
        """
        if isinstance(value, str) and value in self.choices:
            return value
        if isinstance(self.default, bool):
            right = isinstance(value, bool)
        elif isinstance(self.default, tuple):
            right = isinstance(value, list | tuple) and all(isinstance(text, str) for text in value)
        elif isinstance(self.default, str):
            right = False
        else:
            right = self._is_number(value)
        if not right:
            raise SuiteError(self._complaint(value))
        return type(self.default)(value)

    def _is_number(self, value: Any) -> bool:
        allowed = int if isinstance(self.default, int) else int | float
        is_number = isinstance(value, allowed) and not isinstance(value, bool)
        return is_number and bool(self.low <= value <= min(self.high, sys.float_info.max))

    def _complaint(self, value: Any) -> str:
        if isinstance(self.default, str):
            return f"{self.name} = {value!r} is not known; it takes {', '.join(self.choices)}"
        noun = {bool: "true or false", tuple: "a list of texts"}.get(type(self.default))
        if noun is None:
            noun = "a whole number" if isinstance(self.default, int) else "a number"
            noun += f" of at least {self.low:g}"
            noun += "" if math.isinf(self.high) else f" and at most {self.high:g}"
        return f"{self.name} = {value!r}; it takes {' or '.join((noun, *self.choices))}"

    @property
    def range(self) -> str:
        """The values that it takes, for lists."""
        numbers = {bool: "true | false", tuple: "list", str: ""}
        high = "∞)" if math.isinf(self.high) else f"{self.high:g}]"
        plain = numbers.get(type(self.default), f"[{self.low:g}, {high}")
        return " | ".join(filter(None, (plain, *self.choices)))
