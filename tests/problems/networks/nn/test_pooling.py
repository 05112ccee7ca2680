"""Max pooling against loops over every window."""

import numpy as np
import pytest

from optbench.errors import SuiteError
from optbench.problems.networks.nn.images import MaxPool
from tests.problems.networks.nn.passes import Case, case, run

VARIANTS = [
    # image, window, stride, pad, value of the padding, output
    ((1, 4, 4), (2, 2), 2, 0, 0.0, (1, 2, 2)),
    ((2, 5, 7), (2, 2), 2, 0, 0.0, (2, 2, 3)),
    ((2, 5, 5), (3, 2), 1, 0, 0.0, (2, 3, 4)),
    ((2, 7, 7), (2, 2), 3, 0, 0.0, (2, 2, 2)),
    ((2, 5, 5), (3, 3), 2, 1, 0.0, (2, 3, 3)),
    ((2, 5, 5), (3, 3), 2, 1, -np.inf, (2, 3, 3)),
]


def by_loops(x, dy, layer):
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
@pytest.mark.parametrize(("image", "window", "stride", "pad", "value", "output"), VARIANTS)
def test_output_and_gradient_are_those_of_the_windows(
    image, window, stride, pad, value, output, ties
):
    layer = MaxPool("pool1", image, window, stride, pad, value)
    assert layer.out_shape == output
    given = case(layer)
    if ties:
        given.x = np.round(given.x)
    outcome = run(layer, given)
    for lane, n in np.ndindex(given.x.shape[:2]):
        y, dx = by_loops(given.x[lane, n], given.dy[lane, n], layer)
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
    ("image", "window", "pad", "message"),
    [
        ((784,), (2, 2), 0, r"^it takes images of channels x height x width; .* the shape 784$"),
        ((1, 24, 24), (40, 40), 0, r"^its window is larger than its input of 24x24$"),
        ((1, 24, 24), (3, 2), 2, r"^its pad is 2; it must be smaller than its window$"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(image, window, pad, message):
    with pytest.raises(SuiteError, match=message):
        MaxPool("pool1", image, window, pad=pad)
