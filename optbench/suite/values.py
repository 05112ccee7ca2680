"""Values, lists, ranges and seeds as a user writes them.

==========================  ==================================
``0.01``                    one value
``1e-3,1e-2,1e-1``          a list
``constant,cosine``         a list of words
``[0.9,0.99],[0.8,0.9]``    a list of lists
``1e-4:1e-1:13``            13 values from 1e-4 to 1e-1, evenly spaced in their logarithm
``lin(0, 1, 5)``            5 values from 0 to 1, evenly spaced
==========================  ==================================
"""

import math
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from fractions import Fraction
from os import PathLike
from typing import Any

import numpy as np

from optbench.errors import SuiteError

MAX_GRID_VALUES = 100_000
MAX_SEEDS = 1_000_000

LINEAR_RANGE = re.compile(r"lin\((.*)\)")

BARE_WORD = re.compile(r"[^:()]+")
"""A word of a grid that needs no quotes: colons and parentheses belong to ranges."""

SEED_END = 2**63
"""Seeds are kept in a column of int64."""


def toml_value(text: str) -> Any:
    """Read a TOML value; anything else, such as a bare word, is a string.

    >>> toml_value("0.5"), toml_value("true"), toml_value("cosine")
    (0.5, True, 'cosine')
    """
    try:
        whole = tomllib.loads(f"value = {text}")
        repr(whole)  # Python writes no integers of thousands of digits, and TOML has them in hex
    except (ValueError, RecursionError):  # also too many digits, or brackets too deep
        return text
    return whole["value"] if len(whole) == 1 else text


def plain_value(value: Any) -> Any:
    """Return a value given in Python as a TOML file would hold it.

    >>> plain_value({"lr": np.float32(0.5), "betas": (0.9, np.arange(2))})
    {'lr': 0.5, 'betas': [0.9, [0, 1]]}
    """
    if callable(value):
        return value
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return {key: plain_value(part) for key, part in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | PathLike):
        return [plain_value(part) for part in value]
    return value


def grid_values(given: Any) -> list[Any]:
    """Return the values of a grid: a list, or text as in the module's table.

    >>> grid_values("1e-2:1:3")
    [0.01, 0.1, 1.0]
    >>> grid_values("lin(0, 1, 5)")
    [0, 0.25, 0.5, 0.75, 1]
    >>> grid_values("constant,cosine"), grid_values("[0.9, 0.99], [0.8, 0.9]")
    (['constant', 'cosine'], [[0.9, 0.99], [0.8, 0.9]])
    """
    values = _parse(given) if isinstance(given, str) else given
    if not isinstance(values, list) or not values:
        raise SuiteError(
            f"grid {given!r} is malformed; write values as 1e-3,1e-2 "
            "or a range as 1e-4:1e-1:13 (log-spaced) or lin(0, 1, 5)"
        )
    if len(set(map(_hashable, values))) < len(values):
        raise SuiteError(f"grid {given!r} contains a value twice; give each once")
    return values


def _hashable(value: Any) -> Any:
    """Return something that is equal for equal values."""
    parts = value.items() if isinstance(value, dict) else value
    return tuple(map(_hashable, parts)) if isinstance(value, dict | list | tuple) else value


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) <= sys.float_info.max


def _parse(text: str) -> list[Any]:
    """Return the values that a text stands for; none where it is malformed."""
    linear = LINEAR_RANGE.fullmatch(text.strip())
    ends = text.split(":") if linear is None else linear[1].split(",")
    numbers = [toml_value(end.strip()) for end in ends]
    if len(numbers) == 3 and all(map(_is_number, numbers)):
        _check_range(text, *numbers, least=0.0 if linear is None else -math.inf)
        return _rounded_range(*numbers, linear=linear is not None)
    parts = [part.strip() for part in _split(text)]
    values = [toml_value(part) for part in parts]
    malformed = any(
        value == part and not BARE_WORD.fullmatch(part)
        for value, part in zip(values, parts, strict=True)
    )
    return [] if malformed else values


def _split(text: str) -> list[str]:
    """Split at the commas that stand in no brackets and no quotes.

    >>> _split("[1, 2],'a,b',c")
    ['[1, 2]', "'a,b'", 'c']
    """
    parts: list[str] = []
    for piece in text.split(","):
        last = parts[-1] if parts else ""
        if last.count("[") > last.count("]") or last.count("'") % 2 or last.count('"') % 2:
            parts[-1] = f"{last},{piece}"
        else:
            parts.append(piece)
    return parts


def _check_range(text: str, low: float, high: float, count: Any, *, least: float) -> None:
    """Refuse a range that does not rise from above ``least``, or of too many or too few values."""
    if not isinstance(count, int) or not 2 <= count <= MAX_GRID_VALUES:
        raise SuiteError(
            f"grid '{text}' asks for {count} values; a range has 2 to {MAX_GRID_VALUES}"
        )
    if not least < low < high:
        right = "like lin(0, 1, 5)" if least else "from a positive value, like 1e-4:1e-1:13"
        raise SuiteError(f"grid '{text}' must rise {right}")


def _rounded_range(low: float, high: float, count: int, *, linear: bool) -> list[float]:
    """Return the values of a range; between whole numbers, those that are whole are int.

    There are none where its ends are too far apart for a number to say how far.
    """
    values = (lin_spaced if linear else log_spaced)(low, high, count)
    if not all(map(_is_number, values)):
        return []
    whole = isinstance(low, int) and isinstance(high, int)
    return [int(value) if whole and value.is_integer() else value for value in values]


def log_spaced(low: float, high: float, count: int) -> list[float]:
    """Return ``count`` values, low·(high/low)^(i/(count−1)), rounded to 12 significant digits.

    Rounding makes 1e-4:1e-1:4 hold exactly 0.001, as a user means it; both ends are as given.
    """
    ratio = math.log(high / low) / (count - 1)
    inner = [float(f"{low * math.exp(ratio * i):.12g}") for i in range(1, count - 1)]
    return [float(low), *inner, float(high)]


def lin_spaced(low: float, high: float, count: int) -> list[float]:
    """Return ``count`` values, low + (high − low)·i/(count−1), rounded to 12 significant digits.

    The ends are taken as the decimal numbers that they are written as, and the sums are exact, so
    that lin(-0.1, 0.2, 4) holds 0 and lin(0.1, 0.5, 5) exactly 0.3.
    """
    first, last = (Fraction(repr(end)) for end in (low, high))
    exact = (first + (last - first) * i / (count - 1) for i in range(1, count - 1))
    return [float(low), *(float(f"{float(value):.12g}") for value in exact), float(high)]


def _seed_span(text: str) -> Iterable[Any]:
    """Return the seeds of ``first-last``, or what else stands there."""
    first, dash, last = text.partition("-")
    if not (dash and first.strip().isdecimal() and last.strip().isdecimal()):
        return [toml_value(text)]
    span = range(int(first), int(last) + 1)
    if len(span) > MAX_SEEDS:
        raise SuiteError(f"seeds '{text}' are {len(span)}; at most {MAX_SEEDS} are possible")
    return span


def seed_list(given: Any) -> tuple[int, ...]:
    """Return seeds: a number n means 0 … n − 1; a list, or text such as ``0-4,7``, means these.

    >>> seed_list(3)
    (0, 1, 2)
    >>> seed_list([3, 7]), seed_list("0-2,7")
    ((3, 7), (0, 1, 2, 7))
    """
    seeds = given
    if isinstance(given, str):
        seeds = [seed for part in given.split(",") for seed in _seed_span(part.strip())]
    if isinstance(given, int) and not isinstance(given, bool):
        if given < 1:
            raise SuiteError(f"seeds = {given}; at least 1 seed is needed")
        if given > MAX_SEEDS:
            raise SuiteError(f"seeds = {given}; at most {MAX_SEEDS} seeds are possible")
        return tuple(range(given))
    whole = isinstance(seeds, list) and all(type(seed) is int and seed >= 0 for seed in seeds)
    if whole and max(seeds, default=0) >= SEED_END:
        raise SuiteError(f"a seed is too large; the largest is {SEED_END - 1}")
    if not whole or not seeds or len(set(seeds)) < len(seeds):
        raise SuiteError(
            f"seeds {given!r} are malformed; write different whole numbers from 0 up, as 0-4,7"
        )
    return tuple(seeds)


def seeds_text(seeds: Iterable[int]) -> str:
    """Return seeds with their runs drawn together.

    >>> seeds_text([0, 1, 2, 5, 7, 8]), seeds_text([4])
    ('seeds 0–2, 5, 7–8', 'seed 4')
    """
    known = set(seeds)
    ordered = sorted(known)
    starts = [seed for seed in ordered if seed - 1 not in known]
    ends = [seed for seed in ordered if seed + 1 not in known]
    parts = [
        str(start) if start == end else f"{start}–{end}"
        for start, end in zip(starts, ends, strict=True)
    ]
    return f"{'seed' if len(ordered) == 1 else 'seeds'} {', '.join(parts)}"
