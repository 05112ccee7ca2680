"""The schema, and the two numbers that sum a trace up."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optbench import records
from optbench.records import Status, final_and_best

losses = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=250)


def test_statuses_are_those_promised():
    assert [status.value for status in Status] == [
        "running",
        "done",
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
    final, best = final_and_best(np.array(values), len(values) - 1, minibatch=False)
    assert final == values[-1]
    assert best == min(values)


@given(losses, st.booleans())
def test_a_minibatch_problem_takes_means_over_min_100_n_rows(values, before):
    """``before`` has N + 1 rows for N updates, ``after`` has N."""
    iterations = len(values) - 1 if before and len(values) > 1 else len(values)
    final, best = final_and_best(np.array(values), iterations, minibatch=True)
    window = min(100, iterations)
    means = [math.fsum(values[i : i + window]) / window for i in range(len(values) - window + 1)]
    assert final == pytest.approx(means[-1], rel=1e-9, abs=1e-6)
    assert best == pytest.approx(min(means), rel=1e-9, abs=1e-6)
