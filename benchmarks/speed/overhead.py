"""What recording and display take of a run's CPU time.

Workers step; the main thread takes their records, writes them and moves the bars; another thread
draws the bars. All CPU time of threads that are no workers counts as logging and display.
"""

import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.speed import ours
from benchmarks.speed.processes import import_all, part
from optbench.device.cpu import NumpyDevice
from optbench.display.runs import display
from optbench.records import Record
from optbench.runs.pipeline import new_invocation, run_plan
from optbench.suite.format import read_suite
from optbench.suite.resolve import resolve

WORKERS = "optbench"
"""How the names of worker threads begin."""


def run(rounds: int, *, quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """Run the suite mnist-mlp in processes of their own; return shares of their CPU time."""
    if not hasattr(time, "pthread_getcpuclockid"):
        return {"left_out": "this system does not tell the CPU time of other threads"}
    runs = [part("overhead", "500" if quick else "2000") for _ in range(1 if quick else 3)]
    return {"suite": "mnist-mlp", "shares": [each["share"] for each in runs], "runs": runs}


class Bystanders:
    """CPU seconds of all threads but the workers and the one that asks."""

    def __init__(self) -> None:
        self._seconds: dict[int, float] = {}

    def look(self) -> None:
        """Read the clocks of the threads that live now."""
        for thread in threading.enumerate():
            ident = thread.ident
            if thread is threading.current_thread() or ident is None:
                continue
            if not thread.name.startswith(WORKERS):
                clock = time.pthread_getcpuclockid(ident)
                self._seconds[ident] = time.clock_gettime(clock)

    @property
    def seconds(self) -> float:
        """The latest readings together."""
        return sum(self._seconds.values())


def watch_one_run(iterations: int) -> dict[str, float]:
    """Run the suite with bars and files, without evaluation, and return its CPU seconds."""
    import_all()

    suite = resolve(read_suite("mnist-mlp").changed(iterations=iterations))
    ours.leave_out(suite)
    plan = ours.plan_of(suite)
    bystanders = Bystanders()
    with tempfile.TemporaryDirectory() as folder:
        begun, main = time.process_time(), time.thread_time()
        with display(plan, quiet=False) as observe:

            def watched(record: Record) -> None:
                observe(record)
                bystanders.look()

            run_plan(plan, NumpyDevice(), Path(folder), new_invocation(), watched)
            bystanders.look()
        main = time.thread_time() - main
        whole = time.process_time() - begun
    aside = main + bystanders.seconds
    return {
        "share": aside / whole,
        "process_seconds": whole,
        "main_thread_seconds": main,
        "display_thread_seconds": bystanders.seconds,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(watch_one_run(int(sys.argv[1]))))
