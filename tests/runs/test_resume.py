"""A run that is cut anywhere and goes on gives, to the last bit, what it would have given.

Blocks are cut at each of their checkpoints, one after every chunk, and go on from its arrays as
they come back from a file. Whatever they yield then must be what came after that checkpoint
before, record by record; only times may differ.
"""

from dataclasses import fields, replace
from functools import partial
from itertools import count
from threading import Event

import numpy as np
import pytest

from optbench.device.cpu import NumpyDevice
from optbench.engine import loop as engine
from optbench.engine.block import Block
from optbench.engine.executor import execute
from optbench.engine.loop import run_block
from optbench.engine.stopping import Rules
from optbench.optimizers.registry import optimizer_names
from optbench.problems.functions.noisy import NoisyRosenbrock
from optbench.problems.networks.nn.losses import SoftmaxCrossEntropy
from optbench.problems.networks.nn.network import Network, Regularization
from optbench.problems.networks.nn.parse import parse_layers
from optbench.records import (
    BlockResult,
    BlockSplit,
    Checkpoint,
    LaneResult,
    Status,
    TraceChunk,
    averaged_rows,
)
from optbench.store.files import read_arrays, write_arrays
from tests.small import (
    IMAGES,
    Outcome,
    SmallNetwork,
    anisotropic,
    blocks_of,
    collect,
    problem,
    quadratic,
    suite,
)

PARTS = ("gradient_seconds", "update_seconds")
TIMES = {"step_seconds", *PARTS, *(f"ledger/{name}" for name in PARTS)}


class Layered(SmallNetwork):
    """Dropout, batch normalisation with running averages, and a penalty."""

    name = "layered"
    layers = ("dense 6", "batch-norm", "relu", "dropout 0.5", "dense 4")

    def __init__(self, options, data_dir=None) -> None:
        super().__init__(options)
        layers = parse_layers(self.layers, IMAGES.image_shape, "he", 0.01)
        self.network = Network(layers, SoftmaxCrossEntropy(1e-7), Regularization(0.0, 0.01, 0.0))

    def architecture(self):
        return {"layers": list(self.layers)}


def plain_block() -> Block:
    (block,) = blocks_of(suite(anisotropic(), optimizers=["sgd"]))
    return block


def layered(**options):
    return problem(Layered, **options)


def plain(value):
    """Return a record, or a part of one, as what can be compared to the last bit."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items() if name not in TIMES}
    if isinstance(value, tuple):
        return tuple(plain(each) for each in value)
    if isinstance(
        value, TraceChunk | Checkpoint | BlockResult | LaneResult | engine.EvaluationRows
    ):
        names = [field.name for field in fields(value) if field.name not in TIMES]
        return type(value).__name__, {name: plain(getattr(value, name)) for name in names}
    return value


def begun(block: Block, before, checkpoint: Checkpoint, folder) -> Block:
    """Return a block that goes on from a checkpoint, its arrays read back from a file."""
    write_arrays(folder / "checkpoint.npz", checkpoint.arrays)
    arrays = read_arrays(folder / "checkpoint.npz")
    rows = sum(len(each.loss) for each in before if isinstance(each, TraceChunk))
    assert rows == checkpoint.rows
    return replace(block, progress=arrays)


def assert_cuts_do_not_show(block: Block, folder, device=None, *, least=2) -> dict:
    """Cut a block at all its checkpoints; return the uninterrupted run by lane."""
    device = device or NumpyDevice()
    plainly = list(run_block(block, device))
    records = list(run_block(block, device, checkpoint_seconds=0.0))
    marks = [place for place, each in enumerate(records) if isinstance(each, Checkpoint)]
    assert len(marks) >= least
    told = [each for each in records if not isinstance(each, Checkpoint)]
    assert [plain(each) for each in told] == [plain(each) for each in plainly]
    for mark in marks:
        rest = begun(block, records[:mark], records[mark], folder)
        kept = plain(rest.progress)
        found = list(run_block(rest, device, checkpoint_seconds=0.0))
        expected = records[mark + 1 :]
        assert [plain(each) for each in found] == [plain(each) for each in expected]
        assert plain(rest.progress) == kept, "a block's description was changed"
    lanes = collect([block], plainly)
    for lane in lanes.values():
        assert_summed_up(lane, stochastic=block.problem.stochastic)
    return lanes


def assert_summed_up(lane: Outcome, *, stochastic: bool) -> None:
    """Compare a lane's final and best loss with those of its whole trace, to the bit."""
    result = lane.result
    if result.status not in (Status.DONE, Status.STOPPED):
        assert (result.final_loss, result.best_loss) == (None, None)
        return
    width = averaged_rows(result.iterations, stochastic=stochastic)
    means = np.lib.stride_tricks.sliding_window_view(lane.loss, width).mean(axis=-1)
    assert (result.final_loss, result.best_loss) == (means[-1], means.min())


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch):
    monkeypatch.setattr(engine, "CHUNK_ROWS", 6)


SETTINGS = {
    **{
        name: {"problems": [anisotropic()], "optimizers": [name]}
        for name in ("momentum", "adam", "prodigy")
    },
    "schedule-free": {
        "problems": [layered()],
        "optimizers": ["schedule-free-adamw"],
        "rules": Rules(evaluate_every=4),
    },
    "network": {"problems": [layered()], "optimizers": ["adam"], "seeds": (0, 1, 2)},
    "single precision": {"problems": [layered(dtype="float32")], "optimizers": ["muon"]},
    "record before": {"problems": [layered(record="before")], "optimizers": ["momentum"]},
    "record before, functions": {"problems": [quadratic()], "optimizers": ["rmsprop"]},
    "evaluate every": {"problems": [layered()], "rules": Rules(evaluate_every=5)},
    "schedule": {
        "problems": [anisotropic()],
        "optimizers": [
            ("adam", [{"schedule": "cosine", "warmup": 4.0, "clip_norm": 0.1, "l2": 0.01}])
        ],
    },
    "several rules": {
        "problems": [layered()],
        "optimizers": [
            ("sgd", [{"lr": 1e200}, {"lr": 0.1}]),  # the first diverges at once
            ("adam", [{}, {"schedule": "cosine"}]),
            "muon",
            "schedule-free-sgd",
        ],
        "rules": Rules(evaluate_every=5),
    },
    "random blocks": {  # numbers of a stream come 256 iterations at a time
        "problems": [layered()],
        "iterations": 262,
        "chunk": 64,
    },
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_block_goes_on_to_the_bit(name, tmp_path, monkeypatch):
    given = {"optimizers": ["sgd"], "iterations": 20, "seeds": (0, 3), **SETTINGS[name]}
    monkeypatch.setattr(engine, "CHUNK_ROWS", given.pop("chunk", 6))
    (block,) = blocks_of(suite(*given.pop("problems"), **given))
    lanes = assert_cuts_do_not_show(block, tmp_path)
    finished = {each.result.status for each in lanes.values()} - {Status.DIVERGED}
    assert finished == {Status.DONE}


def test_rules_leave_a_block_while_others_go_on(tmp_path):
    """All lanes of the first rule diverge, one of the last stops; the rest go on to the bit."""
    optimizers = [
        ("sgd", [{"lr": 1e200}, {"lr": 1e250}]),
        "momentum",
        ("adam", [{"lr": 0.5}, {"lr": 1e-6}]),
    ]
    settled = suite(
        anisotropic(), optimizers=optimizers, iterations=40, rules=Rules(loss=0.4, grad_norm=1e-9)
    )
    (block,) = blocks_of(settled)
    lanes = assert_cuts_do_not_show(block, tmp_path, least=5)
    diverged, stopped, done = Status.DIVERGED, Status.STOPPED, Status.DONE
    assert [each.result.status for each in lanes.values()] == [
        *(diverged, diverged, done, stopped, done)
    ]
    for name, part in zip(("sgd", "momentum", "adam"), optimizers, strict=True):
        (alone,) = blocks_of(
            replace(
                settled,
                problems=suite(
                    anisotropic(),
                    optimizers=[part],
                    iterations=40,
                    rules=Rules(loss=0.4, grad_norm=1e-9),
                ).problems,
            )
        )
        found = collect([alone], run_block(alone, NumpyDevice()))
        expected = [each.bits for each in lanes.values() if each.lane.label == name]
        assert [each.bits for each in found.values()] == expected


@pytest.mark.parametrize("name", sorted(optimizer_names()))
def test_every_optimizer_goes_on(name, tmp_path):
    (block,) = blocks_of(suite(layered(), optimizers=[name], seeds=(0, 3), iterations=14))
    assert_cuts_do_not_show(block, tmp_path)


def test_it_goes_on_on_every_device(core_device, tmp_path):
    rules = Rules(patience=8, evaluate_every=7)
    settled = suite(layered(), optimizers=["prodigy"], seeds=(0, 3), iterations=20, rules=rules)
    (block,) = blocks_of(settled, core_device)
    assert_cuts_do_not_show(block, tmp_path, core_device)


@pytest.mark.parametrize("record", ["before", "after"])
@pytest.mark.parametrize("optimizer", ["adam", "schedule-free-sgd"])
def test_early_stopping_remembers_its_best_parameters(record, optimizer, tmp_path):
    """Lanes end at different updates, by patience, with the best of what they saw before."""
    network = layered(record=record)
    rates = [{"lr": rate} for rate in (3.0, 0.1, 0.01, 1e-7)]
    rules = Rules(patience=10, patience_increase=1.5, evaluate_every=9)
    settled = suite(network, optimizers=[(optimizer, rates)], iterations=60, rules=rules)
    (block,) = blocks_of(settled)
    lanes = assert_cuts_do_not_show(block, tmp_path, least=6)
    ends = {each.result.iterations for each in lanes.values()}
    assert len(ends) > 1, "lanes were to end at different updates"
    assert any(each.result.best_at not in (None, *ends) for each in lanes.values())


@pytest.mark.parametrize("make", [anisotropic, layered])
def test_lanes_that_left_the_block_do_not_come_back(make, tmp_path):
    """One meets its target midway, one diverges, the others go on."""
    target = {anisotropic: 0.4, layered: 1.2}[make]
    rates = [{"lr": rate} for rate in (1e-6, 0.1, 0.9, 1e200)]
    settled = suite(
        make(), optimizers=[("sgd", rates)], iterations=40, rules=Rules(loss=target, grad_norm=1e-9)
    )
    (block,) = blocks_of(settled)
    lanes = assert_cuts_do_not_show(block, tmp_path, least=5)
    statuses = [each.result.status for each in lanes.values()]
    assert {*statuses} == {Status.DONE, Status.STOPPED, Status.DIVERGED}
    ends = [each.result.iterations for each in lanes.values()]
    assert any(0 < end < 40 for end in ends)


@pytest.mark.parametrize("target", [None, 0.2])
def test_long_noisy_lanes_are_summed_up_as_if_never_cut(target, tmp_path, monkeypatch):
    """With a target some stop before their 1,000th update, some after, and the others do not."""
    monkeypatch.setattr(engine, "CHUNK_ROWS", 50)
    rates = [{"lr": rate} for rate in (1e-3, 2e-3, 5e-4, 1.0)]
    settled = suite(
        problem(NoisyRosenbrock),
        optimizers=[("sgd", rates)],
        seeds=(0, 1),
        iterations=1300,
        rules=Rules(loss=target),
    )
    (block,) = blocks_of(settled)
    lanes = assert_cuts_do_not_show(block, tmp_path, least=20)
    ends = [each.result.iterations for each in lanes.values() if each.result.stopped_at]
    assert (min(ends, default=0) < 1000 < max(ends, default=0)) == (target is not None)
    assert {each.result.status for each in lanes.values()} >= {Status.DONE, Status.DIVERGED}


def test_a_block_that_goes_on_may_be_cut_again(tmp_path):
    """Cut after every chunk, each time from the arrays of the cut before."""
    rules = Rules(patience=8, evaluate_every=5)
    settled = suite(layered(), optimizers=["adam"], seeds=(0, 3), iterations=30, rules=rules)
    (block,) = blocks_of(settled)
    expected = [plain(each) for each in run_block(block, NumpyDevice())]
    found, rest = [], block
    while True:
        calls = count()
        cancelled = partial(lambda calls: next(calls) > 0, calls)
        part = list(run_block(rest, NumpyDevice(), cancelled, checkpoint_seconds=1e9))
        if not isinstance(part[-2], Checkpoint):
            break
        assert {lane.status for lane in part[-1].lanes} <= {Status.INTERRUPTED, Status.STOPPED}
        found += part[:-2]
        rest = begun(block, found, part[-2], tmp_path)
    found += part
    assert [plain(each) for each in found] == expected


def test_a_block_that_did_nothing_leaves_no_checkpoint():
    """Waiting blocks of a run that is cancelled: they just begin anew."""
    block = plain_block()
    records = list(run_block(block, NumpyDevice(), lambda: True, checkpoint_seconds=30.0))
    assert [type(each) for each in records] == [BlockResult]


def test_a_block_that_goes_on_and_is_cancelled_at_once_keeps_its_checkpoint(tmp_path):
    block = plain_block()
    records = list(run_block(block, NumpyDevice(), checkpoint_seconds=0.0))
    mark = next(place for place, each in enumerate(records) if isinstance(each, Checkpoint))
    rest = begun(block, records[:mark], records[mark], tmp_path)
    (result,) = run_block(rest, NumpyDevice(), lambda: True, checkpoint_seconds=30.0)
    assert [lane.status for lane in result.lanes] == [Status.INTERRUPTED]
    assert [lane.iterations for lane in result.lanes] == [6]


def test_no_checkpoints_are_made_unless_asked_for():
    block = plain_block()
    calls = count()
    records = list(run_block(block, NumpyDevice(), lambda: next(calls) > 1))
    assert [type(each) for each in records] == [TraceChunk, TraceChunk, BlockResult]


def test_the_time_of_steps_is_that_of_all_parts(tmp_path):
    ticks = count()

    def device():
        return NumpyDevice(clock=lambda: float(next(ticks)))

    block = plain_block()
    whole = list(run_block(block, device(), checkpoint_seconds=0.0))
    mark = [place for place, each in enumerate(whole) if isinstance(each, Checkpoint)][1]
    rest = begun(block, whole[:mark], whole[mark], tmp_path)
    parts = list(run_block(rest, device()))
    assert parts[-1].lanes[0].step_seconds == whole[-1].lanes[0].step_seconds > 0


def test_a_block_that_raises_after_it_went_on_is_split_and_begins_anew(tmp_path):
    """Its parts are stepped from the start, and give what they would have given."""
    (block,) = blocks_of(suite(anisotropic(), optimizers=["sgd"], seeds=(0, 1)))
    whole = collect([block], run_block(block, NumpyDevice()))
    records = list(run_block(block, NumpyDevice(), checkpoint_seconds=0.0))
    mark = next(place for place, each in enumerate(records) if isinstance(each, Checkpoint))
    rest = begun(block, records[:mark], records[mark], tmp_path)
    damaged = replace(rest, progress={})
    told = list(execute([damaged], NumpyDevice(), 1, Event(), first_new=7))
    (split,) = [each for each in told if isinstance(each, BlockSplit)]
    assert [number for number, _ in split.parts] == [7, 8]
    again = collect([block], told)
    assert again.keys() == whole.keys()
    assert all(again[lane].loss.tobytes() == whole[lane].loss.tobytes() for lane in whole)
