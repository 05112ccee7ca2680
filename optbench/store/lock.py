"""Who writes a run: one process at a time.

A run that is being written is locked by a lock of the operating system on ``.lock`` in its folder,
which ends with the process, however that ends.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from optbench.errors import ResultsError
from optbench.store.files import writing

LOCK = ".lock"


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Keep other processes from writing a run.

    Raises
    ------
    ResultsError
        If another process is writing it.
    """
    file = run / LOCK
    with writing(run):
        opened = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        # The file may be that of a process which has just ended and taken it away.
        if not _take(opened) or not _is_there(opened, file):
            raise ResultsError(f"'{run}' is being written by another process; wait for its end")
        yield
        file.unlink(missing_ok=True)
    finally:
        os.close(opened)


def _is_there(opened: int, file: Path) -> bool:
    """Say whether an open file still is the one of that name."""
    try:
        return os.path.samestat(os.fstat(opened), file.stat())
    except OSError:
        return False


def is_locked(run: Path) -> bool:
    """Say whether some process is writing a run."""
    try:
        opened = os.open(run / LOCK, os.O_RDWR)
    except OSError:
        return False
    try:
        return not _take(opened)
    finally:
        os.close(opened)


def _take(opened: int) -> bool:
    """Take the lock of an open file, which ends when it is closed; False if it is taken."""
    try:
        import fcntl
    except ImportError:  # Windows has no such locks
        return True
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
