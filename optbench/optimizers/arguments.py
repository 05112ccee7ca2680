"""Arguments of a foreign optimizer as hyperparameters, read from its signature.

The default tells what an argument takes, or the annotation where the default is None or missing:

===================  ===========================  ==============================
the default is       a suite gives                recorded as
===================  ===========================  ==============================
a number             a finite number              a float
``True``, ``False``  true, false, 1 or 0          1.0 or 0.0
a list, a tuple      a list of numbers            JSON, as ``"[0.9, 0.999]"``
text                 text                         the same
None, or missing     any of these                 as above
===================  ===========================  ==============================

A default that only marks an argument as missing, such as PyTorch's old ``required``, is none; where
the function does without, the word ``default`` stands for leaving the argument out. A default that
is None or infinite is recorded as the word ``none``, ``inf`` or ``-inf``, and that
word stands for it again. Whatever is recorded can be given, so that a run's record is a suite.
"""

import inspect
import json
import math
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeGuard

from typing_extensions import override

from optbench.errors import SuiteError
from optbench.settings import Number, Setting, Switch, Text

RESERVED = ("name", "label", "grid", "space", "points")
"""Keys of a suite's entry that are not hyperparameters."""


class NumberList(Setting):
    """A list of numbers and nulls, recorded as JSON; that text is taken as well."""

    range = "list"

    @override
    def check(self, value: Any) -> str:
        numbers = _from_json(value) if isinstance(value, str) else value
        if not _is_list(numbers):
            raise self.refusal(value, "a list of numbers")
        return json.dumps(list(numbers))


@dataclass(frozen=True)
class Argument(Setting):
    """An argument of a foreign constructor or function, its default the constructor's own.

    Attributes
    ----------
    required
        Whether a suite has to give it, since the constructor has no default.
    annotation
        Its type in the signature, as text.
    marked
        Whether the constructor has a mark in place of a default.
    """

    meaning: str = ""
    required: bool = False
    annotation: str = ""
    marked: bool = False

    @override
    def check(self, value: Any) -> float | str:
        if value is None and self.required:
            rate = self.name in ("lr", "learning_rate")
            remedy = f"give one, as {self.name} = {'0.001' if rate else 'VALUE'}"
            if not (rate or self.annotation):
                remedy += "; if it takes an object, name a function that makes the optimizer"
            raise SuiteError(f"{self.name} has no default; {remedy}")
        word = self._word
        if word is not None and (value is self.default or value in (word, self.default)):
            return word
        example: Any = value if self.default is None else self.default
        if self.default is None and isinstance(value, str) and _is_list(_from_json(value)):
            example = []
        setting = self._setting(example)
        if setting is None:
            raise self.refusal(value, "a number, a list of numbers or text")
        recorded: float | str = setting.check(value)
        return recorded

    def _setting(self, example: Any) -> Setting | None:
        """Return what takes values of an example's kind."""
        if isinstance(example, bool):
            return Switch(self.name, float(self.default or 0), "")
        if isinstance(example, int | float):
            return Number(self.name, self.default, "", low=-math.inf)
        if isinstance(example, str) and (example or self.default is not None):
            return Text(self.name, self.default, "")
        if isinstance(example, list | tuple):
            return NumberList(self.name, self.default and list(self.default), "")
        return None

    @override
    def number(self, value: Any) -> float:
        """Return a recorded value as a number of a column; NaN where it is text."""
        return math.nan if isinstance(value, str) else float(value)

    @property
    @override
    def range(self) -> str:
        setting = self._setting(self.default)
        kind = "number, list or text" if setting is None else setting.range
        if self._means("float") or self._means("int"):
            kind = "number"
        elif self._means("bool"):
            kind = "0 | 1"
        return kind if self._word is None else f"{kind} | {self._word}"

    def value(self, recorded: float | str) -> Any:
        """Return what the constructor takes for a recorded value."""
        if recorded == self._word:
            return self.default
        if isinstance(recorded, str):
            numbers = None if isinstance(self.default, str) else _from_json(recorded)
            if numbers is None:
                return recorded
            return numbers if isinstance(self.default, list) else tuple(numbers)
        if isinstance(self.default, bool) or (recorded in (0, 1) and self._means("bool")):
            return bool(recorded)
        counts = isinstance(self.default, int)
        counts |= self.default is None and not self._means("float")
        return int(recorded) if counts and recorded.is_integer() else float(recorded)

    def is_left_out(self, recorded: float | str) -> bool:
        """Say whether a recorded value stands for a default that the constructor does not tell."""
        return self.marked and recorded == self._word

    @property
    def _word(self) -> str | None:
        """The word that stands for the default, if that is no finite number, list or text."""
        if self.required:
            return None
        if self.marked:
            return "default"
        if self.default is None:
            return "none"
        infinite = isinstance(self.default, float) and not math.isfinite(self.default)
        return str(self.default) if infinite else None

    def _means(self, kind: str) -> bool:
        """Say whether the annotation names a type, where the default does not tell one."""
        return self.default is None and kind in re.findall(r"\w+", self.annotation)


def arguments_of(function: Callable[..., Any], skip: Sequence[str] = ()) -> tuple[Argument, ...]:
    """Return what can be given to a function or a class by keyword.

    Arguments whose default is neither None, a number, a list of numbers nor text are left out, and
    keep that default.

    Parameters
    ----------
    skip
        Names of arguments that no suite is to give.

    Raises
    ------
    SuiteError
        If it has no signature.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        name = getattr(function, "__name__", repr(function))
        raise SuiteError(f"{name} does not say which arguments it takes") from None
    arguments = []
    for name, parameter in signature.parameters.items():
        by_keyword = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        if not by_keyword or name in (*skip, *RESERVED):
            continue
        lacks = parameter.default is parameter.empty
        marked = not lacks and marks_missing(parameter.default)
        required = lacks or marked
        default = None if required else parameter.default
        annotation = "" if parameter.annotation is parameter.empty else parameter.annotation
        if isinstance(annotation, type):
            annotation = annotation.__name__
        argument = Argument(name, default, "", required, str(annotation), marked)
        with suppress(SuiteError):  # where the default cannot be recorded
            if not required:
                argument.check(default)
            arguments.append(argument)
    return tuple(arguments)


def marks_missing(default: Any) -> bool:
    """Say whether a default holds nothing, and so only tells that an argument is not given.

    >>> marks_missing(object()), marks_missing(...), marks_missing(print), marks_missing(1j)
    (True, True, False, False)
    """
    if isinstance(default, Enum):
        return len(type(default)) == 1
    kind = default if isinstance(default, type) else type(default)
    own = vars(kind)
    bare = kind.__base__ is object and all(name.startswith("__") for name in own)
    if isinstance(default, type):
        return bare and own.keys().isdisjoint(("__new__", "__init__", "__call__"))
    if callable(default):
        return False
    return kind is object or default is ... or (bare and getattr(default, "__dict__", None) == {})


def _is_list(value: Any) -> TypeGuard[Sequence[Any]]:
    """Say whether a value is a list of finite numbers and nulls."""
    return isinstance(value, list | tuple) and all(
        entry is None
        or (
            isinstance(entry, int | float)
            and not isinstance(entry, bool)
            and abs(entry) <= sys.float_info.max
        )
        for entry in value
    )


def _from_json(text: str) -> list[Any] | None:
    """Return the list that a text holds as JSON, or None."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, list) else None
