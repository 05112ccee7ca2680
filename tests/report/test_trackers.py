"""Which lanes go to a tracker, what it is told of each, and what IOHanalyzer reads."""

import os
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest

from optbench.errors import ResultsError, UsageError
from optbench.records import Status
from optbench.report.trackers.iohanalyzer import table
from optbench.report.trackers.lanes import check_lanes, chosen, tracked
from optbench.report.trackers.surroundings import surroundings
from tests.report.runs import (
    Lane,
    function_problem,
    function_run,
    network_lane,
    network_problem,
    tables,
)


def swept(lr, seed, **changes):
    """Return a lane whose loss ends at the learning rate."""
    return Lane("sgd", [3.0, 2.0, lr], seed=seed, hyperparameters={"lr": lr}, **changes)


def run_of(*lanes, **changes):
    run = tables(lanes, [function_problem(**changes)])
    return replace(run, meta={**run.meta, "started": "2026-01-01T00:00:00+00:00"})


def numbers(run, wanted="best"):
    part, note = chosen(run, wanted)
    for rows in (part.trace, part.evaluation):
        assert set(rows["lane"]) <= set(part.lanes["lane"])
    assert set(part.trace["lane"]) == set(part.lanes["lane"])
    return part.lanes["lane"].tolist(), note


def lanes_of(*runs):
    return list(tracked({run.path.name: run for run in runs}))


# Which lanes.


def test_the_best_are_all_seeds_of_each_label_s_best_configuration():
    adam = [Lane("adam", [3.0, 1.0], seed=seed) for seed in (0, 1)]
    run = run_of(*(swept(lr, seed) for lr, seed in product((0.5, 0.1, 0.2), (0, 1))), *adam)
    assert numbers(run) == (
        [2, 3, 6, 7],
        "4 of the 8 lanes of test-20260101T000000Z-abc123: each label's best configuration; "
        "--lanes all takes all",
    )
    assert numbers(run, "all") == (list(range(8)), None)
    assert numbers(run_of(*adam)) == ([0, 1], None)


def test_of_more_than_50_the_first_seeds_of_each_label():
    labels = [f"rule {number}" for number in range(12)]
    pairs = list(product(labels, range(5)))
    part, note = chosen(run_of(*(Lane(label, [2.0, 1.0], seed=seed) for label, seed in pairs)))
    assert len(part.lanes) == 50
    counts = part.lanes.groupby("label")["seed"].agg(["size", "max"])
    assert set(counts["size"]) == {4, 5}
    assert (counts["max"] == counts["size"] - 1).all()
    assert "50 of the 60 lanes" in note
    assert "best configuration, its first seeds;" in note


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [("2", [2]), ("0-1,3", [0, 1, 3]), ("3,0-1,1", [0, 1, 3]), ("1-1", [1])],
)
def test_numbers_choose_lanes(wanted, expected):
    assert numbers(function_run(), wanted) == (expected, None)


@pytest.mark.parametrize("span", ["4", "3-4", "2-1", "999999999"])
def test_a_number_that_no_lane_has(span):
    says = f"has no lanes {span}; its lanes are numbered 0 to 3"
    with pytest.raises(UsageError, match=says):
        chosen(function_run(), f"0,{span}")


@pytest.mark.parametrize("wanted", ["", "-1", "1-", "1,,2", "Best", "0 - 1", "²", "1" * 10])
def test_what_says_no_lanes(wanted):
    with pytest.raises(UsageError, match="is none of best, all and numbers, as 0-9,12"):
        check_lanes(wanted)


# What is told of each.


def test_a_lane_of_a_network_with_its_evaluations():
    run = tables([network_lane("adam", seed=3)], [network_problem()])
    (lane,) = lanes_of(replace(run, meta={**run.meta, "started": "2026-01-01T00:00:00Z"}))
    assert (lane.title, str(lane.place)) == ("adam seed 3", "mnist-mlp/0-adam-seed-3")
    problem = {"problem": "mnist-mlp", "optimizer": "adam", "label": "adam"}
    assert lane.config == problem | {"seed": 3, "hp_lr": 0.1}
    steps = dict(lane.steps())
    assert list(steps) == list(range(201))
    assert steps[0] == {"loss": run.trace["loss"][0]}
    rows = run.evaluation.itertuples()
    expected = {(row.split, name): getattr(row, name) for row in rows for name in ("loss", "error")}
    assert steps[200] == {f"{split}_{name}": value for (split, name), value in expected.items()}
    reached = run.lanes.iloc[0][["final_loss", "best_loss", "iterations", "step_seconds"]]
    assert lane.summary == reached.to_dict()
    assert lane.time(0) == lane.started == 1767225600.0
    assert lane.time(lane.iterations) == pytest.approx(lane.started + 200 * 1e-5)


def test_what_is_not_finite_is_left_out():
    run = run_of(Lane("sgd", [1.0, 1e300, np.inf], status=Status.DIVERGED, step_seconds=None))
    (lane,) = lanes_of(run)
    assert dict(lane.steps()) == {0: {"loss": 1.0}, 1: {"loss": 1e300}}
    assert lane.summary == {"iterations": 2.0, "diverged_at": 2.0}
    assert lane.status == "diverged"
    assert lane.time(2) == lane.started


def test_a_split_that_optbench_does_not_know_is_no_series():
    run = tables([network_lane("adam")], [network_problem()])
    rows = run.evaluation.assign(split="../x")
    run = replace(run, evaluation=rows, meta={**run.meta, "started": "2026-01-01T00:00:00Z"})
    (lane,) = lanes_of(run)
    assert {name for _, values in lane.steps() for name in values} == {"loss"}


def test_a_sweep_s_lanes_are_told_apart_by_all_their_digits():
    first, second = lanes_of(run_of(swept(0.1, 0), swept(0.10000001, 0)))
    assert (first.title, second.title) == ("sgd lr=0.1 seed 0", "sgd lr=0.10000001 seed 0")


def test_no_two_lanes_have_one_place():
    labels = ["a/b", "a:b", "a b", "A b", "../..", "比" * 300, "比" * 300 + "較"]
    run = run_of(*(Lane(label, [2.0, 1.0]) for label in labels))
    runs = dict.fromkeys(("study/final", "study-final", "STUDY:final"), run)
    places = [lane.place for lane in tracked(runs)]
    assert len({str(place).casefold() for place in places}) == len(places) == 21
    assert {part.startswith(".") for place in places for part in place.parts} == {False}
    assert max(len(part.encode()) for place in places for part in place.parts) <= 123


def test_a_run_that_was_started_at_no_time_is_damaged():
    run = run_of(Lane("sgd", [1.0]))
    with pytest.raises(ResultsError, match=r"run.json' is damaged: 'soon' is no time"):
        lanes_of(replace(run, meta={**run.meta, "started": "soon"}))


def test_no_variable_of_the_user_counts_while_a_library_runs(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    before = dict(os.environ)
    with surroundings("WANDB_", WANDB_DIR="here"):
        assert {k: v for k, v in os.environ.items() if "WANDB" in k} == {"WANDB_DIR": "here"}
    assert dict(os.environ) == before


# What IOHanalyzer reads.


def side_by_side(rows, algorithm):
    """Return the best value so far by evaluation and run, as IOHanalyzer makes it of its CSV.

    It is ``read_pure_csv`` of IOHanalyzer 0.1.8: ``cummin`` of R forgets all after a gap, and then
    every gap gets the smallest value.
    """
    of_one = rows[rows["algorithm"] == algorithm]
    assert not of_one.duplicated(["evaluation", "run"]).any(), "dcast would count them"
    wide = of_one.pivot(index="evaluation", columns="run", values="value")
    lowest = wide.cummin().where(wide.notna().cummin())
    return lowest.fillna(lowest.min())


def test_rows_count_evaluations_from_1_and_name_function_algorithm_and_dimension():
    lanes = [swept(0.1, 0), swept(0.2, 0), Lane("adam", [2.0, np.inf], status=Status.DIVERGED)]
    rows = table([run_of(*lanes)])
    assert list(rows.columns) == [
        *("evaluation", "value", "function", "algorithm", "dimension", "run")
    ]
    assert rows.values.tolist() == [
        [1, 3.0, "anisotropic", "sgd lr=0.1", 2, 0],
        [2, 2.0, "anisotropic", "sgd lr=0.1", 2, 0],
        [3, 0.1, "anisotropic", "sgd lr=0.1", 2, 0],
        [1, 3.0, "anisotropic", "sgd lr=0.2", 2, 1],
        [2, 2.0, "anisotropic", "sgd lr=0.2", 2, 1],
        [3, 0.2, "anisotropic", "sgd lr=0.2", 2, 1],
        [1, 2.0, "anisotropic", "adam", 2, 2],
    ]


@pytest.mark.parametrize(("known", "dimension"), [({"parameters": 109810}, 109810), ({}, None)])
def test_the_dimension_of_a_network_is_its_number_of_parameters(known, dimension):
    rows = table([tables([network_lane("adam")], [network_problem(**known)])])
    assert len(rows) == 200
    assert set(rows["dimension"].astype(object).where(rows["dimension"].notna(), None)) == {
        dimension
    }


def test_a_thinned_trace_has_no_gap_between_two_values():
    """Rows 0 and 4 and the last one are kept; lanes end at 10, at 5 and at 2."""
    run = run_of(*(Lane("adam", np.linspace(9, 1, rows), seed=rows) for rows in (11, 6, 3)))
    last = run.trace.groupby("lane")["iteration"].transform("max")
    kept = (run.trace["iteration"] % 4 == 0) | (run.trace["iteration"] == last)
    seen = side_by_side(table([replace(run, trace=run.trace[kept])]), "adam")
    full = side_by_side(table([run]), "adam")
    assert seen.index.tolist() == [1, 3, 5, 6, 9, 11]
    at_its_rows = pd.DataFrame(
        {0: [9, 9, 5.8, 5.8, 2.6, 1], 1: [9, 9, 2.6, 1, 1, 1], 2: [9, 1, 1, 1, 1, 1]},
        index=seen.index,
    )
    np.testing.assert_allclose(seen, at_its_rows)
    assert (seen.iloc[-1] == full.iloc[-1]).all()


def test_labels_that_two_runs_share_are_two_algorithms(tmp_path):
    first = run_of(Lane("adam", [3.0, 1.0]), Lane("sgd", [3.0, 2.0]))
    second = replace(run_of(Lane("adam", [3.0, 0.5])), path=tmp_path / "other")
    rows = table([first, second])
    assert rows.groupby("algorithm", sort=False)["value"].min().to_dict() == {
        "adam (test-20260101T000000Z-abc123)": 1.0,
        "sgd": 2.0,
        "adam (other)": 0.5,
    }
    assert rows["run"].nunique() == 3


def test_lanes_without_a_finite_loss_leave_a_table_without_rows():
    rows = table([run_of(Lane("sgd", [np.inf], status=Status.DIVERGED))])
    assert rows.empty
    assert len(rows.columns) == 6
