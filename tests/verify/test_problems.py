"""The problems of checks: small, the same everywhere, and movable by one ulp."""

import numpy as np
import pytest

from optbench.engine.nudge import one_ulp_away
from optbench.problems.functions.quadratics import Anisotropic
from optbench.verify.problems import PROBLEMS, made_up_images, nudged_problem

START = np.random.default_rng(0).standard_normal(3000)
WHOLE = {"float32": np.int32, "float64": np.int64}


@pytest.mark.parametrize("dtype", WHOLE)
def test_a_nudge_moves_coordinates_by_one_unit_in_the_last_place(dtype):
    near = one_ulp_away(START, 1, dtype)
    assert near.dtype == np.float64
    np.testing.assert_array_equal(near.astype(dtype).astype(np.float64), near)
    bits = [values.astype(dtype).view(WHOLE[dtype]).astype(np.int64) for values in (START, near)]
    up = (bits[1] - bits[0]) * np.sign(START)  # the bits of a number count its magnitude
    assert set(up) == {-1, 0, 1}
    assert all(800 < np.count_nonzero(up == step) < 1200 for step in (-1, 0, 1))


def test_no_nudge_leaves_the_start_to_the_type():
    np.testing.assert_array_equal(one_ulp_away(START, 0, "float64"), START)
    np.testing.assert_array_equal(one_ulp_away(START, 0, "float32"), START.astype(np.float32))


def test_every_nudge_is_another_and_always_the_same():
    nudged = [one_ulp_away(START, nudge, "float32").tobytes() for nudge in range(9)]
    assert len(set(nudged)) == 9
    assert nudged == [one_ulp_away(START, nudge, "float32").tobytes() for nudge in range(9)]


@pytest.mark.parametrize("name", PROBLEMS)
def test_problems_differ_from_their_nudged_selves_in_the_start_only(name):
    plain, nudged = (nudged_problem(name, "float32", nudge) for nudge in (0, 3))
    assert plain.record == "before"
    assert 0 < np.abs(plain.start(0) - nudged.start(0)).max() < 1e-6
    assert plain.definition() == nudged.definition()
    for drawn, same in zip(plain.draws(1, 0).values(), nudged.draws(1, 0).values(), strict=True):
        np.testing.assert_array_equal(drawn, same)


def test_the_function_is_the_textbooks():
    start = nudged_problem("anisotropic", "float64", 0).start(0)
    np.testing.assert_array_equal(start, Anisotropic.origin)


def test_the_images_are_bytes_that_tell_their_label():
    train = made_up_images().splits["train"]
    assert train.images.dtype == train.labels.dtype == np.uint8
    assert set(train.labels.tolist()) == set(range(10))
    means = np.array([train.images[train.labels == label].mean(axis=0) for label in range(10)])
    assert (np.argmax(means, axis=0) == np.arange(64) * 10 // 64).all()
    with pytest.raises(ValueError, match="read-only"):
        train.images[0, 0] = 0
