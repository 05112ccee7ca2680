"""Convolution against its sum, written as loops over every number."""

import math

import numpy as np
import pytest

from optbench import rng
from optbench.arrays import Tensor
from optbench.errors import SuiteError
from optbench.problems.networks.nn.images import Conv2d
from optbench.problems.networks.nn.initializers import Initializer, he
from tests.problems.networks.nn.passes import LANES, Case, case, run

VARIANTS = [
    # image, filters, window, stride, pad, output
    ((1, 5, 5), 2, (3, 3), 1, 0, (2, 3, 3)),
    ((2, 6, 4), 3, (2, 3), 1, 0, (3, 5, 2)),
    ((2, 6, 5), 2, (3, 2), 2, 0, (2, 2, 2)),
    ((2, 4, 5), 2, (3, 3), 1, 1, (2, 4, 5)),
    ((1, 3, 3), 1, (5, 5), 2, 2, (1, 2, 2)),
    ((3, 2, 2), 2, (1, 1), 1, 0, (2, 2, 2)),
]


def by_loops(given: Case, lane: int, layer: Conv2d):
    """Return y, dx, dW and db of one lane, from the definition of the sum."""
    x = given.x[0 if len(given.x) == 1 else lane]
    W, dy = given.weights["conv1.weight"][lane], given.dy[lane]
    b = given.weights["conv1.bias"][lane]
    y, dx, dW, db = np.zeros_like(dy), np.zeros_like(x), np.zeros_like(W), np.zeros_like(b)
    _, height, width = layer.in_shape
    for n, f, row, column in np.ndindex(dy.shape):
        y[n, f, row, column] += b[f]
        db[f] += dy[n, f, row, column]
        for c, i, j in np.ndindex(W.shape[1:]):
            down = row * layer.stride + i - layer.pad
            across = column * layer.stride + j - layer.pad
            if 0 <= down < height and 0 <= across < width:
                y[n, f, row, column] += W[f, c, i, j] * x[n, c, down, across]
                dx[n, c, down, across] += W[f, c, i, j] * dy[n, f, row, column]
                dW[f, c, i, j] += x[n, c, down, across] * dy[n, f, row, column]
    return y, dx, dW, db


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(("image", "filters", "window", "stride", "pad", "output"), VARIANTS)
def test_output_and_gradients_are_those_of_the_sum(
    image, filters, window, stride, pad, output, shared
):
    layer = Conv2d("conv1", image, filters, window, he, stride, pad)
    assert layer.out_shape == output
    given = case(layer, shared=shared)
    outcome = run(layer, given)
    for lane in range(LANES):
        y, dx, dW, db = by_loops(given, lane, layer)
        np.testing.assert_allclose(outcome.y[lane], y, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(outcome.dx[lane], dx, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(outcome.grads["conv1.weight"][lane], dW, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(outcome.grads["conv1.bias"][lane], db, rtol=1e-10, atol=1e-12)


def test_tensors_are_filters_by_channels_by_window():
    layer = Conv2d("conv1", (3, 8, 8), 4, (5, 2), he)
    weight = Tensor("conv1.weight", (4, 3, 5, 2))
    assert layer.tensors == (weight, Tensor("conv1.bias", (4,)))
    assert Conv2d("conv1", (3, 8, 8), 4, (5, 2), he, has_bias=False).tensors == (weight,)


def test_the_fans_count_the_window():
    layer = Conv2d("conv1", (3, 8, 8), 4, (5, 2), he)
    start = layer.start(3)
    drawn = rng.stream(3, "start/conv1.weight").standard_normal((4, 3, 5, 2))
    np.testing.assert_allclose(start["conv1.weight"], drawn * math.sqrt(2 / 30), rtol=1e-15)
    assert start["conv1.bias"].tolist() == [0.0] * 4
    glorot = Conv2d("conv1", (3, 30, 30), 20, (10, 20), Initializer("glorot-uniform"))
    bound = math.sqrt(6 / (3 * 200 + 20 * 200))
    assert np.abs(glorot.start(0)["conv1.weight"]).max() == pytest.approx(bound, rel=1e-3)


@pytest.mark.parametrize(
    ("image", "pad", "message"),
    [
        ((784,), 0, r"^it takes images of channels x height x width; its input has the shape 784$"),
        ((1, 4, 9), 0, r"^its window is larger than its input of 4x9$"),
        ((1, 9, 2), 1, r"^its window is larger than its input of 11x4 with its padding$"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(image, pad, message):
    with pytest.raises(SuiteError, match=message):
        Conv2d("conv1", image, 2, (5, 5), he, pad=pad)
