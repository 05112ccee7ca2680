"""What a refresh changes in a baseline, told as old → new."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest

from optbench.gate.changes import changes_of
from tests.gate.made import edited, function_lanes, made, network_lanes, saved, with_rows

RUN = made(network_lanes() + function_lanes())
TARGETS = {"mnist-mlp": 0.5, "anisotropic": 1.0}


def changes(run, then=RUN, given=None, **meta):
    """Return what changes in the baseline of a run, but for targets, which follow from losses."""
    baseline = saved(then, targets={}, **meta)
    found = changes_of(baseline, run, given or {})
    return [str(change) for change in found if change.what != "target"]


def test_nothing_changes_where_the_run_says_the_same():
    times = edited(RUN, step_seconds=1.0)
    meta = times.meta | {"calibration_seconds": 9.0, "started": "another day"}
    meta["environment"] = meta["environment"] | {"git": {"commit": "abc"}}
    assert changes(replace(times, meta=meta)) == []


def test_of_each_label_the_final_loss_before_and_after():
    worse = edited(RUN, "adam", final_loss=1.2 * edited(RUN).lanes["final_loss"])
    medians = [
        np.median(side.lanes.loc[side.lanes["label"] == "adam", "final_loss"])
        for side in (RUN, worse)
    ]
    assert changes(worse) == [
        f"mnist-mlp, adam: final loss: {medians[0]:.4g} → {medians[1]:.4g} (+20 %, 8 of 8 lanes)"
    ]


def test_losses_that_differ_in_their_last_digit_are_told_apart():
    (sgd,) = RUN.lanes.loc[RUN.lanes["problem"] == "anisotropic", "final_loss"]
    beside = float(np.nextafter(sgd, 9.0))
    loss = RUN.lanes["final_loss"].where(RUN.lanes["problem"] != "anisotropic", beside)
    assert changes(replace(RUN, lanes=RUN.lanes.assign(final_loss=loss))) == [
        f"anisotropic, sgd: final loss: {sgd:.16g} → {beside:.16g} (0 %)"
    ]


def test_a_lane_without_a_final_loss_counts_as_worst():
    run = edited(RUN, "adam", range(5), status="diverged", final_loss=np.nan)
    (ended, loss) = changes(run)
    assert ended == "mnist-mlp, adam: ended: 8 done → 5 diverged, 3 done"
    assert loss.startswith("mnist-mlp, adam: final loss: 0.2")
    assert "→ none (" in loss
    assert loss.endswith("5 of 8 lanes)")


def test_labels_problems_and_seeds_that_came_or_went():
    others = made(network_lanes({"sgd": 0.8, "lion": 0.2}, seeds=range(10)))
    assert changes(others) == [
        "mnist-mlp, sgd: lanes: seeds 0–7 → seeds 0–9",
        "mnist-mlp, adam: lanes: seeds 0–7 → nothing",
        "mnist-mlp, lion: lanes: nothing → seeds 0–9",
        "anisotropic: lanes: seed 0 → nothing (sgd)",
    ]
    more = made(network_lanes(seeds=range(10)) + function_lanes())
    assert changes(more) == ["mnist-mlp: lanes: seeds 0–7 → seeds 0–9 (sgd, adam)"]


def test_points_of_a_grid_that_came():
    grid = [
        replace(lane, hyperparameters={"lr": lr}) for lr in (0.1, 0.2) for lane in function_lanes()
    ]
    assert changes(made(grid), then=made(function_lanes())) == [
        "anisotropic: lanes: seed 0 → 2 configurations, seed 0 (sgd)"
    ]


def test_settings_of_lanes_problems_and_rules():
    meta = deepcopy(RUN.meta)
    (network,) = [each for each in meta["problems"] if each["problem"] == "mnist-mlp"]
    network["iterations"] = 300
    meta["optimizers"][0]["rule"] = "plain"
    run = replace(edited(RUN, "adam", hp_lr=0.105), meta=meta)
    assert changes(run) == [
        "mnist-mlp, adam: lr: 0.1 → 0.105",
        "mnist-mlp: iterations: 200 → 300",
        'sgd: rule: "sgd" → "plain"',
    ]


def test_thresholds_errors_targets_and_where_it_was_made():
    meta = deepcopy(RUN.meta)
    meta["environment"]["packages"]["numpy"] = "3.0"
    run = replace(RUN, meta=meta)
    then = {"thresholds": {"mnist-mlp": 0.2, "": 0.1}, "test_error": {"mnist-mlp": {"sgd": 0.25}}}
    assert changes(run, given={"mnist-mlp": 0.3}, **then) == [
        "mnist-mlp: threshold: 20 % → 30 %",
        "threshold: 10 % → nothing",
        "mnist-mlp, sgd: test error: 25 % → nothing",
        'packages.numpy: "2.4.6" → "3.0"',
    ]
    found = changes_of(saved(RUN, targets={"anisotropic": 2.0}), RUN, {})
    assert [str(change) for change in found if change.problem == "anisotropic"] == [
        f"anisotropic: target: 2 → {RUN.lanes['final_loss'].iloc[-1]:.4g}"
    ]


@pytest.mark.parametrize("iteration", [3, 60])
def test_other_losses_in_rows_that_are_kept(iteration):
    run = with_rows(
        RUN,
        lambda rows: (rows["lane"] < 3) & (rows["iteration"] == iteration),
        np.nextafter(RUN.trace["loss"], 9.0),
    )
    assert changes(run) == ["3 of 17 lanes have other losses in their traces"]
