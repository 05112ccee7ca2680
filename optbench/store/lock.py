"""Who writes a run: one process at a time.

A run that is being written is locked by a lock of the operating system on ``.lock`` in its folder,
which ends with the process, however that ends; the file goes when the run is left in order.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout, lock_descriptor

from optbench.errors import ResultsError
from optbench.store.files import writing

LOCK = ".lock"

LOOK_SECONDS = 0.2
"""How long a writer waits for those who only look whether the lock is taken."""

POLL_SECONDS = 0.005


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Keep other processes from writing a run, or raise ResultsError if one does already."""
    place = run / LOCK
    lock = FileLock(place, timeout=LOOK_SECONDS, poll_interval=POLL_SECONDS)
    with writing(run):
        os.stat(run)  # else a folder would be made of a run that is gone
        try:
            lock.acquire()
        except Timeout:
            raise ResultsError(
                f"'{run}' is being written by another process; wait for its end"
            ) from None
    try:
        yield
    finally:
        with suppress(OSError):  # Windows removes no open file, but does when the lock is released
            place.unlink()
        lock.release()


def is_locked(run: Path) -> bool:
    """Say whether some process is writing a run.

    Any number may ask at once, also of a run that only its owner may write.
    """
    try:
        opened = os.open(run / LOCK, os.O_RDONLY)
    except OSError:
        return False
    try:
        until = time.monotonic() + LOOK_SECONDS / 4  # another one may just be looking as well
        while not lock_descriptor(opened, blocking=False):
            if time.monotonic() > until:
                return True
            time.sleep(POLL_SECONDS)
    except OSError:  # no locks here
        pass
    finally:
        os.close(opened)
    return False
