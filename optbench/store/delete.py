"""Deletes runs so that what a killed process leaves of one never looks like a run."""

import os
import re
import secrets
import shutil
from contextlib import suppress
from pathlib import Path

from optbench.errors import ResultsError

PREFIX = ".deleted-"
"""How folders are named, beside the runs, that hold a run while it is deleted."""


def delete_run(run: Path) -> None:
    """Delete a run: move it into a folder of its own at once, then remove that.

    Raises
    ------
    ResultsError
        If it cannot be moved, and is as it was; or if not all of it can be removed, and
        :func:`leftovers` finds the rest.
    """
    folder = run.parent / f"{PREFIX}{secrets.token_hex(4)}"
    try:
        folder.mkdir()
        os.rename(run, folder / run.name)
    except OSError as error:
        with suppress(OSError):
            folder.rmdir()
        if os.path.lexists(run):  # else another process deleted it first
            reason = error.strerror or error
            raise ResultsError(f"'{run}' cannot be deleted: {reason}") from None
    else:
        remove_leftover(folder)


def leftovers(out: Path) -> list[Path]:
    """Return the folders in which deletions have not come to their end."""
    return sorted(path for path in out.glob(f"{PREFIX}*") if _is_leftover(path))


def _is_leftover(path: Path) -> bool:
    named = re.fullmatch(rf"{re.escape(PREFIX)}[0-9a-f]{{8}}", path.name)
    if not named or path.is_symlink() or not path.is_dir():
        return False
    with suppress(OSError):
        return len(list(path.iterdir())) <= 1
    return False


def remove_leftover(folder: Path) -> None:
    """Remove a folder with all that it holds; links are removed, not followed.

    Raises
    ------
    ResultsError
        If something of it cannot be removed.
    """
    while os.path.lexists(folder):
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            continue  # another process removes it as well
        except OSError as error:
            reason = error.strerror or error
            raise ResultsError(f"'{folder}', a deleted run, cannot be removed: {reason}") from None


def size_bytes(run: Path) -> int:
    """Return the size of all files of a run; links are not followed."""
    total = 0
    for folder, _, names in os.walk(run):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(folder, name)).st_size
    return total
