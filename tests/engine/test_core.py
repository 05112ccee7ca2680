"""The core on every device: NumPy, the strict namespace in a GPU's place, and a GPU where one is.

Expected are the traces of the reference, which knows of no device and shares no code with the
package.
"""

import numpy as np
import pytest

from optbench.device.base import Device
from optbench.device.cpu import NumpyDevice
from optbench.problems.functions.base import Function
from optbench.records import Status
from tests.reference.optimizers import REFERENCE, textbook
from tests.reference.training import minimise, train_network
from tests.small import (
    TEXTBOOK,
    anisotropic,
    quadratic,
    reference_batches,
    reference_network,
    run_suite,
    small_network,
    suite,
)

ITERATIONS = 70
"""More than a chunk of rows."""

RATES = [{}, {"lr": 0.05}]

RATES_OF = {
    "sgd": [{"lr": 0.95}, {"lr": 0.3}, {}],
    "momentum": [{"lr": 0.1}, {"lr": 0.01, "momentum": 0.5}, {}],
    "adagrad": [{"lr": 1.5}, {"lr": 5.0, "eps": 1e-3}, {}],
    "rmsprop": [{"lr": 0.3}, {"lr": 0.1, "decay": 0.9}, {}],
    "adam": [{"lr": 0.3}, {"lr": 0.1, "beta1": 0.5, "beta2": 0.9}, {}],
}
"""On functions."""

PLAIN = {
    "anisotropic": (
        lambda p: p[0] ** 2 / 20 + p[1] ** 2,
        lambda p: np.array([p[0] / 10, 2 * p[1]]),
    ),
    "quadratic-1d": (lambda p: p[0] ** 2 + p[0] + 1, lambda p: np.array([2 * p[0] + 1])),
}
"""Value and gradient of each function, written anew."""


def reference_losses(network, lane, iterations: int = ITERATIONS) -> list[float]:
    """Return the losses of a lane, and leave the trained network in ``network.trained``."""
    batches = reference_batches(network, lane.seed, iterations + (network.record == "before"))
    trained = reference_network(network, lane.seed)
    optimizer = textbook(lane.optimizer, lane.hyperparameters)
    with np.errstate(all="ignore"):
        losses = train_network(trained, optimizer, batches, record=network.record)
    return losses, trained


@pytest.mark.parametrize("name", TEXTBOOK)
@pytest.mark.parametrize("function", [anisotropic(), quadratic()], ids=lambda each: each.name)
def test_positions_and_losses_of_a_function_are_the_references(
    core_device: Device, function: Function, name: str
):
    settled = suite(function, optimizers=[(name, RATES_OF[name])], iterations=ITERATIONS)
    outcomes = run_suite(settled, device=core_device)
    rtol = 1e-12 if core_device.xp is np else 1e-11
    for outcome, hyperparameters in zip(outcomes.values(), RATES_OF[name], strict=True):
        optimizer = textbook(name, hyperparameters)
        value, gradient = PLAIN[function.name]
        positions, losses = minimise(value, gradient, function.origin, optimizer, ITERATIONS)
        atol = 0.01 * rtol * np.abs(positions).max()
        np.testing.assert_allclose(outcome.position, positions, rtol=rtol, atol=atol)
        np.testing.assert_allclose(outcome.loss, losses, rtol=rtol, atol=0.01 * rtol)
        assert (outcome.result.status, outcome.evaluations) == (Status.DONE, {})
        assert outcome.result.final_loss == outcome.loss[-1]
        assert outcome.result.best_loss == outcome.loss.min()


@pytest.mark.parametrize("name", TEXTBOOK)
@pytest.mark.parametrize("record", ["before", "after"])
def test_losses_and_evaluations_of_a_network_are_the_references(
    core_device: Device, record: str, name: str
):
    network = small_network(record=record)
    settled = suite(network, optimizers=[(name, RATES)], seeds=(0, 7, 3), iterations=ITERATIONS)
    outcomes = run_suite(settled, device=core_device)
    assert len(outcomes) == len(RATES) * 3
    for outcome in outcomes.values():
        losses, trained = reference_losses(network, outcome.lane)
        np.testing.assert_allclose(outcome.loss, losses, rtol=1e-9)
        assert outcome.position is None
        assert outcome.result.status is Status.DONE
        final = np.mean(losses[-ITERATIONS // 10 :])
        assert outcome.result.final_loss == pytest.approx(final, rel=1e-9)
        assert list(outcome.evaluations) == ["train", "validation", "test"]
        for name_of_split, (loss, error) in outcome.evaluations.items():
            split = network.dataset.splits[name_of_split]
            images = split.images / network.dataset.scale
            assert loss == pytest.approx(trained.loss(images, split.labels), rel=1e-9)
            expected = 1.0 - trained.accuracy(images, split.labels)
            assert error == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seeds", [(0,), (0, 7)])
@pytest.mark.parametrize("name", TEXTBOOK)
def test_single_precision_follows_the_reference(core_device: Device, name: str, seeds):
    problems = (small_network(dtype="float32"), anisotropic(dtype="float32"))
    settled = suite(*problems, optimizers=[name], seeds=seeds, iterations=20)
    for outcome in run_suite(settled, device=core_device).values():
        if outcome.lane.problem == "anisotropic":
            optimizer = textbook(name, outcome.lane.hyperparameters)
            _, losses = minimise(*PLAIN["anisotropic"], (-7.0, 2.0), optimizer, 20)
        else:
            losses, _ = reference_losses(problems[0], outcome.lane, 20)
        np.testing.assert_allclose(outcome.loss, losses, rtol=2e-5)


@pytest.mark.parametrize("record", ["before", "after"])
def test_a_network_that_diverges_is_cut_and_its_neighbour_goes_on(core_device: Device, record):
    network = small_network(record=record)
    settled = suite(
        network, optimizers=[("sgd", [{"lr": 0.1}, {"lr": 1e200}])], iterations=ITERATIONS
    )
    fine, lost = run_suite(settled, device=core_device).values()
    row = 1 if record == "before" else 0
    assert (lost.result.status, lost.result.diverged_at) == (Status.DIVERGED, row)
    assert np.isfinite(lost.loss).tolist() == [True] * row + [False]
    assert (lost.result.final_loss, lost.result.best_loss) == (None, None)
    assert lost.evaluations == {}
    losses, _ = reference_losses(network, fine.lane)
    np.testing.assert_allclose(fine.loss, losses, rtol=1e-9)
    assert fine.result.status is Status.DONE


def test_a_function_that_diverges_is_cut_at_its_first_infinite_loss(core_device: Device):
    rates = [{"lr": 0.95}, {"lr": 3.0}]
    settled = suite(anisotropic(), optimizers=[("sgd", rates)], iterations=300)
    fine, lost = run_suite(settled, device=core_device).values()
    with np.errstate(over="ignore"):
        _, losses = minimise(*PLAIN["anisotropic"], (-7.0, 2.0), REFERENCE["sgd"](lr=3.0), 300)
    row = int(np.argmin(np.isfinite(losses)))
    assert 200 < row < 250
    assert (lost.result.status, lost.result.diverged_at) == (Status.DIVERGED, row)
    assert lost.result.iterations == row  # updates made before the row
    assert (lost.result.final_loss, lost.result.best_loss) == (None, None)
    assert len(lost.loss) == len(lost.position) == row + 1
    assert lost.loss[-1] == np.inf
    np.testing.assert_allclose(lost.loss[:-1], losses[:row], rtol=1e-12)
    assert (fine.result.status, len(fine.loss)) == (Status.DONE, 301)


def test_a_device_that_gives_a_block_little_runs_more_of_them(core_device: Device):
    settled = suite(small_network(), anisotropic(), optimizers=["adam"], seeds=range(5))
    expected = run_suite(settled, device=NumpyDevice())
    core_device.block_bytes = 20_000  # two of the networks
    outcomes = run_suite(settled, device=core_device)
    assert {outcome.result.block_lanes for outcome in outcomes.values()} == {1, 2, 5}
    for number, outcome in outcomes.items():
        np.testing.assert_allclose(outcome.loss, expected[number].loss, rtol=1e-9)


def test_two_runs_of_one_plan_have_the_same_bits(core_device: Device):
    settled = suite(small_network(dtype="float32"), anisotropic(), seeds=(0, 7), iterations=40)
    first, second = (run_suite(settled, device=core_device) for _ in range(2))
    for number, outcome in first.items():
        assert second[number].bits == outcome.bits
