"""Lane-steps of Adam on the textbook's function, with losses and positions.

The textbook's loop and PyTorch's keep them in a list; optbench hands them on, as to the writer of a
run, and lets them go.
"""

from collections.abc import Callable
from typing import Any

from benchmarks.speed import ours, textbook
from benchmarks.speed.contenders import has
from benchmarks.speed.measure import Timed, interleave, timed

TEXTBOOK = "textbook"
STEPS = {1: 4_000, 1_000: 2_000, 10_000: 512}
"""Steps by number of lanes."""

LR = 0.3
CASE = "adam"


def optbench(lanes: int) -> str:
    """Return what optbench with so many lanes is called."""
    return f"optbench, {lanes:,} lane{'' if lanes == 1 else 's'}"


def pytorch(lanes: int) -> str:
    """Return what PyTorch with so many lanes is called."""
    return "PyTorch eager" if lanes == 1 else f"PyTorch eager, one tensor of {lanes:,} lanes"


def run(rounds: int, *, quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """Time all contenders and return their samples."""
    share = 4 if quick else 1
    table: dict[str, dict[str, Timed]] = {TEXTBOOK: {CASE: _textbook(STEPS[1] // share)}}
    for lanes, steps in STEPS.items():
        if has("torch"):
            table[pytorch(lanes)] = {CASE: _pytorch(lanes, steps // 4 // share)}
        table[optbench(lanes)] = {CASE: _optbench(lanes, steps // share)}
    return {"seconds_per_lane_step": interleave(table, rounds, say)}


def _textbook(steps: int) -> Timed:
    return lambda: timed(lambda: textbook.descend(steps, LR), steps)


def _pytorch(lanes: int, steps: int) -> Timed:
    from benchmarks.speed import pytorch

    def work() -> float:
        pytorch.descend(5, LR, lanes)
        return timed(lambda: pytorch.descend(steps, LR, lanes), steps * lanes)

    return work


def _optbench(lanes: int, steps: int) -> Timed:
    suite = ours.function_suite(lanes, steps)
    ours.leave_out(suite)
    ours.compile_rules([CASE], 1, function=True)
    plan = ours.plan_of(suite)
    return lambda: ours.seconds_per_lane_step(plan)
