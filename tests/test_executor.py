"""Blocks spread over threads: all of them end, whatever one of them does."""

import os
import time
from dataclasses import replace
from threading import Event

import pytest
import threadpoolctl

from optbench import executor
from optbench.device import Device, NumpyDevice
from optbench.executor import default_workers, execute, usable_cores
from optbench.optimizers.sgd import SGD
from optbench.records import BlockResult, Status, TraceChunk
from tests.small import anisotropic, blocks_of, collect, quadratic, run_suite, suite


class Broken(SGD):
    """Raises in its third step."""

    calls = 0

    def step(self, step) -> None:
        Broken.calls += 1
        if Broken.calls == 3:
            raise ZeroDivisionError("a rule\nthat is wrong")
        super().step(step)


@pytest.fixture
def blocks():
    Broken.calls = 0
    return blocks_of(suite(anisotropic(), quadratic(), iterations=100))


def run(blocks, workers=2, cancelled=None):
    return list(execute(blocks, NumpyDevice(), workers, cancelled or Event()))


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_every_block_gives_its_rows_in_order_and_one_result(blocks, workers):
    records = run(blocks, workers)
    for block in blocks:
        own = [each for each in records if each.block == block.number]
        assert [type(each) for each in own] == [TraceChunk, TraceChunk, BlockResult]
        assert [each.first_iteration for each in own[:-1]] == [0, 64]


@pytest.mark.parametrize("workers", [1, 3])
def test_a_rule_that_raises_fails_its_block_alone(blocks, workers):
    broken = [replace(blocks[0], optimizer=Broken()), *blocks[1:]]
    records = run(broken, workers)
    ends = {each.block: each for each in records if isinstance(each, BlockResult)}
    assert set(ends) == {block.number for block in blocks}
    failed = ends.pop(0)
    assert failed.message == "ZeroDivisionError: a rule"
    assert "Traceback (most recent call last)" in failed.traceback
    assert "that is wrong" in failed.traceback
    for lane, result in zip(blocks[0].lanes, failed.lanes, strict=True):
        assert (result.lane, result.status) == (lane.number, Status.FAILED)
        assert (result.final_loss, result.best_loss, result.step_seconds) == (None, None, None)
        assert result.block_lanes == len(blocks[0].lanes)
    outcomes = collect(blocks, records)
    expected = run_suite(suite(anisotropic(), quadratic(), iterations=100))
    for end in ends.values():
        assert (end.message, end.traceback) == ("", "")
        for lane in end.lanes:
            assert outcomes[lane.lane].bits == expected[lane.lane].bits


def test_an_error_without_words_still_has_a_name(blocks, monkeypatch):
    def fail(*arguments):
        raise KeyError

    monkeypatch.setattr(executor, "run_block", fail)
    ends = run(blocks)
    assert {end.message for end in ends} == {"KeyError: "}


def test_what_is_cancelled_before_it_starts_yields_its_result_only(blocks):
    cancelled = Event()
    cancelled.set()
    records = run(blocks, cancelled=cancelled)
    assert [type(each) for each in records] == [BlockResult] * len(blocks)
    for end in records:
        assert {lane.status for lane in end.lanes} == {Status.INTERRUPTED}
        assert {lane.iterations for lane in end.lanes} == {0}


def test_cancelling_lets_the_running_chunk_end(blocks):
    long = [replace(block, iterations=10**7) for block in blocks]
    cancelled = Event()
    rows = {block.number: 0 for block in long}
    for record in execute(long, NumpyDevice(), 2, cancelled):
        if isinstance(record, TraceChunk):
            rows[record.block] += len(record.loss)
            cancelled.set()
        else:
            for lane in record.lanes:
                assert lane.status is Status.INTERRUPTED
                assert lane.iterations == rows[record.block]


def test_workers_wait_for_whoever_takes_their_records(blocks):
    """Else a thread that hardly ever lets another one in would keep an interrupt out as well."""
    long = [replace(block, iterations=10**7) for block in blocks[:2]]
    cancelled = Event()
    records = execute(long, NumpyDevice(), 2, cancelled)
    next(records)
    time.sleep(0.3)  # enough for hundreds of chunks
    cancelled.set()
    chunks = [each for each in records if isinstance(each, TraceChunk)]
    assert len(chunks) <= executor.WAITING_RECORDS + 2 * len(long)


def test_whoever_stops_listening_stops_the_blocks(blocks):
    cancelled = Event()
    records = execute(
        [replace(block, iterations=10**7) for block in blocks], NumpyDevice(), 2, cancelled
    )
    next(records)
    records.close()
    assert cancelled.is_set()


def test_listening_to_the_end_cancels_nothing(blocks):
    cancelled = Event()
    run(blocks, cancelled=cancelled)
    assert not cancelled.is_set()


def test_blas_runs_on_one_thread_inside_and_as_before_outside(blocks):
    def threads():
        pools = threadpoolctl.threadpool_info()
        return [pool["num_threads"] for pool in pools if pool["user_api"] == "blas"]

    before = threads()
    assert before
    inside = [threads() for _ in execute(blocks, NumpyDevice(), 2, Event())]
    assert all(count == 1 for counts in inside for count in counts)
    assert threads() == before


@pytest.mark.parametrize(
    ("cores", "blocks_", "workers"), [(4, 9, 4), (4, 2, 2), (1, 9, 1), (4, 0, 1)]
)
def test_there_are_as_many_workers_as_cores_or_blocks(cores, blocks_, workers, monkeypatch):
    monkeypatch.setattr(executor, "usable_cores", lambda: cores)
    assert default_workers(NumpyDevice(), blocks_) == workers


def test_a_gpu_has_one_worker():
    import numpy

    assert default_workers(Device(numpy, "gpu"), 9) == 1


def test_usable_cores_are_those_that_the_system_grants(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 3, 5}, raising=False)
    assert usable_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert usable_cores() == 7
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cores() == 1
