"""A scheduler and workers of Dask's own, as somebody else would have started them."""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

DEADLINE = 60.0


@contextmanager
def started(*arguments: str, says: str, env: Mapping[str, str] | None = None) -> Iterator[str]:
    """Start ``dask ARGUMENTS``, and yield what stands where its output matches ``says``."""
    with launched(*arguments, says=says, env=env) as (_, found):
        yield found


@contextmanager
def launched(
    *arguments: str, says: str, env: Mapping[str, str] | None = None
) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """Do what :func:`started` does, and yield the process as well, which may end at any time."""
    with tempfile.TemporaryFile() as log, tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", *arguments],
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **(env or {})},
        )
        try:
            yield process, _awaited(process, log.fileno(), says)
        finally:
            process.terminate()
            process.wait()


def _awaited(process: "subprocess.Popen[bytes]", log: int, says: str) -> str:
    until = time.monotonic() + DEADLINE
    while time.monotonic() < until:
        text = Path(f"/proc/self/fd/{log}").read_text(errors="replace")
        if found := re.search(says, text):
            return found[1]
        if process.poll() is not None:
            raise AssertionError(f"{process.args} ended: {text}")
        time.sleep(0.05)
    raise AssertionError(f"{process.args} did not say {says!r} but: {text}")


@contextmanager
def scheduler(workers: int = 0, threads: int = 1, **env: str) -> Iterator[str]:
    """Yield the address of a scheduler with so many workers on this machine."""
    with ExitStack() as stack:
        address = stack.enter_context(
            started(
                *("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"),
                says=r"Scheduler at:\s+(\S+)",
            )
        )
        for _ in range(workers):
            stack.enter_context(worker(address, threads=threads, **env))
        yield address


@contextmanager
def worker(address: str, *more: str, threads: int = 1, **env: str) -> Iterator[str]:
    """Yield the address of one worker more."""
    arguments = ("worker", address, "--nthreads", str(threads), "--no-dashboard", *more)
    with started(*arguments, says=r"Registered to:\s+(\S+)", env=env) as registered:
        yield registered
