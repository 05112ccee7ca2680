"""Spreads blocks over worker threads.

BLAS runs on one thread inside every worker, so that a product's bits do not depend on the number of
workers; threads suffice since NumPy lets go of the interpreter's lock while it computes.
"""

import os
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from threading import Event

from threadpoolctl import threadpool_limits

from optbench.device import Device
from optbench.engine import run_block
from optbench.lanes import Block
from optbench.records import BlockResult, LaneResult, Record, Status

WAITING_RECORDS = 32
"""Once so many records wait to be taken, workers pause: a thread that computes on small arrays
hardly ever lets another one in, and an interrupt or a display has to get its turn."""

PAUSE_SECONDS = 0.001


def default_workers(device: Device, blocks: int) -> int:
    """Return how many workers to use: one for a GPU, else as many as usable cores or blocks."""
    return 1 if device.kind == "gpu" else max(1, min(usable_cores(), blocks))


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def execute(
    blocks: Sequence[Block], device: Device, workers: int, cancelled: Event
) -> Iterator[Record]:
    """Run blocks and yield their records as they come; each block's own are in order.

    Once ``cancelled`` is set, running blocks end after their current chunk and waiting ones yield
    their result only, with status ``interrupted``. A block whose code raises yields a result with
    status ``failed``; the others go on.
    """
    records: SimpleQueue[Record] = SimpleQueue()
    with (
        threadpool_limits(limits=1, user_api="blas"),
        ThreadPoolExecutor(workers, thread_name_prefix="optbench") as pool,
    ):
        for block in blocks:
            pool.submit(_work, block, device, cancelled, records)
        running = len(blocks)
        try:
            while running:
                record = records.get()
                running -= isinstance(record, BlockResult)
                yield record
        finally:
            if running:  # nobody takes the records any more
                cancelled.set()


def _work(block: Block, device: Device, cancelled: Event, records: SimpleQueue[Record]) -> None:
    try:
        for record in run_block(block, device, cancelled.is_set):
            records.put(record)
            while records.qsize() > WAITING_RECORDS and not cancelled.is_set():
                time.sleep(PAUSE_SECONDS)
    except Exception as error:  # whatever a rule or a problem raises must not end the other blocks
        message = f"{type(error).__name__}: {error}".splitlines()[0]
        results = tuple(
            LaneResult(lane.number, Status.FAILED, iterations=0, block_lanes=len(block.lanes))
            for lane in block.lanes
        )
        records.put(BlockResult(block.number, results, message, traceback.format_exc()))
