"""What is watched until it is at a target, compared with loops over rows."""

from math import inf, nan

import numpy as np
import pytest

from optbench.errors import UsageError
from optbench.records import Status
from optbench.report.watched import recorded, watch, watch_lanes
from tests.report.runs import Lane, function_problem, network_problem, tables, with_every

STOCHASTIC = network_problem(iterations=60)


def noisy(seed, rows=60):
    """Return a loss that falls from 2.3, with noise larger than what is left of it."""
    noise = np.random.default_rng(seed).normal(0.0, 0.3, rows)
    return 0.5 + 1.8 * 0.9 ** np.arange(rows) + noise


def by_a_loop(loss, target, window, first_update):
    for row in range(window - 1, len(loss)):
        if sum(loss[row - window + 1 : row + 1]) / window <= target:
            return row + first_update
    return inf


@pytest.mark.parametrize(("record", "first_update"), [("after", 1), ("before", 0)])
@pytest.mark.parametrize("target", [2.0, 1.0, 0.6, 0.4, 0.0])
def test_of_noisy_rows_the_mean_over_the_window_of_the_final_loss_counts(
    record, first_update, target
):
    losses = [noisy(seed) for seed in range(5)]
    lanes = [Lane("sgd", loss, "mnist-mlp", seed=seed) for seed, loss in enumerate(losses)]
    run = tables(lanes, [{**STOCHASTIC, "record": record}])
    found = watch(run, "mnist-mlp")
    assert (found.window, found.budget) == (6, 60)
    expected = [by_a_loop(loss, target, 6, first_update) for loss in losses]
    assert [found.times(target)[0].tolist()] == [expected]


def test_nothing_random_in_a_row_needs_no_window_and_the_last_row_counts():
    run = tables([Lane("sgd", [9.0, 5.0, 5.0, 2.0])], [function_problem(iterations=3)])
    found = watch(run, "anisotropic")
    assert found.window == 1
    assert found.times([9.0, 5.0, 2.0, 1.9])[0].tolist() == [[0.0, 1.0, 3.0, inf]]


def test_a_lane_that_was_there_before_it_diverged_failed_or_stopped_has_been_there():
    ends = (Status.DIVERGED, Status.FAILED, Status.STOPPED)
    lanes = [
        Lane("sgd", loss, seed=seed, status=status)
        for seed, (loss, status) in enumerate(
            [([9.0, 1.0, nan], each) for each in ends] + [([9.0, 2.0, inf], each) for each in ends]
        )
    ]
    found = watch(tables(lanes, [function_problem()]), "anisotropic")
    assert found.times(1.0)[0].tolist() == [1.0, 1.0, 1.0, inf, inf, inf]


def test_a_lane_that_ended_outside_the_domain_reached_nothing():
    position = np.array([[0.0, 0.0], [99.0, 0.0]])
    lanes = [
        Lane("sgd", [9.0, -100.0], position=position),
        Lane("adam", [9.0, 3.0], position=position / 99.0),
    ]
    found = watch(tables(lanes, [function_problem()]), "anisotropic")
    assert [times.tolist() for times in found.times(5.0)] == [[inf], [1.0]]
    assert found.finals() == {"sgd": inf, "adam": 3.0}


def test_lanes_are_watched_also_where_nobody_says_which_take_part():
    lanes = [
        Lane("sgd", loss, hyperparameters={"lr": lr}, seed=seed)
        for seed in (3, 5)
        for lr, loss in ((0.1, [9.0, 4.0, 1.0]), (0.2, [9.0, 2.0 - seed, 8.0]))
    ]
    run = tables(lanes, [function_problem(random=True)])
    found = watch_lanes(run, "anisotropic")
    assert found.lane_times(2.0) == {0: 2.0, 1: 1.0, 2: 2.0, 3: 1.0}
    assert found.lane_times(-2.0) == {0: inf, 1: inf, 2: inf, 3: 1.0}
    assert found.paths == []


EVALUATIONS = [
    *((step, "train", 2.0 - step / 100, 0.5) for step in (0, 50, 100)),
    *((step, "validation", loss, loss / 10) for step, loss in ((0, 3.0), (50, 1.0), (100, 1.5))),
    (150, "validation", nan, nan),
]


def test_of_evaluations_the_first_at_the_target_counts_with_its_updates():
    lanes = [
        Lane("sgd", noisy(0), "mnist-mlp", evaluations=EVALUATIONS),
        Lane("adam", noisy(0), "mnist-mlp", evaluations=EVALUATIONS[::-1]),  # in any order
        Lane("lion", noisy(0), "mnist-mlp"),  # failed before any, say
    ]
    run = tables(lanes, [STOCHASTIC])
    for on, targets, times in [
        ("validation_loss", [3.0, 2.0, 1.0, 0.9], [0.0, 50.0, 50.0, inf]),
        ("validation_error", [0.1, 0.05], [50.0, inf]),
        ("train_loss", [1.5, 1.0], [50.0, 100.0]),
    ]:
        found = watch(run, "mnist-mlp", on)
        assert (found.window, found.minimum) == (1, None)
        assert [each.tolist() for each in found.times(targets)] == [
            [times], [times], [[inf] * len(targets)]
        ]  # fmt: skip
    assert watch(run, "mnist-mlp", "validation_loss").start == 3.0
    assert watch(run, "mnist-mlp", "validation_loss").evaluations == 4
    assert watch(run, "mnist-mlp").evaluations == 0


def test_what_was_not_recorded_is_none_and_what_was_is_named():
    run = tables([Lane("sgd", noisy(0), "mnist-mlp", evaluations=EVALUATIONS)], [STOCHASTIC])
    assert watch(run, "mnist-mlp", "test_loss") is None
    assert recorded(run, "mnist-mlp") == [
        "loss", "train_loss", "train_error", "validation_loss", "validation_error"
    ]  # fmt: skip
    lost = tables([Lane("sgd", [nan], status=Status.DIVERGED)], [function_problem()])
    assert watch(lost, "anisotropic") is None
    assert recorded(lost, "anisotropic") == []


@pytest.mark.parametrize("minimum", [None, 1.0])
def test_a_ladder_is_evenly_spaced_in_the_logarithm(minimum):
    minima = [] if minimum is None else [{"position": [0.0, 0.0], "value": minimum}]
    lanes = [Lane("sgd", [5.0, 3.0]), Lane("adam", [5.0, 1.25])]
    found = watch(tables(lanes, [function_problem(minima=minima)]), "anisotropic")
    rungs = found.ladder(9)
    assert (rungs[0], rungs[-1], len(rungs)) == (5.0, 1.25, 9)
    y = np.log(rungs - (minimum or 0.0))
    np.testing.assert_allclose(np.diff(y), (y[-1] - y[0]) / 8, rtol=1e-9)


def test_a_ladder_goes_no_deeper_than_rounding():
    found = watch(tables([Lane("sgd", [4.0, 0.0])], [function_problem()]), "anisotropic")
    floor = 4.0 * 1024 * 2.0**-52
    y = np.log(found.ladder(11) + floor)
    np.testing.assert_allclose(np.diff(y), (y[-1] - y[0]) / 10, rtol=1e-6)
    assert y[-1] == pytest.approx(np.log(floor))


def test_errors_have_evenly_spaced_rungs_and_who_never_fell_has_none():
    lanes = [Lane("sgd", noisy(0), "mnist-mlp", evaluations=EVALUATIONS[:5])]
    found = watch(tables(lanes, [STOCHASTIC]), "mnist-mlp", "validation_error")
    np.testing.assert_allclose(found.ladder(5), np.linspace(0.3, 0.1, 5))
    risen = tables([Lane("sgd", [4.0, 4.0])], [function_problem()])
    assert watch(risen, "anisotropic").ladder(5) is None


def test_seeds_that_choose_are_not_watched():
    lanes = [
        Lane("sgd", [9.0, float(seed + 10 * lr)], seed=seed, hyperparameters={"lr": lr})
        for lr in (0.1, 0.2)
        for seed in range(3)
    ]
    run = tables(lanes, [function_problem()])
    assert [len(paths) for paths in watch(run, "anisotropic", choose_on=[1]).paths] == [2]
    with pytest.raises(UsageError, match="--choose-on"):
        watch(run, "anisotropic")


@pytest.mark.parametrize("every", [7, None])
def test_a_loss_of_which_rows_are_missing_is_not_watched_but_evaluations_are(every):
    evaluations = [(updates, "test", 1.0 / (1 + updates), 0.1) for updates in (0, 30, 60)]
    lanes = [Lane("sgd", noisy(0), "mnist-mlp", evaluations=evaluations)]
    run = tables(lanes, [STOCHASTIC])
    thin = with_every(run, every)
    kept = "every 7th row" if every else "the first and the last row"
    with pytest.raises(UsageError, match=f"^the run kept {kept} of its trace, .* --trace all$"):
        watch(thin, "mnist-mlp")
    found, whole = (watch(each, "mnist-mlp", "test_loss") for each in (thin, run))
    assert found.times(0.1)[0].tolist() == whole.times(0.1)[0].tolist() == [30.0]
    assert found.start == whole.start == 1.0
    assert recorded(thin, "mnist-mlp") == ["test_loss", "test_error"]
    assert recorded(run, "mnist-mlp") == ["loss", "test_loss", "test_error"]
