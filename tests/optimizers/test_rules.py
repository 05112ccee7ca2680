"""Every rule follows the reference, which shares no code with the package."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optbench.optimizers.registry import OPTIMIZERS
from tests.optimizers.driver import Driver
from tests.reference.network import MultiLayerNet
from tests.reference.optimizers import REFERENCE, textbook

STEPS = 50

# beta2 = 0 is left out: v + (g² − v) loses the digits of a small g² in single precision.
CONFIGURATIONS = {
    "sgd": [{}, {"lr": 0.3}, {"lr": 1e-4}],
    "momentum": [{}, {"lr": 0.1}, {"lr": 0.02, "momentum": 0.5}, {"momentum": 0.0}],
    "adagrad": [{}, {"lr": 1.5}, {"lr": 0.1, "eps": 1e-2}],
    "rmsprop": [{}, {"lr": 0.1, "decay": 0.9}, {"lr": 0.02, "decay": 0.5, "eps": 1e-3}],
    "adam": [
        {},
        {"lr": 0.3},
        {"lr": 0.05, "beta1": 0.5, "beta2": 0.9, "eps": 1e-3},
        {"lr": 0.1, "beta1": 0.0, "beta2": 0.1},
    ],
}

START = np.random.default_rng(5).normal(size=12) * 3.0
CURVATURES = np.geomspace(0.05, 1.5, 12)


def quadratic(w: np.ndarray, t: int) -> np.ndarray:
    """The gradient of Σ aᵢwᵢ²/2."""
    return CURVATURES * w


def recorded_gradients(count: int) -> np.ndarray:
    """Gradients of a small network on random batches, one row each; many hold zeros."""
    rng = np.random.default_rng(6)
    network = MultiLayerNet(4, [5], 3, seed=2)
    rows = []
    for _ in range(count):
        grads = network.gradient(rng.normal(size=(6, 4)), rng.integers(3, size=6))
        rows.append(np.concatenate([each.ravel() for each in grads.values()]))
    return np.array(rows)


RECORDED = recorded_gradients(STEPS)
NETWORK_START = np.random.default_rng(7).normal(size=RECORDED.shape[1])


def recorded(w: np.ndarray, t: int) -> np.ndarray:
    return np.broadcast_to(RECORDED[t - 1], w.shape)


Gradient = Callable[[np.ndarray, int], np.ndarray]
"""Gradients at positions (lanes, parameters), or (parameters,), for update t from 1."""

GRADIENTS: dict[str, tuple[Gradient, np.ndarray]] = {
    "quadratic": (quadratic, START),
    "network": (recorded, NETWORK_START),
}


def follow(lanes: Driver, gradient: Gradient, steps: int) -> np.ndarray:
    """Return the positions after each step, shape (steps, lanes, parameters)."""
    return np.array([lanes.step(gradient(lanes.rows(), t)) for t in range(1, steps + 1)])


def reference_path(name, hyperparameters, start, gradient: Gradient, steps: int) -> np.ndarray:
    """Return the positions after each step of the reference, shape (steps, parameters)."""
    optimizer, params, path = textbook(name, hyperparameters), {"w": start.copy()}, []
    for t in range(1, steps + 1):
        optimizer.update(params, {"w": gradient(params["w"], t)})
        path.append(params["w"].copy())
    return np.array(path)


@pytest.mark.parametrize("gradients", GRADIENTS)
@pytest.mark.parametrize("name", REFERENCE)
def test_lanes_of_different_hyperparameters_each_follow_their_reference(name, gradients):
    gradient, start = GRADIENTS[gradients]
    path = follow(Driver(name, CONFIGURATIONS[name], start), gradient, STEPS)
    for lane, hyperparameters in enumerate(CONFIGURATIONS[name]):
        expected = reference_path(name, hyperparameters, start, gradient, STEPS)
        np.testing.assert_allclose(path[:, lane], expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("gradients", GRADIENTS)
@pytest.mark.parametrize("name", REFERENCE)
def test_single_precision_follows_the_reference_to_1e_5(name, gradients):
    gradient, start = GRADIENTS[gradients]
    configurations = CONFIGURATIONS[name]
    path = follow(Driver(name, configurations, start, dtype="float32"), gradient, STEPS)
    assert path.dtype == np.float32
    for lane, hyperparameters in enumerate(configurations):
        expected = reference_path(name, hyperparameters, start, gradient, STEPS)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(path[:, lane], expected, rtol=1e-5, atol=1e-5 * scale)


@pytest.mark.parametrize("name", REFERENCE)
def test_single_precision_keeps_small_rates(name):
    """1 − 0.9999 must not be rounded twice: the first steps would be off by 1e-4."""
    close_to_one = {"rmsprop": {"decay": 0.9999}, "adam": {"beta2": 0.9999}}.get(name, {})
    path = follow(Driver(name, [close_to_one], START, dtype="float32"), quadratic, 3)
    moved = path[:, 0] - START.astype(np.float32)
    expected = reference_path(name, close_to_one, START, quadratic, 3) - START
    np.testing.assert_allclose(moved[-1], expected[-1], rtol=1e-5, atol=2e-6)


@given(lr=st.floats(1e-6, 1.0), scale=st.floats(1e-3, 1e3))
def test_the_first_step_of_adam_is_the_learning_rate_whatever_the_gradient(lr, scale):
    """With eps = 0, m/√v·√(1 − β₂)/(1 − β₁) is the sign of the gradient at t = 1."""
    driver = Driver("adam", [{"lr": lr, "eps": 0.0}], np.zeros(2))
    step = driver.step(np.array([scale, -2.0 * scale]))[0]
    np.testing.assert_allclose(step, [-lr, lr], rtol=1e-12)


def test_every_reference_has_a_configuration():
    assert OPTIMIZERS.keys() >= REFERENCE.keys() == CONFIGURATIONS.keys()
