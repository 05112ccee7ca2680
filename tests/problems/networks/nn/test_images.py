"""Windows that move over images, and convolution and max pooling against loops over all of them."""

import math

import numpy as np
import pytest

from optbench import rng
from optbench.arrays import Tensor, Workspace
from optbench.device.cpu import NumpyDevice
from optbench.errors import SuiteError
from optbench.problems.networks.nn.images import Conv2d, MaxPool, Windows, col2im, im2col
from optbench.problems.networks.nn.initializers import Initializer, he
from tests.problems.networks.nn.passes import LANES, Case, case, run, stale
from tests.refusal import refusal


def work() -> Workspace:
    begun = stale(NumpyDevice().workspace())
    begun.begin("test")
    return begun


def test_columns_hold_what_lies_under_each_position():
    x = np.arange(12.0).reshape(1, 1, 1, 3, 4)
    columns = im2col(x, Windows((1, 3, 4), (2, 2)), work())
    firsts = (0, 1, 2, 4, 5, 6)
    assert columns[0, 0, 0].T.tolist() == [[n, n + 1, n + 4, n + 5] for n in firsts]


def test_what_fills_no_stride_is_left_out():
    windows = Windows((1, 5, 6), (2, 3), stride=2)
    assert windows.positions == (2, 2)
    x = np.arange(30.0).reshape(1, 1, 1, 5, 6)
    columns = im2col(x, windows, work())
    assert columns[0, 0, 0, :, -1].tolist() == [14, 15, 16, 20, 21, 22]


@pytest.mark.parametrize(("stride", "pad"), [(1, 0), (2, 0), (1, 2), (3, 1)])
def test_col2im_is_the_transpose_of_im2col(stride, pad):
    windows = Windows((2, 5, 4), (3, 2), stride, pad)
    generator = np.random.default_rng(0)
    x = generator.normal(size=(2, 3, 2, 5, 4))
    columns = im2col(x, windows, work())
    other = generator.normal(size=columns.shape)
    back = col2im(other.copy(), windows, work())
    assert back.shape == x.shape
    assert (columns * other).sum() == pytest.approx((x * back).sum(), rel=1e-12)
    assert windows.values == columns[0, 0].size


CONVOLUTIONS = [
    # image, filters, window, stride, pad, output
    ((1, 5, 5), 2, (3, 3), 1, 0, (2, 3, 3)),
    ((2, 6, 4), 3, (2, 3), 1, 0, (3, 5, 2)),
    ((2, 6, 5), 2, (3, 2), 2, 0, (2, 2, 2)),
    ((2, 4, 5), 2, (3, 3), 1, 1, (2, 4, 5)),
    ((1, 3, 3), 1, (5, 5), 2, 2, (1, 2, 2)),
    ((3, 2, 2), 2, (1, 1), 1, 0, (2, 2, 2)),
]


def convolved(given: Case, lane: int, layer: Conv2d):
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
@pytest.mark.parametrize(("image", "filters", "window", "stride", "pad", "output"), CONVOLUTIONS)
def test_convolution_is_its_sum_over_every_number(
    image, filters, window, stride, pad, output, shared
):
    layer = Conv2d("conv1", image, filters, window, he, stride, pad)
    assert layer.out_shape == output
    given = case(layer, shared=shared)
    outcome = run(layer, given)
    for lane in range(LANES):
        y, dx, dW, db = convolved(given, lane, layer)
        np.testing.assert_allclose(outcome.y[lane], y, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(outcome.dx[lane], dx, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(outcome.grads["conv1.weight"][lane], dW, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(outcome.grads["conv1.bias"][lane], db, rtol=1e-10, atol=1e-12)


def test_tensors_of_a_convolution_are_filters_by_channels_by_window():
    layer = Conv2d("conv1", (3, 8, 8), 4, (5, 2), he)
    weight = Tensor("conv1.weight", (4, 3, 5, 2))
    assert layer.tensors == (weight, Tensor("conv1.bias", (4,)))
    assert Conv2d("conv1", (3, 8, 8), 4, (5, 2), he, has_bias=False).tensors == (weight,)


def test_the_fans_of_a_convolution_count_the_window():
    layer = Conv2d("conv1", (3, 8, 8), 4, (5, 2), he)
    start = layer.start(3)
    drawn = rng.stream(3, "start/conv1.weight").standard_normal((4, 3, 5, 2))
    np.testing.assert_allclose(start["conv1.weight"], drawn * math.sqrt(2 / 30), rtol=1e-15)
    assert start["conv1.bias"].tolist() == [0.0] * 4
    glorot = Conv2d("conv1", (3, 30, 30), 20, (10, 20), Initializer("glorot-uniform"))
    bound = math.sqrt(6 / (3 * 200 + 20 * 200))
    assert np.abs(glorot.start(0)["conv1.weight"]).max() == pytest.approx(bound, rel=1e-3)


POOLS = [
    # image, window, stride, pad, value of the padding, output
    ((1, 4, 4), (2, 2), 2, 0, 0.0, (1, 2, 2)),
    ((2, 5, 7), (2, 2), 2, 0, 0.0, (2, 2, 3)),
    ((2, 5, 5), (3, 2), 1, 0, 0.0, (2, 3, 4)),
    ((2, 7, 7), (2, 2), 3, 0, 0.0, (2, 2, 2)),
    ((2, 5, 5), (3, 3), 2, 1, 0.0, (2, 3, 3)),
    ((2, 5, 5), (3, 3), 2, 1, -np.inf, (2, 3, 3)),
]


def pooled(x, dy, layer):
    """Return y and dx of one example; the first of the largest takes the gradient."""
    pad = layer.pad
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad)), constant_values=layer.pad_value)
    y, dx = np.zeros_like(dy), np.zeros_like(padded)
    for c, row, column in np.ndindex(dy.shape):
        places = [
            (row * layer.stride + i, column * layer.stride + j)
            for i in range(layer.window[0])
            for j in range(layer.window[1])
        ]
        best = max(places, key=lambda place: padded[c, *place])
        y[c, row, column] = padded[c, *best]
        dx[c, *best] += dy[c, row, column]
    return y, dx[:, pad : pad + x.shape[1], pad : pad + x.shape[2]]


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("image", "window", "stride", "pad", "value", "output"), POOLS)
def test_max_pooling_looks_at_every_window(image, window, stride, pad, value, output, ties):
    layer = MaxPool("pool1", image, window, stride, pad, value)
    assert layer.out_shape == output
    given = case(layer)
    if ties:
        given.x = np.round(given.x)
    outcome = run(layer, given)
    for lane, n in np.ndindex(given.x.shape[:2]):
        y, dx = pooled(given.x[lane, n], given.dy[lane, n], layer)
        np.testing.assert_array_equal(outcome.y[lane, n], y)
        np.testing.assert_allclose(outcome.dx[lane, n], dx, rtol=1e-12, atol=1e-13)


def test_zeros_of_the_padding_win_over_negative_values_and_minus_infinity_does_not():
    x = np.full((1, 1, 1, 2, 2), -3.0)
    dy = np.ones((1, 1, 1, 2, 2))
    textbook = run(MaxPool("pool1", (1, 2, 2), (2, 2), 2, 1), Case(x, dy, {}))
    assert textbook.y.max() == textbook.y.min() == 0.0
    assert textbook.dx.tolist() == np.zeros_like(x).tolist()
    pytorch = run(MaxPool("pool1", (1, 2, 2), (2, 2), 2, 1, -np.inf), Case(x, dy, {}))
    assert pytorch.y.max() == pytorch.y.min() == -3.0
    assert pytorch.dx.tolist() == np.ones_like(x).tolist()


def test_nan_wins_and_takes_no_gradient():
    x = np.array([[[[[1.0, np.nan], [3.0, 4.0]]]]])
    outcome = run(MaxPool("pool1", (1, 2, 2), (2, 2)), Case(x, np.ones((1, 1, 1, 1, 1)), {}))
    assert np.isnan(outcome.y).all()
    assert outcome.dx.tolist() == np.zeros_like(x).tolist()


@pytest.mark.parametrize(
    ("image", "pad", "size"), [((1, 4, 9), 0, "4x9"), ((1, 9, 2), 1, "11x4 with its padding")]
)
def test_a_window_larger_than_its_input_is_refused(image, pad, size):
    """What else does not fit is refused in test_parse.py."""
    message = refusal(SuiteError, Conv2d, "conv1", image, 2, (5, 5), he, pad=pad)
    assert message == f"its window is larger than its input of {size}"
