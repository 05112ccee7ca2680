"""Fetches the IDX files of a collection from mirrors, verifies them and puts them in a folder."""

import io
import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock

from optbench.datasets import idx
from optbench.datasets.collection import (
    Collection,
    IdxFile,
    Location,
    locate,
    read,
    unpack,
    verified,
)
from optbench.errors import DataError

Progress = Callable[[str, int, int | None], None]
"""Told the file, the bytes received of it and, where the server says so, how many there are."""

Clock = Callable[[], float]
"""Returns seconds."""

TIMEOUT_SECONDS = 30.0
"""How long a mirror may say nothing at all."""

LOWEST_BYTES_PER_SECOND = 1000
"""A mirror that has sent less than this, on average since :data:`TIMEOUT_SECONDS` or longer, is
given up."""

FILE_SECONDS = 1800.0
"""How long a mirror may take for one file, however fast it is."""

CHUNK_BYTES = 64 * 1024

PREFIX = ".fetching-"
"""Begins the name of the folder in which a fetch keeps what it has so far."""

LOCK = "lock"
"""The file in it that is locked as long as its process lives."""


def fetch(
    collection: Collection,
    mirrors: Sequence[str],
    folder: Path,
    progress: Progress,
    clock: Clock = time.monotonic,
) -> None:
    """Put verified IDX files of ``collection`` into ``folder``; mirrors are tried in their order.

    They are decompressed, unless only their gzipped form can be verified. Good files that are there
    stay. The others are written beside their place and renamed when all are complete, so that an
    interrupted or failed fetch leaves the folder as it was; what one that was killed has left
    behind, the next removes.
    """
    there = locate(collection, folder)
    wanted = [file for file in collection.files if not _is_good(file, there, collection.classes)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            _remove_leftovers(folder)
            beside = _own_folder(folder, stack)
            for file in wanted:
                content, good = _from_mirrors(file, mirrors, collection.classes, progress, clock)
                (beside / file.stored_name).write_bytes(content)
                # One that is down need not be waited for four times.
                mirrors = [good, *(mirror for mirror in mirrors if mirror != good)]
            for file in wanted:
                os.replace(beside / file.stored_name, folder / file.stored_name)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error.strerror or error})") from None


def _own_folder(folder: Path, stack: ExitStack) -> Path:
    """Make a folder within one, locked, which goes with the stack.

    Before it is locked, another fetch may take it for one that was left behind, and remove it.
    """
    while True:
        beside = Path(stack.enter_context(TemporaryDirectory(prefix=PREFIX, dir=folder)))
        with suppress(FileNotFoundError, FileExistsError):  # it goes while FileLock looks at it
            stack.enter_context(FileLock(beside / LOCK))
        if (beside / LOCK).exists():
            return beside


def _remove_leftovers(folder: Path) -> None:
    """Remove the folders of fetches whose process is gone."""
    for left in folder.glob(f"{PREFIX}*"):
        if not left.is_symlink():
            try:
                with FileLock(left / LOCK, timeout=0):
                    shutil.rmtree(left, ignore_errors=True)
            except (OSError, NotImplementedError):  # it is at work, or nobody can tell
                continue


def _is_good(file: IdxFile, location: Location | None, classes: int) -> bool:
    path = location.paths.get(file.name) if location else None
    if path is None:
        return False
    try:
        verified(file, read(file, path), str(path), classes)
    except DataError:
        return False
    return True


def _from_mirrors(
    file: IdxFile, mirrors: Sequence[str], classes: int, progress: Progress, clock: Clock
) -> tuple[bytes, str]:
    """Return the verified bytes of a file, to be stored, and the mirror that served them."""
    from urllib3.exceptions import HTTPError

    failures = []
    for mirror in mirrors:
        url = f"{mirror.rstrip('/')}/{file.name}.gz"
        try:
            content = unpack(file, _download(file, url, progress, clock), "the file")
            return verified(file, content, "the file", classes), mirror
        except DataError as error:
            failures.append(f"{url} ({error})")
        # Errors of requests are OSErrors; an address that is none may be any ValueError.
        except (OSError, ValueError, HTTPError) as error:
            failures.append(f"{url} ({type(error).__name__})")
    raise DataError(
        f"no mirror served {file.name}: tried {', '.join(failures) or 'none'}; check the network, "
        "or name another one with --mirror URL"
    )


def _download(file: IdxFile, url: str, progress: Progress, clock: Clock) -> bytes:
    """Return what a mirror serves, not more of it than the right file may have."""
    import requests  # here, as it takes 60 ms

    limit = file.size_bytes + idx.OVERHEAD_BYTES
    begun = clock()
    received = io.BytesIO()
    with requests.get(
        url, stream=True, timeout=TIMEOUT_SECONDS, headers={"Accept-Encoding": "identity"}
    ) as response:
        if not response.ok:
            raise DataError(f"HTTP {response.status_code}")
        said = response.headers.get("Content-Length", "")
        total = int(said) if said.isdecimal() else None
        while chunk := response.raw.read1(CHUNK_BYTES):  # as soon as any of it is there
            received.write(chunk)
            if received.tell() > limit:
                raise DataError(f"more than {limit:,} bytes")
            _check_pace(received.tell(), clock() - begun)
            progress(file.name, received.tell(), total)
    return received.getvalue()


def _check_pace(received: int, seconds: float) -> None:
    """Refuse a mirror that would keep the user waiting."""
    if seconds > FILE_SECONDS:
        raise DataError(f"not done after {seconds / 60:.0f} minutes")
    if seconds > TIMEOUT_SECONDS and received < LOWEST_BYTES_PER_SECOND * seconds:
        raise DataError(f"too slow: {received:,} bytes in {seconds:.0f} seconds")
