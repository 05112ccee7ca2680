"""Rows and the views of tensors in them are the same memory."""

import numpy as np
import pytest

from optbench.arrays import Tensor, stack

TENSORS = (Tensor("w", (2, 3)), Tensor("b", (2,)), Tensor("s"))


def test_views_are_the_rows_in_order():
    rows = np.arange(18.0).reshape(2, 9)
    stacked = stack(rows, TENSORS, np)
    assert stacked.rows is rows
    assert {name: view.shape for name, view in stacked.views.items()} == {
        "w": (2, 2, 3),
        "b": (2, 2),
        "s": (2,),
    }
    assert stacked.views["w"][1].tolist() == [[9.0, 10.0, 11.0], [12.0, 13.0, 14.0]]
    assert stacked.views["b"][1].tolist() == [15.0, 16.0]
    assert stacked.views["s"].tolist() == [8.0, 17.0]


@pytest.mark.parametrize("tensor", TENSORS)
def test_writing_to_either_shows_in_the_other(tensor):
    stacked = stack(np.zeros((2, 9)), TENSORS, np)
    stacked.views[tensor.name][...] = 1.0
    assert stacked.rows.sum() == 2 * tensor.size
    stacked.rows[...] = 2.0
    assert (stacked.views[tensor.name] == 2.0).all()


def test_sizes():
    assert [tensor.size for tensor in TENSORS] == [6, 2, 1]
