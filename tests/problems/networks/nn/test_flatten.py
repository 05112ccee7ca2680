"""Flatten moves no number."""

from optbench.problems.networks.nn.layers import Flatten
from tests.problems.networks.nn.passes import case, run


def test_channels_rows_and_columns_follow_each_other():
    layer = Flatten("flatten1", (2, 3, 4))
    given = case(layer)
    outcome = run(layer, given)
    for c in range(2):
        for i in range(3):
            for j in range(4):
                place = (c * 3 + i) * 4 + j
                assert (outcome.y[..., place] == given.x[:, :, c, i, j]).all()
                assert (outcome.dx[:, :, c, i, j] == given.dy[..., place]).all()
