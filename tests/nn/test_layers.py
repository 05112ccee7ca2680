"""Layers against their formulas and against differences of the loss."""

import numpy as np
import pytest

from optbench import rng
from optbench.arrays import Tensor
from optbench.nn.initializers import he, zeros
from optbench.nn.layers import Dense, ReLU
from optbench.workspace import Workspace

LANES, BATCH, FAN_IN, FAN_OUT = 3, 5, 4, 2
RNG = np.random.default_rng(8)
WORK = Workspace(np)


@pytest.fixture
def dense() -> Dense:
    return Dense("dense1", FAN_IN, FAN_OUT, he)


@pytest.fixture
def weights() -> dict[str, np.ndarray]:
    return {
        "dense1.weight": RNG.normal(size=(LANES, FAN_IN, FAN_OUT)),
        "dense1.bias": RNG.normal(size=(LANES, FAN_OUT)),
    }


def backward(dense, dy, x, weights, *, first=False):
    grads = {name: np.full_like(each, np.nan) for name, each in weights.items()}
    dx = dense.backward(dy, x, weights, grads, first=first, work=WORK)
    return dx, grads["dense1.weight"], grads["dense1.bias"]


@pytest.mark.parametrize("shared", [False, True])
def test_dense_is_a_product_and_a_sum_in_every_lane(dense, weights, shared):
    x = RNG.normal(size=(1 if shared else LANES, BATCH, FAN_IN))
    y, saved = dense.forward(x, weights, work=WORK)
    assert saved is x
    for lane in range(LANES):
        own = x[0 if shared else lane]
        expected = own @ weights["dense1.weight"][lane] + weights["dense1.bias"][lane]
        np.testing.assert_allclose(y[lane], expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("shared", [False, True])
def test_the_gradients_of_dense_are_those_of_the_formula(dense, weights, shared):
    x = RNG.normal(size=(1 if shared else LANES, BATCH, FAN_IN))
    dy = RNG.normal(size=(LANES, BATCH, FAN_OUT))
    dx, dW, db = backward(dense, dy, x, weights)
    for lane in range(LANES):
        own, W = x[0 if shared else lane], weights["dense1.weight"][lane]
        for i in range(FAN_IN):
            for j in range(FAN_OUT):
                by_hand = sum(own[n, i] * dy[lane, n, j] for n in range(BATCH))
                assert dW[lane, i, j] == pytest.approx(by_hand, rel=1e-12, abs=1e-13)
        for j in range(FAN_OUT):
            by_hand = sum(dy[lane, n, j] for n in range(BATCH))
            assert db[lane, j] == pytest.approx(by_hand, rel=1e-12, abs=1e-13)
        for n in range(BATCH):
            for i in range(FAN_IN):
                by_hand = sum(dy[lane, n, j] * W[i, j] for j in range(FAN_OUT))
                assert dx[lane, n, i] == pytest.approx(by_hand, rel=1e-12, abs=1e-13)


def test_the_first_layer_works_out_no_gradient_of_its_input(dense, weights):
    x = RNG.normal(size=(LANES, BATCH, FAN_IN))
    dx, dW, _ = backward(dense, np.ones((LANES, BATCH, FAN_OUT)), x, weights, first=True)
    assert dx is None
    assert np.isfinite(dW).all()


def test_dense_names_its_tensors_weight_then_bias(dense):
    assert dense.tensors == (
        Tensor("dense1.weight", (FAN_IN, FAN_OUT)),
        Tensor("dense1.bias", (FAN_OUT,)),
    )


def test_dense_starts_from_its_own_stream_and_no_bias(dense):
    start = dense.start(7)
    drawn = rng.stream(7, "start/dense1.weight").standard_normal((FAN_IN, FAN_OUT))
    np.testing.assert_allclose(start["dense1.weight"], drawn * np.sqrt(0.5), rtol=1e-15)
    assert start["dense1.bias"].tolist() == [0.0, 0.0]


def test_he_draws_from_a_normal_distribution_with_variance_two_over_fan_in():
    weights = he(0, "dense1.weight", (400, 300)).ravel()
    deviation = np.sqrt(2.0 / 400)
    assert abs(weights.mean()) < 4 * deviation / np.sqrt(weights.size)
    assert weights.std() == pytest.approx(deviation, rel=0.01)
    assert (np.abs(weights) < deviation).mean() == pytest.approx(0.6827, abs=0.01)


def test_zeros_are_zeros_whatever_the_seed():
    assert zeros(3, "dense1.bias", (2, 3)).tolist() == [[0.0] * 3] * 2


def test_relu_passes_what_is_positive_and_nan():
    x = np.array([[[-1.0, 0.0, 2.0, np.nan, -np.inf, np.inf]]])
    y, saved = ReLU().forward(x, {}, work=WORK)
    np.testing.assert_array_equal(y, [[[0.0, 0.0, 2.0, np.nan, 0.0, np.inf]]])
    dx = ReLU().backward(np.full_like(x, 3.0), saved, {}, {}, first=False, work=WORK)
    np.testing.assert_array_equal(dx, [[[0.0, 0.0, 3.0, 0.0, 0.0, 3.0]]])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_relu_keeps_the_type(dtype):
    x = np.ones((1, 2, 3), dtype=dtype)
    y, saved = ReLU().forward(x, {}, work=WORK)
    assert y.dtype == dtype
    assert ReLU().backward(x, saved, {}, {}, first=False, work=WORK).dtype == dtype


def test_relu_has_nothing_to_train():
    assert ReLU().tensors == ()
    assert ReLU().start(0) == {}
