from itertools import product

import numpy as np
import pandas as pd
import pytest

from optbench.errors import UsageError
from optbench.records import Status
from optbench.report.configurations import (
    bad_endings,
    configurations,
    describe,
    edge_warning,
    hyperparameter_text,
    problem_names,
    sensitivity,
    swept_columns,
    swept_numbers,
)
from tests.report.runs import (
    Lane,
    function_problem,
    function_run,
    network_lane,
    network_problem,
    swept_run,
    tables,
)


def lanes_with_final_losses(*entries):
    """Return a run of a function: (label, lr, seed, final loss or a status)."""
    lanes = []
    for label, lr, seed, final in entries:
        status = final if isinstance(final, Status) else Status.DONE
        loss = [5.0, np.inf if isinstance(final, Status) else final]
        lanes.append(Lane(label, loss, seed=seed, hyperparameters={"lr": lr}, status=status))
    return tables(lanes, [function_problem()])


def best(run, label="sgd"):
    table = configurations(run)
    chosen = table[table["best"] & (table["label"] == label)]
    assert len(chosen) == 1
    return chosen.iloc[0]


def test_lanes_that_differ_in_their_seed_only_are_one_configuration():
    table = configurations(swept_run(seeds=3))
    assert len(table) == 10
    assert (table["seeds"] == 3).all()
    assert table["lane_numbers"].iloc[1] == (3, 4, 5)


def test_a_hyperparameter_that_an_optimizer_has_not_does_not_split_its_lanes():
    lanes = [
        Lane("sgd", [1.0, 0.5], seed=0, hyperparameters={"lr": 0.1}),
        Lane("momentum", [1.0, 0.4], hyperparameters={"lr": 0.1, "momentum": 0.9}),
        Lane("sgd", [1.0, 0.7], seed=1, hyperparameters={"lr": 0.1}),
    ]
    table = configurations(tables(lanes, [function_problem()]))
    assert list(table["label"]) == ["sgd", "momentum"]
    assert table["final_loss"].iloc[0] == pytest.approx(0.6)
    assert np.isnan(table["hp_momentum"].iloc[0])


def test_the_best_has_the_smallest_median_over_seeds():
    run = lanes_with_final_losses(
        ("sgd", 0.1, 0, 0.1), ("sgd", 0.1, 1, 3.0), ("sgd", 0.1, 2, 3.0),
        ("sgd", 0.2, 0, 2.0), ("sgd", 0.2, 1, 2.0), ("sgd", 0.2, 2, 2.5),
    )  # fmt: skip
    assert best(run)["hp_lr"] == 0.2
    assert best(run)["final_loss"] == 2.0


@pytest.mark.parametrize("status", [Status.DIVERGED, Status.FAILED])
def test_a_lane_that_ended_badly_counts_as_the_worst_and_is_not_dropped(status):
    run = lanes_with_final_losses(
        ("sgd", 0.1, 0, 0.1), ("sgd", 0.1, 1, status), ("sgd", 0.2, 0, 4.0), ("sgd", 0.2, 1, 4.5)
    )
    assert best(run)["hp_lr"] == 0.2
    first = configurations(run).iloc[0]
    assert (first["final_loss"], first["status"]) == (np.inf, status)


def test_of_equals_the_first_in_the_order_of_numbers_not_of_rows_is_best():
    run = lanes_with_final_losses(("sgd", 0.3, 0, 1.0), ("adam", 0.1, 0, 1.0), ("sgd", 0.2, 0, 1.0))
    assert best(run)["hp_lr"] == 0.3
    shuffled = type(run)(**(vars(run) | {"lanes": run.lanes.iloc[[2, 1, 0]]}))
    assert best(shuffled)["hp_lr"] == 0.3
    assert problem_names(shuffled) == ["anisotropic"]


def validated(loss, iteration=200):
    return (iteration, "validation", loss, 0.1)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (  # never by test
            {"shift": 0.0, "evaluations": [validated(0.9), (200, "test", 0.1, 0.2)]},
            {"shift": 0.5, "evaluations": [validated(0.4), (200, "test", 0.9, 0.2)]},
        ),
        (  # by the last evaluation
            {"evaluations": [validated(0.9), validated(0.1, 100)]},
            {"evaluations": [validated(0.4), validated(0.5, 100)]},
        ),
        ({"evaluations": [validated(0.01, 100)], "status": Status.DIVERGED}, {}),
        ({"evaluations": []}, {}),
    ],
)
def test_networks_are_ranked_by_the_validation_loss_at_their_end(first, second):
    lanes = [
        network_lane("sgd", hyperparameters={"lr": lr}, **changes)
        for lr, changes in ((0.1, first), (0.2, second))
    ]
    found = best(tables(lanes, [network_problem()]))
    assert (found["hp_lr"], found["criterion"]) == (0.2, "validation_loss")


def evaluated(split, loss, iteration=200):
    return (iteration, split, loss, 0.1)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (  # the mean of the last batches, which is lower, does not count
            {"shift": 0.0, "evaluations": [evaluated("train", 0.6)]},
            {"shift": 0.5, "evaluations": [evaluated("train", 0.4)]},
        ),
        (  # nor does the test split
            {"evaluations": [evaluated("train", 0.6), evaluated("test", 0.1)]},
            {"evaluations": [evaluated("train", 0.4), evaluated("test", 0.9)]},
        ),
        (
            {"evaluations": [evaluated("train", 0.1)], "status": Status.DIVERGED},
            {"evaluations": [evaluated("train", 0.4)]},
        ),
        ({"evaluations": [evaluated("train", np.nan)]}, {"evaluations": [evaluated("train", 9.0)]}),
    ],
)
def test_without_a_validation_split_networks_are_ranked_by_the_training_loss(first, second):
    lanes = [
        network_lane("sgd", hyperparameters={"lr": lr}, **changes)
        for lr, changes in ((0.1, first), (0.2, second))
    ]
    found = best(tables(lanes, [network_problem()]))
    assert (found["hp_lr"], found["criterion"]) == (0.2, "train_loss")
    assert found["score"] == found["train_loss"]


def test_what_has_a_test_split_only_is_ranked_by_its_final_loss():
    lanes = [
        Lane("sgd", [5.0, final], hyperparameters={"lr": lr}, evaluations=[(1, "test", test, 0.1)])
        for lr, final, test in ((0.1, 2.0, 0.5), (0.2, 1.0, 0.9))
    ]
    found = best(tables(lanes, [function_problem()]))
    assert (found["hp_lr"], found["criterion"], found["score"]) == (0.2, "final_loss", 1.0)


def test_a_running_lane_has_no_final_values_and_a_stopped_one_has():
    row = best(lanes_with_final_losses(("sgd", 0.1, 0, Status.RUNNING), ("sgd", 0.1, 1, 1.0)))
    assert np.isnan(row["final_loss"])
    assert row["status"] == Status.RUNNING
    row = best(tables([Lane("sgd", [2.0, 1.0], status=Status.STOPPED)], [function_problem()]))
    assert (row["status"], row["final_loss"]) == (Status.STOPPED, 1.0)


@pytest.mark.parametrize(
    ("losses", "warning"),
    [
        ([1, 2, 3, 4], "lr=0.1 is the smallest tried; the best may lie beyond"),
        ([4, 3, 2, 1], "lr=0.4 is the largest tried; the best may lie beyond"),
        ([4, 1, 2, 3], None),
        ([1, 2], None),
        ([Status.DIVERGED] * 3, None),
    ],
)
def test_a_best_on_the_edge_of_the_grid_is_said(losses, warning):
    entries = [("sgd", (k + 1) / 10, 0, loss) for k, loss in enumerate(losses)]
    assert edge_warning(configurations(lanes_with_final_losses(*entries))) == warning


@pytest.mark.parametrize(
    ("losses", "warning"),
    [
        ([1, 0, 0, 0], None),  # ties inside and on the edge
        ([0, 0, 0, 0], None),
        ([2, 1, 1, 0], "lr=0.4 is the largest tried; the best may lie beyond"),
    ],
)
def test_an_edge_is_said_only_if_all_that_tie_for_best_lie_on_it(losses, warning):
    entries = [("sgd", (k + 1) / 10, 0, loss) for k, loss in enumerate(losses)]
    table = configurations(lanes_with_final_losses(*entries[::-1]))  # the largest comes first
    assert edge_warning(table) == warning


def grid(loss, **values):
    """Return Momentum's lanes on a grid, the first name outer, with the losses of its points."""
    points = [dict(zip(values, point, strict=True)) for point in product(*values.values())]
    return [Lane("momentum", [5.0, loss(**point)], hyperparameters=point) for point in points]


def test_two_edges_are_both_said():
    lanes = grid(
        lambda lr, momentum: lr + momentum, lr=(1.0, 2.0, 3.0), momentum=(-0.1, -0.2, -0.3)
    )
    warning = edge_warning(configurations(tables(lanes, [function_problem()])))
    assert warning.startswith("lr=1 is the smallest tried, momentum=-0.3 is the smallest tried;")


def test_only_numbers_have_edges():
    run = lanes_with_final_losses(*[("sgd", 0.1, k, 1.0 + k) for k in range(3)])
    run.lanes["hp_rule"] = ["a", "b", "c"]
    table = configurations(run)
    assert len(table) == 3
    assert edge_warning(table) is None
    assert swept_numbers(table) == []
    assert hyperparameter_text(table.iloc[1], swept_columns(table)) == "rule=b"


def test_what_was_swept_most_comes_first():
    lanes = grid(lambda momentum, lr: 1.0, momentum=(0.1, 0.2), lr=(1.0, 2.0, 3.0))
    run = tables(lanes, [function_problem()])
    assert swept_numbers(run.lanes) == ["hp_lr", "hp_momentum"]
    assert swept_numbers(run.lanes, least=3) == ["hp_lr"]
    assert swept_numbers(function_run().lanes) == []


def test_sensitivity_takes_the_best_of_the_other_hyperparameters():
    final = {(0.1, 0.5): 4.0, (0.1, 0.9): 3.0, (0.2, 0.5): 1.0, (0.2, 0.9): 2.0}
    lanes = grid(lambda lr, momentum: final[lr, momentum], lr=(0.1, 0.2), momentum=(0.5, 0.9))
    lanes.append(Lane("sgd", [5.0, 0.5], hyperparameters={"lr": 0.15}))
    table = configurations(tables(lanes, [function_problem()]))
    by_lr = sensitivity(table, "hp_lr")[["label", "hp_lr", "final_loss"]]
    expected = [["momentum", 0.1, 3.0], ["momentum", 0.2, 1.0], ["sgd", 0.15, 0.5]]
    assert by_lr.to_numpy().tolist() == expected
    by_momentum = sensitivity(table, "hp_momentum")
    assert list(by_momentum["final_loss"]) == [1.0, 2.0]
    assert list(by_momentum["best"]) == [True, False]


def test_an_unknown_problem_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'anisotropic'"):
        describe(function_run(), "anisotropc")


@pytest.mark.parametrize(
    ("statuses", "text"),
    [
        ([Status.DONE], ""),
        ([Status.DIVERGED], "diverged at 1"),
        ([Status.FAILED], "failed"),
        ([Status.DONE, Status.DIVERGED, Status.FAILED], "1 of 3 diverged, 1 of 3 failed"),
    ],
)
def test_what_ended_badly_is_said(statuses, text):
    lanes = [Lane("sgd", [1.0, 1.0], seed=k, status=each) for k, each in enumerate(statuses)]
    run = tables(lanes, [function_problem()])
    assert bad_endings(run.lanes, range(len(lanes))) == text


def test_the_whole_table_is_not_changed_by_reading_it():
    run = swept_run()
    before = run.lanes.copy()
    configurations(run)
    pd.testing.assert_frame_equal(run.lanes, before)
