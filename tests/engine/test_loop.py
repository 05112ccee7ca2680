"""The stepping loop: what it records and when, what diverges, what is timed, on which arrays."""

from itertools import count
from typing import ClassVar

import numpy as np
import pytest

from optbench.device.cpu import NumpyDevice
from optbench.engine import loop as engine
from optbench.engine.loop import run_block
from optbench.optimizers.base import UpdateContext
from optbench.optimizers.rules.sgd import SGD
from optbench.problems.base import Minimum
from optbench.problems.functions.base import Function
from optbench.problems.functions.quadratics import Anisotropic
from optbench.problems.registry import make_problem
from optbench.records import BlockResult, EvaluationRows, Status, TraceChunk
from tests.reference.optimizers import REFERENCE
from tests.reference.training import train_network
from tests.small import (
    SmallNetwork,
    anisotropic,
    blocks_of,
    collect,
    problem,
    quadratic,
    reference_batches,
    reference_network,
    ruled_by,
    small_network,
    suite,
)

RATES = [{"lr": 0.1}, {"lr": 0.01}]


def run_here(settled, device=None, **options):
    """Run a suite without threads."""
    device, blocks = device or NumpyDevice(), blocks_of(settled)
    records = [record for block in blocks for record in run_block(block, device, **options)]
    return collect(blocks, records)


def records_of(settled, device=None, **options):
    (block,) = blocks_of(settled)
    return list(run_block(block, device or NumpyDevice(), **options))


@pytest.mark.parametrize("iterations", [1, 63, 64, 65, 127, 128, 300])
def test_functions_record_the_loss_before_every_update_and_after_the_last(iterations):
    settled = suite(quadratic(), optimizers=[("sgd", [{"lr": 0.3}])], iterations=iterations)
    (outcome,) = run_here(settled).values()
    assert outcome.loss.shape == (iterations + 1,)
    assert outcome.position.shape == (iterations + 1, 1)
    assert outcome.result.iterations == iterations
    k = np.arange(iterations + 1)
    closed = 20.5 * 0.4**k - 0.5  # x + 1/2 shrinks by 1 − 2·lr
    np.testing.assert_allclose(outcome.position[:, 0], closed, rtol=1e-12)
    np.testing.assert_allclose(outcome.loss, closed**2 + closed + 1, rtol=1e-12)


@pytest.mark.parametrize(("record", "extra"), [("before", 1), ("after", 0)])
@pytest.mark.parametrize("iterations", [1, 64, 65, 256, 257])
def test_networks_record_before_or_after(record, extra, iterations):
    settled = suite(small_network(record=record), optimizers=["sgd"], iterations=iterations)
    (outcome,) = run_here(settled).values()
    assert outcome.loss.shape == (iterations + extra,)
    assert outcome.position is None
    assert (outcome.result.status, outcome.result.iterations) == (Status.DONE, iterations)


def test_rows_come_in_chunks_that_follow_one_another():
    chunks = [
        record
        for record in records_of(suite(anisotropic(), optimizers=["sgd"], iterations=150))
        if isinstance(record, TraceChunk)
    ]
    assert [(chunk.first_iteration, len(chunk.loss)) for chunk in chunks] == [
        (0, 64),
        (64, 64),
        (128, 23),
    ]


def test_the_size_of_chunks_changes_no_bit(monkeypatch):
    settled = suite(small_network(), anisotropic(), seeds=(0, 7), iterations=270)
    usual = {number: outcome.bits for number, outcome in run_here(settled).items()}
    for rows in (1, 3, 32, 256):
        monkeypatch.setattr(engine, "CHUNK_ROWS", rows)
        assert {number: each.bits for number, each in run_here(settled).items()} == usual, rows


def test_evaluations_come_once_at_the_end_of_every_split():
    network = small_network()
    settled = suite(network, optimizers=[("sgd", RATES)], iterations=5)
    evaluations = [each for each in records_of(settled) if isinstance(each, EvaluationRows)]
    assert [each.split for each in evaluations] == ["train", "validation", "test"]
    assert all(each.iteration == 5 for each in evaluations)
    assert all(each.lanes.tolist() == [0, 1] for each in evaluations)
    assert all(((each.error >= 0) & (each.error <= 1)).all() for each in evaluations)
    only_functions = records_of(suite(anisotropic(), optimizers=["sgd"]))
    assert not [each for each in only_functions if isinstance(each, EvaluationRows)]


def test_a_result_is_the_last_record():
    kinds = [type(each) for each in records_of(suite(small_network(), optimizers=["sgd"]))]
    assert kinds == [TraceChunk, EvaluationRows, EvaluationRows, EvaluationRows, BlockResult]


@pytest.mark.parametrize("lr", [0.95, 0.3, 0.01])
def test_sgd_on_the_valley_follows_its_closed_form(lr):
    settled = suite(anisotropic(), optimizers=[("sgd", [{"lr": lr}])], iterations=30)
    (outcome,) = run_here(settled).values()
    k = np.arange(31)
    x, y = -7.0 * (1 - lr / 10) ** k, 2.0 * (1 - 2 * lr) ** k
    np.testing.assert_allclose(outcome.position, np.stack([x, y], axis=1), rtol=1e-12, atol=1e-18)
    np.testing.assert_allclose(outcome.loss, x**2 / 20 + y**2, rtol=1e-12)


def first_not_finite(values) -> int:
    return int(np.argmin(np.isfinite(values)))


@pytest.mark.parametrize(("record", "row"), [("before", 1), ("after", 0)])
@pytest.mark.parametrize(("dtype", "lr"), [("float32", 1e30), ("float64", 1e200)])
def test_a_network_that_blows_up_is_cut_and_its_neighbours_go_on(dtype, lr, record, row):
    """At such a rate the products of the layers overflow with the first update."""
    network = small_network(dtype=dtype, record=record)
    rates = [{"lr": 0.1}, {"lr": lr}, {"lr": 0.01}]
    outcomes = run_here(suite(network, optimizers=[("sgd", rates)], iterations=100))
    lost = outcomes[1]
    assert (lost.result.status, lost.result.diverged_at) == (Status.DIVERGED, row)
    assert lost.result.iterations == 1
    assert np.isfinite(lost.loss).tolist() == [True] * row + [False]
    assert (lost.result.final_loss, lost.result.best_loss) == (None, None)
    assert lost.evaluations == {}
    alone = run_here(suite(network, optimizers=[("sgd", rates[::2])], iterations=100))
    assert [outcomes[0].bits, outcomes[2].bits] == [alone[0].bits, alone[1].bits]
    assert all(
        alone[number].evaluations.keys() == {"train", "validation", "test"} for number in alone
    )


def test_the_textbooks_network_diverges_where_the_reference_does():
    network, _ = make_problem("mnist-mlp", {"data": "mnist-5k", "dtype": "float64"})
    rates = [{"lr": 1e6}, {"lr": 0.01}]
    lost, fine = run_here(
        suite(network, optimizers=[("sgd", rates)], seeds=(7,), iterations=5)
    ).values()
    reference = reference_network(network, seed=7)
    batches = reference_batches(network, seed=7, count=5)
    with np.errstate(all="ignore"):
        losses = train_network(reference, REFERENCE["sgd"](lr=1e6), batches)
    row = first_not_finite(losses)
    assert 0 < row < 5
    assert (lost.result.status, lost.result.diverged_at) == (Status.DIVERGED, row)
    np.testing.assert_allclose(lost.loss[:-1], losses[:row], rtol=1e-9)
    assert np.isnan(lost.loss[-1])
    assert fine.result.status is Status.DONE


class Level(Function):
    """tanh x, with a gradient that never falls off: losses stay finite, parameters do not."""

    name = "level"
    summary = "a level that is walked down for ever"
    default_iterations = 10
    formula = "tanh(x)"
    variables = ("x",)
    origin = (0.0,)
    minima: ClassVar[tuple[Minimum, ...]] = ()
    domain = ((-1.0, 1.0),)

    def value_and_grad(self, point, xp):
        return xp.tanh(point[0]), (xp.ones_like(point[0]),)


def test_parameters_that_overflow_under_a_finite_loss_are_a_divergence():
    settled = suite(problem(Level), optimizers=[("sgd", [{"lr": 0.6e308}, {"lr": 1.0}])])
    lost, fine = run_here(settled).values()
    assert np.isfinite(lost.loss).all()
    assert lost.position[:, 0].tolist() == [0.0, -0.6e308, -1.2e308, -np.inf]
    assert (lost.result.status, lost.result.diverged_at) == (Status.DIVERGED, 3)
    assert (lost.result.iterations, lost.result.final_loss) == (3, None)
    assert (fine.result.status, fine.result.final_loss) == (Status.DONE, np.tanh(-20.0))


def test_a_start_that_is_not_finite_has_diverged_at_once(monkeypatch):
    monkeypatch.setattr(Anisotropic, "origin", (np.nan, 2.0))
    (outcome,) = run_here(suite(anisotropic(), optimizers=["sgd"])).values()
    assert len(outcome.loss) == 1
    assert (outcome.result.diverged_at, outcome.result.iterations) == (0, 0)


def test_a_block_ends_early_once_all_its_lanes_have_diverged():
    settled = suite(
        anisotropic(), optimizers=[("sgd", [{"lr": 3.0}, {"lr": 4.0}])], iterations=100_000
    )
    records = records_of(settled)
    assert [type(each) for each in records] == [TraceChunk] * 4 + [BlockResult]
    assert {lane.status for lane in records[-1].lanes} == {Status.DIVERGED}
    for index, lane in enumerate(records[-1].lanes):
        rows = [each.rows.tolist()[index] for each in records[:-1]]
        assert sum(rows) == lane.diverged_at + 1
        assert rows[0] == 64
    network = suite(small_network(), optimizers=[("sgd", [{"lr": 1e200}])], iterations=999)
    assert [type(each) for each in records_of(network)] == [TraceChunk, BlockResult]


def test_a_lane_may_diverge_in_the_row_after_the_last_update():
    settled = suite(problem(Level), optimizers=[("sgd", [{"lr": 0.6e308}])], iterations=3)
    (outcome,) = run_here(settled).values()
    assert (len(outcome.loss), outcome.result.diverged_at) == (4, 3)
    assert outcome.result.status is Status.DIVERGED


@pytest.mark.parametrize("chunks", [0, 1, 3])
def test_a_block_that_is_cancelled_ends_after_the_chunk(chunks):
    asked = count()
    settled = suite(small_network(), optimizers=[("sgd", RATES)], iterations=500)
    records = records_of(settled, cancelled=lambda: next(asked) >= chunks)
    assert [type(each) for each in records] == [TraceChunk] * chunks + [BlockResult]
    for lane in records[-1].lanes:
        assert (lane.status, lane.iterations) == (Status.INTERRUPTED, 64 * chunks)
        assert lane.final_loss is None


def test_what_was_recorded_before_an_interrupt_is_what_would_have_been():
    asked = count()
    settled = suite(small_network(), optimizers=["adam"], iterations=200)
    cut = run_here(settled, cancelled=lambda: next(asked) >= 2)[0]
    whole = run_here(settled)[0]
    assert cut.loss.tobytes() == whole.loss[:128].tobytes()


class FakeClock:
    """Time passes only where a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


CLOCK = FakeClock()


class SlowNetwork(SmallNetwork):
    """Takes 3 s for a gradient, and much longer for what is not to be counted."""

    def loss_and_grad(self, *arguments, **options):
        CLOCK.now += 3.0
        return super().loss_and_grad(*arguments, **options)

    def loss(self, *arguments, **options):
        CLOCK.now += 100.0
        return super().loss(*arguments, **options)

    def evaluate(self, *arguments, **options):
        CLOCK.now += 1e4
        return super().evaluate(*arguments, **options)

    def batch(self, *arguments, **options):
        CLOCK.now += 1e6
        return super().batch(*arguments, **options)


class SlowSGD(SGD):
    """Takes 2 s for an update."""

    def step(self, step: UpdateContext) -> None:
        CLOCK.now += 2.0
        super().step(step)


@pytest.mark.parametrize("record", ["before", "after"])
@pytest.mark.parametrize("lanes", [1, 4])
def test_the_time_of_a_step_is_that_of_gradient_and_update_alone(record, lanes):
    (block,) = blocks_of(
        suite(
            problem(SlowNetwork, record=record),
            optimizers=["sgd"],
            seeds=range(lanes),
            iterations=70,
        )
    )
    block = ruled_by(SlowSGD(), block)
    *_, result = run_block(block, NumpyDevice(CLOCK))
    for lane in result.lanes:
        assert lane.gradient_seconds == 3.0 / lanes
        assert lane.update_seconds == 2.0 / lanes
        assert lane.step_seconds == (3.0 + 2.0) / lanes
        assert lane.block_lanes == lanes
