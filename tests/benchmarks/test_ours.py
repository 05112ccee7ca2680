import numpy as np
import pytest

from benchmarks.speed import contenders, ours
from benchmarks.speed.__main__ import arguments, file_name
from benchmarks.speed.memory import needed_bytes
from benchmarks.speed.workload import Workload, flop_per_step, learning_rates
from optbench.records import BlockResult, EvaluationRows, TraceChunk


def test_a_step_has_the_operations_of_its_products():
    forward = 784 * 100 + 3 * 100 * 100 + 100 * 10
    assert flop_per_step() == 2 * 128 * (3 * forward - 784 * 100)


def test_learning_rates_are_those_of_the_suite():
    assert learning_rates() == {"sgd": 0.01, "momentum": 0.01, "adagrad": 0.01, "adam": 0.001}


def test_all_rows_of_all_lanes_arrive():
    suite = ours.function_suite(3, 70)
    ours.leave_out(suite)
    records = []
    seconds = ours.step_all(ours.plan_of(suite), records.append)
    assert seconds > 0
    rows = sum(int(each.rows.sum()) for each in records if isinstance(each, TraceChunk))
    assert rows == 3 * 71
    ends = [lane for each in records if isinstance(each, BlockResult) for lane in each.lanes]
    assert {lane.status for lane in ends} == {"done"}


def test_lanes_of_the_function_sweep_the_learning_rate():
    lanes = ours.plan_of(ours.function_suite(5, 10)).lanes
    assert len({lane.hyperparameters["lr"] for lane in lanes}) == 5


def test_the_network_records_before_the_update_from_the_workloads_start():
    workload = Workload()
    suite = ours.network_suite({"sgd": 0.01, "adam": 0.001}, 2, 1)
    ours.leave_out(suite, workload.start)
    records = []
    ours.step_all(ours.plan_of(suite), records.append)
    assert not any(isinstance(each, EvaluationRows) for each in records)
    x = workload.pixels[workload.batches(1, 1)[0]].astype(np.float64)
    for weight, bias in workload.weights(1):
        before = x @ weight + bias
        x = np.maximum(before, 0)
    shifted = np.exp(before - before.max(axis=1, keepdims=True))
    labels = workload.labels[workload.batches(1, 1)[0]]
    y = (shifted / shifted.sum(axis=1, keepdims=True))[np.arange(128), labels]
    first = {
        int(lane): chunk.loss[0, column]
        for chunk in records
        if isinstance(chunk, TraceChunk) and chunk.first_iteration == 0
        for column, lane in enumerate(chunk.lanes)
    }
    assert first[1] == pytest.approx(-np.log(y).mean(), rel=1e-5)


def test_needed_memory_counts_rows_of_all_lanes_data_and_activations():
    plan = ours.plan_of(ours.network_suite({"adam": 0.001}, 3, 1))
    parameters = 784 * 100 + 3 * 100 * 100 + 100 * 10 + 410
    data = sum(array.nbytes for array in plan.blocks[0].problem.data().values())
    at_work = min(plan.workers, len(plan.blocks)) * max(len(each.lanes) for each in plan.blocks)
    activations = at_work * 128 * (784 + 410) * 4
    assert needed_bytes(plan) == 3 * parameters * 4 * 4 + data + activations


def test_what_is_not_installed_is_named_with_the_extra(monkeypatch):
    monkeypatch.setattr(contenders, "find_spec", lambda name: None if name == "jax" else object())
    (line,) = contenders.missing()
    assert line.startswith("JAX is not installed")
    assert "optbench[bench]" in line


def test_arguments():
    assert (arguments([]).rounds, arguments(["--quick"]).rounds) == (3, 2)
    asked = arguments(["--only", "memory", "--only", "parquet", "--rounds", "7"])
    assert (asked.only, asked.rounds) == (["memory", "parquet"], 7)
    with pytest.raises(SystemExit):
        arguments(["--rounds", "0"])


def test_the_file_is_named_after_the_processor():
    machine = {"processor": None, "machine": "arm64", "threads": 8}
    assert file_name(machine, quick=False) == "arm64-8-cores.json"
