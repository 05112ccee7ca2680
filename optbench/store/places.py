"""Folders and what the system says about them: made, removed and seen on the disk."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from optbench.errors import ResultsError, argument

DEFAULT_OUT = Path("results")
"""The results directory where nobody names another."""


@contextmanager
def writing(place: Path, remedy: str = "") -> Iterator[None]:
    """Turn what the system says about a place that cannot be written into one line.

    ``remedy`` is what another place is chosen by, where that is not the results directory.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise ResultsError(
            f"cannot write results to '{place}': {reason}; free it or choose another "
            f"{remedy or argument('out')}"
        ) from None


def make_folder(path: Path) -> None:
    """Make a folder in one that is there, unless it is there itself, and see it on the disk.

    Several processes may do so at once.
    """
    with writing(path):
        if not path.is_dir():
            path.mkdir(exist_ok=True)
            sync(path.parent)


def remove_folder(path: Path) -> None:
    """Remove a folder at once: whatever ends the process meanwhile, it is whole or not there."""
    beside = path.with_name(f".{path.name}.gone")
    with writing(path), suppress(FileNotFoundError):
        shutil.rmtree(beside, ignore_errors=True)
        os.replace(path, beside)
    shutil.rmtree(beside, ignore_errors=True)


def sync(place: Path) -> None:
    """See a file, or the names in a folder, on the disk."""
    if os.name == "nt" and place.is_dir():  # Windows opens no folders
        return
    opened = os.open(place, os.O_RDWR if place.is_file() else os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
