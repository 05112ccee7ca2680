"""Spreads blocks over worker threads, each of which may have a process that does the work.

BLAS runs on one thread inside every worker, so that a product's bits do not depend on the number of
workers. Threads suffice for short runs, since NumPy releases the interpreter's lock while it
computes; between its products they wait for it, which processes do not. Blocks that run users' code
go one after another, in one thread: what such code keeps in its module, as a work array or a
network, is not made for several.
"""

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import count
from math import inf
from queue import Empty, SimpleQueue
from threading import Event

from threadpoolctl import threadpool_limits

from optbench.device.base import Device
from optbench.engine.block import Block, halves
from optbench.engine.block_error import block_error
from optbench.engine.loop import run_block
from optbench.engine.processes import Processes
from optbench.errors import UsageError
from optbench.records import BlockResult, BlockSplit, LaneResult, Record, Status, TraceChunk

WAITING_RECORDS, WAITING_BYTES = 32, 64 * 2**20
"""Once so many records wait to be taken, or their rows take so much memory, workers pause: a thread
that computes on small arrays hardly ever gives way to another, and an interrupt or a display has to
get its turn."""

PAUSE_SECONDS = 0.001

LISTEN_SECONDS = 0.1
"""How long it may take until processes hear that they are cancelled."""


def worker_count(device: Device, asked: int | None = None) -> int:
    """Return how many workers to use: by default one for a GPU, else as many as usable cores.

    Raises
    ------
    UsageError
        If fewer than one are asked for.
    """
    if asked is None:
        return 1 if device.kind == "gpu" else usable_cores()
    if asked < 1:
        raise UsageError(f"workers = {asked} must be at least 1")
    return asked


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def useful_workers(blocks: Sequence[Block], workers: int) -> int:
    """Return how many of some workers have work to do on blocks, at least one."""
    apart = sum(not block.runs_users_code for block in blocks)
    return max(1, min(workers, apart + (apart < len(blocks))))


def one_blas_thread() -> AbstractContextManager[object]:
    """Return a context in which BLAS uses one thread in every thread of the process."""
    limits: AbstractContextManager[object] = threadpool_limits(limits=1, user_api="blas")
    return limits


def execute(
    blocks: Sequence[Block],
    device: Device,
    workers: int,
    cancelled: Event,
    checkpoint_seconds: float = inf,
    first_new: int | None = None,
    *,
    processes: bool = False,
) -> Iterator[Record]:
    """Run blocks and yield their records as they come; each block's own are in order.

    Parameters
    ----------
    blocks
        What to run.
    device, workers
        What computes, and on how many threads.
    cancelled
        Once set, running blocks end after their current chunk and waiting ones yield their result
        only, with status ``interrupted``.
    checkpoint_seconds
        See :func:`optbench.engine.loop.run_block`.
    first_new
        Number of the first block that is made by splitting; by default one after all of these.
    processes
        Whether each thread has a process of its own run its blocks, but for those with users' code.

    A block that does not fit into memory, or whose code raises, is split in two, which run in its
    place: a lane that raises ends up alone and gets the status ``failed``; the others of its block
    go on.
    """
    records: SimpleQueue[Record] = SimpleQueue()
    if first_new is None:
        first_new = max((block.number for block in blocks), default=-1) + 1
    apart = Processes(type(device), cancelled) if processes else None
    worker = _Worker(device, cancelled, records, count(first_new), checkpoint_seconds, apart)
    running = len(blocks)
    with one_blas_thread(), device.residents():
        pool = ThreadPoolExecutor(max(1, workers), thread_name_prefix="optbench")
        try:
            users = [block for block in blocks if block.runs_users_code]
            if users:
                pool.submit(worker.run_in_turn, users)
            for block in blocks:
                if not block.runs_users_code:
                    pool.submit(worker.run, block)
            while running:
                if apart is not None and cancelled.is_set():
                    apart.cancel()
                try:
                    record = records.get(timeout=None if apart is None else LISTEN_SECONDS)
                except Empty:
                    continue
                if isinstance(record, BlockSplit):
                    running += len(record.parts) - 1
                running -= isinstance(record, BlockResult)
                yield record
        finally:
            if running:  # nobody takes the records any more
                cancelled.set()
            if apart is not None:
                apart.end()
            pool.shutdown(wait=not running, cancel_futures=True)


@dataclass(frozen=True)
class _Worker:
    """What every worker thread does with a block."""

    device: Device
    cancelled: Event
    records: SimpleQueue[Record]
    numbers: Iterator[int]
    checkpoint_seconds: float
    apart: Processes | None

    def run_in_turn(self, blocks: Sequence[Block]) -> None:
        """Run blocks one after another."""
        for block in blocks:
            self.run(block)

    def run(self, block: Block) -> None:
        """Run a block, or its halves where it does not fit into memory or raises."""
        for half in self._attempt(block):
            self.run(half)

    def _attempt(self, block: Block) -> tuple[Block, ...]:
        """Run a block; return its halves if it has to be split, else nothing."""
        try:
            with self.device.active():
                self._run_to_end(block)
        # Whatever a rule or a problem raises must not end other blocks, nor this thread.
        except BaseException as error:
            told = block_error(block, self.device, error)
            reason = told.message, told.traceback
            if len(block.lanes) > 1:
                return self._split(block, *(("", "") if told.lacks_memory else reason))
            self._fail(block, *reason)
        return ()

    def _run_to_end(self, block: Block) -> None:
        cancelled = self.cancelled.is_set
        for record in self._records_of(block):
            self.records.put(record)
            size = record.nbytes if isinstance(record, TraceChunk) else 0
            while self._many_wait(size) and not cancelled():
                time.sleep(PAUSE_SECONDS)

    def _records_of(self, block: Block) -> Iterator[Record]:
        cancelled = self.cancelled.is_set
        if self.apart is None or block.runs_users_code or cancelled():
            return run_block(block, self.device, cancelled, self.checkpoint_seconds)
        return self.apart.run(block, self.checkpoint_seconds)

    def _many_wait(self, size: int) -> bool:
        """Say whether too many records wait, if each is as large as the last one."""
        waiting = self.records.qsize()
        return waiting > WAITING_RECORDS or (waiting - 1) * size > WAITING_BYTES

    def _split(self, block: Block, message: str, text: str) -> tuple[Block, ...]:
        self.device.release()
        parts = halves(block, self.numbers)
        lanes = tuple((part.number, tuple(lane.number for lane in part.lanes)) for part in parts)
        self.records.put(BlockSplit(block.number, lanes, message, text))
        return parts

    def _fail(self, block: Block, message: str, text: str) -> None:
        results = tuple(
            LaneResult(lane.number, Status.FAILED, iterations=None, block_lanes=len(block.lanes))
            for lane in block.lanes
        )
        self.records.put(BlockResult(block.number, results, message, text))
