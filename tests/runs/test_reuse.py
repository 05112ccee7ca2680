"""Lanes that an earlier run has finished are taken over, with all their rows."""

import json

import pandas as pd
import pytest

from optbench.runs import reuse
from tests.cli.command import optbench

SUITE = """
name = "mine"
seeds = 2
data = "mnist-5k"
[[problem]]
name = "anisotropic"
iterations = 70
[[problem]]
name = "mnist-mlp"
iterations = 6
evaluate_every = 3
batch_size = 8
l2 = 0.001
[[optimizer]]
name = "sgd"
[[optimizer]]
name = "adam"
"""

TIMINGS = ["step_seconds", "gradient_seconds", "update_seconds", "workers", "block_lanes"]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mine.toml").write_text(SUITE, encoding="utf-8")
    return tmp_path


def run(folder, *options):
    seen = optbench("run", "mine.toml", "-q", *options, cwd=folder)
    assert seen.code == 0
    return seen.path


def tables(path):
    def read(name):
        return pd.read_parquet(path / name).drop(columns="reused_from", errors="ignore")

    return (
        read("lanes.parquet").drop(columns=TIMINGS),
        read("trace").sort_values(["lane", "iteration"], ignore_index=True),
        read("evaluation").sort_values(["lane", "iteration", "split"], ignore_index=True),
    )


def assert_same_tables(one, other):
    for left, right in zip(tables(one), tables(other), strict=True):
        pd.testing.assert_frame_equal(left, right, check_exact=True)


def test_all_lanes_taken_over_give_the_tables_of_the_first_run(folder):
    first = run(folder)
    again = run(folder, "--reuse")
    assert_same_tables(first, again)
    lanes = pd.read_parquet(again / "lanes.parquet")
    assert lanes["reused_from"].tolist() == [first.name] * 6
    assert lanes.columns[-1] != "lane"


def test_what_is_new_is_run_and_stands_beside_what_is_not(folder):
    first = run(folder, "-o", "sgd")
    both = run(folder, "--reuse")
    fresh = run(folder)
    assert_same_tables(fresh, both)
    lanes = pd.read_parquet(both / "lanes.parquet")
    assert lanes["reused_from"].notna().tolist() == (lanes["label"] == "sgd").tolist()
    shown = optbench("show", both, cwd=folder).out
    assert "reused" in shown
    assert "2 of 2" in shown
    assert "0 of 2" in shown
    assert "reused" not in optbench("show", first, cwd=folder).out


def test_other_settings_are_run_anew(folder):
    run(folder)
    changed = run(folder, "--reuse", "--set", "sgd.lr=0.123")
    lanes = pd.read_parquet(changed / "lanes.parquet")
    assert lanes["reused_from"].notna().tolist() == (lanes["label"] == "adam").tolist()


def test_diverged_lanes_are_taken_over_only_if_asked_for(tmp_path):
    wild = ("run", "quadratic-1d", "-o", "sgd", "--set", "sgd.lr=1e200", "-q")
    assert optbench(*wild, cwd=tmp_path).code == 4
    for option, taken in (("--reuse", False), ("--reuse-diverged", True)):
        seen = optbench(*wild, option, cwd=tmp_path)
        assert seen.code == 4
        lanes = pd.read_parquet(seen.path / "lanes.parquet")
        assert lanes["status"].tolist() == ["diverged"]
        assert ("reused_from" in lanes) is taken
        trace = pd.read_parquet(seen.path / "trace")
        assert len(trace) == lanes["diverged_at"].iloc[0] + 1


def test_the_latest_run_counts_and_damaged_ones_are_passed_over(folder):
    paths = [run(folder) for _ in range(3)]
    (paths[2] / "lanes.parquet").write_bytes(b"no table")
    again = run(folder, "--reuse")
    assert set(pd.read_parquet(again / "lanes.parquet")["reused_from"]) == {paths[1].name}


def test_runs_of_an_earlier_schema_are_passed_over_since_their_summaries_differ(folder):
    earlier = run(folder)
    meta = json.loads((earlier / "run.json").read_text())
    (earlier / "run.json").write_text(json.dumps(meta | {"schema_version": 2}))
    assert "reused_from" not in pd.read_parquet(run(folder, "--reuse") / "lanes.parquet")


def test_every_lane_is_taken_from_one_run_only(tmp_path):
    assert reuse.find_reusable(tmp_path / "nothing", []) == []
