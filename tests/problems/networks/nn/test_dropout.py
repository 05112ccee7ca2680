"""Dropout with masks that are given."""

import numpy as np
import pytest

from optbench.errors import SuiteError
from optbench.problems.networks.nn.base import Mode
from optbench.problems.networks.nn.layers import Dropout
from tests.problems.networks.nn.passes import case, run


@pytest.mark.parametrize("mode", [Mode.TRAIN, Mode.SCORE])
@pytest.mark.parametrize(("inverted", "factor"), [(False, 1.0), (True, 1.0 / 0.7)])
def test_training_keeps_what_the_mask_says(mode, inverted, factor):
    layer = Dropout("dropout1", (2, 3, 4), 0.3, inverted)
    given = case(layer)
    kept = given.masks["dropout1"]
    assert 0 < kept.sum() < kept.size
    outcome = run(layer, given, mode=mode)
    np.testing.assert_allclose(outcome.y, np.where(kept, given.x * factor, 0.0), rtol=1e-14)
    np.testing.assert_allclose(outcome.dx, np.where(kept, given.dy * factor, 0.0), rtol=1e-14)


@pytest.mark.parametrize(("inverted", "factor"), [(False, 0.7), (True, 1.0)])
def test_evaluation_needs_no_mask(inverted, factor):
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
def test_ratios_outside_are_refused(ratio):
    with pytest.raises(SuiteError, match=r"it must be in \[0, 1\)$"):
        Dropout("dropout1", (5,), ratio)
