"""What readers see of a run that is still going, and of one that was killed."""

import errno
import json
import os
import tracemalloc
from dataclasses import replace
from functools import cache
from itertools import islice

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from optbench.device.cpu import NumpyDevice
from optbench.engine import loop as engine
from optbench.engine.loop import run_block
from optbench.engine.stopping import Rules
from optbench.errors import ResultsError
from optbench.records import (
    BlockResult,
    BlockSplit,
    Checkpoint,
    EvaluationRows,
    LaneResult,
    Status,
    TraceChunk,
)
from optbench.runs.pipeline import extra_columns, plan_run, run_plan
from optbench.store import block_writer, files, reader, writer
from optbench.store.find import find_runs
from optbench.store.journal import FOLDER, Journal
from optbench.store.lock import locked
from optbench.store.reader import journaled, read_meta, read_run
from optbench.store.writer import RunWriter
from tests.small import anisotropic, quadratic, small_network, suite

STOP = Rules(patience=8, evaluate_every=5)


class Script:
    """A suite, its plan, and all that its blocks record, which every test may write again."""

    def __init__(self, settled):
        self.settled, self.plan = settled, plan_run(settled, NumpyDevice(), workers=1)
        self.records = [
            record
            for block in self.plan.blocks
            for record in run_block(block, NumpyDevice(), checkpoint_seconds=0.0)
        ]


@cache
def mixed(rules=STOP):
    """A suite whose lanes end in every way: done, diverged and stopped by patience."""
    common = {"seeds": (0, 7), "iterations": 40}
    optimizers = [("sgd", [{"lr": 0.1}, {"lr": 1e-9}]), "adam"]
    network = suite(small_network(), optimizers=optimizers, rules=rules, **common)
    optimizers = [("sgd", [{"lr": 0.1}, {"lr": 1e200}]), "adam"]
    functions = suite(anisotropic(), quadratic(), optimizers=optimizers, **common)
    return Script(replace(network, problems=(*network.problems, *functions.problems)))


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch):
    """Make chunks short; that files are synced is no matter here and takes most of the time."""
    monkeypatch.setattr(engine, "CHUNK_ROWS", 6)
    monkeypatch.setattr(os, "fsync", lambda opened: None)


@cache
def brief():
    """Two blocks of two chunks each, one of them with evaluations on the way."""
    rules = Rules(evaluate_every=5)
    network = suite(small_network(), optimizers=["sgd"], iterations=8, rules=rules)
    function = suite(anisotropic(), optimizers=["sgd"], iterations=8)
    return Script(replace(network, problems=(*network.problems, *function.problems)))


class Stage:
    """A run that is written record by record, as by a process that may end at any moment."""

    def __init__(self, path, script, monkeypatch, seconds=0.0, trace="all"):
        monkeypatch.setattr(block_writer, "JOURNAL_SECONDS", seconds)
        path.mkdir()
        self.path, self.plan, self._script = path, script.plan, script
        problems = [
            {"problem": entry.label, "name": entry.problem.name, "iterations": entry.iterations}
            | entry.problem.describe()
            | {"fingerprint": entry.problem.fingerprint}
            for entry in script.settled.problems
        ]
        meta = {"invocation_id": "i", "suite": {"name": "small"}, "problems": problems}
        meta["trace"] = trace
        self._extra = extra_columns(script.settled)
        self._meta = meta
        self.writer = RunWriter(path, meta, self.plan.lanes, workers=1, extra=self._extra)

    def go_on(self):
        """Begin anew with what is there, as after a kill."""
        self.writer = RunWriter(
            self.path, self._meta, self.plan.lanes, workers=1, extra=self._extra, resumed=True
        )

    def records(self):
        return iter(self._script.records)

    def write(self, records):
        """Write records and return all that is given back."""
        return [told for record in records for told in self.writer.add(record)]


@pytest.fixture
def stage(tmp_path, monkeypatch):
    return Stage(tmp_path / "run", mixed(), monkeypatch)


def rows_of(records) -> pd.DataFrame:
    """Return the trace that records hold, by lane and iteration, without the store's code."""
    rows = []
    for chunk in records:
        if not isinstance(chunk, TraceChunk):
            continue
        for place, lane in enumerate(chunk.lanes.tolist()):
            for row in range(chunk.rows[place]):
                at = [] if chunk.position is None else chunk.position[row, place].tolist()
                x, y = (*at, None, None)[:2]
                rows.append((lane, chunk.first_iteration + row, chunk.loss[row, place], x, y))
    return ordered(pd.DataFrame(rows, columns=["lane", "iteration", "loss", "x", "y"]))


def evaluations_of(records) -> pd.DataFrame:
    rows = [
        (lane, record.iteration, record.split, record.loss[place], record.error[place])
        for record in records
        if isinstance(record, EvaluationRows)
        for place, lane in enumerate(record.lanes.tolist())
    ]
    frame = pd.DataFrame(rows, columns=["lane", "iteration", "split", "loss", "error"])
    return frame.sort_values(KEYS, ignore_index=True)


KEYS = ["lane", "iteration", "split"]


def ordered(trace: pd.DataFrame) -> pd.DataFrame:
    names = [name for name in ("lane", "iteration", "loss", "x", "y") if name in trace]
    return trace[names].sort_values(["lane", "iteration"], ignore_index=True)


def same(left: pd.DataFrame, right: pd.DataFrame) -> None:
    shared = [name for name in left.columns if name in right.columns]
    pd.testing.assert_frame_equal(left[shared], right[shared], check_exact=True, check_dtype=False)
    for name in {*left.columns} ^ {*right.columns}:
        frame = left if name in left.columns else right
        assert frame[name].isna().all(), name


TRACES = {"all": 1, "every:2": 2, "every:7": 7, "every:40": 40, "none": 10**9}
"""Values of ``--trace``, and of which numbers iterations are multiples whose rows are kept."""


def kept(rows: pd.DataFrame, trace: str) -> pd.DataFrame:
    """Return what is to be kept of rows by lane and iteration, without the store's code."""
    is_last = rows["lane"] != rows["lane"].shift(-1)
    return rows[is_last | (rows["iteration"] % TRACES[trace] == 0)].reset_index(drop=True)


@pytest.mark.slow
@pytest.mark.parametrize("trace", ["all", "every:7", "none"])
@pytest.mark.parametrize("seconds", [0.0, 3600.0])
def test_what_is_given_back_is_read_at_that_moment(seconds, trace, tmp_path, monkeypatch):
    """After every record: readers see all that was given back, and nothing that was not taken."""
    stage = Stage(tmp_path / "run", mixed(), monkeypatch, seconds, trace)
    told, taken = [], []
    for record in stage.records():
        taken.append(record)
        new = stage.writer.add(record)
        told += [each for each in new if not isinstance(each, Checkpoint)]
        if not new:
            continue
        found = read_run(stage.path)
        assert found.meta["status"] == "interrupted"
        same(ordered(found.trace), kept(rows_of(told), trace))
        if not found.evaluation.empty or evaluations_of(told).size:
            same(found.evaluation.sort_values(KEYS, ignore_index=True), evaluations_of(told))
    kinds = [type(each) for each in taken if not isinstance(each, Checkpoint)]
    assert sorted(map(str, kinds)) == sorted(map(str, map(type, told)))
    stage.writer.finish(Status.DONE)
    same(ordered(read_run(stage.path).trace), kept(rows_of(taken), trace))
    assert not (stage.path / FOLDER).exists()


def test_records_come_back_in_order_and_once(tmp_path, monkeypatch):
    stage = Stage(tmp_path / "run", mixed(), monkeypatch, 3600.0)
    for record in stage.records():
        told = stage.writer.add(record)
        if isinstance(record, Checkpoint):
            assert all(isinstance(each, TraceChunk | EvaluationRows) for each in told)
        elif isinstance(record, BlockResult):
            assert told[-1] is record
        else:
            assert told == ()


def test_a_journal_is_not_read_anew_with_every_record(stage, monkeypatch):
    real, reads = Journal.chunks, []
    monkeypatch.setattr(Journal, "chunks", lambda self: (reads.append(self.block), real(self))[1])
    stage.write(stage.records())
    assert max(reads.count(block.number) for block in stage.plan.blocks) <= 2


def small_pieces(monkeypatch):
    monkeypatch.setattr(block_writer, "PART_BYTES", 150)
    monkeypatch.setattr(block_writer, "PIECE_BYTES", 400)
    monkeypatch.setattr(reader, "PIECE_ROWS", 7)


@pytest.mark.parametrize("trace", TRACES)
def test_a_long_trace_is_written_in_pieces_and_read_in_order(trace, tmp_path, monkeypatch):
    """What its files hold does not depend on when the journal was written, nor on a kill."""
    plain = Stage(tmp_path / "plain", mixed(), monkeypatch, trace=trace)
    records = list(plain.records())
    plain.write(records)
    small_pieces(monkeypatch)
    others = []
    for seconds in (0.0, 3600.0):
        others.append(Stage(tmp_path / f"{seconds}", mixed(), monkeypatch, seconds, trace))
        others[-1].write(records)
    marks = [place for place, each in enumerate(records) if isinstance(each, Checkpoint)]
    again = [type(each) for each in records[marks[3] + 1 : marks[4]]]
    assert {*again} == {TraceChunk, EvaluationRows}
    blocks = [records[mark].block for mark in marks]
    within = [last for last in range(len(marks) - 1) if blocks[last] == blocks[last + 1]]
    for last in within[::3]:
        killed = Stage(tmp_path / f"killed {last}", mixed(), monkeypatch, 0.0, trace)
        killed.write(records[: marks[last + 1]])
        killed.go_on()
        monkeypatch.setattr(block_writer, "JOURNAL_SECONDS", 3600.0)
        rest = records[marks[last] + 1 :]
        killed.write(each for each in rest if not isinstance(each, Checkpoint))
        others.append(killed)
    for stage in (plain, *others):
        stage.writer.finish(Status.DONE)
    names = sorted(file.name for file in (plain.path / "trace").iterdir())
    assert len(names) == len(plain.plan.blocks)
    whole = kept(rows_of(records), trace)
    for stage in others:
        files = [stage.path / "trace" / name for name in names]
        groups = [pq.ParquetFile(file).num_row_groups for file in files]
        assert min(groups) > 1 if trace == "all" else max(groups) > 1
        rows = pd.read_parquet(stage.path / "trace")  # as anybody reads it
        same(ordered(rows), whole)
        steps = rows.groupby("lane")["iteration"].diff().dropna()
        assert (steps == 1).all() if trace == "all" else (steps > 0).all()
        for name in names:
            expected = (others[0].path / "trace" / name).read_bytes()
            assert (stage.path / "trace" / name).read_bytes() == expected
        found, expected = read_run(stage.path), read_run(plain.path)
        order = ["lane", "iteration"]
        pd.testing.assert_frame_equal(
            found.trace.sort_values(order, ignore_index=True),
            expected.trace.sort_values(order, ignore_index=True),
            check_exact=True,
        )
        pd.testing.assert_frame_equal(found.evaluation, expected.evaluation, check_exact=True)


def test_a_journal_of_few_rows_holds_few_and_says_how_far_it_is(tmp_path, monkeypatch):
    stage = Stage(tmp_path / "run", brief(), monkeypatch, 0.0, "every:7")
    (first,) = [each for each in stage.records() if isinstance(each, TraceChunk)][:1]
    stage.write([first])
    (part,) = (stage.path / FOLDER / "block-00000").glob("rows-*.npz")
    with np.load(part) as arrays:
        assert arrays["loss"].shape == (1, len(first.lanes))
        assert arrays["last/iteration"].tolist() == [len(first.loss) - 1] * len(first.lanes)
    assert Journal(stage.path, 0).rows() == len(first.loss) == 5
    assert read_run(stage.path).trace["iteration"].tolist() == [0, 4]
    arrays = files.read_arrays(part)
    del arrays["last/loss"]
    files.write_arrays(part, arrays)
    with pytest.raises(ResultsError, match=r"rows-000001.npz' is damaged: "):
        read_run(stage.path)


def test_no_more_waits_for_the_journal_than_fits_into_memory(tmp_path, monkeypatch):
    stage = Stage(tmp_path / "run", mixed(), monkeypatch, 3600.0)
    monkeypatch.setattr(writer, "WAITING_BYTES", 2000)
    monkeypatch.setattr(block_writer, "PART_BYTES", 300)
    taken, told = [], []
    by_block = sorted(stage.records(), key=lambda record: isinstance(record, BlockResult))
    for record in by_block:
        if isinstance(record, Checkpoint):
            continue
        taken.append(record)
        told += stage.writer.add(record)
        waiting = [each for each in taken if not any(each is other for other in told)]
        losses = [each.loss.nbytes for each in waiting if not isinstance(each, BlockResult)]
        assert sum(losses) <= 2000
        if len(taken) % 10 == 0:
            same(ordered(read_run(stage.path).trace), rows_of(told))
        for part in stage.path.glob("journal/*/rows-*.npz"):
            with np.load(part) as arrays:
                assert "loss" not in arrays or arrays["loss"].nbytes <= 300
    assert len(told) == len(taken)
    assert len({id(each) for each in told}) == len(taken)
    for block in stage.plan.blocks:
        of_block = [[each for each in some if each.block == block.number] for some in (taken, told)]
        assert [*map(id, of_block[0])] == [*map(id, of_block[1])]


@pytest.mark.parametrize("name", ["trace", "evaluation"])
def test_the_memory_of_writing_a_block_does_not_grow_with_its_rows(name, tmp_path, monkeypatch):
    monkeypatch.setattr(block_writer, "JOURNAL_SECONDS", 0.0)
    monkeypatch.setattr(block_writer, "PIECE_BYTES", 10_000)
    lanes, height = np.arange(200, dtype=np.int32), 5

    def peak(count: int) -> int:
        path = tmp_path / f"{count}"
        path.mkdir()
        run = RunWriter(path, {}, mixed().plan.lanes, workers=1, extra=())
        loss = np.ones((height, 200))
        tracemalloc.start()
        for number in range(count):
            if name == "trace":
                rows = np.full(200, height)
                run.add(TraceChunk(0, lanes, number * height, loss.copy(), rows))
            else:
                values = loss[0].copy()
                run.add(EvaluationRows(0, number, lanes, number, "test", values, values))
        results = tuple(LaneResult(lane, Status.DONE, count) for lane in range(200))
        run.add(BlockResult(0, results))
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        each = height if name == "trace" else 1
        assert len(pd.read_parquet(path / name)) == count * 200 * each
        return used

    peak(2)  # imports what it needs
    few, many = peak(20), peak(200)
    assert many < few + 180 * 1000  # for the name of each part; what it holds takes far more


def test_a_disk_that_is_full_in_the_midst_of_a_file_is_said_in_one_line(stage, monkeypatch):
    small_pieces(monkeypatch)
    records = list(stage.records())
    end = next(place for place, each in enumerate(records) if isinstance(each, BlockResult))
    stage.write(records[:end])
    real, pieces = files.arrow_table, []

    def full(kinds, columns):
        pieces.append(columns)
        if len(pieces) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(kinds, columns)

    with monkeypatch.context() as patch:
        patch.setattr(files, "arrow_table", full)
        with pytest.raises(ResultsError) as caught:
            stage.writer.add(records[end])
    place = stage.path / "trace" / "block-00000.parquet"
    expected = f"cannot write results to '{place}': No space left on device; "
    assert str(caught.value) == f"{expected}free it or choose another --out"
    assert list(place.parent.iterdir()) == []
    same(ordered(read_run(stage.path).trace), rows_of(records[:end]))
    stage.go_on()
    stage.write(records[end:])
    same(ordered(read_run(stage.path).trace), rows_of(records))


def test_what_is_damaged_in_the_journal_of_a_block_leaves_no_file_of_it(stage, monkeypatch):
    small_pieces(monkeypatch)
    records = list(stage.records())
    end = next(place for place, each in enumerate(records) if isinstance(each, BlockResult))
    stage.write(records[:end])
    part = stage.path / FOLDER / "block-00000" / "rows-000005.npz"
    part.write_bytes(part.read_bytes()[:-40])
    with pytest.raises(ResultsError) as caught:
        stage.writer.add(records[end])
    assert str(caught.value).startswith(f"'{part}' is damaged: ")
    assert list((stage.path / "trace").iterdir()) == []


def test_a_run_is_running_while_it_is_locked_and_interrupted_once_it_is_not(stage):
    stage.write(islice(stage.records(), 4))

    def assert_status(status):
        found = read_run(stage.path)
        assert found.meta["status"] == read_meta(stage.path)["status"] == status
        assert set(found.lanes["status"]) == {status}

    with locked(stage.path):
        assert_status("running")
    assert_status("interrupted")
    assert json.loads((stage.path / "run.json").read_text("utf-8"))["status"] == "running"


def test_what_has_ended_keeps_its_status(tmp_path):
    settled = suite(anisotropic(), optimizers=["sgd"])
    plan = plan_run(settled, NumpyDevice(), workers=1)
    path = run_plan(plan, NumpyDevice(), tmp_path, "i").path
    with locked(path):
        assert read_meta(path)["status"] == "done"
    assert read_meta(path)["status"] == "done"
    assert find_runs([], tmp_path) == [path]


@pytest.mark.parametrize("rules", [STOP, Rules()])
def test_lanes_of_an_unfinished_run_have_the_types_of_a_finished_one(rules, tmp_path, monkeypatch):
    """All blocks but the last have ended: the same table, but for lanes that have not."""
    stage = Stage(tmp_path / "run", mixed(rules), monkeypatch)
    last = stage.plan.blocks[-1]
    waiting = [lane.number for lane in last.lanes]
    records = list(stage.records())
    for record in records:
        if not (record.block == last.number and isinstance(record, BlockResult)):
            stage.writer.add(record)
    found = read_run(stage.path).lanes
    stage.writer.add(records[-1])
    stage.writer.finish(Status.DONE)
    whole = pd.read_parquet(stage.path / "lanes.parquet")
    assert found.columns.tolist() == whole.columns.tolist()
    ended = ~whole["lane"].isin(waiting)
    both = (table[ended].reset_index(drop=True) for table in (found, whole))
    pd.testing.assert_frame_equal(*both, check_exact=True, check_dtype=False)
    assert {*whole["status"]} >= {"done", "diverged"}
    assert set(found.loc[~ended, "status"]) == {"interrupted"}
    unknown = ["iterations", "gradients", "final_loss", "best_loss"]
    assert found.loc[~ended, unknown].isna().all(axis=None)
    expected = pd.read_parquet(stage.path / "lanes.parquet")
    expected.loc[~ended, ["iterations", "gradients"]] = np.nan
    kinds = {name: expected[name].dtype for name in expected if name != "block_lanes"}
    assert {name: found[name].dtype for name in kinds} == kinds


def test_lanes_that_have_all_ended_are_those_of_a_finished_run(stage):
    stage.write(stage.records())
    found = read_run(stage.path).lanes
    stage.writer.finish(Status.DONE)
    pd.testing.assert_frame_equal(found, pd.read_parquet(stage.path / "lanes.parquet"))
    assert "best_at" in found


def test_a_damaged_part_is_named_where_the_run_is_read(stage):
    stage.write(islice(stage.records(), 4))
    part = stage.path / FOLDER / "block-00000" / "rows-000001.npz"
    part.write_bytes(part.read_bytes()[:-40])
    with pytest.raises(ResultsError) as caught:
        read_run(stage.path)
    assert str(caught.value).startswith(f"'{part}' is damaged: ")


@pytest.mark.parametrize("how", ["end", "forget"])
def test_a_block_that_ends_while_it_is_read_is_not_damaged(how, stage, monkeypatch):
    records = list(stage.records())
    end = next(place for place, each in enumerate(records) if isinstance(each, BlockResult))
    stage.write(records[:end])
    real = Journal.trace

    def trace(self):
        monkeypatch.setattr(Journal, "trace", real)
        if how == "end":
            stage.writer.add(records[end])
        else:
            self.forget()
        raise ResultsError("a part went away")

    monkeypatch.setattr(Journal, "trace", trace)
    assert journaled(stage.path) == {"trace": {}, "evaluation": {}}


def test_a_run_without_a_row_is_read(stage):
    found = read_run(stage.path)
    assert found.trace.empty
    assert found.evaluation.empty
    assert set(found.lanes["status"]) == {"interrupted"}


@pytest.mark.parametrize("place", ["journaled", "fill_in", "tables_in", "read_lanes"])
def test_what_ends_while_a_run_is_read_is_there_once(place, tmp_path, monkeypatch):
    """A block ends, or the whole run, before any of the steps of reading it."""
    whole = []
    for last in (False, True):
        stage = Stage(tmp_path / f"run-{last}", brief(), monkeypatch)
        records = list(stage.records())
        ends = [number for number, each in enumerate(records) if isinstance(each, BlockResult)]
        cut = ends[-1] if last else ends[0]
        stage.write(records[:cut])
        real, done = getattr(reader, place), []

        def step(*arguments, real=real, done=done, stage=stage, record=records[cut], last=last):
            if not done:
                done.append(True)
                stage.writer.add(record)
                if last:
                    stage.writer.finish(Status.DONE)
            return real(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(reader, place, step)
            found = read_run(stage.path)
        assert done
        same(ordered(found.trace), rows_of(records[:cut]))
        evaluations = evaluations_of(records[:cut])
        same(found.evaluation.sort_values(KEYS, ignore_index=True), evaluations)
        whole.append(found.meta["status"])
    assert whole == ["interrupted", "done"]


def test_files_of_an_interrupted_run_that_go_while_it_is_read_are_in_its_journal(
    stage, monkeypatch
):
    """A run that goes on removes the files of blocks that have not ended."""
    records = list(stage.records())
    end = next(place for place, each in enumerate(records) if isinstance(each, BlockResult))
    stage.write(records[:end])
    stage.writer.finish(Status.INTERRUPTED)
    real, skipped = reader.journaled, []

    def journaled(run, written):
        found = real(run, written)
        skipped.append([*written["trace"]])
        assert found["trace"] == {} or len(skipped) > 1
        for file in run.glob("*/block-*.parquet"):
            file.unlink()
        return found

    monkeypatch.setattr(reader, "journaled", journaled)
    found = read_run(stage.path)
    assert skipped == [["block-00000"], []]
    same(ordered(found.trace), rows_of(records[:end]))
    evaluations = evaluations_of(records[:end])
    same(found.evaluation.sort_values(KEYS, ignore_index=True), evaluations)


def test_a_block_that_is_split_while_it_is_read_is_there_once(tmp_path, monkeypatch):
    """Its rows are read from the journal, and then there are files of its parts."""
    stage = Stage(tmp_path / "run", brief(), monkeypatch)
    block = stage.plan.blocks[0]
    records = [each for each in stage.records() if each.block == block.number]
    stage.write(records[:-1])
    real, part = reader.tables_in, len(stage.plan.blocks)

    def tables(folder):
        monkeypatch.setattr(reader, "tables_in", real)
        lanes = tuple(lane.number for lane in block.lanes)
        stage.write([BlockSplit(block.number, ((part, lanes),), "no memory")])
        stage.write(replace(record, block=part) for record in records)
        return real(folder)

    monkeypatch.setattr(reader, "tables_in", tables)
    same(ordered(read_run(stage.path).trace), rows_of(records))
