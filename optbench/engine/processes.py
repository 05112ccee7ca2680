"""Worker processes: what worker threads give long blocks to.

Threads wait for the interpreter's lock between their products; processes do not. A thread keeps one
process, sends it blocks as they are, and takes their records as they come, so all else stays where
it was: the order of records, what is done about a block that raises, who writes files. A process
ends when its parent does, however that happens.
"""

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import IO, Any

from threadpoolctl import threadpool_limits

from optbench.device import jit
from optbench.device.base import Device
from optbench.engine.block import Block
from optbench.engine.block_error import BlockError, block_error
from optbench.engine.loop import run_block
from optbench.errors import DataError
from optbench.records import BlockResult, Record

START = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); "
    "from optbench.engine.processes import main; main()"
)
"""What a worker process runs; unlike what multiprocessing starts, it never runs the user's script
again. It finds modules where its parent does."""

CANCEL = "cancel"
"""Tells a worker process to end its block after the current chunk; else it is sent tasks."""


@dataclass(frozen=True)
class Task:
    """A block, and how often it is to be saved."""

    block: Block
    checkpoint_seconds: float


class Processes:
    """Processes that run blocks, one for each thread that calls :meth:`run`.

    Parameters
    ----------
    device
        Makes the device that blocks are to run on; it is pickled.
    cancelled
        Once set, no more processes are started.
    """

    def __init__(self, device: Callable[[], Device], cancelled: threading.Event) -> None:
        self._device = device
        self._cancelled = cancelled
        self._own = threading.local()
        self._all: list[_Process] = []

    def run(self, block: Block, checkpoint_seconds: float) -> Iterator[Record]:
        """Yield the records of a block.

        Raises
        ------
        BlockError
            If the block raises there, or the process ends before the block does.
        """
        process: _Process | None = getattr(self._own, "process", None)
        if process is None or process.has_ended:
            process = self._own.process = _Process(self._device)
            self._all.append(process)
        if self._cancelled.is_set():  # since it was last looked at
            process.cancel()
        yield from process.run(Task(block, checkpoint_seconds))

    def cancel(self) -> None:
        """Let running blocks end after their current chunk."""
        for process in self._all:
            process.cancel()

    def end(self) -> None:
        """End all processes at once."""
        for process in self._all:
            process.end()


class _Process:
    """A process of :func:`main`, as its parent sees it."""

    def __init__(self, device: Callable[[], Device]) -> None:
        with _interrupts_held_back() as options:
            self._process = subprocess.Popen(
                [sys.executable, "-c", START],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                **options,
            )
        self._sending = threading.Lock()
        self._is_cancelled = False
        self._send(sys.path)
        self._send(device)

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def run(self, task: Task) -> Iterator[Record]:
        self._send(task)
        while True:
            try:
                answer = pickle.load(_pipe(self._process.stdout))
            except (EOFError, OSError, pickle.UnpicklingError):
                raise BlockError(_how_it_ended(self._process.wait())) from None
            if isinstance(answer, BlockError):
                raise answer
            yield answer
            if isinstance(answer, BlockResult):
                return

    def cancel(self) -> None:
        if not self._is_cancelled:
            self._is_cancelled = True
            self._send(CANCEL)

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                _pipe(pipe).close()

    def _send(self, message: Any) -> None:
        pipe = _pipe(self._process.stdin)
        # A process that has ended is noticed where its answers are read.
        with self._sending, suppress(OSError):
            pipe.write(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))
            pipe.flush()


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise TypeError("there is no pipe to the process")
    return pipe


def _how_it_ended(code: int) -> str:
    """Say it for people; a process that is killed has the negative number of the signal."""
    if code >= 0:
        return f"its worker process ended with exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    lack = ", as systems do that lack memory" if name == "SIGKILL" else ""
    return f"its worker process was ended by {name}{lack}"


@contextmanager
def _interrupts_held_back() -> Iterator[dict[str, Any]]:
    """Let no interrupt reach a process that is started here; yields what Popen needs for that.

    A terminal sends it to all processes; only the parent decides what it means.
    """
    if sys.platform == "win32":
        yield {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield {}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# In the process


def main() -> None:
    """Run the blocks that arrive on standard input; what code prints goes to standard error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    jit.LOAD_AFTER = jit.COMPILE_AFTER = 0  # what is sent here is long
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)
        serve(sys.stdin.buffer, answers)
        os._exit(0)  # a thread waits for input, and Python would wait for that thread


def serve(messages: IO[bytes], answers: IO[bytes]) -> None:
    """Answer every task with the records of its block, or with what is the trouble with it.

    The first message makes the device; it ends with the messages, or when nobody takes answers.
    """
    device: Device = pickle.load(messages)()
    tasks: SimpleQueue[Task | None] = SimpleQueue()
    cancelled = threading.Event()
    threading.Thread(target=_listen, args=(messages, tasks, cancelled), daemon=True).start()
    with threadpool_limits(limits=1, user_api="blas"), device.residents():
        while (task := tasks.get()) is not None:
            try:
                for answer in _answers(task, device, cancelled.is_set):
                    pickle.dump(answer, answers, pickle.HIGHEST_PROTOCOL)
                    answers.flush()
            except BrokenPipeError:
                return


def _listen(
    messages: IO[bytes], tasks: "SimpleQueue[Task | None]", cancelled: threading.Event
) -> None:
    """Take messages until there are no more, which means that the parent has ended."""
    while True:
        try:
            message = pickle.load(messages)
        except (EOFError, OSError, pickle.UnpicklingError):
            cancelled.set()
            tasks.put(None)
            return
        if isinstance(message, Task):
            tasks.put(message)
        else:
            cancelled.set()


def _answers(
    task: Task, device: Device, cancelled: Callable[[], bool]
) -> Iterator[Record | BlockError]:
    block = task.block
    try:
        with device.active():
            if block.problem.fingerprint != block.lanes[0].fingerprint:
                raise DataError(
                    f"the data of {block.lanes[0].problem} have changed since the run was planned"
                )
            yield from run_block(block, device, cancelled, task.checkpoint_seconds)
    except Exception as error:
        yield block_error(block, device, error)
