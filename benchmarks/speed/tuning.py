"""What ``optbench tune`` itself takes beside its lanes, as CPU time.

Lanes are what workers do, threads or processes: steps and evaluations. The study's own work is all
else that its process does but recording, which :mod:`benchmarks.speed.overhead` tells of: sampling,
planning, reading tables, choosing, writing tune.json and trials.parquet.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.speed.processes import import_all, part
from optbench.runs.invocation import Execution
from optbench.tuning import study
from optbench.tuning.protocol import TuneRequest

OPTIMIZERS = ("sgd", "momentum", "adagrad", "adam")

PROBLEMS: dict[str, dict[str, Any]] = {
    "network": {
        "name": "network",
        "data": "mnist-5k",
        "layers": ["dense 100", "relu", "dense 10"],
        "iterations": 300,
    },
    "function": {"name": "anisotropic", "start_spread": 0.05, "iterations": 1000},
}
"""What is tuned; the quick benchmark makes a third of the iterations."""


def run(rounds: int, *, quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """Make a study of each problem in a process of its own; return their CPU seconds."""
    found = {}
    for name in PROBLEMS:
        found[name] = part("tuning", name, "3" if quick else "1")
        say(
            f"{name}: {found[name]['own_seconds']:.2f} s beside {found[name]['lane_seconds']:.1f} s"
        )
    return {"optimizers": list(OPTIMIZERS), "trials": 64, "seeds": 3, "studies": found}


def watch_one_study(name: str, divisor: int) -> dict[str, float]:
    """Tune four optimizers, 64 trials and 3 seeds each, and return the CPU seconds."""
    import_all()
    problem = PROBLEMS[name]
    suite = {
        "name": "tuning",
        "problem": [{**problem, "iterations": problem["iterations"] // divisor}],
        "optimizer": [{"name": each} for each in OPTIMIZERS],
    }
    recording = _Timed(study.run_plan)
    study.run_plan = recording
    with tempfile.TemporaryDirectory() as folder:
        begun, main = _process_seconds(), time.thread_time()
        study.tune(TuneRequest(suite), Execution(out=Path(folder)))
        main = time.thread_time() - main
        whole = _process_seconds() - begun
    own, lanes = main - recording.seconds, whole - main
    return {"own_seconds": own, "lane_seconds": lanes, "share": own / lanes}


class _Timed:
    """A function that adds up the CPU seconds of the thread that calls it."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.seconds = 0.0

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        begun = time.thread_time()
        try:
            return self._function(*arguments, **options)
        finally:
            self.seconds += time.thread_time() - begun


def _process_seconds() -> float:
    """Return the CPU seconds of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


if __name__ == "__main__":
    sys.stdout.write(json.dumps(watch_one_study(sys.argv[1], int(sys.argv[2]))))
