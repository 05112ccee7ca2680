"""Fetches the IDX files of a collection from mirrors, verifies them and puts them in a folder."""

import io
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from optbench.datasets import idx
from optbench.datasets.collection import (
    Collection,
    Content,
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

TIMEOUT_SECONDS = 30.0
CHUNK_BYTES = 64 * 1024


def fetch(collection: Collection, mirrors: Sequence[str], folder: Path, progress: Progress) -> None:
    """Put verified IDX files of ``collection`` into ``folder``; mirrors are tried in their order.

    They are decompressed, unless only their gzipped form can be verified. Good files that are there
    stay. The others are written beside their place and renamed when all are complete, so that an
    interrupted or failed fetch leaves the folder as it was.
    """
    there = locate(collection, folder)
    wanted = [file for file in collection.files if not _is_good(file, there, collection.classes)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".fetching-", dir=folder) as beside:
            for file in wanted:
                content, good = _from_mirrors(file, mirrors, collection.classes, progress)
                (Path(beside) / file.stored_name).write_bytes(content)
                # One that is down need not be waited for four times.
                mirrors = [good, *(mirror for mirror in mirrors if mirror != good)]
            for file in wanted:
                os.replace(Path(beside) / file.stored_name, folder / file.stored_name)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error.strerror or error})") from None


class _Receiver:
    """Takes what pooch's downloader writes, and is the progress bar that it drives."""

    def __init__(self, name: str, limit: int, progress: Progress) -> None:
        self.total = 0
        self._name = name
        self._limit = limit
        self._progress = progress
        self._buffer = io.BytesIO()

    def write(self, chunk: bytes) -> None:
        self._buffer.write(chunk)
        received = self._buffer.tell()
        if received > self._limit:
            raise DataError(f"more than {self._limit:,} bytes")
        self._progress(self._name, received, self.total or None)

    def content(self) -> bytes:
        return self._buffer.getvalue()

    def flush(self) -> None:
        """Hold nothing back."""

    def update(self, _received: int) -> None:
        """Ignore what pooch rounds up to whole chunks; :meth:`write` knows better."""

    def reset(self) -> None:
        """Ignore that pooch starts again to fill the bar, which is full."""

    def close(self) -> None:
        """Leave the bar to the caller."""


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
    file: IdxFile, mirrors: Sequence[str], classes: int, progress: Progress
) -> tuple[bytes, str]:
    """Return the verified bytes of a file, to be stored, and the mirror that served them."""
    failures = []
    for mirror in mirrors:
        url = f"{mirror.rstrip('/')}/{file.name}.gz"
        try:
            content = _download(file, url, progress)
            return verified(file, content, "the file", classes), mirror
        except DataError as error:
            failures.append(f"{url} ({error})")
        # Every error of requests is an OSError; only its own have a response.
        except OSError as error:
            response = getattr(error, "response", None)
            reason = type(error).__name__ if response is None else f"HTTP {response.status_code}"
            failures.append(f"{url} ({reason})")
    raise DataError(
        f"no mirror served {file.name}: tried {', '.join(failures) or 'none'}; check the network, "
        "or name another one with --mirror URL"
    )


def _download(file: IdxFile, url: str, progress: Progress) -> Content:
    import pooch  # here, as it takes 70 ms

    receiver = _Receiver(file.name, file.size_bytes + idx.OVERHEAD_BYTES, progress)
    with ExitStack() as connections:

        def close_at_the_end(response: Any, **_options: object) -> None:
            """Do what pooch does not where an error ends its download."""
            connections.callback(response.close)

        downloader = pooch.HTTPDownloader(
            progressbar=receiver,
            chunk_size=CHUNK_BYTES,
            timeout=TIMEOUT_SECONDS,
            hooks={"response": close_at_the_end},
        )
        downloader(url, receiver, None)
    return unpack(file, receiver.content(), "the file")
