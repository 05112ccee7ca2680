"""A run's directory while it is written: always readable, never half written."""

import errno
import json
import os
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from optbench.errors import ResultsError
from optbench.records import (
    SURFACE_COLUMNS,
    BlockResult,
    BlockSplit,
    EvaluationRows,
    Lane,
    LaneResult,
    Status,
    TraceChunk,
)
from optbench.runs.layout import lay_out
from optbench.store import files, lock, writer
from optbench.store.files import write_beside
from optbench.store.lock import hold
from optbench.store.writer import RunWriter, new_run_directory
from tests.small import anisotropic, suite

LANES = lay_out(suite(anisotropic(), optimizers=["sgd", "adam"], seeds=(0, 7)), "cpu")


@pytest.fixture
def run(tmp_path) -> RunWriter:
    return make(tmp_path)


def make(path, lanes=LANES, *, extra=("x", "y"), **meta) -> RunWriter:
    return RunWriter(path, meta, lanes, workers=2, extra=extra)


def evaluation(split, loss=(0.5, 0.25), error=(0.1, np.nan), *, number=0) -> EvaluationRows:
    lanes = np.array([0, 1], dtype=np.int32)
    return EvaluationRows(0, number, lanes, 3, split, np.array(loss), np.array(error))


def chunk(first=0, rows=(2, 2), *, block=0, lanes=(0, 1), width=2) -> TraceChunk:
    height = max(rows)
    loss = np.arange(height * len(lanes), dtype=float).reshape(height, len(lanes)) + 100 * first
    position = None if width is None else np.stack([loss] * width, axis=-1) + 0.5
    numbers = np.array(lanes, dtype=np.int32)
    return TraceChunk(block, numbers, first, loss, np.array(rows), position)


def result(*numbers, block=0, status=Status.DONE, **fields) -> BlockResult:
    lanes = tuple(LaneResult(number, status, iterations=3, **fields) for number in numbers)
    return BlockResult(block, lanes)


def meta_of(path) -> dict:
    return json.loads((path / "run.json").read_text("utf-8"))


def lane_statuses(path) -> list[str]:
    return pd.read_parquet(path / "lanes.parquet")["status"].tolist()


def test_a_run_directory_is_named_after_suite_and_time(tmp_path):
    path = new_run_directory(tmp_path / "a" / "b", "sweep")
    assert path.is_dir()
    assert path.parent == tmp_path / "a" / "b"
    assert re.fullmatch(r"sweep-\d{8}T\d{6}Z-[0-9a-f]{8}", path.name)


def test_nothing_that_is_there_is_ever_taken_over(tmp_path, monkeypatch):
    monkeypatch.setattr(writer.secrets, "token_hex", lambda size: "00" * size)
    monkeypatch.setattr(writer, "TIME_FORMAT", "now")
    new_run_directory(tmp_path, "a")
    with pytest.raises(ResultsError) as caught:
        new_run_directory(tmp_path, "a")
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_place_that_is_protected_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ResultsError, match="Permission denied; free it or choose another --out"):
        new_run_directory(tmp_path, "a")


def test_a_run_is_there_from_the_start(tmp_path):
    make(tmp_path, invocation_id="i")
    meta = meta_of(tmp_path)
    assert (meta["status"], meta["ended"], meta["invocation_id"]) == ("running", None, "i")
    assert meta["timings"] == {"wall_seconds": None}
    assert lane_statuses(tmp_path) == ["running"] * 4


def test_a_block_is_written_when_its_result_comes(tmp_path, run):
    run.add(chunk(0, (2, 2)))
    run.add(chunk(2, (2, 1)))
    run.add(chunk(0, (1, 1), block=1, lanes=(2, 3)))
    assert not (tmp_path / "trace").exists()
    run.add(result(0, 1))
    assert [each.name for each in (tmp_path / "trace").iterdir()] == ["block-00000.parquet"]
    trace = pd.read_parquet(tmp_path / "trace")
    assert trace["lane"].tolist() == [0] * 4 + [1] * 3
    assert trace["iteration"].tolist() == [0, 1, 2, 3, 0, 1, 2]
    assert trace["loss"].tolist() == [0.0, 2.0, 200.0, 202.0, 1.0, 3.0, 201.0]
    assert trace["x"].tolist() == [each + 0.5 for each in trace["loss"]]


def test_what_has_no_result_at_the_end_is_interrupted_and_kept(tmp_path, run):
    run.add(chunk())
    run.add(result(0, 1, final_loss=0.5, best_loss=0.25))
    run.add(chunk(0, (2, 2), block=1, lanes=(2, 3)))
    run.finish(Status.INTERRUPTED)
    assert lane_statuses(tmp_path) == ["done", "done", "interrupted", "interrupted"]
    assert set(pd.read_parquet(tmp_path / "trace")["lane"]) == {0, 1, 2, 3}
    lanes = pd.read_parquet(tmp_path / "lanes.parquet")
    for name in ("final_loss", "iterations"):
        assert lanes[name].isna().tolist() == [False, False, True, True]
    meta = meta_of(tmp_path)
    assert meta["status"] == "interrupted"
    assert meta["ended"] >= meta["started"]
    assert meta["timings"]["wall_seconds"] >= 0


def test_every_lane_result_is_a_row(tmp_path, run):
    run.add(chunk())
    values = {
        "stopped_at": 16,
        "final_loss": 0.5,
        "best_loss": 0.25,
        "step_seconds": 1e-5,
        "block_lanes": 2,
    }
    end = LaneResult(1, Status.STOPPED, iterations=17, **values)
    run.add(BlockResult(0, (LaneResult(0, Status.DIVERGED, 3, diverged_at=3), end)))
    run.finish(Status.DONE)
    rows = pd.read_parquet(tmp_path / "lanes.parquet").set_index("lane")
    assert (rows.loc[0, "diverged_at"], rows.loc[0, "iterations"]) == (3, 3)
    assert rows.loc[1, list(values)].to_dict() == values
    assert (rows.loc[1, "status"], rows.loc[1, "workers"]) == ("stopped", 2)


def test_what_a_block_recorded_before_it_was_split_counts_no_more(tmp_path):
    run = make(tmp_path, blocks=[{"block": 0, "lanes": [0, 1]}, {"block": 1, "lanes": [2, 3]}])
    run.add(chunk(0, (2, 2)))
    run.add(evaluation("test", (9.0, 9.0), (9.0, 9.0)))
    run.add(chunk(0, (1, 1), block=1, lanes=(2, 3)))
    run.add(BlockSplit(0, ((2, (0,)), (3, (1,)))))
    run.add(chunk(0, (1,), block=2, lanes=(0,)))
    run.add(result(0, block=2))
    run.add(result(2, 3, block=1))
    run.finish(Status.INTERRUPTED)
    assert pd.read_parquet(tmp_path / "trace")["lane"].tolist() == [2, 3, 0]
    assert not (tmp_path / "evaluation").exists()
    assert meta_of(tmp_path)["blocks"] == [
        {"block": 1, "lanes": [2, 3]},
        {"block": 2, "lanes": [0], "split_from": 0},
        {"block": 3, "lanes": [1], "split_from": 0},
    ]
    assert lane_statuses(tmp_path) == ["done", "interrupted", "done", "done"]


def test_evaluations_of_a_block_are_one_file(tmp_path, run):
    run.add(chunk())
    for number, split in enumerate(("train", "test")):
        run.add(evaluation(split, number=number))
    run.add(result(0, 1))
    rows = pd.read_parquet(tmp_path / "evaluation")
    assert rows["split"].tolist() == ["train", "train", "test", "test"]
    assert rows["lane"].tolist() == [0, 1, 0, 1]
    assert rows["iteration"].tolist() == [3] * 4
    assert rows["loss"].tolist() == [0.5, 0.25] * 2
    assert rows["error"].isna().tolist() == [False, True] * 2


def test_surfaces_are_a_file_a_problem(tmp_path, run):
    columns = {name: np.arange(3.0) for name in ("x", "y", "value", "gradient_x", "gradient_y")}
    run.add_surface("a", columns)
    run.add_surface("b", columns)
    surface = pd.read_parquet(tmp_path / "surface")
    assert surface["problem"].tolist() == ["a"] * 3 + ["b"] * 3
    assert surface["value"].tolist() == [0.0, 1.0, 2.0] * 2


def test_of_a_curve_the_columns_of_y_are_null(tmp_path, run):
    run.add_surface("a", {name: np.arange(3.0) for name in ("x", "value", "gradient_x")})
    surface = pq.read_table(tmp_path / "surface")
    assert surface.column_names == list(SURFACE_COLUMNS)
    assert {name: surface[name].null_count for name in ("x", "y", "gradient_x", "gradient_y")} == {
        "x": 0, "y": 3, "gradient_x": 0, "gradient_y": 3,
    }  # fmt: skip


def test_failures_are_kept_with_their_traceback(tmp_path, run):
    failed = (LaneResult(0, Status.FAILED, None), LaneResult(1, Status.FAILED, None))
    run.add(BlockResult(0, failed, "ValueError: no", "Traceback …"))
    run.finish(Status.FAILED)
    failure = {"message": "ValueError: no", "lanes": [0, 1], "traceback": "Traceback …"}
    assert meta_of(tmp_path)["failures"] == [failure]
    assert lane_statuses(tmp_path) == ["failed", "failed", "interrupted", "interrupted"]
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(("width", "dimensions"), [(1, 2), (2, 2), (3, 3), (None, 2), (None, 0)])
def test_positions_fill_the_columns_that_they_have(width, dimensions, tmp_path):
    run = make(tmp_path, extra=("x", "y", "z")[:dimensions])
    run.add(chunk(width=width))
    run.add(result(0, 1))
    trace = pd.read_parquet(tmp_path / "trace")
    names = ["x", "y", "z"][:dimensions]
    assert trace.columns.tolist() == ["lane", "iteration", "loss", *names]
    for index, name in enumerate(names):
        assert trace[name].isna().all() == (width is None or index >= width)


def test_positions_in_single_precision_are_stored_in_double(tmp_path):
    run = make(tmp_path, extra=("x",))
    single = chunk(width=1)
    run.add(replace(single, position=np.float32(single.position)))
    run.add(result(0, 1))
    assert pd.read_parquet(tmp_path / "trace")["x"].dtype == np.float64


def test_hyperparameters_of_all_optimizers_are_columns_in_order_of_appearance(tmp_path):
    def lane(number, **hyperparameters):
        return Lane(number, "k", "p", "o", "l", hyperparameters, 0, "f")

    make(tmp_path, [lane(0, b=1.0), lane(1, a=2.0, b=3.0)])
    lanes = pd.read_parquet(tmp_path / "lanes.parquet")
    assert [name for name in lanes if name.startswith("hp_")] == ["hp_b", "hp_a"]
    assert lanes["hp_b"].tolist() == [1.0, 3.0]
    assert lanes["hp_a"].isna().tolist() == [True, False]


def test_a_file_is_there_whole_or_not_at_all(tmp_path):
    place = tmp_path / "run.json"
    seen = []

    def write(beside):
        seen.append(beside)
        beside.write_text("half", encoding="utf-8")
        assert not place.exists()
        beside.write_text("whole", encoding="utf-8")

    write_beside(place, write)
    assert place.read_text("utf-8") == "whole"
    assert seen[0].parent == tmp_path
    assert [each.name for each in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("bad")])
def test_a_write_that_fails_leaves_the_old_file_and_no_half_one(error, tmp_path):
    place = tmp_path / "run.json"
    place.write_text("old", encoding="utf-8")

    def write(beside):
        beside.write_text("half", encoding="utf-8")
        raise error

    expected = ResultsError if isinstance(error, OSError) else ValueError
    with pytest.raises(expected) as caught:
        write_beside(place, write)
    assert "\n" not in str(caught.value)
    assert place.read_text("utf-8") == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["run.json"]


def test_a_full_disk_is_said_in_one_line(tmp_path, run, monkeypatch):
    run.add(chunk())

    def full(old, new):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises(ResultsError) as caught:
        run.add(result(0, 1))
    place = tmp_path / "trace" / "block-00000.parquet"
    expected = f"cannot write results to '{place}': No space left on device; "
    assert str(caught.value) == f"{expected}free it or choose another --out"


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    place = tmp_path / "t.csv"

    def write(beside):
        beside.write_text("first, ", encoding="utf-8")
        write_beside(place, lambda other: other.write_text("second", encoding="utf-8"))
        assert place.read_text("utf-8") == "second"
        with beside.open("a", encoding="utf-8") as file:
            file.write("whole")

    write_beside(place, write)
    assert place.read_text("utf-8") == "first, whole"
    assert os.listdir(tmp_path) == ["t.csv"]


@pytest.mark.skipif(os.name == "nt", reason="Windows does not say who holds a file")
def test_what_a_killed_writer_left_is_removed_and_what_another_is_writing_is_not(tmp_path):
    killed, held, mine = (tmp_path / f".{name}.part" for name in ("optbench-1", "optbench-2", "x"))
    for file in (killed, held, mine):
        file.touch()
    opened = os.open(held, os.O_RDWR)
    assert hold(opened)
    write_beside(tmp_path / "a", lambda beside: beside.touch())
    assert {*os.listdir(tmp_path)} == {"a", held.name, mine.name}
    os.close(opened)
    write_beside(tmp_path / "a", lambda beside: beside.touch())
    assert {*os.listdir(tmp_path)} == {"a", mine.name}


def test_where_there_are_no_locks_files_are_written_and_leftovers_stay(tmp_path, monkeypatch):
    def no_locks(opened, **_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock, "lock_descriptor", no_locks)
    (tmp_path / ".optbench-1.part").touch()
    write_beside(tmp_path / "a", lambda beside: beside.write_text("whole"))
    assert (tmp_path / "a").read_text() == "whole"
    assert {*os.listdir(tmp_path)} == {"a", ".optbench-1.part"}
