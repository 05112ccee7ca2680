"""How far a run is, seen from its files while it is written."""

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from optbench.device.cpu import NumpyDevice
from optbench.engine import loop as engine
from optbench.engine.stopping import Rules
from optbench.errors import ResultsError
from optbench.records import BlockResult, Status, TraceChunk, Underway
from optbench.runs.pipeline import plan_run, run_plan
from optbench.store import block_writer
from optbench.store import journal as journals
from optbench.store.journal import FOLDER, Journal
from optbench.store.lock import LOCK
from optbench.store.watching import Watched
from tests.small import anisotropic, quadratic, small_network, suite


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch):
    """Make chunks short, and see each in the journal at once."""
    monkeypatch.setattr(engine, "CHUNK_ROWS", 6)
    monkeypatch.setattr(block_writer, "JOURNAL_SECONDS", 0.0)
    monkeypatch.setattr(os, "fsync", lambda opened: None)


def settled():
    """A network with evaluations on the way, and a function in which a lane diverges."""
    rules = Rules(evaluate_every=5)
    network = suite(small_network(), optimizers=["sgd"], seeds=(0, 7), iterations=20, rules=rules)
    swept = [("sgd", [{"lr": 0.1}, {"lr": 1e200}]), "adam"]
    function = suite(anisotropic(), quadratic(), optimizers=swept, iterations=20)
    return replace(network, problems=(*network.problems, *function.problems))


def watched_run(tmp_path, each, trace="all"):
    """Make a run; ``each`` is called with how it is seen, and each record that is on the disk."""
    path, looking = tmp_path / "run", []
    plan = plan_run(settled(), NumpyDevice(), workers=1)

    def observe(record):
        if not looking:
            looking.append(Watched(path))
        each(looking[0], record)

    run_plan(plan, NumpyDevice(), tmp_path, "i", observe, 0.0, directory="run", trace=trace)
    return plan, looking[0]


@pytest.mark.parametrize("trace", ["all", "every:7", "none"])
def test_what_is_seen_is_what_was_recorded_and_each_once(trace, tmp_path):
    ended = []

    def each(watched, record):
        seen = watched.look()
        if isinstance(record, TraceChunk):
            (found,) = (each for each in seen if each.block == record.block)
            assert found.next_iteration == record.next_iteration
            if trace == "all":
                assert found.last_loss == record.last_loss
        if isinstance(record, BlockResult):
            ended.append(record)
            assert record in seen
        assert watched.look() == []
        assert watched.status() is Status.RUNNING

    plan, watched = watched_run(tmp_path, each, trace)
    assert len(ended) == len(plan.blocks)
    assert watched.look() == []
    assert watched.status() is Status.DONE


def test_a_run_is_seen_as_it_was_planned(tmp_path):
    plan, watched = watched_run(tmp_path, lambda *record: None)
    assert watched.lanes == plan.lanes
    seen = [(each.number, each.lanes, each.planned_updates) for each in watched.blocks]
    assert seen == [(each.number, each.lanes, each.planned_updates) for each in plan.blocks]
    assert (watched.suite.name, watched.workers) == (plan.suite.name, plan.workers)


def test_only_the_newest_part_with_rows_is_read(tmp_path, monkeypatch):
    read = []
    usual = journals.read_arrays

    def counted(path, wanted=lambda name: True):
        read.append(path.name)
        return usual(path, wanted)

    def each(watched, record):
        monkeypatch.setattr(journals, "read_arrays", counted)
        read.clear()
        seen = watched.look()
        assert len(read) <= 1
        if isinstance(record, TraceChunk):
            assert read[-1] == f"rows-{Journal(watched.path, record.block).latest()[0]:06d}.npz"
        assert all(not isinstance(found, BlockResult) or found.lanes for found in seen)
        monkeypatch.setattr(journals, "read_arrays", usual)

    watched_run(tmp_path, each)


@pytest.mark.parametrize("gone", ["parts", "block", "journal"])
def test_what_goes_while_it_is_looked_at_says_nothing(gone, tmp_path, monkeypatch):
    usual = journals.read_arrays
    tried = []

    def vanishing(path, wanted=lambda name: True):
        tried.append(path)
        if gone == "parts":
            path.unlink()
        else:
            folder = path.parent if gone == "block" else path.parent.parent
            shutil.rmtree(folder)
        return usual(path, wanted)

    def each(watched, record):
        if isinstance(record, TraceChunk) and not tried:
            copy = tmp_path / "copy"
            shutil.copytree(watched.path, copy)
            beside = Watched(copy)
            monkeypatch.setattr(journals, "read_arrays", vanishing)
            assert beside.look() == []
            monkeypatch.setattr(journals, "read_arrays", usual)
            assert beside.look() == []

    watched_run(tmp_path, each)
    assert tried


def test_a_block_that_ended_before_anybody_looked_is_no_news(tmp_path):
    def each(watched, record):
        if isinstance(record, BlockResult):
            there, result = Watched(watched.path).look()[-2:]
            assert result == record
            assert there == Underway(record.block, 20, there.last_loss, "")
            assert np.isnan(there.last_loss)

    watched_run(tmp_path, each)


def test_a_split_is_noticed(tmp_path):
    def each(watched, record):
        assert watched.is_as_planned()
        file = watched.path / "run.json"
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace('"block": 0,', '"block": 9,'), encoding="utf-8")
        assert not watched.is_as_planned()
        file.write_text(text, encoding="utf-8")
        assert watched.is_as_planned()

    watched_run(tmp_path, each)


def test_whose_writer_is_gone_is_interrupted_unless_it_may_be_elsewhere(tmp_path):
    seen = []

    def each(watched, record):
        if seen:
            return
        copy = tmp_path / "copy"
        shutil.copytree(watched.path, copy)
        for writer, expected in (
            (None, Status.INTERRUPTED),
            ((copy / LOCK).read_text(encoding="utf-8"), Status.INTERRUPTED),
            ("1 another-machine\n", Status.RUNNING),
            ("", Status.INTERRUPTED),
        ):
            (copy / LOCK).unlink(missing_ok=True)
            if writer is not None:
                (copy / LOCK).write_text(writer, encoding="utf-8")
            assert Watched(copy).status() is expected
            seen.append(writer)

    watched_run(tmp_path, each)
    assert len(seen) == 4


def test_a_run_that_is_deleted_is_no_run(tmp_path):
    _, watched = watched_run(tmp_path, lambda *record: None)
    shutil.rmtree(watched.path)
    assert watched.is_as_planned()
    assert watched.look() == []
    with pytest.raises(ResultsError, match="is not a run"):
        watched.status()


def test_blocks_of_lanes_that_there_are_not_are_damage(tmp_path):
    _, watched = watched_run(tmp_path, lambda *record: None)
    file = watched.path / "run.json"
    text = file.read_text(encoding="utf-8")
    assert FOLDER not in os.listdir(watched.path)
    file.write_text(text.replace('"block": 0,\n      "lanes": [\n', '"block": 0, "lanes": [99,\n'))
    with pytest.raises(ResultsError, match="not those of its lanes"):
        Watched(watched.path)


def test_a_rung_is_shown_up_to_its_pause(tmp_path):
    _, watched = watched_run(tmp_path, lambda *record: None)
    file = watched.path / "run.json"
    told = json.loads(file.read_text(encoding="utf-8"))
    (paused, *_) = [each for each in told["problems"] if each["kind"] == "function"]
    entry = {"name": paused["name"], "label": paused["problem"], "pause_at": 7}
    told["suite"]["resolved"] = {"problem": [entry]}
    file.write_text(json.dumps(told), encoding="utf-8")
    for block in Watched(watched.path).blocks:
        pauses = block.lanes[0].problem == paused["problem"]
        assert block.planned_updates == (7 if pauses else 20)


def test_a_status_that_is_none_is_damage(tmp_path):
    _, watched = watched_run(tmp_path, lambda *record: None)
    file = watched.path / "run.json"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace('"status": "done"', '"status": "well"'), encoding="utf-8")
    with pytest.raises(ResultsError, match="its status is 'well'"):
        watched.status()
