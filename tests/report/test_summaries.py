from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from optbench.records import Status
from optbench.report.summaries import SUMMARY_COLUMNS, summary
from tests.report.runs import (
    Lane,
    function_lane,
    function_problem,
    function_run,
    network_loss,
    network_problem,
    network_run,
    swept_run,
    tables,
)


def test_the_columns_are_always_the_same_and_hyperparameters_follow():
    for run in (function_run(), network_run(seeds=2), swept_run()):
        table = summary(run)
        assert list(table.columns) == [*SUMMARY_COLUMNS, "hp_lr"]
        assert {n: str(table[n].dtype) for n in SUMMARY_COLUMNS} == SUMMARY_COLUMNS


def test_a_function_has_the_losses_of_its_trace_and_no_evaluations():
    table = summary(function_run()).set_index("label")
    assert list(table.index) == ["sgd", "momentum", "adagrad", "adam"]
    expected = 49 * 0.85**60 / 20 + 4 * 0.5**60
    assert table.loc["adam", "final_loss"] == pytest.approx(expected, rel=1e-12)
    assert table.loc["adam", "best_loss"] == table.loc["adam", "final_loss"]
    absent = ["train_loss", "validation_loss", "test_loss", "test_error", "swept", "edge"]
    assert table[absent].isna().all(axis=None)
    assert (table["criterion"] == "final_loss").all()
    assert (table["run"] == "test-20260101T000000Z-abc123").all()


def test_networks_have_medians_over_their_seeds():
    row = summary(network_run(seeds=3)).set_index("label").loc["adam"]
    finals = [network_loss(0.25, seed)[-20:].mean() for seed in range(3)]
    expected = {
        "final_loss": np.median(finals),
        "score": 0.25 + 0.01 + 0.01,
        "score_min": 0.25 + 0.01,
        "score_max": 0.25 + 0.02 + 0.01,
        "test_loss": 0.25 + 0.01 + 0.02,
        "test_error": (0.25 + 0.01) / 8,
        "train_error": (0.25 + 0.01) / 10,
        "validation_error": (0.25 + 0.01) / 9,
    }
    assert row[list(expected)].to_dict() == pytest.approx(expected)
    assert (row["seeds"], row["lanes"], row["configurations"]) == (3, 3, 1)
    assert row["step_seconds"] == 1e-5


def test_a_grid_gives_the_best_and_counts_the_rest():
    table = summary(swept_run(seeds=2)).set_index("label")
    assert table.loc["sgd", "hp_lr"] == 0.1
    assert list(table["swept"]) == ["lr=0.1", "lr=1"]
    counts = table[["configurations", "lanes", "lanes_diverged", "seeds_diverged"]]
    assert counts.to_numpy().tolist() == [[5, 10, 2, 0], [5, 10, 0, 0]]
    assert table["edge"].isna().all()


def summary_of(*lanes):
    """Return the summary of lanes of one optimizer."""
    return summary(tables(lanes, [function_problem()])).iloc[0]


def test_a_diverged_median_is_null_and_the_status_says_why():
    diverged = [Lane("adam", [1.0, np.inf], seed=seed, status=Status.DIVERGED) for seed in (1, 2)]
    row = summary_of(function_lane("adam", seed=0), *diverged)
    assert (row["status"], row["seeds_diverged"]) == ("diverged", 2)
    assert row[["final_loss", "best_loss", "score", "score_max"]].isna().all()
    assert row["score_min"] > 0


def test_one_diverged_seed_of_three_shifts_the_median_to_the_worse():
    done = [Lane("adam", [5.0, 1.0 + seed], seed=seed) for seed in (0, 1)]
    row = summary_of(*done, Lane("adam", [5.0, np.nan], seed=2, status=Status.DIVERGED))
    assert (row["final_loss"], row["status"], row["seeds_diverged"]) == (2.0, "done", 1)


def test_failed_lanes_are_counted_apart():
    row = summary_of(Lane("adam", [], status=Status.FAILED, step_seconds=None))
    assert (row["status"], row["lanes_failed"], row["lanes_diverged"]) == ("failed", 1, 0)
    assert pd.isna(row["step_seconds"])


def test_each_problem_has_its_own_rows():
    lanes = [function_lane("sgd"), Lane("sgd", network_loss(0.5), problem="mnist-mlp")]
    table = summary(tables(lanes, [function_problem(), network_problem()]))
    assert list(table["problem"]) == ["anisotropic", "mnist-mlp"]
    assert list(table["criterion"]) == ["final_loss", "final_loss"]


def test_columns_that_nobody_knows_are_ignored_and_nullable_ones_read():
    run = swept_run()
    run.lanes["later"] = "something"
    lanes = run.lanes.astype({"diverged_at": "Int32", "final_loss": "Float64"})
    pd.testing.assert_frame_equal(summary(replace(run, lanes=lanes)), summary(swept_run()))


def test_a_heading_names_the_data_of_a_network_and_nothing_of_a_function():
    network, function = network_run(), function_run()
    network.meta["problems"][0]["data"] = "mnist-5k"
    assert set(summary(network)["heading"]) == {"mnist-mlp on mnist-5k"}
    assert set(summary(function)["heading"]) == {"anisotropic"}
