"""The schema, and the two numbers that sum a trace up."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optbench import records
from optbench.records import Status, averaged_rows, averaged_rows_of, final_and_best

losses = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=250)


def test_statuses_are_those_promised():
    assert [status.value for status in Status] == [
        "running",
        "done",
        "paused",
        "stopped",
        "diverged",
        "failed",
        "interrupted",
    ]


def test_columns_are_those_promised():
    assert list(records.LANE_COLUMNS) == [
        "lane",
        "lane_key",
        "problem",
        "optimizer",
        "label",
        "seed",
        "fingerprint",
        "status",
        "diverged_at",
        "stopped_at",
        "final_loss",
        "best_loss",
        "iterations",
        "step_seconds",
        "block_lanes",
        "workers",
    ]
    assert records.TRACE_COLUMNS == {"lane": "int32", "iteration": "int32", "loss": "float64"}
    assert records.POSITION_NAMES == ("x", "y", "z")
    assert list(records.EVALUATION_COLUMNS) == ["lane", "iteration", "split", "loss", "error"]
    assert records.HYPERPARAMETER_PREFIX == "hp_"


@given(losses)
def test_a_function_ends_with_its_last_row_and_its_best_is_the_smallest(values):
    final, best = final_and_best(np.array(values), 1)
    assert final == values[-1]
    assert best == min(values)


@pytest.mark.parametrize(
    ("updates", "rows"), [(0, 1), (1, 1), (19, 1), (20, 2), (199, 19), (1000, 100), (10**6, 100)]
)
def test_a_stochastic_problem_averages_a_tenth_of_its_updates_and_at_most_100(updates, rows):
    assert averaged_rows(updates, stochastic=True) == rows
    assert averaged_rows(updates, stochastic=False) == 1


@pytest.mark.parametrize(
    ("version", "updates", "averaged"), [(1, 60, 60), (2, 2000, 100), (3, 60, 6), (3, 2000, 100)]
)
def test_an_earlier_run_averaged_up_to_100_rows_wherever_there_were_batches(
    version, updates, averaged
):
    function = {"batch_size": None, "stochastic": False}
    network = {"batch_size": 128, "stochastic": True}
    in_order = {"batch_size": 128, "stochastic": False}
    found = [averaged_rows_of(each, version, updates) for each in (function, network, in_order)]
    assert found == [1, averaged, 1 if version == 3 else averaged]


@given(losses, st.integers(1, 100))
def test_final_and_best_losses_are_means_of_consecutive_rows(values, window):
    window = min(window, len(values))
    final, best = final_and_best(np.array(values), window)
    means = [math.fsum(values[i : i + window]) / window for i in range(len(values) - window + 1)]
    assert final == pytest.approx(means[-1], rel=1e-9, abs=1e-6)
    assert best == pytest.approx(min(means), rel=1e-9, abs=1e-6)
