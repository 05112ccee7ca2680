import numpy as np
import pytest

from optbench.gate.comparison import match
from tests.gate.made import curve, function_lanes, made, network_lanes, without_lanes
from tests.report.runs import Lane


def grid(*values, label="sgd", seeds=range(2), **more):
    return [
        Lane(label, curve(0.5, seed), "mnist-mlp", seed=seed, hyperparameters={"lr": lr, **more})
        for lr in values
        for seed in seeds
    ]


def rates(then, now):
    """Return (lr then, lr now, seed, configuration, setting) of all pairs."""
    found = match(then.lanes, now.lanes)
    lr_then, lr_now = (run.lanes.set_index("lane")["hp_lr"] for run in (then, now))
    return found, [
        (float(lr_then[p.then]), float(lr_now[p.now]), p.seed, p.configuration, p.setting)
        for p in found.pairs
    ]


def test_lanes_are_matched_by_problem_label_and_seed_wherever_they_stand():
    run = made(network_lanes() + function_lanes())
    shuffled = made(function_lanes() + network_lanes()[::-1])
    found = match(run.lanes, shuffled.lanes)
    assert len(found.pairs) == 17
    assert found.missing == found.new == ()
    for pair in found.pairs:
        then, now = found.then[pair.then], found.now[pair.now]
        assert all(then[name] == now[name] for name in ("problem", "label", "seed"))
        assert pair.setting == ""


def test_points_of_a_grid_are_matched_by_their_hyperparameters():
    found, pairs = rates(made(grid(0.01, 0.1, 1.0)), made(grid(1.0, 0.01, 0.1)))
    assert pairs[:3] == [
        (0.01, 0.01, 0, 0, "lr=0.01"),
        (0.1, 0.1, 0, 1, "lr=0.1"),
        (1.0, 1.0, 0, 2, "lr=1"),
    ]
    assert [[p.seed for p in group] for group in found.groups()] == [[0, 1]] * 3


def test_a_point_that_was_added_is_new_and_one_that_is_gone_is_missing():
    found, pairs = rates(made(grid(0.01, 0.1)), made(grid(0.01, 0.03, 0.1)))
    assert {pair[:2] for pair in pairs} == {(0.01, 0.01), (0.1, 0.1)}
    assert [place.seed for place in found.new] == [0, 1]
    found, _ = rates(made(grid(0.01, 0.1)), made(grid(0.1)))
    assert [place.seed for place in found.missing] == [0, 1]


@pytest.mark.parametrize(
    ("then", "now", "expected"),
    [
        (grid(0.01, 0.1, 1.0), grid(0.02, 0.1, 2.0), {(0.01, 0.02), (0.1, 0.1), (1.0, 2.0)}),
        (grid(0.01, 0.1, eps=1e-8), grid(0.01, 0.1, eps=1e-7), {(0.01, 0.01), (0.1, 0.1)}),
    ],
)
def test_points_that_changed_are_matched_in_order_after_those_that_did_not(then, now, expected):
    _, pairs = rates(made(then), made(now))
    assert {pair[:2] for pair in pairs} == expected


def test_a_hyperparameter_that_some_points_have_not_tells_them_apart():
    run = made(grid(0.1, seeds=[0]) + grid(0.1, momentum=0.9, seeds=[0]))
    _, pairs = rates(run, run)
    assert [pair[-1] for pair in pairs] == ["no momentum", "momentum=0.9"]
    twice = made(grid(0.1, 0.1, seeds=[0]))
    assert len(rates(twice, twice)[1]) == 2


def test_words_and_numbers_are_told_apart_and_absent_ones_left_out():
    lanes = [
        *grid(0.1, seeds=[0]),
        Lane("adam", curve(0.5, 0), "mnist-mlp", hyperparameters={"lr": 0.1, "beta1": 0.9}),
    ]
    run = made(lanes)
    run.lanes["hp_schedule"] = ["cosine", None]
    run.lanes["hp_mixed"] = ["0.5", "word"]
    found = match(run.lanes, run.lanes)
    assert found.hyperparameters_then == {
        0: {"lr": 0.1, "schedule": "cosine", "mixed": 0.5},
        1: {"lr": 0.1, "beta1": 0.9, "mixed": "word"},
    }


def test_lanes_without_partner_are_named():
    run = made(network_lanes())
    fewer = without_lanes(run, lambda lanes: (lanes["label"] == "sgd") & (lanes["seed"] == 3))
    found = match(run.lanes, fewer.lanes)
    assert [tuple(place) for place in found.missing] == [("mnist-mlp", "sgd", 3)]
    found = match(fewer.lanes, run.lanes)
    assert [tuple(place) for place in found.new] == [("mnist-mlp", "sgd", 3)]
    assert np.all([pair.seed != 3 or pair.label == "adam" for pair in found.pairs])
