"""``optbench run --trace``: fewer rows, and everything else as of a run that kept all."""

import json
import shutil

import pandas as pd
import pytest

import optbench as api
from tests.cli.command import lanes, meta, optbench, run, suite, trace
from tests.slow import MAY_DIFFER

SUITE = """
name = "mixed"
seeds = 2
data = "mnist-5k"

[[problem]]
name = "anisotropic"
iterations = 150
adam.lr = 0.3

[[problem]]
name = "rosenbrock"
iterations = 90
stop.loss = 5.0

[[problem]]
name = "mnist-mlp"
iterations = 25
evaluate_every = 5
batch_size = 8
l2 = 0.001

[[optimizer]]
name = "sgd"
grid.lr = [1e-3, 1e30]

[[optimizer]]
name = "adam"
"""
"""Lanes that are done, diverged and stopped; positions, and a penalty."""

EVERY = {"every:7": 7, "every:25": 25, "none": 10**9}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a run for each way of keeping rows, by its name."""
    folder = tmp_path_factory.mktemp("made")
    name = suite(folder, SUITE)
    runs = {
        each: run(name, "--trace", each, "--workers", 1, cwd=folder) for each in ("all", *EVERY)
    }
    return folder, runs


def kept(rows, every):
    rows = rows.sort_values(["lane", "iteration"])
    is_last = rows["lane"] != rows["lane"].shift(-1)
    return rows[is_last | (rows["iteration"] % every == 0)].reset_index(drop=True)


def in_order(rows):
    return rows.sort_values(["lane", "iteration"], ignore_index=True)


@pytest.mark.parametrize("how", EVERY)
def test_rows_are_left_out_and_nothing_else(how, made):
    _, runs = made
    whole, thin = runs["all"], runs[how]
    assert (meta(whole)["trace"], meta(thin)["trace"]) == ("all", how)
    assert {*lanes(whole)["status"]} == {"done", "stopped", "diverged"}
    pd.testing.assert_frame_equal(in_order(trace(thin)), kept(trace(whole), EVERY[how]))
    for table in ("lanes.parquet", "evaluation", "surface"):
        left, right = (pd.read_parquet(path / table) for path in (whole, thin))
        dropped = [name for name in MAY_DIFFER if name in left]
        pd.testing.assert_frame_equal(left.drop(columns=dropped), right.drop(columns=dropped))
    files = [sorted(each.name for each in (path / "trace").iterdir()) for path in (whole, thin)]
    assert files[0] == files[1]
    pd.testing.assert_frame_equal(in_order(api.load(thin).trace), in_order(trace(thin)))


@pytest.mark.parametrize("how", EVERY)
def test_tables_are_those_of_all_rows(how, made):
    folder, runs = made

    def said(command, path):
        seen = optbench(*command, path, "--format", "json", cwd=folder)
        assert (seen.code, seen.err) == (0, ""), seen
        times = {"run", "step_seconds", "step_seconds_low", "step_seconds_high", "seconds"}
        return [
            {name: value for name, value in row.items() if name not in times}
            for row in json.loads(seen.out)
        ]

    for command in (["show"], ["compare", "--choose-on", "0"]):
        assert said(command, runs[how]) == said(command, runs["all"])


def test_what_needs_all_rows_says_which_were_kept(made):
    folder, runs = made
    thin = runs["every:7"]
    reason = "kept every 7th row of its trace"
    for command in (
        ["target", thin],
        ["plot", thin, "--kind", "target"],
        ["plot", thin, "--kind", "loss", "--smooth", 11],
        ["baseline", "save", thin],
    ):
        assert reason in optbench(*command, cwd=folder).message
    for kind in ("loss", "trajectory"):
        message = optbench("plot", runs["none"], "--kind", kind, cwd=folder).message
        reason = (
            "of their traces they kept the first and the last row; "
            "what fits: surface, field, sensitivity, evaluation"
        )
        assert message.startswith(f"none of these runs can be drawn as {kind}; {reason}")


def test_what_does_not_need_them_is_drawn(made, tmp_path):
    _, runs = made
    shutil.copytree(runs["every:7"], tmp_path / "thin")
    shutil.copytree(runs["none"], tmp_path / "ends")
    seen = optbench("plot", "thin", cwd=tmp_path)
    assert (seen.code, seen.err) == (0, "")
    names = {path.name for path in (tmp_path / "thin" / "plots").iterdir()}
    assert names == {
        "anisotropic-trajectory.png",
        "anisotropic-loss.png",
        "rosenbrock-trajectory.png",
        "rosenbrock-loss.png",
        "mnist-mlp-loss.png",
        "mnist-mlp-evaluation.png",
    }
    for arguments in (["--kind", "effects", "--choose-on", "0"], ["--kind", "surface"]):
        seen = optbench("plot", "ends", *arguments, "--save", "figures", cwd=tmp_path)
        assert (seen.code, seen.err) == (0, "")
    on = ["--problem", "mnist-mlp", "--on", "train_loss", "--choose-on", "0", "--format", "csv"]
    seen = optbench("target", "ends", *on, cwd=tmp_path)
    assert (seen.code, seen.err) == (0, "")


def test_a_run_that_lacks_rows_is_not_checked(tmp_path):
    one = ["quadratic-1d", "-o", "sgd", "--iterations", 60]
    whole = run(*one, cwd=tmp_path)
    assert optbench("baseline", "save", whole, cwd=tmp_path).code == 0
    thin = run(*one, "--trace", "every:2", cwd=tmp_path)
    seen = optbench("check", "--run", thin, cwd=tmp_path)
    assert "kept every 2nd row of its trace" in seen.message
    assert optbench("check", "--run", whole, cwd=tmp_path).code == 0


@pytest.mark.parametrize("how", ["", "every", "every:0", "every:ten", "some"])
def test_what_says_nothing_is_refused_before_anything_is_run(how, tmp_path):
    message = f"trace '{how}' is none of all, none and every:N, as every:10"
    assert optbench("run", "quadratic-1d", "--trace", how, cwd=tmp_path).message == message
    with pytest.raises(api.UsageError, match=message):
        api.run("quadratic-1d", trace=how, out=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_run_json_that_says_nothing_is_damaged(made, tmp_path):
    _, runs = made
    place = tmp_path / "run"
    shutil.copytree(runs["none"], place)
    (place / "run.json").write_text(json.dumps(meta(place) | {"trace": "every:0"}))
    message = optbench("show", place, cwd=tmp_path).message
    assert message.startswith(f"'{place}/run.json' is damaged: trace: ")


def test_a_repeated_run_keeps_what_it_is_told_to(made, tmp_path):
    _, runs = made
    path = runs["every:25"]
    again = api.run(str(path / "run.json"), out=tmp_path, trace="every:25")
    pd.testing.assert_frame_equal(in_order(again.trace), in_order(trace(path)))


SMALL = ["anisotropic", "-o", "sgd", "-o", "adam", "--iterations", 50]
WILD = ["--set", "sgd.lr=1e200"]


@pytest.mark.parametrize(
    ("there", "here", "taken"),
    [
        ("all", "all", True),
        ("all", "every:6", True),
        ("all", "none", True),
        ("every:3", "all", False),
        ("every:3", "every:3", True),
        ("every:3", "every:6", True),
        ("every:3", "every:4", False),
        ("every:3", "none", True),
        ("none", "none", True),
        ("none", "every:6", False),
        ("none", "all", False),
    ],
)
def test_lanes_are_reused_where_all_rows_that_are_to_be_kept_are_there(
    there, here, taken, tmp_path
):
    """Also lanes that diverged, which end before the others."""
    run(*SMALL, *WILD, "--trace", there, cwd=tmp_path)
    path = run(*SMALL, *WILD, "--trace", here, "--reuse-diverged", cwd=tmp_path)
    assert ("reused_from" in lanes(path)) == taken
    fresh = run(*SMALL, *WILD, "--trace", here, cwd=tmp_path)
    pd.testing.assert_frame_equal(in_order(trace(path)), in_order(trace(fresh)))


def test_penalties_are_reused_too(tmp_path):
    text = 'data = "mnist-5k"\n[[problem]]\nname = "mnist-mlp"\nbatch_size = 4\nl2 = 0.1\n'
    small = [suite(tmp_path, text), "-o", "sgd", "--iterations", 12, "--trace", "every:5"]
    first = run(*small, cwd=tmp_path)
    again = run(*small, "--reuse", cwd=tmp_path)
    assert "reused_from" in lanes(again)
    assert trace(first)["iteration"].tolist() == [0, 5, 10, 11]
    pd.testing.assert_frame_equal(trace(first), trace(again))
    assert trace(again)["penalty"].notna().all()
