"""Windows that move over images."""

import numpy as np
import pytest

from optbench.problems.networks.nn.images import Windows, col2im, im2col
from tests.problems.networks.nn.passes import Stale


def work() -> Stale:
    begun = Stale(np, writes_out=True)
    begun.begin("test")
    return begun


def test_columns_hold_what_lies_under_each_position():
    x = np.arange(12.0).reshape(1, 1, 1, 3, 4)
    columns = im2col(x, Windows((1, 3, 4), (2, 2)), work())
    assert columns[0, 0, 0].T.tolist() == [
        [0, 1, 4, 5],
        [1, 2, 5, 6],
        [2, 3, 6, 7],
        [4, 5, 8, 9],
        [5, 6, 9, 10],
        [6, 7, 10, 11],
    ]


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
