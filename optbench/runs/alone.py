"""What an update costs, rule by rule: each timed alone, so that the times can be compared.

A lane's share of the time of its block says how lanes were stacked, not what its rule costs.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from statistics import median

from optbench.device.base import Device
from optbench.engine.block import Block
from optbench.engine.executor import one_blas_thread
from optbench.engine.stepper import Stepper
from optbench.records import Lane
from optbench.runs.layout import plan_blocks
from optbench.suite.resolve import Suite

STRETCHES, STEPS = 5, 200
"""Stretches of so many steps are timed, after one that warms up."""

ROWS = 50
"""Steps between two times that losses come down from the device."""


def alone_seconds(
    suite: Suite,
    lanes: tuple[Lane, ...],
    device: Device,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[str, str, float]]:
    """Yield problem, label and seconds of a step of each label's first lane, alone on one worker.

    The seconds are the median over :data:`STRETCHES` of :data:`STEPS` steps each: loss, gradient
    and update, as a lane's ``step_seconds``. Labels whose code raises are left out.
    """
    first: dict[tuple[str, str], Lane] = {}
    for lane in lanes:
        first.setdefault((lane.problem, lane.label), lane)
    with device.active(), one_blas_thread(), device.residents():
        for (problem, label), lane in first.items():
            if cancelled():
                return
            (block,) = plan_blocks(suite, [lane], device.block_bytes)
            try:
                seconds = _step_seconds(block, device)
            except Exception:  # users' code may raise anything, and its lane says so
                continue
            yield problem, label, seconds


def _step_seconds(block: Block, device: Device) -> float:
    long_enough = replace(block, iterations=(STRETCHES + 1) * STEPS)
    stepper = Stepper(long_enough, device)
    stretches = []
    for first in range(0, long_enough.iterations, STEPS):
        for row in range(first, first + STEPS, ROWS):
            stepper.advance(row, ROWS)
        gradient, update = stepper.take_seconds()
        stretches.append(float(gradient[0] + update[0]))
    return median(stretches[1:]) / STEPS
