"""What a run would take: lanes, blocks, memory, and time from a few steps of each kind of block."""

import time
from dataclasses import dataclass
from itertools import groupby
from statistics import median

from optbench.device.base import Device
from optbench.device.stopwatch import Clock
from optbench.engine.block import Block
from optbench.engine.executor import one_blas_thread
from optbench.engine.stepper import Stepper
from optbench.runs.layout import block_bytes
from optbench.runs.pipeline import Plan

PROBE_SECONDS = 0.1
"""For how long each kind of block is stepped; at least one stretch, at most the run."""

PROBE_ROWS = 8


@dataclass(frozen=True)
class Estimate:
    """What the blocks of one problem would take."""

    problem: str
    optimizers: int  # rules that share the blocks
    lanes: int
    blocks: int
    iterations: int
    block_lanes: int  # of the largest block
    block_bytes: int  # its parameters, gradients, slots and work arrays
    seconds: float  # of one worker for all of these blocks


def estimate_plan(plan: Plan, device: Device, clock: Clock = time.perf_counter) -> list[Estimate]:
    """Step one block of each kind for a moment and scale up; nothing is written.

    Blocks of one problem and the same rules are of one kind. Evaluations are left out of the steps
    and added from the time of one over the smallest split.
    """
    estimates = []
    for problem, group in groupby(plan.blocks, key=lambda block: block.lanes[0].problem):
        blocks = list(group)
        seconds = 0.0
        for _, alike in groupby(sorted(blocks, key=_rules), key=_rules):
            kind = list(alike)
            probed = max(kind, key=lambda block: len(block.lanes))
            with device.active(), device.quiet(), one_blas_thread():
                lane_seconds = _seconds(probed, device, clock) / len(probed.lanes)
            seconds += lane_seconds * sum(len(block.lanes) for block in kind)
        largest = max(blocks, key=block_bytes)
        estimates.append(
            Estimate(
                problem=problem,
                optimizers=len({name for block in blocks for name in _rules(block)}),
                lanes=sum(len(block.lanes) for block in blocks),
                blocks=len(blocks),
                iterations=largest.planned_updates,
                block_lanes=len(largest.lanes),
                block_bytes=block_bytes(largest),
                seconds=seconds,
            )
        )
    return estimates


def data_bytes(plan: Plan) -> int:
    """Return what the data of all problems take; arrays that they share count once."""
    arrays = [array for entry in plan.suite.problems for array in entry.problem.data().values()]
    return sum(array.nbytes for array in {id(array): array for array in arrays}.values())


def _rules(block: Block) -> tuple[str, ...]:
    return tuple(group.optimizer.name for group in block.groups)


def _seconds(block: Block, device: Device, clock: Clock) -> float:
    """Return the time that a block would take: the median of some short stretches, scaled up."""
    stepper = Stepper(block, device)
    rows = min(PROBE_ROWS, block.iterations)
    stretches = [_stretch(stepper, 0, rows, clock)]  # the first allocates and warms up
    first, until = rows, clock() + PROBE_SECONDS
    while first + rows <= block.iterations and (len(stretches) == 1 or clock() < until):
        stretches.append(_stretch(stepper, first, rows, clock))
        first += rows
    stepping = median(stretches[1:] or stretches) / rows * block.planned_updates
    return stepping + _evaluation_seconds(block, stepper, clock)


def _stretch(stepper: Stepper, first: int, rows: int, clock: Clock) -> float:
    started = clock()
    stepper.advance(first, rows)
    return clock() - started


def _evaluation_seconds(block: Block, stepper: Stepper, clock: Clock) -> float:
    sizes = block.problem.split_sizes()
    if not sizes:
        return 0.0
    smallest = min(sizes, key=lambda split: sizes[split])
    started = clock()
    stepper.evaluate(smallest)
    return (clock() - started) * sum(sizes.values()) / sizes[smallest]
