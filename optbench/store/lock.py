"""Who writes a folder: one process at a time.

A run that is being written is locked by a lock of the operating system on ``.lock`` in its folder,
which ends with the process, however that ends; the file goes when the run is left in order. It says
which process that is, on which machine: not every file system shows a lock to other machines.
"""

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import lock_descriptor

from optbench.errors import ResultsError
from optbench.store.places import writing

LOCK = ".lock"

LOOK_SECONDS = 0.2
"""How long a writer waits for those who only look whether the lock is taken."""

POLL_SECONDS = 0.005


@dataclass(frozen=True)
class Writer:
    """The process that writes a folder, or did when it was killed, and its machine."""

    pid: int
    host: str

    @property
    def is_elsewhere(self) -> bool:
        """Whether its lock may not be seen here."""
        return self.host != socket.gethostname()


def hold(opened: int) -> bool:
    """Lock an open file, or say that another process has.

    Raises
    ------
    OSError
        Where the file system has no locks.
    """
    return bool(lock_descriptor(opened, blocking=False))


@contextmanager
def locked(
    folder: Path,
    notice: Callable[[str], object] = lambda message: None,
    *,
    seconds: float | None = None,
) -> Iterator[None]:
    """Keep other processes from writing a folder, or raise ResultsError if one does already.

    ``seconds`` is how long to wait for it, by default as long as others may look. ``notice`` is
    told where the file system has no locks; the folder is written all the same.
    """
    place = folder / LOCK
    until = time.monotonic() + (LOOK_SECONDS if seconds is None else seconds)
    with writing(folder):
        opened = _take(folder, place, until, notice)
    try:
        yield
    finally:
        if os.name == "nt":  # which removes no open file
            os.close(opened)
        with suppress(OSError):
            place.unlink()
        if os.name != "nt":
            os.close(opened)


def _take(folder: Path, place: Path, until: float, notice: Callable[[str], object]) -> int:
    """Return the open file of a lock once it is ours."""
    while True:
        opened = os.open(place, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            held = hold(opened)
        except OSError as error:
            notice(
                f"the file system of '{folder}' has no locks ({error.strerror or error}); "
                "let no other process write there"
            )
            return opened
        if held and _is(place, opened):
            os.ftruncate(opened, 0)
            os.write(opened, f"{os.getpid()} {socket.gethostname()}\n".encode())
            return opened
        os.close(opened)  # taken, or removed by who had it before
        if time.monotonic() > until:
            raise ResultsError(
                f"'{folder}' is being written by another process; wait for its end"
            ) from None
        time.sleep(POLL_SECONDS)


def writer_of(folder: Path) -> Writer | None:
    """Return who writes a folder, or was killed while it did; None where nothing says so."""
    try:
        pid, host = (folder / LOCK).read_text(encoding="utf-8").split()
        return Writer(int(pid), host)
    except (OSError, ValueError):
        return None


def _is(place: Path, opened: int) -> bool:
    """Say whether an open file is still the one of this name."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.stat(place), os.fstat(opened))
    return False


def is_locked(folder: Path) -> bool:
    """Say whether some process is writing a folder.

    Any number may ask at once, also of a run that only its owner may write.
    """
    try:
        opened = os.open(folder / LOCK, os.O_RDONLY)
    except OSError:
        return False
    try:
        until = time.monotonic() + LOOK_SECONDS / 4  # another one may just be looking as well
        while not hold(opened):
            if time.monotonic() > until:
                return True
            time.sleep(POLL_SECONDS)
    except OSError:  # no locks here
        pass
    finally:
        os.close(opened)
    return False


def await_free(folder: Path, seconds: float) -> bool:
    """Wait until no process writes a folder; say whether that came about in so many seconds."""
    until = time.monotonic() + seconds
    while is_locked(folder):
        if time.monotonic() > until:
            return False
        time.sleep(POLL_SECONDS)
    return True
