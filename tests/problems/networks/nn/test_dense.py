"""The affine layer against its formulas, number by number."""

import numpy as np
import pytest

from optbench import rng
from optbench.arrays import Tensor
from optbench.errors import SuiteError
from optbench.problems.networks.nn.initializers import Initializer, he
from optbench.problems.networks.nn.layers import Dense
from tests.problems.networks.nn.passes import BATCH, LANES, case, run

FAN_IN, FAN_OUT = 4, 2
LAYER = Dense("dense1", (FAN_IN,), FAN_OUT, he)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("has_bias", [False, True])
def test_output_and_gradients_are_those_of_the_formula(shared, has_bias):
    layer = Dense("dense1", (FAN_IN,), FAN_OUT, he, has_bias)
    given = case(layer, shared=shared)
    outcome = run(layer, given)
    bias = given.weights["dense1.bias"] if has_bias else np.zeros((LANES, FAN_OUT))
    for lane in range(LANES):
        x, W = given.x[0 if shared else lane], given.weights["dense1.weight"][lane]
        y, dx, dW = np.zeros((BATCH, FAN_OUT)), np.zeros((BATCH, FAN_IN)), np.zeros_like(W)
        for n in range(BATCH):
            for j in range(FAN_OUT):
                y[n, j] = sum(x[n, i] * W[i, j] for i in range(FAN_IN)) + bias[lane, j]
                for i in range(FAN_IN):
                    dx[n, i] += given.dy[lane, n, j] * W[i, j]
                    dW[i, j] += given.dy[lane, n, j] * x[n, i]
        np.testing.assert_allclose(outcome.y[lane], y, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(outcome.dx[lane], dx, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(outcome.grads["dense1.weight"][lane], dW, rtol=1e-12, atol=1e-13)
        if has_bias:
            db = [sum(given.dy[lane, n, j] for n in range(BATCH)) for j in range(FAN_OUT)]
            np.testing.assert_allclose(outcome.grads["dense1.bias"][lane], db, rtol=1e-12)


def test_tensors_are_the_weight_then_the_bias():
    weight = Tensor("dense1.weight", (FAN_IN, FAN_OUT))
    assert LAYER.tensors == (weight, Tensor("dense1.bias", (FAN_OUT,)))
    assert Dense("dense1", (FAN_IN,), FAN_OUT, he, has_bias=False).tensors == (weight,)


def test_the_weight_starts_from_its_own_stream_and_the_bias_at_zero():
    start = LAYER.start(7)
    drawn = rng.stream(7, "start/dense1.weight").standard_normal((FAN_IN, FAN_OUT))
    np.testing.assert_allclose(start["dense1.weight"], drawn * np.sqrt(0.5), rtol=1e-15)
    assert start["dense1.bias"].tolist() == [0.0, 0.0]


def test_both_fans_reach_the_initialiser():
    layer = Dense("dense1", (400,), 200, Initializer("glorot-uniform"))
    assert np.abs(layer.start(0)["dense1.weight"]).max() == pytest.approx(0.1, rel=1e-3)


def test_an_image_is_refused():
    with pytest.raises(SuiteError, match=r"shape 1x28x28; put 'flatten' before it"):
        Dense("dense1", (1, 28, 28), 10, he)
