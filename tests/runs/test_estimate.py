"""What a run would take, with a clock that a test owns."""

import itertools

import pytest

from optbench.device.cpu import NumpyDevice
from optbench.optimizers.registry import get_optimizer
from optbench.runs.estimate import PROBE_ROWS, estimate_plan
from optbench.runs.layout import lane_bytes
from optbench.runs.pipeline import plan_run
from tests.small import anisotropic, cpu, quadratic, small_network, suite


def ticking(seconds: float):
    """Return a clock that moves on by the same time whenever it is read."""
    ticks = itertools.count()
    return lambda: next(ticks) * seconds


def test_blocks_of_a_kind_are_counted_together_and_time_is_scaled_to_the_whole_run():
    rates = [{"lr": 0.001 * (1 + number)} for number in range(5)]
    optimizers = [("sgd", rates), "adam"]
    settled = suite(anisotropic(), quadratic(), optimizers=optimizers, iterations=100)
    device = cpu(4 * 32)  # four lanes of sgd on two variables, eight on one
    plan = plan_run(settled, device, workers=3)
    assert [len(block.lanes) for block in plan.blocks] == [3, 3, 6]
    plane, line = estimate_plan(plan, device, ticking(0.02))
    assert (plane.problem, plane.optimizers, plane.lanes, plane.blocks) == ("anisotropic", 2, 6, 2)
    assert (line.problem, line.optimizers, line.lanes, line.blocks) == ("quadratic-1d", 2, 6, 1)
    assert plane.iterations == line.iterations == 100
    # A stretch of steps reads the clock twice, so it seems to take one tick.
    whole = 0.02 * 100 / PROBE_ROWS
    assert plane.seconds == pytest.approx(whole * 2)
    assert line.seconds == pytest.approx(whole)
    sgd, adam = (lane_bytes(anisotropic(), get_optimizer(name)) for name in ("sgd", "adam"))
    assert (plane.block_lanes, plane.block_bytes) == (3, 2 * sgd + adam)
    assert (line.block_lanes, line.block_bytes) == (6, (5 * sgd + adam) // 2)


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
