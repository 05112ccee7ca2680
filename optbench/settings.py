"""What a user may set: each setting has a name, a default, a meaning, and the values that it takes.

Hyperparameters, options of problems, options of layers and arguments of other libraries' optimizers
are all declared here, so lists, docs and error messages say the same of each of them.
"""

import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from inspect import Parameter, signature
from numbers import Integral, Real
from os import PathLike
from types import NoneType, UnionType
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin

from typing_extensions import override

from optbench.errors import SuiteError, UsageError, in_python, nearest, quoted


@dataclass(frozen=True)
class Setting(ABC):
    """Something that a user may set.

    Attributes
    ----------
    name
        What a suite calls it.
    default
        The value where a suite gives none.
    meaning
        A few words for lists.
    """

    name: str
    default: Any
    meaning: str

    @abstractmethod
    def check(self, value: Any) -> Any:
        """Return a value as it is recorded.

        Raises
        ------
        SuiteError
            If the setting does not take it; the message says what it takes.
        """

    @property
    @abstractmethod
    def range(self) -> str:
        """The values that it takes, for lists."""

    def number(self, value: Any) -> float:
        """Return a recorded value as a number of a column."""
        return float(value)

    @property
    def default_text(self) -> str:
        """The default for lists and messages; nothing where there is none."""
        default = self.default
        if isinstance(default, bool):
            return str(default).lower()
        if isinstance(default, float):
            return _text(default)
        if isinstance(default, tuple):
            return ", ".join(map(str, default))
        nothing = default is None or (isinstance(default, dict) and not default)
        return "" if nothing else str(default)

    def refusal(self, value: Any, right: str) -> SuiteError:
        """Return the error for a value that the setting does not take.

        >>> print(Switch("nesterov", 1.0, "").refusal("on", "0 or 1"))
        nesterov = 'on' must be 0 or 1; the default is 1
        """
        default = f"; the default is {self.default_text}" if self.default_text else ""
        return SuiteError(f"{self.name} = {quoted(value)} must be {right}{default}")


def _text(number: float) -> str:
    return f"{number:.12g}"


@dataclass(frozen=True)
class Number(Setting):
    """A number in a range.

    Attributes
    ----------
    low, high
        The range; a bound is part of it unless it is infinite or said to be open.
    high_open, low_open
        Whether the bound itself is outside the range.
    whole
        Whether it takes whole numbers only; they are recorded as int, other numbers as float.
    words
        Texts that may stand in the number's place.
    """

    low: float = 0.0
    high: float = math.inf
    high_open: bool = False
    low_open: bool = False
    whole: bool = False
    words: tuple[str, ...] = ()

    @override
    def check(self, value: Any) -> Any:
        if isinstance(value, str) and value in self.words:
            return value
        kinds = int if self.whole else int | float
        if not isinstance(value, kinds) or isinstance(value, bool) or not self._holds(value):
            raise self.refusal(value, " or ".join((self._right(value), *self.words)))
        return int(value) if self.whole else float(value)

    def _holds(self, value: float) -> bool:
        above = value > self.low if self.low_open else value >= self.low
        below = value < self.high if self.high_open else value <= self.high
        return above and below and abs(value) <= sys.float_info.max

    def _right(self, value: Any) -> str:
        """Say in words what a value that was refused should have been."""
        bounds = []
        if not math.isinf(self.low):
            bounds.append(f"{'above' if self.low_open else 'at least'} {_text(self.low)}")
        if not math.isinf(self.high):
            bounds.append(f"{'below' if self.high_open else 'at most'} {_text(self.high)}")
        right = " and ".join(bounds)
        if len(bounds) == 2 and not (self.low_open or self.high_open):
            right = f"between {_text(self.low)} and {_text(self.high)}"
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and abs(value) <= sys.float_info.max and not self.whole:
            return right
        noun = "a whole number" if self.whole else "a finite number" if is_number else "a number"
        return f"{noun} {'of ' if right.startswith('at ') else ''}{right}".rstrip()

    @property
    @override
    def range(self) -> str:
        """The range in interval notation.

        >>> Number("momentum", 0.9, "", high=1.0, high_open=True).range
        '[0, 1)'
        """
        if math.isinf(self.low) and math.isinf(self.high):
            return " | ".join(("number", *self.words))
        opening = "(" if self.low_open or math.isinf(self.low) else "["
        closing = ")" if self.high_open or math.isinf(self.high) else "]"
        interval = f"{opening}{_text(self.low)}, {_text(self.high)}{closing}"
        return " | ".join((interval.replace("inf", "∞"), *self.words))


class Hyperparameter(Number):
    """A number that an update rule takes; 0 and above where no range is given."""


def fraction(name: str, default: float | None, meaning: str) -> Hyperparameter:
    """Return a number with the range [0, 1), such as a decay rate."""
    return Hyperparameter(name, default, meaning, high=1.0, high_open=True)


class Switch(Setting):
    """A hyperparameter that is on (1) or off (0); true and false are taken as well."""

    range = "0 | 1"

    @override
    def check(self, value: Any) -> float:
        if not isinstance(value, bool | int | float) or value not in (0, 1):
            raise self.refusal(value, "0 or 1")
        return float(value)


class Flag(Setting):
    """An option that is true or false."""

    range = "true | false"

    @override
    def check(self, value: Any) -> bool:
        if not isinstance(value, bool):
            raise self.refusal(value, "true or false")
        return value


@dataclass(frozen=True)
class Choice(Setting):
    """A word out of several.

    Attributes
    ----------
    choices
        The words that it takes.
    """

    choices: tuple[str, ...]

    @override
    def check(self, value: Any) -> str:
        if not isinstance(value, str) or value not in self.choices:
            raise self.refusal(value, f"one of {', '.join(self.choices)}")
        return value

    @override
    def number(self, value: Any) -> float:
        """Return the place of a word among the choices, counted from 0."""
        return float(self.choices.index(value))

    @property
    @override
    def range(self) -> str:
        return " | ".join(self.choices)


class Text(Setting):
    """Any text."""

    range = "text"

    @override
    def check(self, value: Any) -> str:
        if not isinstance(value, str):
            raise self.refusal(value, "text in quotation marks")
        return value


class Texts(Setting):
    """A list of texts, recorded as a tuple."""

    range = "list of texts"

    @override
    def check(self, value: Any) -> tuple[str, ...]:
        if not isinstance(value, list | tuple) or not all(isinstance(text, str) for text in value):
            raise self.refusal(value, "a list of texts")
        return tuple(value)


def Option(  # noqa: N802 - problems declare their options as if by a class
    name: str,
    default: Any,
    meaning: str,
    choices: tuple[str, ...] = (),
    low: float = 0.0,
    high: float = math.inf,
) -> Setting:
    """Return an option of a problem; its default's type says what it takes.

    A boolean; a whole number or a number, of at least ``low`` and at most ``high``; a list of
    texts, given by a tuple; or text. Text takes one of ``choices`` where there are any; beside
    numbers these are words that may stand in the number's place.
    """
    if isinstance(default, bool):
        return Flag(name, default, meaning)
    if isinstance(default, tuple):
        return Texts(name, default, meaning)
    if isinstance(default, str):
        return Choice(name, default, meaning, choices) if choices else Text(name, default, meaning)
    whole = isinstance(default, int)
    return Number(name, default, meaning, low, high, whole=whole, words=choices)


def complete(
    owner: str,
    noun: str,
    known: Iterable[Setting],
    given: Mapping[str, Any],
    *,
    optional: Collection[str] = (),
    aliases: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return all settings of something: those given, checked, and defaults for the others.

    Parameters
    ----------
    owner
        Whose settings they are; every message begins with it.
    noun
        What they are called, such as ``"option"``.
    optional
        Names of settings that are left out where they are not given.
    aliases
        Other words for a name, for whoever looks for it.

    Raises
    ------
    SuiteError
        For a setting that is not known, or a value that one does not take.

    >>> complete("sgd", "setting", [Number("lr", 0.1, ""), Switch("nesterov", 0, "")], {"lr": 1})
    {'lr': 1.0, 'nesterov': 0.0}
    """
    settings = {setting.name: setting for setting in known}
    for key in given:
        if key not in settings:
            meant = nearest((aliases or {}).get(key, key), settings)
            raise SuiteError(f"{owner} has no {noun} '{key}'; {meant}")
    try:
        return {
            key: setting.check(given.get(key, setting.default))
            for key, setting in settings.items()
            if key in given or key not in optional
        }
    except SuiteError as error:
        raise error.within(owner) from None


# What is given in Python, where nothing has read it from text.

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

WORDS: dict[Any, tuple[str, str]] = {
    bool: ("True or False", "True or False"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("text", "texts"),
    PathLike: ("a path", "paths"),
    Mapping: ("a mapping from names", "mappings from names"),
    Callable: ("a function", "functions"),
    tuple: ("a pair", "pairs"),
    NoneType: ("None", "None"),
}
"""What messages call types: one value, and several."""


def typed(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Make a function refuse arguments that are not what their annotations say.

    What it refuses later names options as arguments of Python, too.

    The annotations may be made of the types in :data:`WORDS`, unions and sequences of them, and
    literals; arguments of any other type are not looked at.
    """
    declared = signature(function)

    @wraps(function)
    def checked(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        given = declared.bind(*args, **kwargs).arguments
        for name, value in given.items():
            parameter = declared.parameters[name]
            for each in value if parameter.kind is Parameter.VAR_POSITIONAL else (value,):
                check_type(name, each, parameter.annotation)
        with in_python():
            return function(*args, **kwargs)

    return checked


def call_with(kind: Callable[..., Result], *args: Any, **options: Any) -> Result:
    """Call something that takes options, and refuse those that it does not have.

    >>> def steps(*, seeds: int = 1, iterations: int = 9) -> int:
    ...     return seeds * iterations
    >>> call_with(steps, seeds=2)
    18
    >>> call_with(steps, iteration=2)
    Traceback (most recent call last):
    TypeError: there is no option 'iteration'; did you mean 'iterations'?
    """
    known = signature(kind).parameters
    for name in options:
        if name not in known:
            raise TypeError(f"there is no option '{name}'; {nearest(name, known)}")
    return kind(*args, **options)


def check_type(name: str, value: Any, annotation: Any) -> None:
    """Refuse a value that is not what an annotation says.

    >>> check_type("seeds", 1.5, int | Sequence[int])
    Traceback (most recent call last):
    optbench.errors.UsageError: seeds = 1.5 must be a whole number or a list of whole numbers
    """
    if _is_a(value, annotation):
        return
    raise UsageError(f"{name} = {quoted(value)} must be {_in_words(annotation, 0)}")


def _is_a(value: Any, annotation: Any) -> bool:
    kind, parts = get_origin(annotation) or annotation, get_args(annotation)
    if kind in (Union, UnionType):
        return any(_is_a(value, part) for part in parts)
    if kind is Literal:
        return any(value is part or value == part for part in parts if type(part) is type(value))
    if kind in (int, float):
        number = Integral if kind is int else Real
        return isinstance(value, number) and not isinstance(value, bool)
    if kind is Mapping:
        return isinstance(value, Mapping) and all(
            _is_a(key, parts[0]) and _is_a(entry, parts[1]) for key, entry in value.items()
        )
    if kind in (Sequence, tuple):
        is_list = isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray)
        if kind is tuple:
            return is_list and len(value) == len(parts) and all(map(_is_a, value, parts))
        return is_list and all(_is_a(entry, parts[0]) for entry in value)
    return kind not in WORDS or isinstance(value, kind)


def _in_words(annotation: Any, number: Literal[0, 1]) -> str:
    """Return what an annotation is called: for one value (0), or for several (1)."""
    kind, parts = get_origin(annotation) or annotation, get_args(annotation)
    if kind in (Union, UnionType):
        return _either(dict.fromkeys(_in_words(part, number) for part in parts))
    if kind is Literal:
        return _either(parts)
    if kind is Sequence:
        return f"a list of {_in_words(parts[0], 1)}"
    return WORDS[kind][number]


def _either(words: Iterable[str]) -> str:
    """Return words as a choice.

    >>> _either(["text", "a path", "None"])
    'text, a path or None'
    """
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last
