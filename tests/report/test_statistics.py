import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optbench.errors import UsageError
from optbench.report.statistics import (
    INTERVAL_SEEDS,
    median_interval,
    quantile,
    smooth,
    spread,
)


def textbook_smooth(x, window=11, beta=2.0):
    """Smooth point by point: the rule in words, with a Kaiser window from its Bessel series."""

    def bessel_i0(z):
        total, term = 1.0, 1.0
        for k in range(1, 40):
            term *= (z / (2 * k)) ** 2
            total += term
        return total

    half = window // 2
    weights = [
        bessel_i0(beta * np.sqrt(1 - (j / half) ** 2)) if half else 1.0
        for j in range(-half, half + 1)
    ]
    left = [x[k] for k in range(window - 1, 0, -1)]
    right = [x[-k] for k in range(1, window)]
    extended = left + list(x) + right
    result = []
    for k in range(len(x)):
        middle = k + len(left)
        near = extended[middle - half : middle + half + 1]
        result.append(sum(w * s for w, s in zip(weights, near, strict=True)) / sum(weights))
    return np.array(result)


@pytest.mark.parametrize("rows", [11, 12, 30, 200])
def test_smoothing_is_the_rule_written_as_a_loop(rows):
    x = np.random.default_rng(rows).normal(size=rows)
    np.testing.assert_allclose(smooth(x), textbook_smooth(x), rtol=1e-12, atol=1e-14)


def test_smoothing_is_the_whole_convolution_cut_by_five_rows():
    x = np.random.default_rng(1).normal(size=50)
    kernel = np.kaiser(11, 2.0)
    extended = np.r_[x[10:0:-1], x, x[:-11:-1]]
    whole = np.convolve(kernel / kernel.sum(), extended, mode="valid")
    np.testing.assert_allclose(smooth(x), whole[5:-5], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("rows", "window"), [(10, 9), (9, 9), (4, 3), (3, 3), (2, 1), (1, 1), (0, 1)]
)
def test_few_rows_take_the_largest_odd_window_that_fits(rows, window):
    x = np.random.default_rng(3).normal(size=rows)
    np.testing.assert_allclose(smooth(x), textbook_smooth(x, window), rtol=1e-13)


def test_smoothing_of_a_stack_is_that_of_its_rows():
    stack = np.random.default_rng(5).normal(size=(3, 2, 40))
    for index in np.ndindex(3, 2):
        np.testing.assert_array_equal(smooth(stack)[index], smooth(stack[index]))


def test_smoothing_leaves_its_input_alone():
    x = np.arange(20.0)
    x.flags.writeable = False
    assert smooth(x, window=1) is not x
    assert smooth(x).shape == x.shape


@settings(max_examples=40)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.sampled_from([1, 3, 11, 21]))
def test_smoothed_values_stay_within_the_signal(values, window):
    x = np.array(values)
    result = smooth(x, window)
    room = 1e-9 * (1 + np.abs(x).max())
    assert (result >= x.min() - room).all()
    assert (result <= x.max() + room).all()


@pytest.mark.parametrize("window", [0, 10, -3])
def test_an_even_window_is_refused(window):
    with pytest.raises(UsageError, match="odd number of rows"):
        smooth(np.arange(20.0), window)


@pytest.mark.parametrize("q", [0.0, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("rows", [1, 2, 7, 10, 31])
def test_quantiles_of_finite_values_are_those_of_numpy(q, rows):
    values = np.random.default_rng(rows).normal(size=(rows, 4))
    np.testing.assert_allclose(quantile(values, q), np.quantile(values, q, axis=0), rtol=1e-12)


@pytest.mark.parametrize(
    ("values", "q", "expected"),
    [
        ([1.0, np.inf, 3.0], 0.5, 3.0),  # infinite values are the worst and not dropped
        ([1.0, np.inf, np.inf], 0.5, np.inf),
        ([1.0, 2.0, np.inf, np.inf], 0.5, np.inf),
        ([*np.arange(28.0), np.inf, np.inf, np.inf], 0.9, 27.0),  # on a row: not of the next
        ([[1.0, 1.0], [2.0, np.nan], [3.0, 2.0]], 0.5, [2.0, np.nan]),
    ],
)
def test_quantiles_of_values_that_are_not_finite(values, q, expected):
    np.testing.assert_array_equal(quantile(np.array(values), q), expected)


@pytest.mark.parametrize(("seeds", "ends"), [(9, [0.0, 8.0]), (11, [1.0, 9.0])])
def test_bands_leave_out_the_tails_from_ten_seeds_on(seeds, ends):
    np.testing.assert_allclose(np.ravel(spread(np.arange(float(seeds))[:, None])), ends)


@pytest.mark.parametrize(
    ("seeds", "low", "high"), [(6, 1, 6), (8, 1, 8), (9, 2, 8), (10, 2, 9), (20, 6, 15)]
)
def test_the_interval_of_a_median_has_the_ranks_of_tables_of_the_sign_test(seeds, low, high):
    values = np.random.default_rng(seeds).normal(size=(seeds, 3))
    ends = median_interval(values)
    for column in range(3):
        ranked = sorted(values[:, column].tolist())
        assert [end[column] for end in ends] == [ranked[low - 1], ranked[high - 1]]


@pytest.mark.parametrize("seeds", [6, 10, 13])
def test_the_interval_holds_the_median_as_often_as_it_says(seeds):
    """Whatever the distribution: here one whose median is log 2."""
    low, high = median_interval(np.random.default_rng(7).exponential(size=(seeds, 20_000)))
    assert 0.95 <= ((low < np.log(2.0)) & (np.log(2.0) < high)).mean() < 0.985


def test_lanes_that_diverged_are_the_worst_of_an_interval_too():
    rows = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, np.inf, np.inf, np.inf])[:, None]
    assert np.ravel(median_interval(rows)).tolist() == [2.0, np.inf]
    assert np.ravel(median_interval(rows[:-1])).tolist() == [2.0, np.inf]
    assert np.ravel(median_interval(rows[:-2])).tolist() == [1.0, np.inf]


def test_few_seeds_have_no_interval():
    assert INTERVAL_SEEDS == 6
    assert np.isnan(median_interval(np.arange(10.0).reshape(5, 2))).all()
