"""Blocks spread over threads: all of them end, whatever one of them does."""

import os
from contextlib import suppress
from dataclasses import replace
from threading import Barrier, BrokenBarrierError, Event, Semaphore, get_ident
from types import SimpleNamespace

import numpy as np
import pytest
import threadpoolctl

from optbench.arrays import Workspace
from optbench.device.base import Device
from optbench.device.cpu import NumpyDevice
from optbench.engine import executor
from optbench.engine.executor import execute, usable_cores, useful_workers, worker_count
from optbench.optimizers.rules.sgd import SGD
from optbench.records import BlockResult, BlockSplit, Status, TraceChunk
from optbench.runs import layout
from optbench.runs.pipeline import plan_run, run_plan
from optbench.store.reader import read_run
from tests.small import (
    anisotropic,
    blocks_of,
    collect,
    quadratic,
    ruled_by,
    run_suite,
    small_network,
    suite,
)


class Broken(SGD):
    """Raises in the third step of any block that holds a lane with a learning rate of 0.5."""

    def columns(self, hyperparameters, updates):
        if (hyperparameters["lr"] == 0.5).any() and 3 in updates:
            raise ZeroDivisionError("a rule\nthat is wrong")
        return super().columns(hyperparameters, updates)


class Hasty(SGD):
    """Raises once."""

    calls = 0

    def step(self, step) -> None:
        Hasty.calls += 1
        if Hasty.calls == 3:
            raise ArithmeticError("just this time")
        super().step(step)


class Users(SGD):
    """Somebody's own code, which notes the threads that call it."""

    plugin = SimpleNamespace(is_users=True, source=SimpleNamespace(root=None))

    def __init__(self):
        self.threads, self.two = [], Barrier(2)

    def columns(self, hyperparameters, updates):
        with suppress(BrokenBarrierError):
            self.two.wait(0.02)  # for another thread, which must not come
            self.threads.append("two at once")
        self.two.reset()
        self.threads.append(get_ident())
        return super().columns(hyperparameters, updates)


@pytest.fixture
def blocks():
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


def test_users_code_is_called_by_one_thread_while_other_blocks_go_on(blocks):
    mine, others = Users(), Event()

    class Waiting(SGD):
        def columns(self, hyperparameters, updates):
            others.set()
            return super().columns(hyperparameters, updates)

    class Last(Users):
        def columns(self, hyperparameters, updates):
            assert others.wait(10)  # for a block that comes after all of ours
            return super().columns(hyperparameters, updates)

    last = Last()
    last.threads = mine.threads
    ours = [ruled_by(mine, block) for block in blocks]
    ours += [replace(ruled_by(last, blocks[0]), number=8)]
    waiting = replace(ruled_by(Waiting(), blocks[0]), number=9)
    records = run([*ours, waiting], workers=3)
    ends = [each for each in records if isinstance(each, BlockResult)]
    assert len(ends) == len(blocks) + 2
    assert {lane.status for end in ends for lane in end.lanes} == {Status.DONE}
    assert len({*mine.threads}) == 1


def test_no_more_workers_are_used_than_have_work(blocks):
    users = [ruled_by(Users(), block) for block in blocks]
    assert [useful_workers(some, 99) for some in ([], users, blocks)] == [1, 1, len(blocks)]
    assert useful_workers([*users, *blocks], 99) == len(blocks) + 1
    assert useful_workers([*users, *blocks], 2) == 2


RATES = [{"lr": rate} for rate in (0.1, 0.2, 0.5, 0.3, 0.4)]


@pytest.mark.parametrize("workers", [1, 3])
def test_a_lane_that_raises_fails_alone(workers):
    """The others of its block give what they give without it."""
    settled = suite(anisotropic(), quadratic(), optimizers=[("sgd", RATES)], iterations=100)
    plain = blocks_of(settled)
    blocks = [ruled_by(Broken(), plain[0]), *plain[1:]]
    records = run(blocks, workers)
    ends = [each for each in records if isinstance(each, BlockResult)]
    failed = [end for end in ends if end.message]
    assert [end.message for end in failed] == ["ZeroDivisionError: a rule"]
    assert "Traceback (most recent call last)" in failed[0].traceback
    assert "that is wrong" in failed[0].traceback
    (lane,) = failed[0].lanes
    assert (lane.lane, lane.status, lane.block_lanes) == (2, Status.FAILED, 1)
    assert lane.iterations is None  # nobody knows how many it has made
    assert (lane.final_loss, lane.best_loss, lane.step_seconds) == (None, None, None)
    for split in (each for each in records if isinstance(each, BlockSplit)):
        assert split.message == failed[0].message
        assert "that is wrong" in split.traceback
    outcomes, expected = collect(blocks, records), run_suite(settled)
    for number in set(expected) - {2}:
        assert outcomes[number].bits == expected[number].bits
        assert outcomes[number].result.status is Status.DONE


def test_what_raises_in_company_and_never_alone_is_told_and_runs_on(tmp_path):
    Hasty.calls = 0
    settled = suite(anisotropic(), optimizers=[("sgd", RATES)], iterations=100)
    plan = plan_run(settled, NumpyDevice(), workers=1)
    hasty = replace(plan, blocks=(ruled_by(Hasty(), plan.blocks[0]),))
    outcome = run_plan(hasty, NumpyDevice(), tmp_path, "invocation")
    assert outcome.status is Status.DONE
    (failure,) = outcome.failures
    assert failure.message.startswith("ArithmeticError: just this time")
    assert failure.lanes == ()
    assert "in step" in read_run(outcome.path).meta["failures"][0]["traceback"]


class Small(NumpyDevice):
    """The CPU with memory for so many lanes of the small network at a time, as a card has.

    A block that is larger fails where its work arrays are allocated, like on a card; or, with
    ``late``, in the midst of its run.
    """

    def __init__(self, lanes: int, *, late: int = 0) -> None:
        super().__init__()
        self.lanes = lanes
        self.late = late
        self.released = 0

    def workspace(self) -> Workspace:
        return Tight(self.lanes, self.late)

    def release(self) -> None:
        self.released += 1


class Tight(Workspace):
    """Has no array for more than so many lanes, after so many that it had."""

    def __init__(self, lanes: int, late: int) -> None:
        super().__init__(np, writes_out=True)
        self._lanes = lanes
        self._late = late
        self._name = ""

    def begin(self, name):
        self._name = name
        super().begin(name)

    def take(self, shape, dtype):
        if self._name in ("gradients", "evaluation") and len(shape) == 3:
            self._late -= 1
            if shape[0] > self._lanes and self._late < 0:
                raise MemoryError(f"no memory for {shape}")
        return super().take(shape, dtype)


def networks(lanes: int = 6):
    return suite(small_network(), optimizers=["sgd", "adam"], seeds=range(lanes), iterations=100)


@pytest.fixture(scope="module")
def whole_networks():
    """Return what the lanes give where their block fits."""
    return run_suite(networks())


@pytest.mark.parametrize(("late", "workers"), [(0, 1), (400, 2)])
@pytest.mark.parametrize(
    ("fits", "sizes"), [(1, [1] * 6), (2, [1, 2, 1, 2]), (5, [3, 3]), (6, [6])]
)
def test_a_block_that_does_not_fit_is_split_until_it_does(
    fits, sizes, late, workers, whole_networks
):
    blocks = blocks_of(networks())
    device = Small(fits, late=late)
    records = list(execute(blocks, device, workers, Event()))
    splits = [each for each in records if isinstance(each, BlockSplit)]
    ends = {each.block: each for each in records if isinstance(each, BlockResult)}
    assert len(ends) == 2 * len(sizes)
    assert len(splits) == device.released == 2 * len(sizes) - 1
    found = sorted((end.lanes[0].lane, len(end.lanes)) for end in ends.values())
    assert [size for _, size in found] == sizes * 2
    assert not set(ends) & {split.block for split in splits}
    numbers = [number for split in splits for number, _ in split.parts]
    assert sorted(numbers) == list(range(1, 1 + 2 * len(splits)))
    if late and splits:
        first = [each.block for each in records if isinstance(each, TraceChunk)]
        assert 0 in first  # it had begun to record
    outcomes = collect(blocks, records)
    for number, expected in whole_networks.items():
        assert outcomes[number].bits == expected.bits
        assert outcomes[number].result.status is Status.DONE


def test_a_single_lane_that_does_not_fit_has_failed():
    records = list(execute(blocks_of(networks(2)), Small(0), 1, Event()))
    ends = [each for each in records if isinstance(each, BlockResult)]
    assert len(ends) == 4
    for end in ends:
        assert end.message.startswith("MemoryError: no memory for (1, ")
        assert "Traceback" in end.traceback
        assert [lane.status for lane in end.lanes] == [Status.FAILED]
        assert [lane.iterations for lane in end.lanes] == [None]


def test_lanes_that_raise_are_found_in_blocks_that_do_not_fit():
    """Of six lanes three fit, and all of one optimizer's raise."""
    settled = suite(
        small_network(),
        optimizers=[("sgd", [{"lr": 0.5}, {"lr": 0.1}]), "adam"],
        seeds=range(3),
        iterations=100,
    )
    (block,) = blocks_of(settled)
    sgd, adam = block.groups
    block = replace(block, groups=(replace(sgd, optimizer=Broken()), adam))
    records = list(execute([block], Small(4), 1, Event()))
    ends = [record for record in records if isinstance(record, BlockResult)]
    statuses = {lane.lane: lane.status for end in ends for lane in end.lanes}
    assert [statuses[number] for number in range(3)] == [Status.FAILED] * 3
    assert {statuses[number] for number in range(3, 9)} == {Status.DONE}


def test_what_run_json_and_tables_say_of_blocks_that_were_split(tmp_path, whole_networks):
    settled, device = networks(), Small(2, late=400)
    plan = plan_run(settled, device, workers=1)
    assert [len(block.lanes) for block in plan.blocks] == [12]
    tables = read_run(run_plan(plan, device, tmp_path, "invocation").path)
    assert tables.meta["status"] == "done"
    assert tables.meta["blocks"] == [
        {"block": 5, "lanes": [0], "split_from": 3},
        {"block": 6, "lanes": [1, 2], "split_from": 3},
        {"block": 7, "lanes": [3], "split_from": 4},
        {"block": 8, "lanes": [4, 5], "split_from": 4},
        {"block": 11, "lanes": [6], "split_from": 9},
        {"block": 12, "lanes": [7, 8], "split_from": 9},
        {"block": 13, "lanes": [9], "split_from": 10},
        {"block": 14, "lanes": [10, 11], "split_from": 10},
    ]
    assert tables.lanes.sort_values("lane")["block_lanes"].tolist() == [1, 2, 2] * 4
    trace = tables.trace.sort_values(["lane", "iteration"])
    assert trace["lane"].tolist() == [number for number in whole_networks for _ in range(100)]
    losses = np.concatenate([outcome.loss for outcome in whole_networks.values()])
    assert trace["loss"].to_numpy().tobytes() == losses.tobytes()
    evaluation = tables.evaluation.set_index(["lane", "split"])
    assert len(evaluation) == 12 * 3
    for number, outcome in whole_networks.items():
        for split, numbers in outcome.evaluations.items():
            assert tuple(evaluation.loc[(number, split), ["loss", "error"]]) == numbers


def test_an_error_without_words_still_has_a_name(blocks, monkeypatch):
    def fail(*arguments):
        raise KeyError

    monkeypatch.setattr(executor, "run_block", fail)
    ends = run(blocks)
    assert {end.message for end in ends} == {"KeyError"}


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_code_that_wants_to_end_the_program_fails_its_block(kind, blocks, monkeypatch):
    def fail(*arguments):
        raise kind(3)

    monkeypatch.setattr(executor, "run_block", fail)
    assert {end.message for end in run(blocks)} == {f"{kind.__name__}: 3"}


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


@pytest.mark.parametrize("most", [executor.WAITING_RECORDS, 5])
def test_workers_wait_for_whoever_takes_their_records(most, blocks, monkeypatch):
    """Else a thread that hardly ever gives way to another would keep an interrupt out as well.

    They wait for fewer records where these are large.
    """
    chunk = 64 * len(blocks[0].lanes) * 3 * 8  # a loss and two coordinates
    if most < executor.WAITING_RECORDS:
        monkeypatch.setattr(executor, "WAITING_BYTES", (most - 1) * chunk)
    long = [replace(blocks[0], number=number, iterations=10**7) for number in range(2)]
    cancelled, pauses = Event(), Semaphore(0)
    monkeypatch.setattr(executor, "time", SimpleNamespace(sleep=lambda seconds: pauses.release()))
    records = execute(long, NumpyDevice(), 2, cancelled)
    next(records)
    for _ in range(1000):  # both workers go on pausing, and do nothing else
        assert pauses.acquire(timeout=60)
    cancelled.set()
    chunks = [record for record in records if isinstance(record, TraceChunk)]
    assert len(chunks) <= most + 2 * len(long)


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

    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        before = threads()
        assert set(before) == {2}
        inside = [threads() for _ in execute(blocks, NumpyDevice(), 2, Event())]
        assert all(count == 1 for counts in inside for count in counts)
        assert threads() == before


@pytest.mark.parametrize(
    ("cores", "lanes", "workers"), [(4, 9, 4), (4, 2, 2), (1, 9, 1), (3, 1, 1)]
)
def test_there_are_as_many_workers_as_cores_or_lanes(cores, lanes, workers, monkeypatch):
    monkeypatch.setattr(executor, "usable_cores", lambda: cores)
    monkeypatch.setattr(layout, "WORTH_SHARING", 0)
    assert worker_count(NumpyDevice()) == cores
    plan = plan_run(suite(anisotropic(), optimizers=["sgd"], seeds=range(lanes)), NumpyDevice())
    assert (plan.workers, len(plan.blocks)) == (workers, workers)


def test_a_gpu_has_one_worker():
    assert worker_count(Device(np, "gpu")) == 1


def test_usable_cores_are_those_that_the_system_grants(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 3, 5}, raising=False)
    assert usable_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert usable_cores() == 7
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cores() == 1
