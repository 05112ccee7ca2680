"""optbench itself, through its executor and worker threads, as ``optbench run`` starts them."""

import time
from collections.abc import Callable, Mapping, Sequence
from threading import Event
from typing import Any

from optbench.device import jit
from optbench.device.base import Device
from optbench.device.cpu import NumpyDevice
from optbench.engine.executor import execute
from optbench.records import Record, TraceChunk
from optbench.runs.pipeline import Plan, plan_run
from optbench.suite.format import parse_suite
from optbench.suite.resolve import Suite, resolve


class FirstReading:
    """A clock that remembers when it was first read, which is before the first step."""

    def __init__(self) -> None:
        self.first: float | None = None

    def __call__(self) -> float:
        """Return the seconds of a clock that never goes back."""
        now = time.perf_counter()
        if self.first is None:
            self.first = now
        return now


def network_suite(learning_rates: Mapping[str, float], seeds: int, iterations: int) -> Suite:
    """Return a suite that trains the textbook's network with some optimizers and so many seeds."""
    problem = {"name": "mnist-mlp", "record": "before"}
    optimizers = [{"name": name, "lr": lr} for name, lr in learning_rates.items()]
    return _suite(problem, optimizers, iterations, seeds)


def function_suite(lanes: int, iterations: int) -> Suite:
    """Return a suite of Adam on the textbook's function, a learning rate a lane."""
    swept = {"lr": 0.3} if lanes == 1 else {"grid": {"lr": f"1e-2:1:{lanes}"}}
    return _suite({"name": "anisotropic"}, [{"name": "adam", **swept}], iterations, seeds=1)


def _suite(
    problem: dict[str, Any], optimizers: list[dict[str, Any]], iterations: int, seeds: int
) -> Suite:
    plain = {"name": "speed", "problem": [problem], "optimizer": optimizers}
    return resolve(parse_suite({**plain, "iterations": iterations, "seeds": seeds}, "benchmark"))


def leave_out(suite: Suite, start: Callable[[int], Any] | None = None) -> None:
    """Take evaluation out of a suite, and with ``start`` the drawing of starts: not stepping."""
    for setting in suite.problems:
        setting.problem.split_sizes = dict  # type: ignore[method-assign]
        if start is not None:
            setting.problem.start = start  # type: ignore[method-assign]


def compile_rules(optimizers: Sequence[str], lanes: int, *, function: bool) -> None:
    """Have rules compiled before they are timed, as JAX's training is, where Numba is installed.

    A run of ``optbench run`` compiles them on its way; see :mod:`optbench.device.jit`.
    """
    jit.COMPILE_AFTER = jit.LOAD_AFTER = 0
    rates = dict.fromkeys(optimizers, 0.01)
    suite = function_suite(lanes, 2) if function else network_suite(rates, lanes, 2)
    leave_out(suite)
    step_all(plan_of(suite))


def plan_of(suite: Suite, device: Device | None = None) -> Plan:
    """Return the plan that ``optbench run`` makes, by default on the CPU."""
    return plan_run(suite, device or NumpyDevice())


def _let_go(record: Record) -> None:
    """Keep nothing, as the writer of a run once a record is on the disk."""


def step_all(plan: Plan, take: Callable[[Record], object] = _let_go) -> float:
    """Run a plan, hand on each record as it comes, and return the seconds of stepping.

    Stepping is the time on the wall from before the first step of any lane until the last rows of
    all lanes have arrived, whatever the workers did in between.
    """
    clock = FirstReading()
    end = 0.0
    for record in execute(plan.blocks, NumpyDevice(clock), plan.workers, Event()):
        if isinstance(record, TraceChunk):
            end = time.perf_counter()
        take(record)
    if clock.first is None or not end:
        raise RuntimeError(f"no lane made a step: {record}")
    return end - clock.first


def seconds_per_lane_step(plan: Plan) -> float:
    """Run a plan and return the seconds on the wall that a step of one lane took."""
    return step_all(plan) / sum(len(block.lanes) * block.iterations for block in plan.blocks)
