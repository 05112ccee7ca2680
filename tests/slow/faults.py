"""Faults at the k-th step of a command on its files, in a fork of this process.

Steps are what Python tells its audit hooks of files below a folder: each that is made, read,
renamed or removed, and each folder that is made or removed; and each fsync. Arrow writes the files
of tables without Python, so a write that fails or is cut short is a limit of the system on the size
of files, set when the file is made.
"""

import errno
import io
import json
import os
import resource
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from optbench.cli import invoke
from optbench.datasets import folders
from optbench.display import runs as display
from optbench.records import BlockResult, EvaluationRows, TraceChunk
from tests.cli.command import SURROUNDINGS

EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir")
"""Audit events of steps."""

FAULTS = {
    "kill": "changes",
    "interrupt": "changes",
    "fail": "steps",
    "cut": "makes",
    "full": "makes",
}
"""What happens, and at which steps: at all, where the disk changes, or where a file is made.

kill: the process is killed; interrupt: Ctrl-C is pressed twice; fail: the system says that it
cannot be done, for one of two reasons; cut: the process is killed once it has written 64 bytes of
the file; full: no more than these can be written.
"""

CUT_BYTES = 64

REASONS = (errno.EIO, errno.ENOSPC)


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, or −9 and the like, what it said and reported.

    ``reached`` says whether it came to the step at which something was to happen.
    """

    code: int
    out: str
    err: str
    reported: list[list[str]]
    reached: bool

    @property
    def killed(self) -> bool:
        return self.code < 0


class Child:
    """What a fork tells its parent, line by line: it may end at any of them."""

    def __init__(self, action: Callable[["Child"], int]) -> None:
        reading, self._writing = os.pipe()
        with warnings.catch_warnings():
            # Python 3.12 warns where there are threads; those of pytest-xdist need nothing of ours.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._id = os.fork()
        if self._id == 0:
            code = 99
            try:
                os.close(reading)
                code = action(self)
            except BaseException:
                self.tell("err", traceback.format_exc())
            finally:
                os._exit(code)
        os.close(self._writing)
        self._reading = reading

    def tell(self, kind: str, value: object = None) -> None:
        os.write(self._writing, f"{json.dumps([kind, value])}\n".encode())

    def first(self) -> tuple[str, Any]:
        """Wait for the first that it tells."""
        line = b""
        while not line.endswith(b"\n"):
            line += os.read(self._reading, 1)
        return tuple(json.loads(line))

    def kill(self) -> None:
        os.kill(self._id, signal.SIGKILL)
        self.told()

    def told(self) -> tuple[int, list[tuple[str, Any]]]:
        """Wait for its end; return how it ended and what it told."""
        with os.fdopen(self._reading, encoding="utf-8") as lines:
            said = [tuple(json.loads(line)) for line in lines]
        return os.waitstatus_to_exitcode(os.waitpid(self._id, 0)[1]), said


def run_with(
    fault: str | None, at: int, arguments: Sequence[object], cwd: Path, root: Path
) -> Ended:
    """Run ``optbench ARGUMENTS`` in a folder; at a step on what is below ``root`` there is a fault.

    Without a fault nothing happens.
    """
    return ended(start(fault, at, arguments, cwd, root))


def start(
    fault: str | None,
    at: int,
    arguments: Sequence[object],
    cwd: Path,
    root: Path,
    wait: Callable[[], None] = lambda: None,
) -> Child:
    """Start what :func:`run_with` runs, once ``wait`` has come to its end."""

    def action(child: Child) -> int:
        code, out, err = _call(arguments, cwd, child)
        child.tell("out", out)
        child.tell("err", err)
        return code

    return start_action(fault, at, action, root, wait)


def start_action(
    fault: str | None,
    at: int,
    action: Callable[[Child], int],
    root: Path,
    wait: Callable[[], None] = lambda: None,
) -> Child:
    """Start something that returns an exit code; see :func:`start`."""

    def faulty(child: Child) -> int:
        wait()
        if fault is not None:
            _Steps(fault, at, root, child)
        return action(child)

    return Child(faulty)


def ended(child: Child) -> Ended:
    """Wait for the end of what :func:`start` started."""
    code, told = child.told()
    texts = {kind: value for kind, value in told if kind in ("out", "err")}
    reported = [value.split() for kind, value in told if kind == "reported"]
    reached = any(kind == "reached" for kind, _ in told)
    return Ended(code, texts.get("out", ""), texts.get("err", ""), reported, reached)


def _call(arguments: Sequence[object], cwd: Path, child: Child) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    for name in SURROUNDINGS:
        os.environ.pop(name, None)
    patch = pytest.MonkeyPatch()
    patch.setattr(folders, "cache_folder", lambda: cwd / "no-cache")
    patch.setattr(display, "Lines", lambda plan, crew: Reporter(child))
    sys.argv = ["optbench", *map(str, arguments)]
    os.chdir(cwd)
    with redirect_stdout(out), redirect_stderr(err):
        code = int(invoke())
    return code, out.getvalue(), err.getvalue()


class Reporter:
    """Tells what is displayed of a run."""

    def __init__(self, child: Child) -> None:
        self._child = child

    def observe(self, record: object) -> None:
        match record:
            case TraceChunk():
                rows = zip(record.lanes.tolist(), record.rows.tolist(), strict=True)
                said = [
                    f"row {lane} {record.first_iteration + count - 1}"
                    for lane, count in rows
                    if count
                ]
            case EvaluationRows():
                said = [
                    f"evaluation {lane} {record.iteration} {record.split}"
                    for lane in record.lanes.tolist()
                ]
            case BlockResult():
                ends = [lane for lane in record.lanes if lane.status != "interrupted"]
                said = [f"end {lane.lane} {lane.status}" for lane in ends]
            case _:
                said = []
        for line in said:
            self._child.tell("reported", line)

    def end(self) -> None:
        """Nothing is left to tell."""


class _Steps:
    """Counts the steps of this process, and lets something happen at one of them."""

    def __init__(self, fault: str, at: int, root: Path, child: Child) -> None:
        self._fault, self._at, self._root, self._child = fault, at, f"{root.resolve()}/", child
        self._count = 0
        sys.addaudithook(self._hear)
        os.fsync = self._fsync  # type: ignore[assignment]

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in EVENTS or not isinstance(arguments[0], str | bytes | os.PathLike):
            return
        path, directory = os.fspath(arguments[0]), arguments[-1]
        if event in ("os.remove", "os.rmdir") and directory >= 0:
            path = os.path.join(os.readlink(f"/proc/self/fd/{directory}"), path)
        path = os.path.abspath(path)
        if not f"{path}/".startswith(self._root):
            return
        if event == "open":
            if not os.path.lexists(path):
                self._step({"makes", "changes"} if arguments[2] & os.O_CREAT else set())
            elif os.path.isfile(path) and not arguments[2] & (os.O_WRONLY | os.O_RDWR):
                self._step(set())
        else:
            self._step({"changes"} if event == "os.mkdir" or os.path.lexists(path) else set())

    def _fsync(self, opened: int) -> None:
        self._step(set())

    def _step(self, kinds: set[str]) -> None:
        if FAULTS[self._fault] not in {"steps", *kinds}:
            return
        self._count += 1
        if self._count != self._at:
            return
        self._child.tell("reached")
        match self._fault:
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "fail":
                number = REASONS[self._at % len(REASONS)]
                raise OSError(number, os.strerror(number))
            case "interrupt":
                for _ in range(2):
                    signal.raise_signal(signal.SIGINT)
            case "cut" | "full":
                ends = signal.SIG_DFL if self._fault == "cut" else signal.SIG_IGN
                signal.signal(signal.SIGXFSZ, ends)
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
                resource.setrlimit(resource.RLIMIT_FSIZE, (CUT_BYTES, resource.RLIM_INFINITY))
