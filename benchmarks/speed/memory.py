"""The peak memory of a large run, beside what its arrays must take."""

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed import ours
from benchmarks.speed.processes import import_all, part
from benchmarks.speed.workload import BATCH, SIZES, learning_rates
from optbench.device.cpu import NumpyDevice
from optbench.runs.pipeline import Plan, new_invocation, run_plan

LANES, STEPS = 64, 32
STATUS = Path("/proc/self/status")


def run(rounds: int, *, quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """Run 64 lanes of Adam in a process of their own; ``quick`` leaves evaluation out."""
    if not STATUS.exists():
        return {"left_out": "this system has no /proc/self/status to read the peak from"}
    say("one run" + (", without evaluation" if quick else " with its evaluation"))
    return part("memory", "quick" if quick else "full")


def needed_bytes(plan: Plan) -> int:
    """Return what rows of all lanes, data, and activations of the blocks at work take.

    Rows are parameters, gradients and slots; activations of a lane are the images of a batch and
    the output of every layer.
    """
    block = plan.blocks[0]
    size = np.dtype(block.problem.dtype).itemsize
    rows = len(plan.lanes) * block.problem.parameters * (2 + len(block.groups[0].optimizer.slots))
    data = sum(array.nbytes for array in block.problem.data().values())
    most = max(len(each.lanes) for each in plan.blocks)
    at_work = min(plan.workers, len(plan.blocks)) * most
    return (rows + at_work * BATCH * sum(SIZES)) * size + data


def resident_bytes(field: str) -> int:
    """Return a size of this process as Linux tells it: VmRSS now, VmHWM the peak."""
    for line in STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"{STATUS} has no {field}")


def watch_one_run(*, evaluate: bool) -> dict[str, Any]:
    """Run, and return peak, what the imports took, and what the arrays need."""
    import_all()
    imports = resident_bytes("VmRSS")
    suite = ours.network_suite({"adam": learning_rates()["adam"]}, LANES, STEPS)
    if not evaluate:
        ours.leave_out(suite)
    plan = ours.plan_of(suite)
    with tempfile.TemporaryDirectory() as folder:
        run_plan(plan, NumpyDevice(), Path(folder), new_invocation())
    peak, needed = resident_bytes("VmHWM"), needed_bytes(plan)
    return {
        "lanes": LANES,
        "evaluated": evaluate,
        "blocks": len(plan.blocks),
        "peak_bytes": peak,
        "import_bytes": imports,
        "needed_bytes": needed,
        "ratio": (peak - imports) / needed,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(watch_one_run(evaluate=sys.argv[1] == "full")))
