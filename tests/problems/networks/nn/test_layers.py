"""Affine layers, dropout and flattening, against formulas and masks that are given."""

import numpy as np
import pytest

from optbench import rng
from optbench.arrays import Tensor
from optbench.errors import SuiteError
from optbench.problems.networks.nn.base import Mode
from optbench.problems.networks.nn.initializers import Initializer, he
from optbench.problems.networks.nn.layers import Dense, Dropout, Flatten
from tests.problems.networks.nn.passes import BATCH, LANES, case, run

FAN_IN, FAN_OUT = 4, 2
LAYER = Dense("dense1", (FAN_IN,), FAN_OUT, he)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("has_bias", [False, True])
def test_the_affine_layer_is_its_formula_number_by_number(shared, has_bias):
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


def test_tensors_of_a_dense_layer_are_the_weight_then_the_bias():
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


def test_a_dense_layer_refuses_an_image():
    with pytest.raises(SuiteError, match=r"shape 1x28x28; put 'flatten' before it"):
        Dense("dense1", (1, 28, 28), 10, he)


@pytest.mark.parametrize("mode", [Mode.TRAIN, Mode.SCORE])
@pytest.mark.parametrize(("inverted", "factor"), [(False, 1.0), (True, 1.0 / 0.7)])
def test_training_with_dropout_keeps_what_the_mask_says(mode, inverted, factor):
    layer = Dropout("dropout1", (2, 3, 4), 0.3, inverted)
    given = case(layer)
    kept = given.masks["dropout1"]
    assert 0 < kept.sum() < kept.size
    outcome = run(layer, given, mode=mode)
    np.testing.assert_allclose(outcome.y, np.where(kept, given.x * factor, 0.0), rtol=1e-14)
    np.testing.assert_allclose(outcome.dx, np.where(kept, given.dy * factor, 0.0), rtol=1e-14)


@pytest.mark.parametrize(("inverted", "factor"), [(False, 0.7), (True, 1.0)])
def test_evaluation_with_dropout_needs_no_mask(inverted, factor):
    layer = Dropout("dropout1", (5,), 0.3, inverted)
    given = case(layer)
    given.masks = {}
    outcome = run(layer, given, mode=Mode.EVALUATE)
    np.testing.assert_allclose(outcome.y, given.x * factor, rtol=1e-14)


def test_a_mask_may_be_shared_by_all_lanes():
    layer = Dropout("dropout1", (5,), 0.5)
    given = case(layer)
    given.masks = {"dropout1": given.masks["dropout1"][:1]}
    outcome = run(layer, given)
    np.testing.assert_array_equal(outcome.y, given.x * given.masks["dropout1"])
    np.testing.assert_array_equal(outcome.dx, given.dy * given.masks["dropout1"])


@pytest.mark.parametrize("ratio", [-0.1, 1.0, float("nan")])
def test_ratios_of_dropout_outside_are_refused(ratio):
    with pytest.raises(SuiteError, match=r"it must be in \[0, 1\)$"):
        Dropout("dropout1", (5,), ratio)


def test_flatten_puts_channels_rows_and_columns_behind_each_other():
    layer = Flatten("flatten1", (2, 3, 4))
    given = case(layer)
    outcome = run(layer, given)
    for place, (c, i, j) in enumerate(np.ndindex(2, 3, 4)):
        assert (outcome.y[..., place] == given.x[:, :, c, i, j]).all()
        assert (outcome.dx[:, :, c, i, j] == given.dy[..., place]).all()
