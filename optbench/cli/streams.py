"""The standard streams, made so that no command has to care whether anybody reads them.

A stream that was closed before optbench began leads nowhere. What cannot be written, because the
reader is gone or the disk is full, is dropped, and the command goes on: a run keeps its results
though nobody sees its progress, and ``optbench check`` fails though nobody reads its verdict.
"""

import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from errno import ENOSPC
from typing import Any

from typing_extensions import override

LACKS_SPACE = "no space is left where the output goes; free some"


class Sink(io.RawIOBase):
    """Writes to another stream until that fails, and drops the rest.

    ``failure`` is what the system said then, None as long as all went well.
    """

    failure: OSError | None = None

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    @override
    def write(self, data: Any) -> int:
        if self.failure is None:
            try:
                while (written := self._raw.write(data)) is None:  # it does not block, and is full
                    select.select([], [self._raw], [])
                return int(written)
            except OSError as error:
                self.failure = error
        return len(data)

    @override
    def writable(self) -> bool:
        return True

    @override
    def fileno(self) -> int:
        return int(self._raw.fileno())

    @override
    def isatty(self) -> bool:
        return bool(self._raw.isatty())


@contextmanager
def guarded() -> Iterator[None]:
    """Let the standard streams never fail, and write what they cannot encode as escapes."""
    before = sys.stdin, sys.stdout, sys.stderr
    with ExitStack() as opened:
        while (nowhere := os.open(os.devnull, os.O_RDWR)) <= 2:
            pass  # no file that is opened later may take the place of a stream that was closed
        os.close(nowhere)
        if sys.stdin is None:
            sys.stdin = opened.enter_context(open(os.devnull, encoding="utf-8"))
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is None:
                stream = opened.enter_context(open(os.devnull, "w", encoding="utf-8"))
            setattr(sys, name, _guarded(stream))
        try:
            yield
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            sys.stdin, sys.stdout, sys.stderr = before


def _guarded(stream: Any) -> Any:
    """Return a stream that never fails; one that is no file of the system, as it is."""
    raw = getattr(getattr(stream, "buffer", None), "raw", getattr(stream, "buffer", None))
    if not isinstance(raw, io.RawIOBase):
        return stream
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(Sink(raw)),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering or stream.write_through,
    )


def is_lost() -> bool:
    """Say whether what goes to stdout is dropped, so that it need not be made."""
    return _failure() is not None


def complaint() -> str | None:
    """Say in one line why stdout did not get all; None if it did, or its reader had seen enough."""
    sys.stdout.flush()
    failure = _failure()
    if failure is None or isinstance(failure, BrokenPipeError):
        return None
    if failure.errno == ENOSPC:
        return LACKS_SPACE
    return f"the output cannot be written: {failure.strerror}"


def _failure() -> OSError | None:
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return raw.failure if isinstance(raw, Sink) else None
