"""How two values of plain data differ, and how values stand in a message."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

LONGEST = 48
"""Characters of a value that a message quotes."""

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

    >>> shown(0.1), shown("a" * 64)
    ('0.1', '"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…')
    """
    if value is MISSING:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def plain(value: Any) -> Any:
    """Return a value for machines: null where a side has none."""
    return None if value is MISSING else value


def share_of_lanes(count: int, total: int) -> str:
    """Return the end of a message that says how many lanes of a configuration it is true of.

    >>> share_of_lanes(2, 8), share_of_lanes(1, 1)
    ('; 2 of 8 lanes', '')
    """
    return "" if total == 1 else f"; {count} of {total} lanes"


def seeds_text(seeds: Iterable[int]) -> str:
    """Return seeds with their runs drawn together.

    >>> seeds_text([0, 1, 2, 5, 7, 8]), seeds_text([4])
    ('seeds 0–2, 5, 7–8', 'seed 4')
    """
    ordered = sorted(set(seeds))
    starts = [seed for seed in ordered if seed - 1 not in ordered]
    ends = [seed for seed in ordered if seed + 1 not in ordered]
    parts = [
        str(start) if start == end else f"{start}–{end}"
        for start, end in zip(starts, ends, strict=True)
    ]
    return f"{'seed' if len(ordered) == 1 else 'seeds'} {', '.join(parts)}"
