import numpy as np
import pytest

from optbench.gate.metric import log_losses
from tests.report.runs import function_problem, network_problem


def effects(then, now, start, problem):
    before, after = log_losses(np.array(then), np.array(now), start, problem)
    return np.exp(after - before) - 1.0


def test_a_function_is_measured_above_its_smallest_minimum():
    problem = function_problem(
        minima=[{"position": [0.0, 0.0], "value": 3.0}, {"position": [1.0, 1.0], "value": 1.0}],
        dtype="float64",
    )
    assert effects([1.5], [1.75], 10.0, problem) == pytest.approx([0.5], rel=1e-10)


@pytest.mark.parametrize(("dtype", "rounding"), [("float64", 2.2e-16), ("float32", 1.2e-7)])
def test_losses_a_few_roundings_from_the_minimum_are_alike(dtype, rounding):
    problem = function_problem(
        minima=[{"position": [0.0, 0.0], "value": -78.0}], dtype=dtype, variables=["x", "y"]
    )
    near = effects([-78.0], [-78.0 + 4 * 78 * rounding], 50.0, problem)
    assert abs(near[0]) < 0.005
    far = effects([-78.0 + 1.0], [-78.0 + 1.2], 50.0, problem)
    assert far[0] == pytest.approx(0.2, rel=0.02)


def test_a_function_below_its_known_minimum_is_as_good_as_at_it_wherever_it_starts():
    problem = function_problem(dtype="float64")
    assert effects([0.0], [-5.0], 6.45, problem).tolist() == [0.0]
    for start in (np.nan, np.inf, 0.0):
        for now in (0.0, -5.0):
            assert np.isfinite(log_losses(np.zeros(1), np.array([now]), start, problem)).all()


def test_a_networks_loss_is_measured_above_zero_however_small():
    problem = network_problem(dtype="float32")
    assert effects([1e-4, 0.5], [1.1e-4, 0.6], 2.3, problem) == pytest.approx([0.1, 0.2], rel=5e-3)


def test_noisy_functions_may_fall_below_the_minimum_and_their_noise_is_the_floor():
    problem = function_problem(batch_size=128, dtype="float32")
    then = np.array([-0.01, 0.0, 0.01, 0.02, 0.03])
    found = log_losses(then, then, 150.0, problem)
    assert np.isfinite(found).all()
    assert np.array_equal(*found)
    # the floor is 1,024 roundings of the start here: 0.0183; twice the depth, 0.02, is more
    assert effects([0.1] * 5, [0.2] * 5, 1.0, problem) == pytest.approx([1.0] * 5, rel=1e-2)
    assert effects(then, then + 0.001, 150.0, problem)[0] == pytest.approx(0.1, rel=1e-3)


def test_losses_that_are_not_positive_without_a_known_minimum_are_measured_by_their_size():
    problem = function_problem(minima=[], dtype="float64")
    found = effects([-78.0] * 3, [-78.0 * 0.95] * 3, 5.0, problem)
    assert found == pytest.approx([0.05] * 3, rel=0.03)


@pytest.mark.parametrize(
    "problem",
    [
        function_problem(),
        function_problem(batch_size=128, dtype="float32"),
        function_problem(minima=[]),
        network_problem(),
    ],
)
def test_exchanging_lanes_of_a_seed_exchanges_their_metrics_and_changes_no_other(problem):
    generator = np.random.default_rng(1)
    then, now = generator.normal(0.0, 0.1, (2, 8)) + (0.5 if problem["kind"] == "network" else 0.0)
    swap = np.arange(8) % 3 == 0
    before, after = log_losses(then, now, 6.0, problem)
    other = log_losses(np.where(swap, now, then), np.where(swap, then, now), 6.0, problem)
    assert other[0] == pytest.approx(np.where(swap, after, before), rel=1e-12)
    assert other[1] == pytest.approx(np.where(swap, before, after), rel=1e-12)
