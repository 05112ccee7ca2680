"""Arguments of a foreign optimizer as hyperparameters, read from its signature.

What they take is told by their defaults, and by their annotations where the default is None or
missing:

===================  ===========================  ==============================
the default is       a suite gives                recorded as
===================  ===========================  ==============================
a number             a finite number              a float
``True``, ``False``  true, false, 1 or 0          1.0 or 0.0
a list, a tuple      a list of numbers            JSON, as ``"[0.9, 0.999]"``
text                 text                         the same
None, or missing     any of these                 as above
===================  ===========================  ==============================

A default that is None or infinite is recorded as the word ``none``, ``inf`` or ``-inf``, and that
word means it again. Whatever is recorded can be given, so that a run's record is a suite.
"""

import inspect
import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from optbench.errors import SuiteError

RESERVED = ("name", "label", "grid")
"""Keys of a suite's entry that are no hyperparameters."""


@dataclass(frozen=True)
class Argument:
    """An argument of a foreign constructor or function.

    Attributes
    ----------
    name
        As in the signature.
    default
        The constructor's own; None where there is none.
    meaning
        A few words for lists.
    required
        Whether a suite has to give it.
    annotation
        Its type in the signature, as text.
    """

    name: str
    default: Any
    meaning: str = ""
    required: bool = False
    annotation: str = ""

    @property
    def range(self) -> str:
        """What it takes, in a word or two."""
        kind = _RANGES.get(_kind(self.default), "number, list or text")
        if self._means("float") or self._means("int"):
            kind = "number"
        elif self._means("bool"):
            kind = "0 | 1"
        word = self._word
        return kind if word is None else f"{kind} | {word}"

    def check(self, value: Any) -> float | str:
        """Return a value as it is recorded.

        Raises
        ------
        SuiteError
            If it is not of the default's kind, or is missing and there is no default.
        """
        if value is None and self.required:
            example = "0.001" if self.name in ("lr", "learning_rate") else "VALUE"
            raise SuiteError(f"{self.name} has no default; give one, as {self.name} = {example}")
        word = self._word
        if word is not None and (value is self.default or value in (word, self.default)):
            return word
        recorded = _CHECKS.get(_kind(self.default), _any)(value)
        if recorded is None:
            raise SuiteError(f"{self.name} = {value!r} is not right; it takes {self._right()}")
        return recorded

    def number(self, value: float | str) -> float:
        """Return a recorded value as a number of a column; NaN where it is text."""
        return math.nan if isinstance(value, str) else float(value)

    def value(self, recorded: float | str) -> Any:
        """Return what the constructor takes for a recorded value."""
        if recorded == self._word:
            return self.default
        if isinstance(recorded, str):
            numbers = None if isinstance(self.default, str) else _numbers(recorded)
            if numbers is None:
                return recorded
            return numbers if isinstance(self.default, list) else tuple(numbers)
        if isinstance(self.default, bool) or (recorded in (0, 1) and self._means("bool")):
            return bool(recorded)
        counts = isinstance(self.default, int)
        counts |= self.default is None and not self._means("float")
        return int(recorded) if counts and recorded.is_integer() else float(recorded)

    @property
    def _word(self) -> str | None:
        """The word that stands for the default, if that is no finite number, list or text."""
        if self.required:
            return None
        if self.default is None:
            return "none"
        infinite = isinstance(self.default, float) and not math.isfinite(self.default)
        return str(self.default) if infinite else None

    def _means(self, kind: str) -> bool:
        """Say whether the annotation names a type, for arguments whose default tells nothing."""
        return self.default is None and kind in re.findall(r"\w+", self.annotation)

    def _right(self) -> str:
        if self.required:
            return f"a {self.range}"
        default, article = self.check(self.default), "a "
        if isinstance(self.default, bool | str):
            article = ""
        shown = default if isinstance(default, str) else f"{default:g}"
        return f"{article}{self.range}, by default {shown}"


def arguments_of(function: Callable[..., Any], skip: Sequence[str] = ()) -> tuple[Argument, ...]:
    """Return what can be given to a function or a class by keyword.

    Arguments whose default is neither None, a number, a list of numbers nor text are left out, and
    keep that default.

    Parameters
    ----------
    skip
        Names of arguments that are none of a suite's.

    Raises
    ------
    SuiteError
        If it has no signature.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        name = getattr(function, "__name__", repr(function))
        raise SuiteError(f"{name} does not tell which arguments it takes") from None
    found = []
    for each in signature.parameters.values():
        by_keyword = each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
        if not by_keyword or each.name in skip or each.name in RESERVED:
            continue
        required = each.default is each.empty
        default = None if required else each.default
        annotation = "" if each.annotation is each.empty else _text(each.annotation)
        if _recordable(default):
            found.append(Argument(each.name, default, "", required, annotation))
    return tuple(found)


def _text(annotation: Any) -> str:
    """Return an annotation's text, such as ``"bool | None"``."""
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def _recordable(default: Any) -> bool:
    if isinstance(default, list | tuple):
        return _list(default) is not None
    return default is None or _kind(default) is not None


def _kind(default: Any) -> type | None:
    """Return which of the kinds in :data:`_CHECKS` a default is of; bool is an int to Python."""
    return next((kind for kind in _CHECKS if kind and isinstance(default, kind)), None)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:  # an integer of hundreds of digits
        return None
    return number if math.isfinite(number) else None


def _switch(value: Any) -> float | None:
    return float(value) if isinstance(value, bool | int | float) and value in (0, 1) else None


def _list(value: Any) -> str | None:
    numbers = _numbers(value) if isinstance(value, str) else value
    if not isinstance(numbers, list | tuple):
        return None
    if not all(each is None or _number(each) is not None for each in numbers):
        return None
    return json.dumps(list(numbers))


def _numbers(text: str) -> list[Any] | None:
    """Return the list that a text holds as JSON, or None."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list) else None


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _any(value: Any) -> float | str | None:
    """Return a value of any kind as it is recorded."""
    if isinstance(value, bool):
        return float(value)
    listed = _list(value)
    return listed if listed is not None else _word(value) or _number(value)


_CHECKS: dict[type | None, Callable[[Any], float | str | None]] = {
    bool: _switch,
    int: _number,
    float: _number,
    list: _list,
    tuple: _list,
    str: _word,
}
"""How a value is recorded, by the type of the default; None for one that does not fit."""

_RANGES: dict[type | None, str] = {
    bool: "0 | 1",
    int: "number",
    float: "number",
    list: "list",
    tuple: "list",
    str: "text",
}
