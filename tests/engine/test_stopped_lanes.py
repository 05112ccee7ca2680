"""Lanes are evaluated and stopped when the rules say so, and the others go on unchanged."""

import numpy as np
import pytest

from optbench.device.base import Device
from optbench.device.cpu import NumpyDevice
from optbench.engine.loop import VALIDATION
from optbench.engine.stopping import Rules
from optbench.problems.registry import make_problem
from optbench.records import Status
from optbench.runs.layout import lay_out
from tests.small import anisotropic, run_suite, small_network, suite
from tests.strict import StrictDevice

RATES = [{"lr": lr} for lr in (0.3, 0.9, 0.05, 1.5)]
DEVICES = {"numpy": NumpyDevice, "strict": StrictDevice}


@pytest.fixture(params=DEVICES)
def device(request) -> Device:
    return DEVICES[request.param]()


def found(problem, rules=Rules(), *, iterations=60, rates=RATES, device=None, **more):  # noqa: B008
    settled = suite(
        problem, optimizers=[("sgd", rates)], iterations=iterations, rules=rules, **more
    )
    return list(run_suite(settled, device=device).values())


@pytest.mark.parametrize("record", ["before", "after"])
@pytest.mark.parametrize("every", [1, 7, 20, 64, 100])
def test_splits_are_evaluated_at_every_interval_and_at_both_ends(every, record):
    lanes = found(small_network(record=record), Rules(evaluate_every=every), iterations=100)
    due = sorted({*range(0, 101, every), 100})
    for lane in lanes:
        for split in ("train", "validation", "test"):
            assert sorted(at for name, at in lane.evaluated if name == split) == due


def test_an_evaluation_is_that_of_a_run_which_ends_there(device):
    whole = found(small_network(), Rules(evaluate_every=15), iterations=45, device=device)
    for iterations in (15, 30, 45):
        short = found(small_network(), iterations=iterations, device=device)
        for one, other in zip(whole, short, strict=True):
            assert one.loss[:iterations].tolist() == other.loss.tolist()
            at_end = {
                place: value for place, value in one.evaluated.items() if place[1] == iterations
            }
            assert at_end == other.evaluated


def test_evaluating_changes_no_bit_of_a_trace():
    plain, evaluated = found(small_network()), found(small_network(), Rules(evaluate_every=3))
    assert [lane.loss.tolist() for lane in plain] == [lane.loss.tolist() for lane in evaluated]


@pytest.mark.parametrize("rule", ["loss", "grad_norm"])
def test_a_row_that_lies_on_the_bound_meets_the_rule(rule):
    rates = [{"lr": 0.3}]
    (free,) = found(anisotropic(), rates=rates)
    norms = [float(np.linalg.norm([x / 10.0, 2.0 * y])) for x, y in free.position]
    bound = {"loss": float(free.loss[9]), "grad_norm": norms[9]}[rule]
    (lane,) = found(anisotropic(), Rules(**{rule: bound}), rates=rates)
    assert lane.result.stopped_at == 9


def test_a_lane_stops_at_its_first_row_with_the_loss_asked_for(device):
    free = found(anisotropic(), device=device)
    lanes = found(anisotropic(), Rules(loss=0.5), device=device)
    assert {lane.result.status for lane in lanes} == {Status.STOPPED, Status.DONE}
    for one, whole in zip(lanes, free, strict=True):
        below = np.flatnonzero(whole.loss <= 0.5)
        if not below.size:
            assert one.bits == whole.bits
            continue
        rows = below[0] + 1
        assert one.loss.tolist() == whole.loss[:rows].tolist()
        assert one.position.tolist() == whole.position[:rows].tolist()
        assert one.result.stopped_at == rows - 1
        assert one.result.iterations == rows - 1
        assert one.result.final_loss == whole.loss[rows - 1]
        assert one.result.best_loss == whole.loss[:rows].min()


def test_a_lane_stops_where_its_gradient_is_short_enough(device):
    free = found(anisotropic(), device=device)
    lanes = found(anisotropic(), Rules(grad_norm=0.2), device=device)
    stops = 0
    for one, whole in zip(lanes, free, strict=True):
        x, y = whole.position.T
        short = np.flatnonzero(np.hypot(x / 10, 2 * y) <= 0.2)
        rows = short[0] + 1 if short.size else len(whole.loss)
        assert one.loss.tolist() == whole.loss[:rows].tolist()
        assert one.result.stopped_at == (rows - 1 if short.size else None)
        stops += short.size > 0
    assert stops > 0


def test_a_start_that_meets_the_rule_makes_no_update():
    (lane,) = found(anisotropic(), Rules(loss=1e9), rates=[{"lr": 0.1}])
    assert lane.loss.tolist() == [7 * 7 / 20 + 4]
    assert (lane.result.stopped_at, lane.result.iterations) == (0, 0)


@pytest.mark.parametrize("record", ["before", "after"])
def test_a_network_that_stopped_is_evaluated_as_it_was_at_that_row(record, device):
    network = small_network(record=record)
    free = found(network, device=device)
    target = float(np.median([lane.loss.min() for lane in free]))
    lanes = found(network, Rules(loss=target), device=device)
    assert Status.STOPPED in {lane.result.status for lane in lanes}
    for one, rates in zip(lanes, RATES, strict=True):
        updates = one.result.iterations
        if one.result.status is Status.STOPPED:
            row = one.result.stopped_at
            assert updates == (row if record == "before" else row + 1)
            assert one.loss[-1] <= target
            assert (one.loss[:-1] > target).all()
        (short,) = found(network, iterations=max(1, updates), rates=[rates], device=device)
        assert one.evaluated == short.evaluated


def test_lanes_that_go_on_are_unchanged_to_the_bit_when_others_stop():
    alone = [found(small_network(), Rules(loss=0.4), rates=[rate])[0].bits for rate in RATES]
    assert [lane.bits for lane in found(small_network(), Rules(loss=0.4))] == alone


def test_divergence_counts_before_a_rule():
    (lane,) = found(anisotropic(), Rules(loss=-1.0), rates=[{"lr": 1e200}])
    assert lane.result.status is Status.DIVERGED


def by_hand(patience, per_epoch, iterations, rates, increase=2.0, threshold=0.995):
    """Early stopping from runs of every length, evaluated at their ends: the tutorial's loop."""
    frequency = max(1, min(per_epoch, patience // 2))
    best, best_updates = np.inf, 0
    for iteration in range(iterations):
        if (iteration + 1) % frequency == 0:
            (lane,) = found(small_network(), iterations=iteration + 1, rates=[rates])
            error = lane.evaluations[VALIDATION][1]
            if error < best:
                if error < best * threshold:
                    patience = max(patience, iteration * increase)
                best, best_updates, at_best = error, iteration + 1, lane.evaluations
        if patience <= iteration:
            break
    return iteration + 1, best_updates, at_best


@pytest.mark.parametrize("patience", [8, 20, 31])
def test_early_stopping_is_the_tutorials_lane_by_lane(patience):
    network = small_network()
    lanes = found(network, Rules(patience=patience))
    ends = set()
    for lane, rates in zip(lanes, RATES, strict=True):
        updates, best, at_best = by_hand(patience, network.iterations_per_epoch, 60, rates)
        assert lane.result.iterations == updates
        stopped = lane.result.status is Status.STOPPED
        assert lane.result.stopped_at == (updates - 1 if stopped else None)
        assert lane.evaluated[VALIDATION, best] == at_best[VALIDATION]
        assert lane.evaluated["test", best] == at_best["test"]
        assert [at for split, at in lane.evaluated if split == "test"] == [best]
        ends.add(updates)
    assert len(ends) > 1


@pytest.mark.parametrize("block_bytes", [1, 10**4, 10**7])
def test_stopping_does_not_depend_on_company(block_bytes, device):
    rules = Rules(patience=12, loss=0.2, evaluate_every=9)
    expected = [lane.bits for lane in found(small_network(), rules, seeds=(0, 3))]
    device.block_bytes = block_bytes
    bits = [lane.bits for lane in found(small_network(), rules, seeds=(0, 3), device=device)]
    assert bits == expected


def test_a_stopped_lane_has_its_own_summary():
    (lane,) = found(small_network(), Rules(patience=40), rates=[{"lr": 1e-6}], iterations=500)
    rows = len(lane.loss)
    assert lane.result.status is Status.STOPPED
    assert 20 <= rows == lane.result.iterations < 100
    tenth = lane.loss[-(rows // 10) :]
    assert lane.result.final_loss == pytest.approx(tenth.mean(), rel=1e-12)


def test_the_key_of_a_lane_holds_the_rules():
    keys = set()
    for rules in (Rules(), Rules(evaluate_every=5), Rules(loss=1.0), Rules(patience=5)):
        settled = suite(small_network(), optimizers=["sgd"], rules=rules)
        keys |= {lane.key for lane in lay_out(settled, "cpu")}
    assert len(keys) == 4


def test_the_time_of_a_step_is_shared_by_the_lanes_that_made_it():
    """Every reading of the clock is a second on, and a step has four."""
    settled = suite(anisotropic(), optimizers=[("sgd", RATES)], rules=Rules(loss=0.5))
    ticks = iter(range(10**6))
    lanes = list(run_suite(settled, device=NumpyDevice(lambda: next(ticks))).values())
    assert len({lane.result.iterations for lane in lanes}) > 1
    assert {lane.result.step_seconds for lane in lanes} == {2 / len(lanes)}


@pytest.mark.parametrize("record", ["before", "after"])
def test_watching_the_gradient_moves_no_running_average(record):
    options = {"data": "mnist-5k", "batch_size": 16, "dtype": "float64", "record": record}
    layers = ["dense 6", "batch-norm", "relu", "dense 10"]
    network, _ = make_problem("network", {**options, "layers": layers})
    plain = found(network, iterations=4, rates=[{"lr": 0.1}])
    watched = found(network, Rules(grad_norm=0.0), iterations=4, rates=[{"lr": 0.1}])
    assert [lane.bits for lane in watched] == [lane.bits for lane in plain]
