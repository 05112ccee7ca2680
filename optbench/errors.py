"""What can go wrong, and the exit codes.

The tree, each with the exit code that the command line ends with::

    OptbenchError            1   base; raised itself only for faults of optbench
    ├── UsageError           2   something the user wrote or gave is wrong
    │   ├── SuiteError       2   a suite, or a flag that changes one
    │   │   └── UnrepeatableError 2  an optimizer whose runs would not repeat
    │   ├── DataError        2   a data set is missing or damaged
    │   ├── DeviceError      2   the device asked for is not usable
    │   └── ResultsError     2   a run's directory: not found, ambiguous, damaged, not writable
    ├── CheckError           3   a check was made and did not pass
    └── NothingToCompareError 5  a check found nothing to compare with

A message is one line: what is wrong, and what would be right. :func:`nearest` finds the name that
was probably meant.
"""

from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from difflib import get_close_matches
from enum import IntEnum
from shlex import quote
from typing import Any

MOST_NAMES = 12
"""Names that a message lists at most, so that it stays one readable line."""

MOST_QUOTED = 60
"""Characters that a message quotes of a value."""

LONGEST_NAME = 255
"""Characters of a name, as file systems have it, that are shown of one that somebody else wrote."""


def printable(text: str) -> str:
    r"""Return text in one line that does to a terminal no more than show itself.

    >>> printable("caf\xe9\n\x1b[31m \udcff")
    'café\\n\\x1b[31m \\udcff'
    """
    if text.isprintable():
        return text
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text
    )


CALLED: dict[str, str] = {}
"""What messages call folders that are none of the user's, such as those of unfolded packs."""


def called(text: str) -> str:
    """Return a message that says :data:`CALLED` in place of folders."""
    for folder, name in CALLED.items():
        text = text.replace(folder, name)
    return text


def shown(name: str) -> str:
    """Return a name that a file holds as it is shown: :func:`printable`, and not without end."""
    text = printable(name)
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…"


_in_python = ContextVar("in_python", default=False)


@contextmanager
def in_python() -> Iterator[None]:
    """Let messages name options as arguments of Python, not as flags of the command line."""
    token = _in_python.set(True)
    try:
        yield
    finally:
        _in_python.reset(token)


def argument(name: str, value: object = None) -> str:
    """Return what a message calls an option, with a value where it names one.

    >>> argument("force", True), argument("grid", {"sgd.lr": "1e-3:10:25"}), argument("data_dir")
    ('--force', '--grid sgd.lr=1e-3:10:25', '--data-dir')
    >>> with in_python():
    ...     argument("force", True), argument("grid", {"sgd.lr": [0.1, 1]}), argument("data_dir")
    ('force=True', "grid={'sgd.lr': [0.1, 1]}", 'data_dir')
    """
    if _in_python.get():
        return name if value is None else f"{name}={value!r}"
    flag = f"--{name.replace('_', '-')}"
    if isinstance(value, Mapping):
        return " ".join(f"{flag} {quote(f'{key}={each}')}" for key, each in value.items())
    return flag if value is None or value is True else f"{flag} {quote(str(value))}"


def quoted(value: Any) -> str:
    """Return a value short enough for a message."""
    text = f"{value!r}"
    return text if len(text) <= MOST_QUOTED else f"{text[:MOST_QUOTED]}…"


def encoding_complaint(content: bytes) -> str | None:
    r"""Say why a file's content is not UTF-8 text, and what to do; None where it is.

    >>> encoding_complaint("# \u6bd4".encode("utf-16")), encoding_complaint(b"a\n\x94\xe4")
    ('it is UTF-16; save it as UTF-8', 'line 2 is not UTF-8; save it as UTF-8')
    """
    if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) or 3 * content.count(0) > len(content):
        return "it is UTF-16; save it as UTF-8"
    try:
        content.decode()
    except UnicodeDecodeError as error:
        return f"line {content.count(10, 0, error.start) + 1} is not UTF-8; save it as UTF-8"
    return None


class ExitCode(IntEnum):
    """Exit codes of the command line; a promise to those who script it."""

    DONE = 0
    INTERNAL = 1
    USAGE = 2
    CHECK_FAILED = 3
    LANES_FAILED = 4
    NOTHING_TO_COMPARE = 5
    INTERRUPTED = 130


class OptbenchError(Exception):
    """Base of all errors that optbench raises on purpose."""

    exit_code = ExitCode.INTERNAL


class UsageError(OptbenchError):
    """Something the user wrote or gave is wrong, and the message says what would be right."""

    exit_code = ExitCode.USAGE

    def __str__(self) -> str:
        text = called(super().__str__())
        return printable(" ".join(text.splitlines()))  # as quoted names may not be


class SuiteError(UsageError):
    """A suite, or a flag that changes one, is wrong."""

    def within(self, place: str) -> "SuiteError":
        """Return the same error, with a message that begins with the place of the mistake."""
        return SuiteError(f"{place}: {self}")


class UnrepeatableError(SuiteError):
    """An optimizer gives other numbers when the same updates are made again."""


class DataError(UsageError):
    """A data set is missing, incomplete or damaged."""


class DeviceError(UsageError):
    """The device asked for is not usable on this machine."""


class ResultsError(UsageError):
    """A run's directory was not found, is ambiguous, damaged, foreign or not writable."""


class CheckError(OptbenchError):
    """A check was made and did not pass."""

    exit_code = ExitCode.CHECK_FAILED


class NothingToCompareError(OptbenchError):
    """A check or a comparison found nothing to compare."""

    exit_code = ExitCode.NOTHING_TO_COMPARE


def nearest(name: str, known: Iterable[str], most: int = 1) -> str:
    """Return the end of a message: which of the ``known`` names, or ``most``, was probably meant.

    >>> nearest("adm", ["adam", "sgd"])
    "did you mean 'adam'?"
    >>> nearest("SGD", ["amsgrad", "sgd"], most=3)
    "did you mean 'sgd'?"
    >>> nearest("adm", ["adamw", "sgd", "nadam", "adam"], most=3)
    "did you mean 'adam', 'nadam' or 'adamw'?"
    >>> nearest("zzz", ["adam", "sgd"])
    'known are adam, sgd'
    """
    names = list(known)
    lowered = {known_name.lower(): known_name for known_name in names}
    close = get_close_matches(name.lower(), lowered, n=most, cutoff=0.6)
    if name.lower() in lowered:
        close = close[:1]
    if close:
        return did_you_mean([lowered[each] for each in close])
    more = f", … ({len(names)} in all)" if len(names) > MOST_NAMES else ""
    return f"known are {', '.join(names[:MOST_NAMES])}{more}"


def did_you_mean(names: Sequence[str]) -> str:
    """Return the end of a message that names what may have been meant, the likeliest first.

    >>> did_you_mean(["adam"]), did_you_mean(["adam", "nadam"])
    ("did you mean 'adam'?", "did you mean 'adam' or 'nadam'?")
    """
    *others, last = (f"'{name}'" for name in names)
    return f"did you mean {', '.join(others)}{' or ' if others else ''}{last}?"


NEEDED = {
    **dict.fromkeys(("int_type", "int_from_float", "int_parsing"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), "a table"),
    "finite_number": "a finite number",
    "string_type": "text",
    "bool_type": "true or false",
    "list_type": "a list",
    "greater_than": "more than {gt:.12g}",
    "greater_than_equal": "at least {ge:.12g}",
    "less_than_equal": "at most {le:.12g}",
    "literal_error": "{expected}",
    "too_short": "at least {min_length} long",
    "too_long": "at most {max_length} long",
}
"""What a value must be, by the kind of a pydantic error, which names its bounds."""

SAID = {
    "missing": "it is missing",
    "union_tag_not_found": "its {discriminator} is missing",
    "union_tag_invalid": "its {discriminator} must be one of {expected_tags}, not '{tag}'",
}
"""What else a pydantic error says, by its kind."""

BRANCHES = {"int", "constrained-int", "float", "constrained-float", "str", "list[int]"}
"""Steps of a pydantic location that name no place, but a type out of several."""


def first_complaint(error: Any) -> tuple[list[int | str], str]:
    """Return where the first mistake is that a pydantic ``ValidationError`` tells, and what it is.

    >>> from pydantic import TypeAdapter, ValidationError
    >>> try:
    ...     TypeAdapter(dict[str, int | list[int]]).validate_python({"seeds": [1, "x"]})
    ... except ValidationError as error:
    ...     first_complaint(error)
    (['seeds', 1], "it must be a whole number, not 'x'")
    """
    errors = error.errors()
    places = [[step for step in each["loc"] if step not in BRANCHES] for each in errors]
    inside = [each for each in places if each[: len(places[0])] == places[0]]
    place = max(inside, key=len)  # of the types that a value may have, the one that fits furthest
    first, *others = (each for each, at in zip(errors, places, strict=True) if at == place)
    if first["type"] in SAID:
        return place, SAID[first["type"]].format(**first.get("ctx", {}))
    if first["type"] not in NEEDED:
        message = first["msg"].removeprefix("Value error, ")
        return place, f"{message[0].lower()}{message[1:]}"
    needs = [
        NEEDED[each["type"]].format(**each.get("ctx", {}))
        for each in (first, *others)
        if each["type"] in NEEDED
    ]
    return place, f"it must be {' or '.join(dict.fromkeys(needs))}, not {quoted(first['input'])}"
