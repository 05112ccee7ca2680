"""Where two pieces of plain data differ, and how messages say so."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

LONGEST = 48
"""Characters of a value that a message quotes."""

SHA256 = re.compile('"[0-9a-f]{64}"')

HASH_DIGITS = 12
"""Digits of a SHA-256 that a message quotes."""

MISSING = object()
"""Stands for a value that one of two sides does not have."""


class Difference(NamedTuple):
    """A place at which plain data differ, and both values."""

    path: str
    then: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.path}: {shown(self.then)} then, {shown(self.now)} now"


def differences(then: Any, now: Any, path: str = "") -> Iterator[Difference]:
    """Yield the places where two values differ, as deep inside as they can be told apart.

    >>> [str(each) for each in differences({"a": 1, "b": [1, 2]}, {"b": [1, 3], "c": "x"})]
    ['a: 1 then, nothing now', 'b[1]: 2 then, 3 now', 'c: nothing then, "x" now']
    """
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for name in dict.fromkeys((*then, *now)):
            inside = f"{path}.{name}" if path else str(name)
            yield from differences(then.get(name, MISSING), now.get(name, MISSING), inside)
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for index, (old, new) in enumerate(zip(then, now, strict=True)):
            yield from differences(old, new, f"{path}[{index}]")
    elif then is MISSING or now is MISSING or then != now:
        yield Difference(path, then, now)


def shown(value: Any) -> str:
    """Return a value as a message quotes it: on one line, and not too long.

    >>> shown(0.1), shown("x" * 64), shown("0123456789abcdef" * 4)
    ('0.1', '"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…"', '0123456789ab…')
    """
    if value is MISSING:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False, default=str)
    if SHA256.fullmatch(text):
        return f"{text[1 : HASH_DIGITS + 1]}…"
    if len(text) <= LONGEST:
        return text
    end = '…"' if isinstance(value, str) else "…"
    return f"{text[: LONGEST - len(end)]}{end}"
