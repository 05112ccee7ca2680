"""The format of a file: what its suffix says, or the user."""

from collections.abc import Mapping
from pathlib import Path

from optbench.errors import UsageError, argument


def suffix_of(file: Path) -> str:
    """Return the suffix of a file without its dot, in small letters."""
    return file.suffix.removeprefix(".").lower()


def format_of(file: Path, given: str | None, formats: Mapping[str, str]) -> str:
    """Return the format of a file: the one that is ``given``, else what the suffix says.

    Parameters
    ----------
    file
        Where something is to be written.
    given
        A format, or None.
    formats
        Formats by the suffixes that mean them.

    Raises
    ------
    UsageError
        If the suffix says another format than the one given, or none where none is given.
    """
    said = formats.get(suffix_of(file))
    if given is None and said is None:
        choices = "|".join(dict.fromkeys(formats.values()))
        raise UsageError(
            f"the suffix of '{file}' names no format; give {argument('format')} ({choices})"
        )
    if given is not None and said not in (None, given):
        raise UsageError(
            f"'{file}' contradicts {argument('format', given)}; leave one out or make them agree"
        )
    return given or str(said)
