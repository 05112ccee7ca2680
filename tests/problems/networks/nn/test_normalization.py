"""Normalisation against its derivatives written one by one, and running averages step by step."""

import math

import numpy as np
import pytest

from optbench.arrays import Buffer, Tensor
from optbench.problems.networks.nn.base import Mode
from optbench.problems.networks.nn.normalization import BatchNorm, LayerNorm
from tests.problems.networks.nn.passes import BATCH, LANES, Case, case, run

IMAGE = (2, 3, 4)


def textbook(x, dy, gamma, beta, eps):
    """Return y, dx, dgamma, dbeta, mean and var of (examples, features), derivative by derivative.

    The chain that section 6.3's code goes through: d of the normalised values, of the centred ones,
    of std, of var, of the mean.
    """
    examples = len(x)
    mean = np.array([sum(column) / examples for column in x.T])
    centred = x - mean
    var = np.array([sum(value**2 for value in column) / examples for column in centred.T])
    std = np.sqrt(var + eps)
    normal = centred / std
    d_normal = gamma * dy
    d_centred = d_normal / std
    d_std = -(d_normal * centred / std**2).sum(axis=0)
    d_var = 0.5 * d_std / std
    d_centred = d_centred + 2.0 / examples * centred * d_var
    d_mean = d_centred.sum(axis=0)
    dx = d_centred - d_mean / examples
    return gamma * normal + beta, dx, (normal * dy).sum(axis=0), dy.sum(axis=0), mean, var


def by_feature(values: np.ndarray) -> np.ndarray:
    return values.reshape(len(values), -1)


def by_channel(values: np.ndarray) -> np.ndarray:
    """Return (batch, C, H, W) with every place of an image as an example of C features."""
    return np.moveaxis(values, 1, -1).reshape(-1, values.shape[1])


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(
    ("shape", "per_channel", "rows"),
    [((5,), False, by_feature), (IMAGE, False, by_feature), (IMAGE, True, by_channel)],
)
def test_output_and_gradients_are_the_textbooks(shape, per_channel, rows, shared):
    layer = BatchNorm("norm1", shape, per_channel)
    given = case(layer, shared=shared)
    outcome = run(layer, given)
    for lane in range(LANES):
        gamma, beta = given.weights["norm1.gamma"][lane], given.weights["norm1.beta"][lane]
        x = rows(given.x[0 if shared else lane])
        expected = textbook(x, rows(given.dy[lane]), gamma, beta, 1e-6)
        ours = (
            rows(outcome.y[lane]),
            rows(outcome.dx[lane]),
            outcome.grads["norm1.gamma"][lane],
            outcome.grads["norm1.beta"][lane],
        )
        for own, other in zip(ours, expected, strict=False):
            np.testing.assert_allclose(own, other, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize(("per_channel", "rows"), [(False, by_feature), (True, by_channel)])
def test_running_averages_follow_step_by_step(per_channel, rows, unbiased, shared):
    layer = BatchNorm("norm1", IMAGE, per_channel, momentum=0.75, unbiased=unbiased)
    given = case(layer, shared=shared)
    mean = np.zeros((LANES, layer.features))
    var = np.zeros((LANES, layer.features))
    given.buffers = {"norm1.running_mean": mean.copy(), "norm1.running_var": var.copy()}
    for step in range(7):
        given.x = case(layer, shared=shared, seed=step).x * (step + 1)
        given.buffers = run(layer, given).buffers
        for lane in range(LANES):
            x = rows(given.x[0 if shared else lane])
            n = len(x)
            mean[lane] = 0.75 * mean[lane] + 0.25 * x.mean(axis=0)
            var[lane] = 0.75 * var[lane] + 0.25 * x.var(axis=0, ddof=unbiased)
            assert n == (12 * BATCH if per_channel else BATCH)
        np.testing.assert_allclose(given.buffers["norm1.running_mean"], mean, rtol=1e-12)
        np.testing.assert_allclose(given.buffers["norm1.running_var"], var, rtol=1e-12)


@pytest.mark.parametrize(("per_channel", "axes"), [(False, (1,)), (True, (1, 3, 4))])
def test_evaluation_takes_the_running_averages(per_channel, axes):
    layer = BatchNorm("norm1", IMAGE, per_channel, eps=0.5)
    given = case(layer)
    shape = (LANES, 1, 2, 1, 1) if per_channel else (LANES, 1, *IMAGE)
    mean, var, gamma, beta = (
        array.reshape(shape) for array in (*given.buffers.values(), *given.weights.values())
    )
    expected = (given.x - mean) / np.sqrt(var + 0.5) * gamma + beta
    y = run(layer, given, mode=Mode.EVALUATE).y
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-13)
    # The batch changes nothing: an example comes out the same on its own.
    one = Case(given.x[:, :1], given.dy[:, :1], given.weights, given.buffers)
    np.testing.assert_array_equal(run(layer, one, mode=Mode.EVALUATE).y, y[:, :1])


def test_a_batch_is_brought_to_mean_0_and_variance_1():
    layer = BatchNorm("norm1", IMAGE, per_channel=True, eps=1e-12)
    given = case(layer)
    given.weights = {"norm1.gamma": np.ones((LANES, 2)), "norm1.beta": np.zeros((LANES, 2))}
    y = run(layer, given).y
    np.testing.assert_allclose(y.mean(axis=(1, 3, 4)), 0.0, atol=1e-14)
    np.testing.assert_allclose(y.var(axis=(1, 3, 4)), 1.0, rtol=1e-10)


def test_one_example_has_no_unbiased_variance():
    layer = BatchNorm("norm1", (3,), unbiased=True)
    given = case(layer, batch=1)
    outcome = run(layer, given)
    assert all(np.isfinite(array).all() for array in outcome.arrays().values())
    before = given.buffers["norm1.running_var"]
    np.testing.assert_allclose(outcome.buffers["norm1.running_var"], 0.9 * before, rtol=1e-14)


@pytest.mark.parametrize(("per_channel", "features"), [(False, 24), (True, 2)])
def test_tensors_and_buffers_have_a_number_a_feature(per_channel, features):
    layer = BatchNorm("norm2", IMAGE, per_channel, variance_start=1.0)
    shape = (features,)
    assert layer.tensors == (Tensor("norm2.gamma", shape), Tensor("norm2.beta", shape))
    assert layer.buffers == (
        Buffer("norm2.running_mean", shape, start=0.0),
        Buffer("norm2.running_var", shape, start=1.0),
    )
    start = layer.start(0)
    assert (start["norm2.gamma"] == 1.0).all()
    assert (start["norm2.beta"] == 0.0).all()
    assert layer.penalized == ()


def plainly(x, dy, gamma, beta, eps):
    """Return y, dx and one example's parts of dgamma and dbeta, number by number."""
    count = len(x)
    mean = sum(x) / count
    var = sum((each - mean) ** 2 for each in x) / count
    std = math.sqrt(var + eps)
    normal = [(each - mean) / std for each in x]
    y = [g * n + b for g, n, b in zip(gamma, normal, beta, strict=True)]
    d_normal = [g * d for g, d in zip(gamma, dy, strict=True)]
    # d normal[j] / d x[i] = ([i = j] − 1/count − normal[i]·normal[j]/count)/std
    dx = [
        sum(d * ((i == j) - (1.0 + normal[i] * normal[j]) / count) for j, d in enumerate(d_normal))
        / std
        for i in range(count)
    ]
    return y, dx, [d * n for d, n in zip(dy, normal, strict=True)], dy


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("shape", [(1,), (5,), IMAGE])
@pytest.mark.parametrize(("affine", "has_bias"), [(True, True), (True, False), (False, True)])
def test_each_example_is_normalised_on_its_own(shape, affine, has_bias, shared):
    layer = LayerNorm("norm1", shape, 1e-3, affine, has_bias)
    given = case(layer, shared=shared)
    outcome = run(layer, given)
    size = math.prod(shape)
    totals = {name: np.zeros((LANES, size)) for name in ("norm1.gamma", "norm1.beta")}
    for lane, example in np.ndindex(outcome.y.shape[:2]):
        x = given.x[0 if shared else lane, example].ravel()
        gamma, beta = (
            given.weights[name][lane].ravel() if name in given.weights else np.full(size, default)
            for name, default in (("norm1.gamma", 1.0), ("norm1.beta", 0.0))
        )
        y, dx, *parts = plainly(x, given.dy[lane, example].ravel(), gamma, beta, 1e-3)
        np.testing.assert_allclose(outcome.y[lane, example].ravel(), y, rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(outcome.dx[lane, example].ravel(), dx, rtol=1e-10, atol=1e-11)
        for total, part in zip(totals.values(), parts, strict=True):
            total[lane] += part
    assert list(outcome.grads) == (list(totals) if has_bias else ["norm1.gamma"]) * affine
    for name, grad in outcome.grads.items():
        np.testing.assert_allclose(grad.reshape(LANES, size), totals[name], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("mode", list(Mode))
def test_layer_normalisation_knows_no_batch_and_no_mode(mode):
    layer = LayerNorm("norm1", IMAGE)
    given = case(layer)
    one = Case(given.x[:, 2:3], given.dy[:, 2:3], given.weights)
    expected = run(layer, given).y[:, 2:3]
    np.testing.assert_array_equal(run(layer, one, mode=mode).y, expected)


def test_gamma_starts_at_one_and_beta_at_zero_in_the_shape_of_an_example():
    layer = LayerNorm("norm1", IMAGE)
    assert layer.tensors == (Tensor("norm1.gamma", IMAGE), Tensor("norm1.beta", IMAGE))
    start = layer.start(0)
    assert (start["norm1.gamma"] == 1.0).all()
    assert (start["norm1.beta"] == 0.0).all()
    assert (layer.buffers, layer.penalized) == ((), ())
