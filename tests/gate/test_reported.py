from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from optbench.gate.compare import _median, compare
from optbench.gate.compare import test_errors as mean_test_errors
from optbench.gate.verdict import Reached
from tests.gate.made import curve, function_lanes, made, network_lanes, saved
from tests.report.runs import Lane


def evaluated(errors, rate=0.1):
    """Return a run of Adam with one lane an error."""
    return made(lanes_of(errors, rate))


def lanes_of(errors, rate):
    first, train = (60, "test", 0.5, 0.9), (120, "train", 0.1, 0.01)
    return [
        Lane(
            "adam",
            curve(0.3, seed),
            problem="mnist-mlp",
            seed=seed,
            hyperparameters={"lr": rate},
            evaluations=[first, train, (120, "test", 0.4, error)],
        )
        for seed, error in enumerate(errors)
    ]


def test_test_errors_are_means_of_the_last_evaluations_that_have_one():
    mean = pytest.approx(0.7 / 3)
    assert mean_test_errors(evaluated([0.1, 0.2, 0.4])) == {"mnist-mlp": {"adam": mean}}
    assert mean_test_errors(evaluated([np.nan, np.nan])) == {"mnist-mlp": {"adam": 0.9}}
    assert mean_test_errors(made(function_lanes())) == {}


def test_with_early_stopping_the_best_validated_parameters_count():
    run = evaluated([0.1, 0.2])
    run.lanes["best_at"] = pd.array([60, None], dtype="Int32")
    assert mean_test_errors(run)["mnist-mlp"]["adam"] == pytest.approx((0.9 + 0.2) / 2)


def test_errors_then_and_now_stand_in_the_groups_and_are_not_judged():
    then, now = evaluated([0.1] * 8), evaluated([0.9] * 8)
    verdict = compare(saved(then, test_error=mean_test_errors(then)), now)
    (group,) = verdict.groups
    assert group.test_error_then == pytest.approx(0.1)
    assert group.test_error_now == pytest.approx(0.9)
    assert verdict.findings == ()
    (group,) = compare(saved(then), now).groups
    assert group.test_error_then is None


def test_a_mean_over_configurations_stands_at_none_of_them():
    run = made([*lanes_of([0.1] * 8, 0.001), *lanes_of([0.3] * 8, 0.01)])
    groups = compare(saved(run, test_error=mean_test_errors(run)), run).groups
    assert [group.setting for group in groups] == ["lr=0.001", "lr=0.01"]
    assert {(group.test_error_then, group.test_error_now) for group in groups} == {(None, None)}


def reached(then, now, target=1.0):
    runs = [made(network_lanes({"adam": level})) for level in (then, now)]
    (group,) = compare(saved(runs[0], targets={"mnist-mlp": target}), runs[1]).groups
    return group.reached_then, group.reached_now


def first_at_most(level, target):
    """The median over seeds by hand."""
    curves = (curve(level, seed) for seed in range(8))
    return float(np.median([np.flatnonzero(losses <= target)[0] for losses in curves]))


def test_iterations_to_the_target_are_medians_over_seeds_and_censored_where_they_miss():
    then, now = reached(0.25, 0.8)
    assert then == Reached(first_at_most(0.25, 1.0))
    assert now == Reached(first_at_most(0.8, 1.0))
    assert then.iterations < now.iterations
    then, now = reached(0.25, 1.5)
    assert not then.censored
    assert (now.censored, str(now)) == (True, "> 119")


def test_on_both_sides_only_stored_iterations_count():
    then, now = reached(0.25, 0.25, target=0.2555)
    assert then == now
    assert then.iterations > 50
    assert then.iterations >= first_at_most(0.25, 0.2555)


def test_lanes_without_any_row_reach_nothing():
    run = made(network_lanes({"adam": 0.25}))
    empty = replace(run, trace=run.trace.iloc[:0])
    (group,) = compare(saved(run, targets={"mnist-mlp": 1.0}), empty).groups
    assert (group.reached_then is None, group.reached_now) == (False, None)


def test_without_a_target_nothing_is_reported():
    (group,) = compare(saved(made(function_lanes())), made(function_lanes())).groups
    assert (group.reached_then, group.reached_now) == (None, None)


def test_half_of_the_lanes_missing_censor_the_median():
    losses = [2.0, 0.5, 2.0, 0.5, 2.0, 2.0, 2.0, 2.0]
    rows = pd.DataFrame({"pair": np.repeat(range(4), 2), "iteration": [0, 1] * 4, "now": losses})
    assert _median(rows, "now", 4, 1.0) == Reached(1.0, censored=True)
    assert _median(rows[rows["pair"] < 3], "now", 3, 1.0) == Reached(1.0)
