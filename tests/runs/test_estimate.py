"""What a run would take, with a clock that a test owns."""

import itertools

import pytest

from optbench.device.cpu import NumpyDevice
from optbench.runs.estimate import PROBE_ROWS, estimate_plan
from optbench.runs.layout import lane_bytes
from optbench.runs.pipeline import plan_run
from tests.small import anisotropic, small_network, suite


def ticking(seconds: float):
    """Return a clock that moves on by the same time whenever it is read."""
    ticks = itertools.count()
    return lambda: next(ticks) * seconds


def test_blocks_of_a_kind_are_counted_together_and_time_is_scaled_to_the_whole_run():
    rates = [{"lr": 0.001 * (1 + number)} for number in range(5)]
    settled = suite(anisotropic(), optimizers=[("sgd", rates), "adam"], iterations=100)
    plan = plan_run(settled, NumpyDevice(), workers=3)
    adam, sgd = estimate_plan(plan, NumpyDevice(), ticking(0.02))
    assert (adam.optimizer, adam.lanes, adam.blocks) == ("adam", 1, 1)
    assert (sgd.optimizer, sgd.lanes, sgd.blocks) == ("sgd", 5, 1)
    assert sgd.iterations == adam.iterations == 100
    # A stretch of steps reads the clock twice, so it seems to take one tick.
    whole = 0.02 * 100 / PROBE_ROWS
    assert adam.seconds == pytest.approx(whole)
    largest = max(len(block.lanes) for block in plan.blocks)
    assert sgd.seconds == pytest.approx(whole / largest * 5)
    (block,) = [block for block in plan.blocks if block.optimizer.name == "adam"]
    assert adam.block_bytes == lane_bytes(block.problem, block.optimizer)


def test_a_run_too_short_to_probe_twice_is_timed_by_its_first_steps():
    plan = plan_run(suite(anisotropic(), optimizers=["sgd"], iterations=3), NumpyDevice())
    (only,) = estimate_plan(plan, NumpyDevice(), ticking(0.5))
    assert only.seconds == pytest.approx(0.5)


def test_evaluations_are_scaled_from_the_smallest_split():
    problem = small_network()
    plan = plan_run(suite(problem, optimizers=["sgd"], iterations=3), NumpyDevice())
    (only,) = estimate_plan(plan, NumpyDevice(), ticking(1.0))
    sizes = problem.split_sizes().values()
    assert only.seconds == pytest.approx(1.0 + sum(sizes) / min(sizes))
