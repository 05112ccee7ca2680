"""The peak memory of a large run, beside what its arrays must take, and that of a long one."""

import io
import json
import sys
import tempfile
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed import ours
from benchmarks.speed.processes import import_all, part
from benchmarks.speed.workload import BATCH, SIZES, learning_rates
from optbench.cli import invoke
from optbench.device.cpu import NumpyDevice
from optbench.runs.pipeline import Plan, new_invocation, run_plan

LANES, STEPS = 64, 32
LONG_LANES, SHORT, LONG = 1000, 10_000, 100_000
"""Lanes of Adam on a function, and their iterations: at 10,000 they have recorded 229 MiB."""

STATUS = Path("/proc/self/status")


def run(rounds: int, *, quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """Run 64 lanes of Adam, and long lanes, each in a process of its own.

    ``quick`` leaves evaluation and the long lanes out.
    """
    if not STATUS.exists():
        return {"left_out": "this system has no /proc/self/status to read the peak from"}
    say("one run" + (", without evaluation" if quick else " with its evaluation"))
    large = part("memory", "quick" if quick else "full")
    if quick:
        return large
    long = {}
    for iterations in (SHORT, LONG):
        say(f"{LONG_LANES:,} lanes, {iterations:,} iterations")
        long[f"{iterations}"] = part("memory", f"{iterations}")["peak_bytes"]
    return {**large, "long_peak_bytes": long, "long_ratio": long[f"{LONG}"] / long[f"{SHORT}"]}


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


def watch_command(iterations: int) -> dict[str, Any]:
    """Call ``optbench run`` with long lanes, and return the peak."""
    rates = f"adam.lr=1e-3:1:{LONG_LANES}"
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
        sys.argv = ["optbench", "run", "anisotropic", "-o", "adam", "--grid", rates]
        sys.argv += ["--iterations", f"{iterations}", "--out", folder]
        if code := invoke():
            raise RuntimeError(f"optbench run ended with exit code {code}")
    return {"peak_bytes": resident_bytes("VmHWM")}


if __name__ == "__main__":
    what = sys.argv[1]
    found = watch_command(int(what)) if what.isdigit() else watch_one_run(evaluate=what == "full")
    sys.stdout.write(json.dumps(found))
