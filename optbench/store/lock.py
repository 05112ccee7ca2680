"""Who writes a run: one process at a time.

A run that is being written is locked by a lock of the operating system on ``.lock`` in its folder,
which ends with the process, however that ends; the file goes where there is time to remove it.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from optbench.errors import ResultsError
from optbench.store.files import writing

LOCK = ".lock"

LOOK_SECONDS = 0.2
"""How long a lock may be held by those who only look whether there is one."""


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Keep other processes from writing a run.

    Raises
    ------
    ResultsError
        If another process is writing it.
    """
    until = time.monotonic() + LOOK_SECONDS
    while (opened := _locked_file(run)) is None:
        if time.monotonic() > until:
            raise ResultsError(f"'{run}' is being written by another process; wait for its end")
        time.sleep(LOOK_SECONDS / 20)
    try:
        yield
    finally:
        with suppress(OSError):
            (run / LOCK).unlink()
        os.close(opened)


def _locked_file(run: Path) -> int | None:
    """Open the file of the lock and take it; None while another has it."""
    place = run / LOCK
    with writing(run):
        opened = os.open(place, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        # Who had the lock removes its file at the end, maybe after it was opened here.
        if _take(opened) and os.path.samestat(os.fstat(opened), place.stat()):
            return opened
    except FileNotFoundError:
        pass
    os.close(opened)
    return None


def is_locked(run: Path) -> bool:
    """Say whether some process is writing a run; any number may ask at once."""
    try:
        opened = os.open(run / LOCK, os.O_RDONLY)
    except OSError:
        return False
    try:
        return not _take(opened, shared=True)
    finally:
        os.close(opened)


def _take(opened: int, *, shared: bool = False) -> bool:
    """Take the lock of an open file, which ends when it is closed; False if it is taken."""
    try:
        import fcntl
    except ImportError:  # Windows has no such locks
        return True
    try:
        fcntl.flock(opened, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
