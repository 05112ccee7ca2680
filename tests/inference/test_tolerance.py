from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optbench.inference.tolerance import width
from tests.inference.descent import descent

LR = [1e-4, 1e-3, 1e-2, 1e-1, 1e0]
LOSSES = [1.0, 0.20, 0.10, 0.15, inf]
"""Case 26."""

PRINTED = 5.1e-11
"""Half a unit of the tenth decimal, to which the cases are printed."""

losses = st.lists(
    st.one_of(st.integers(1, 400).map(lambda number: number / 16), st.just(inf)),
    min_size=1,
    max_size=9,
).filter(lambda found: min(found) < inf)


@pytest.mark.parametrize(
    ("factor", "decades", "low", "high", "opened", "coarse"),
    [
        (1.25, 0.8722678081, 0.0047650987, 0.0355091039, (False, False), True),
        (1.8, 1.8479969066, 0.0014190676, 0.1, (False, False), True),
        (12.0, 3.0, 1e-4, 0.1, (True, False), False),
    ],
)
def test_case_26_width_where_the_largest_value_diverged(factor, decades, low, high, opened, coarse):
    found = width(LR, LOSSES, factor)
    ends = [found.decades, found.low, found.high]
    assert ends == pytest.approx([decades, low, high], rel=1e-9, abs=PRINTED)
    assert (found.low_open, found.high_open) == opened
    assert found.too_coarse == coarse


@pytest.mark.parametrize(
    ("factor", "decades", "low", "high"),
    [
        (1.1, 0.0148560983, 0.6634973084, 0.6865865061),
        (2.0, 0.1080415826, 0.5620067440, 0.7207474420),
        (10.0, 0.4140003192, 0.3166309859, 0.8213981726),
    ],
)
def test_case_27_width_of_gradient_descent_on_the_textbook_s_function(factor, decades, low, high):
    lr = np.geomspace(1e-3, 10.0, 25)
    loss = descent(lr, 30)
    best = np.argmin(loss)
    assert [lr[best], loss[best]] == pytest.approx([0.681292069058, 0.0355228740338], rel=1e-9)
    found = width(lr, loss, factor)
    ends = [found.decades, found.low, found.high]
    assert ends == pytest.approx([decades, low, high], rel=1e-9, abs=PRINTED)
    assert found.too_coarse


@given(losses, st.floats(1.0, 30.0))
def test_the_interval_is_what_a_fine_walk_from_the_best_finds(loss, factor):
    places = np.arange(len(loss), dtype=float)
    best, finite = int(np.argmin(loss)), np.isfinite(loss)
    step = 1e-3

    def walk(direction: int) -> float:
        """Go on while the loss, linear between logarithms, is at most the limit."""
        at = float(best)
        while 0 <= at + direction * step <= len(loss) - 1:
            there = at + direction * step
            cell = int(np.floor(there)), int(np.ceil(there))
            if not all(finite[list(cell)]):
                break
            if np.interp(there, places[finite], np.log(np.array(loss)[finite])) > np.log(
                factor * loss[best] * (1 + 1e-12)
            ):
                break
            at = there
        return at

    found = width(10.0**places, loss, factor)
    assert np.log10([found.low, found.high]) == pytest.approx([walk(-1), walk(1)], abs=2.1e-3)
    assert found.decades == pytest.approx(np.log10(found.high / found.low))


@given(losses, st.randoms(use_true_random=False), st.sampled_from([0.25, 1e6]))
def test_the_order_of_values_and_the_units_do_not_matter(loss, rearranged, unit):
    values = np.geomspace(0.01, 3.0, len(loss))
    found = width(values, loss, 1.5)
    order = rearranged.sample(range(len(loss)), len(loss))
    assert width(values[order], np.array(loss)[order], 1.5) == found
    other = width(values, np.multiply(loss, unit), 1.5)
    assert (other.low, other.high) == pytest.approx((found.low, found.high), rel=1e-9)
    other = width(values * unit, loss, 1.5)
    assert other.decades == pytest.approx(found.decades, abs=1e-9)


@given(losses)
def test_an_interval_grows_with_the_factor_and_holds_the_best(loss):
    values = np.geomspace(0.01, 3.0, len(loss))
    best = values[int(np.argmin(loss))]
    before = width(values, loss, 1.0)
    assert before.low <= best <= before.high
    for factor in (1.1, 2.0, 10.0, 1e6):
        found = width(values, loss, factor)
        assert found.low <= before.low * (1 + 1e-12)
        assert before.high <= found.high * (1 + 1e-12)
        assert found.low_open >= before.low_open
        assert found.too_coarse <= before.too_coarse
        before = found
    assert before.low_open == np.isfinite(loss[: int(np.argmin(loss))]).all()
    assert before.high_open == np.isfinite(loss[int(np.argmin(loss)) :]).all()


def test_a_second_valley_is_no_part_of_the_interval():
    found = width([1.0, 10.0, 100.0, 1000.0], [1.0, 4.0, 1.0, 4.0], 2.0)
    assert (found.low, found.high) == pytest.approx((1.0, np.sqrt(10.0)))
    assert (found.low_open, found.high_open) == (True, False)


def test_a_loss_of_nothing_but_the_minimum_ends_where_it_ends():
    found = width([1.0, 10.0, 100.0, 1000.0], [2.0, 0.0, 0.0, 1.0], 2.0)
    assert (found.low, found.high, found.decades) == (10.0, 100.0, 1.0)
    assert (found.low_open, found.high_open, found.too_coarse) == (False, False, True)


def test_a_single_value_is_open_on_both_sides_and_a_neighbour_that_diverged_is_too_far():
    found = width([0.1], [3.0], 1.1)
    assert (found.low, found.high, found.decades) == (0.1, 0.1, 0.0)
    assert found.low_open
    assert found.high_open
    assert not found.too_coarse
    found = width([0.1, 1.0], [3.0, inf], 1e9)
    assert (found.high, found.high_open, found.too_coarse) == (0.1, False, True)


@pytest.mark.parametrize(
    ("values", "loss", "factor", "message"),
    [
        ([0.0, 1.0], [1.0, 2.0], 2.0, "values must be finite, above 0 and different"),
        ([1.0, 1.0], [1.0, 2.0], 2.0, "values must be finite, above 0 and different"),
        ([1.0, inf], [1.0, 2.0], 2.0, "values must be finite, above 0 and different"),
        ([1.0, 2.0], [-1.0, 2.0], 2.0, "subtract the problem's minimum"),
        ([1.0, 2.0], [np.nan, 2.0], 2.0, "subtract the problem's minimum"),
        ([1.0, 2.0], [inf, inf], 2.0, "no loss is finite"),
        ([1.0, 2.0], [1.0, 2.0], 0.9, "factor must be at least 1; got 0.9"),
    ],
)
def test_what_has_no_interval_is_refused(values, loss, factor, message):
    with pytest.raises(ValueError, match=message):
        width(values, loss, factor)
