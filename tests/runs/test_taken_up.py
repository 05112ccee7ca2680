"""Runs that pause, and runs that take up what others have paused."""

from dataclasses import replace
from itertools import count

import numpy as np
import pandas as pd
import pytest

from optbench.device.cpu import NumpyDevice
from optbench.engine.block import halves
from optbench.report.summaries import summary
from optbench.report.tables import sections
from optbench.runs.pipeline import plan_run, run_plan
from optbench.runs.resume import going_on, plan_rest, resume
from optbench.store.journal import Journal, clear
from optbench.store.reader import read_run
from optbench.suite.format import parse_suite
from optbench.suite.resolve import resolve
from tests.tuning.halved import assert_survivors_are_plain

DEVICE = NumpyDevice()


def settled(rates, pause_at=None, name="rung", **problem):
    entry = {"name": "anisotropic", "iterations": 150, "start_spread": 0.1, **problem}
    if pause_at is not None:
        entry["pause_at"] = pause_at
    rules = [{"name": "momentum", "grid": {"lr": rates}}, {"name": "adam", "grid": {"lr": rates}}]
    plain = {"name": name, "seeds": 2, "problem": [entry], "optimizer": rules}
    return resolve(parse_suite(plain, "x"))


def carry_out(plan, out, name):
    return run_plan(plan, DEVICE, out, "i", directory=name).path


@pytest.fixture
def paused(tmp_path):
    suite = settled([0.01, 0.02, 1e9], 70)
    return carry_out(plan_run(suite, DEVICE, 1), tmp_path, "first"), suite


@pytest.fixture
def plain(tmp_path):
    return read_run(carry_out(plan_run(settled([0.01, 0.02, 0.05]), DEVICE, 1), tmp_path, "plain"))


def test_a_paused_run_is_done_and_read_like_any_other(paused):
    run = read_run(paused[0])
    assert run.meta["status"] == "done"
    assert run.meta["suite"]["resolved"]["problem"][0]["pause_at"] == 70
    assert run.lanes["status"].tolist() == ["paused"] * 4 + ["diverged"] * 2 + ["paused"] * 6
    ended = run.lanes["status"] == "paused"
    assert run.trace.groupby("lane").size()[ended.to_numpy()].tolist() == [70] * 10
    last = run.trace.groupby("lane")["loss"].agg(["last", "min"])
    assert run.lanes.loc[ended, "final_loss"].tolist() == last["last"][ended].tolist()
    assert run.lanes.loc[ended, "best_loss"].tolist() == last["min"][ended].tolist()
    assert run.lanes.loc[ended, "iterations"].tolist() == [70] * 10
    (table,) = sections(summary(run))
    column = [each.heading for each in table.columns].index("iterations")
    assert [row[column] for row in table.rows] == ["70", "70"]
    assert (paused[0] / "journal").exists()


def test_lanes_go_on_in_the_company_of_new_ones(paused, plain, tmp_path):
    """New ones get a block of their own; those that are left out stay behind."""
    plan = going_on(plan_run(settled([0.02, 0.05]), DEVICE, 1), *paused, DEVICE)
    assert [block.progress is None for block in plan.blocks] == [False, True]
    assert plan.first_new == 2
    counted = []
    path = run_plan(plan, DEVICE, tmp_path, "i", counted.append, directory="second").path
    second = read_run(path)
    assert_survivors_are_plain([second], replace(plain, lanes=plain.lanes))
    assert min(r.first_iteration for r in counted if hasattr(r, "rows") and r.block == 0) == 70
    assert not (path / "journal").exists()


def test_what_was_copied_before_a_kill_is_not_copied_twice(paused, plain, tmp_path):
    """The second run ends before its checkpoint, and is resumed from the first one's."""
    suite = settled([0.02])
    plan = going_on(plan_run(suite, DEVICE, 1), *paused, DEVICE)
    (taken_up,) = plan.taken_up
    path = carry_out(replace(plan, taken_up=(), blocks=()), tmp_path, "second")
    meta = (path / "run.json").read_text(encoding="utf-8")
    lanes = [lane.number for lane in plan.lanes]
    meta = meta.replace('"blocks": []', f'"blocks": [{{"block": 0, "lanes": {lanes}}}]')
    (path / "run.json").write_text(meta.replace('"status": "done"', '"status": "running"'))
    Journal(path, 0).append([next(taken_up.records())], [])
    rest = plan_rest(path, suite, DEVICE, 1)
    assert [block.progress for block in rest.blocks] == [None]
    rest = going_on(rest, *paused, DEVICE)
    assert rest.blocks[0].progress is not None
    resume(path, rest, DEVICE)
    assert_survivors_are_plain([read_run(path)], plain)


def test_a_block_that_has_begun_goes_on_by_itself(paused):
    plan = going_on(plan_run(settled([0.02]), DEVICE, 1), *paused, DEVICE)
    again = going_on(plan, *paused, DEVICE)
    assert again.blocks == plan.blocks
    assert again.taken_up == ()


def test_a_block_that_is_split_begins_anew(paused):
    plan = going_on(plan_run(settled([0.01, 0.02]), DEVICE, 1), *paused, DEVICE)
    parts = halves(plan.blocks[0], count(5))
    assert [part.progress for part in parts] == [None, None]


def test_without_a_journal_everything_begins_anew(paused):
    clear(paused[0])
    plan = plan_run(settled([0.02]), DEVICE, 1)
    assert going_on(plan, *paused, DEVICE) == plan


def test_rows_lie_in_the_order_of_the_new_block(paused, tmp_path):
    """Here the other optimizer comes first."""
    rules = [{"name": name, "lr": 0.02} for name in ("adam", "momentum")]
    entry = {"name": "anisotropic", "iterations": 150, "start_spread": 0.1, "pause_at": 110}
    turned = {"name": "turned", "seeds": 2, "problem": [entry], "optimizer": rules}
    suite = resolve(parse_suite(turned, "x"))
    plan = going_on(plan_run(suite, DEVICE, 1), *paused, DEVICE)
    run = read_run(carry_out(plan, tmp_path, "turned"))
    before = read_run(paused[0])
    assert set(run.lanes["status"]) == {"paused"}
    for row in run.lanes.to_dict("records"):
        (lane,) = before.lanes.loc[before.lanes["lane_key"] == row["lane_key"], "lane"]
        ours = run.trace[run.trace["lane"] == row["lane"]].iloc[:70]
        theirs = before.trace[before.trace["lane"] == lane]
        for name in ("loss", "x", "y"):
            assert ours[name].to_numpy().tobytes() == theirs[name].to_numpy().tobytes()
    assert np.diff(pd.unique(run.trace["lane"])).tolist() == [1, 1, 1]
