"""``python -m benchmarks.gpu`` learns what there is to learn of a GPU, within eight minutes.

It compares the operations of a step with plain passes over the same arrays, times optbench beside
PyTorch on the same card, then runs ``optbench verify devices`` and the tests that need a GPU. Every
part is written to ``results/speed/<card>.json`` as soon as it is done, or has failed. Nothing is
downloaded; from a checkout without installation, PYTHONPATH=. is enough.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from copy import copy
from pathlib import Path
from statistics import median
from threading import Event
from typing import Any

import numpy as np

from benchmarks.speed import ours
from benchmarks.speed.__main__ import FOLDER
from benchmarks.speed.contenders import has
from benchmarks.speed.measure import spread
from benchmarks.speed.processes import COMMAND, ROOT
from benchmarks.speed.workload import Workload, learning_rates
from optbench.arrays import Workspace
from optbench.device.base import Device
from optbench.device.choose import get_device
from optbench.device.cpu import NumpyDevice
from optbench.engine.executor import execute
from optbench.engine.loop import CHUNK_ROWS
from optbench.optimizers.registry import OPTIMIZERS
from optbench.records import TraceChunk
from optbench.runs.pipeline import Plan
from optbench.store.environment import describe_environment

LANES, STEPS = 256, 256
EAGER_STEPS = 200
RULE_SEEDS, RULE_STEPS = 10, 192
FUNCTION_LANES, FUNCTION_STEPS = 10_000, 1024
ROUNDS = 3

TEST_SECONDS, VERIFY_SECONDS = 150.0, 120.0
"""After which tests and checks are given up, so that figures come within the eight minutes."""

COMPARED_STEPS, ROUNDING = 10, 1e-5
"""How many steps have to agree, and how well: a network in float32 drifts apart later."""

GOALS = {"eager": 100.0, "vmap": 1.3, "function": 20.0}
"""How many times faster than PyTorch, eager and vmapped, and than the CPU."""


def main() -> None:
    """Run all parts, or those asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=main.__doc__)
    parser.add_argument("--only", choices=PARTS, action="append", help="a part; repeatable")
    parser.add_argument("--out", type=Path, help="JSON file; by default one in results/speed")
    asked = parser.parse_args()
    device = get_device("gpu")
    found: dict[str, Any] = {"device": device.describe(), "environment": describe_environment()}
    out = asked.out or FOLDER / file_name(str(found["device"]["name"]))
    out.parent.mkdir(parents=True, exist_ok=True)
    for name in asked.only or PARTS:
        begun = time.perf_counter()
        try:
            found[name] = PARTS[name](device)
        except Exception:  # the other parts have something to say too
            found[name] = {"raised": traceback.format_exc().splitlines()}
        found[name]["part_seconds"] = round(time.perf_counter() - begun, 1)
        out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        sys.stdout.write(f"{name}: {json.dumps(found[name])}\n")
        sys.stdout.flush()
    sys.stdout.write(f"written: {out}\n")


def file_name(card: str) -> str:
    """Return the name of a card's file.

    >>> file_name("NVIDIA H200")
    'nvidia-h200.json'
    """
    return "-".join(re.findall(r"[a-z0-9]+", card.lower())) + ".json"


# Whether it is right.


def tests(device: Device) -> dict[str, Any]:
    """Run the tests that need a GPU."""
    if not has("pytest"):
        return {"left_out": "pytest is not installed"}
    return _command("-m", "pytest", "-q", "--no-header", "-m", "gpu", seconds=TEST_SECONDS)


def operations(device: Device) -> dict[str, Any]:
    """Compare a device's own operations with plain passes over the same arrays, and time both.

    Compared are the losses of the textbook's network in its first steps.
    """
    plain = copy(device)
    plain.workspace = lambda: Workspace(device.xp)  # type: ignore[method-assign]
    suite = ours.network_suite({"sgd": learning_rates()["sgd"]}, LANES, STEPS)
    ours.leave_out(suite)
    plan = ours.plan_of(suite, device)
    own, expected = (first_losses(plan, where) for where in (device, plain))
    differences = np.abs(own / expected - 1.0)
    times = {
        "optbench": lambda: seconds_per_lane_step(plan, device),
        "plain": lambda: seconds_per_lane_step(plan, plain),
    }
    return {
        "largest_relative_difference": float(differences.max()),
        "agree": bool((differences < ROUNDING).all()),
        **_timed(times),
    }


def first_losses(plan: Plan, device: Device) -> np.ndarray:
    """Return the losses of the first steps of all lanes, (steps, lanes)."""
    chunks = {}
    for record in execute(plan.blocks, device, plan.workers, Event()):
        if isinstance(record, TraceChunk) and record.first_iteration == 0:
            chunks[record.block] = record.loss[:COMPARED_STEPS]
    return np.concatenate([chunks[number] for number in sorted(chunks)], axis=1)


def verify(device: Device) -> dict[str, Any]:
    """Compare traces with those of the CPU."""
    return _command("-c", COMMAND, "verify", "devices", seconds=VERIFY_SECONDS)


def _command(*arguments: str, seconds: float) -> dict[str, Any]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]])}
    try:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"given_up_after_seconds": seconds}
    return {"exit_code": done.returncode, "said": (done.stdout + done.stderr).splitlines()[-25:]}


# How fast it is.


def network(device: Device) -> dict[str, Any]:
    """Time a lane-step of Adam on the textbook's network: optbench's lanes, and PyTorch's ways."""
    workload = Workload()
    suite = ours.network_suite({"adam": learning_rates()["adam"]}, LANES, STEPS)
    ours.leave_out(suite, workload.start)
    plan = ours.plan_of(suite, device)
    times = {"optbench": lambda: seconds_per_lane_step(plan, device)}
    if has("torch"):
        from benchmarks import gpu_pytorch

        times["eager"] = gpu_pytorch.eager(workload, EAGER_STEPS)
        times["vmap"] = gpu_pytorch.vmapped(workload, LANES, STEPS)
    found = _timed(times)
    return {"lanes": LANES, "blocks": len(plan.blocks), **found}


def rules(device: Device) -> dict[str, Any]:
    """Time all rules from ten seeds, as one run, beside the same on the CPU."""
    suite = ours.network_suite(dict.fromkeys(OPTIMIZERS, 1e-4), RULE_SEEDS, RULE_STEPS)
    ours.leave_out(suite)
    plans = {"optbench": (ours.plan_of(suite, device), device)}
    few = ours.network_suite(dict.fromkeys(OPTIMIZERS, 1e-4), 1, CHUNK_ROWS * 2)
    ours.leave_out(few)
    plans["CPU"] = (ours.plan_of(few), NumpyDevice())
    found = _timed(
        {
            name: lambda plan=plan, where=where: seconds_per_lane_step(plan, where)
            for name, (plan, where) in plans.items()
        }
    )
    return {"rules": len(OPTIMIZERS), "blocks": len(plans["optbench"][0].blocks), **found}


def function(device: Device) -> dict[str, Any]:
    """Time a lane-step of Adam on the textbook's function, beside the same on the CPU."""
    suite = ours.function_suite(FUNCTION_LANES, FUNCTION_STEPS)
    plan, on_cpu = ours.plan_of(suite, device), ours.plan_of(suite)
    found = _timed(
        {
            "optbench": lambda: seconds_per_lane_step(plan, device),
            "function": lambda: seconds_per_lane_step(on_cpu, NumpyDevice()),
        }
    )
    return {"lanes": FUNCTION_LANES, **found}


def seconds_per_lane_step(plan: Plan, device: Device) -> float:
    """Run a plan; return the seconds of a lane-step from each block's first chunk to its last.

    So what a block makes once, as its arrays and kernels, does not count. Blocks that run side by
    side, in workers of a CPU, share the time.
    """
    times: dict[int, list[float]] = {}
    for record in execute(plan.blocks, device, plan.workers, Event()):
        if isinstance(record, TraceChunk):
            times.setdefault(record.block, []).append(time.perf_counter())
    seconds = sum(arrived[-1] - arrived[0] for arrived in times.values()) / plan.workers
    lanes = sum(len(block.lanes) for block in plan.blocks)
    return seconds / (lanes * (min(map(len, times.values())) - 1) * CHUNK_ROWS)


def _timed(contenders: dict[str, Callable[[], float]]) -> dict[str, Any]:
    """Time contenders in turn, each once before it counts; return seconds, and ratios."""
    for work in contenders.values():
        work()
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, work in contenders.items():
            seconds[name].append(work())
    own = median(seconds["optbench"])
    ratios = {name: median(times) / own for name, times in seconds.items() if name != "optbench"}
    return {
        "seconds_per_lane_step": {name: vars(spread(times)) for name, times in seconds.items()},
        "times_faster_than": ratios,
        "reached": {name: ratios[name] >= goal for name, goal in GOALS.items() if name in ratios},
    }


PARTS: dict[str, Callable[[Device], dict[str, Any]]] = {
    "operations": operations,
    "network": network,
    "function": function,
    "rules": rules,
    "verify": verify,
    "tests": tests,
}


if __name__ == "__main__":
    main()
