"""What happens on a worker of a cluster; all of it is called by way of Dask.

A worker first tells of itself (:func:`tell`). One that may take part enters a run
(:func:`enter`), does blocks of it (:func:`work`), is asked what they have recorded (:func:`take`)
and leaves (:func:`leave`). A block goes on from what lies in its journal, or from what the client
sends of it. It ends early, with a checkpoint, when the client or the scheduler is gone, and when
the worker is told to end (SIGTERM).
"""

import asyncio
import ctypes
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any, cast

import numpy as np
from distributed import Status as WorkerStatus
from distributed import Worker, get_worker

from optbench.cluster.beside import Beside
from optbench.cluster.facts import facts
from optbench.cluster.outbox import Outbox
from optbench.device import jit
from optbench.device.base import Device
from optbench.device.choose import get_device
from optbench.engine.block import Block
from optbench.engine.block_error import BlockError, block_error
from optbench.engine.executor import one_blas_thread
from optbench.engine.loop import run_block
from optbench.errors import UsageError, argument
from optbench.records import BlockResult, Receipt, Record, Status, TraceChunk, Underway
from optbench.store.block_writer import BlockWriter, Unfinished
from optbench.store.journal import Journal
from optbench.store.lock import locked
from optbench.store.places import make_folder
from optbench.suite.travel import Bundle, Unpacked

AT_WORK = (WorkerStatus.running, WorkerStatus.paused)
"""What Dask calls a worker whose blocks go on."""

LOCK_SECONDS = 60.0
"""How long a block waits for a worker that had it before, whose client is gone, to let go of it."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's mallopt."""

MOST_KEPT_BYTES = 64 * 2**20
"""Free memory that a worker keeps, where glibc adjusts it as it does in other processes."""

GRACE_SECONDS = 10.0
"""How long a worker that was told to end waits until its blocks have ended and been taken."""


@dataclass(frozen=True)
class Parts:
    """Problems and optimizers of a run, pickled, by what they are called; what each is like."""

    pickled: Mapping[str, bytes]
    identities: Mapping[str, str]


@dataclass(frozen=True)
class Orders:
    """What a worker is told of a run.

    Attributes
    ----------
    run
        What the run is called among all that the worker has.
    device
        The name of what computes.
    folder
        The run's directory, as the client sees it; None where records are sent to the client.
    every, extra
        What a :class:`~optbench.store.block_writer.BlockWriter` is to know.
    checkpoint_seconds
        Time from one checkpoint of a block to the next.
    long
        Whether programs are worth compiling at once.
    parts
        What blocks are made of, to be compared.
    code
        That of plug-ins among them.
    """

    run: str
    device: str
    folder: Path | None
    every: int
    extra: tuple[str, ...]
    checkpoint_seconds: float
    long: bool
    parts: Parts
    code: Bundle


@dataclass
class _Hub:
    """What a worker keeps of a run while it takes part in it."""

    orders: Orders
    device: Device
    code: Unpacked
    exit: ExitStack
    stopping: threading.Event = field(default_factory=threading.Event)
    users_code: threading.Lock = field(default_factory=threading.Lock)
    outboxes: dict[int, Outbox] = field(default_factory=dict)
    underway: dict[int, Underway] = field(default_factory=dict)
    at_work: int = 0


_hubs: dict[str, _Hub] = {}
"""The runs that this process takes part in."""

_told_to_end = threading.Event()


def tell(device: str, dask_worker: Worker) -> dict[str, Any]:
    """Return the worker's environment, and what Dask knows of it."""
    return {
        **facts(device),
        "name": str(dask_worker.name),
        "threads": dask_worker.state.nthreads,
        "limit_bytes": dask_worker.memory_manager.memory_limit,
        "gpus": int(dask_worker.state.total_resources.get("GPU", 0)),
        "host": os.uname().nodename if hasattr(os, "uname") else "",
        "pid": os.getpid(),
    }


async def enter(orders: Orders, dask_worker: Worker) -> list[str]:
    """Make ready for the blocks of a run; return what keeps the worker from it, one text each."""
    _heed_termination()
    return await asyncio.to_thread(_enter, orders, Path(dask_worker.local_directory))


def _enter(orders: Orders, folder: Path) -> list[str]:
    if orders.folder is not None and not (orders.folder / "run.json").is_file():
        remedy = argument("cluster_records", "stream")
        return [f"it does not see '{orders.folder}'; {remedy} has it send its records"]
    try:
        with ExitStack() as stack:
            code = stack.enter_context(Unpacked(orders.code, folder))
            with code.in_use():
                different = _different_parts(orders.parts)
            device = get_device(orders.device)
            stack.enter_context(one_blas_thread())
            stack.enter_context(device.residents())
            _keep_memory()
            if orders.long:
                jit.LOAD_AFTER = jit.COMPILE_AFTER = 0
            _hubs[orders.run] = _Hub(orders, device, code, stack.pop_all())
            return different
    except UsageError as error:
        return [str(error)]


def _keep_memory() -> None:
    """Let memory that arrays leave be kept for the next ones, as in a process of our own.

    Dask sets ``MALLOC_TRIM_THRESHOLD_``, and then glibc maps, clears and unmaps an array of more
    than 128 KiB each time that one is made.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, MOST_KEPT_BYTES // 2)
        mallopt(M_TRIM_THRESHOLD, MOST_KEPT_BYTES)


def _different_parts(parts: Parts) -> list[str]:
    """Return which problems and optimizers are others here, one text each."""
    different = []
    for name, pickled in parts.pickled.items():
        try:
            identity = identity_of(pickle.loads(pickled))
        except Exception as error:  # a user's code may raise anything
            different.append(f"{name}: {str(error) or type(error).__name__}".splitlines()[0])
            continue
        if identity != parts.identities[name]:
            different.append(f"{name} has other data, code or libraries there than here")
    return different


def identity_of(part: Any) -> str:
    """Return what tells a problem or an optimizer from others."""
    fingerprint = getattr(part, "fingerprint", None)
    return str(part.identity()) if fingerprint is None else str(fingerprint)


def stop(run: str) -> None:
    """Let the blocks of a run end after their current chunk."""
    if run in _hubs:
        _hubs[run].stopping.set()


def leave(run: str) -> None:
    """Have no more to do with a run."""
    hub = _hubs.pop(run, None)
    if hub is not None:
        hub.stopping.set()
        hub.exit.close()


def take(
    run: str, known: Mapping[str, Mapping[int, int]], dask_worker: Worker
) -> dict[int, list[bytes]]:
    """Return pickled records of blocks.

    ``known`` says by worker of which blocks, and how many of each the client has.
    """
    hub, mine = _hubs.get(run), known[dask_worker.address]
    if hub is None:
        return {}
    if hub.orders.folder is not None:
        at_work = [hub.underway[block] for block in mine if block in hub.underway]
        return {each.block: [pickle.dumps(each)] for each in at_work}
    boxes = {block: hub.outboxes[block] for block in mine if block in hub.outboxes}
    return {block: box.take(mine[block]) for block, box in boxes.items()}


def work(run: str, pickled: bytes) -> list[Record | BlockError]:
    """Run a block; return its end, or what it raised.

    Where records are sent to the client, what it has not taken yet comes before the end.
    """
    worker = get_worker()
    hub = _hubs[run]
    with hub.code.in_use():
        return _work(hub, pickle.loads(pickled), worker)


def _work(hub: _Hub, block: Block, worker: Worker) -> list[Record | BlockError]:
    cancelled = _cancelled(worker, worker.get_current_task(), hub)
    hub.at_work += 1
    try:
        with hub.users_code if block.runs_users_code else nullcontext(), hub.device.active():
            way = _streamed if hub.orders.folder is None else _written
            return way(hub, block, str(worker.name), cancelled)
    except Exception as error:  # a rule or a problem may raise anything
        return [block_error(block, hub.device, error)]
    finally:
        hub.at_work -= 1
        hub.underway.pop(block.number, None)


def _written(
    hub: _Hub, block: Block, worker: str, cancelled: Callable[[], bool]
) -> list[Record | BlockError]:
    """Run a block from what its journal holds, and write what it records into the run."""
    orders = hub.orders
    folder = orders.folder or Path()
    journal = Journal(folder, block.number)
    make_folder(journal.folder.parent)
    make_folder(journal.folder)
    with locked(journal.folder, seconds=LOCK_SECONDS):
        ended = journal.result()
        if ended is not None:  # by a worker whose end the client did not see
            return [Receipt(ended)]
        writer = BlockWriter(folder, block.number, orders.every, orders.extra)
        progress = journal.progress([lane.number for lane in block.lanes])
        hub.underway[block.number] = Underway(block.number, writer.rows, np.nan, worker)
        block = replace(block, progress=progress)

        def note(written: Record) -> None:
            if isinstance(written, TraceChunk):
                rows, loss = written.next_iteration, written.last_loss
                hub.underway[block.number] = Underway(block.number, rows, loss, worker)

        with Beside(writer, note) as writing:
            for record in run_block(block, hub.device, cancelled, orders.checkpoint_seconds):
                if isinstance(record, BlockResult):
                    writing.finish()
                    return _ended(writer, record, worker)
                writing.add(cast(Unfinished, record))
    raise AssertionError("a block ends with a result")


def _ended(writer: BlockWriter, result: BlockResult, worker: str) -> list[Record | BlockError]:
    """Write the end of a block, unless it is to go on elsewhere."""
    if any(lane.status is Status.INTERRUPTED for lane in result.lanes):
        writer.flush()
        return [Underway(result.block, writer.rows, np.nan, worker), result]
    writer.end(result)
    writer.thin_after(result)
    return [Receipt(result)]


def _streamed(
    hub: _Hub, block: Block, worker: str, cancelled: Callable[[], bool]
) -> list[Record | BlockError]:
    """Run a block, and keep what it records until the client takes it."""
    box = hub.outboxes[block.number] = Outbox()
    box.put(Underway(block.number, 0, np.nan, worker), cancelled)
    for record in run_block(block, hub.device, cancelled, hub.orders.checkpoint_seconds):
        box.put(record, cancelled)
    return []


def _cancelled(worker: Worker, key: str, hub: _Hub) -> Callable[[], bool]:
    """Return what says whether a block is to end: nobody wants it, or the worker ends."""
    tasks = worker.state.tasks

    def cancelled() -> bool:
        task = tasks.get(key)
        wanted = task is not None and task.state == "executing" and worker.status in AT_WORK
        return not wanted or hub.stopping.is_set() or _told_to_end.is_set()

    return cancelled


def _heed_termination() -> None:
    """Let SIGTERM end blocks with a checkpoint before it ends the process."""
    if threading.current_thread() is not threading.main_thread() or _told_to_end.is_set():
        return
    usual = signal.getsignal(signal.SIGTERM)
    if getattr(usual, "ends_blocks", False):
        return

    def end_soon(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, usual)  # a second one ends the process at once
        _told_to_end.set()
        threading.Thread(target=_end_when_idle, daemon=True).start()

    end_soon.ends_blocks = True  # type: ignore[attr-defined]
    signal.signal(signal.SIGTERM, end_soon)


def _end_when_idle() -> None:
    until = time.monotonic() + GRACE_SECONDS
    while time.monotonic() < until and any(map(_is_busy, [*_hubs.values()])):
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGTERM)


def _is_busy(hub: _Hub) -> bool:
    return bool(hub.at_work or any(box.waits for box in [*hub.outboxes.values()]))
