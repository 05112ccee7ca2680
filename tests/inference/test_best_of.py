from collections.abc import Callable
from fractions import Fraction
from itertools import combinations, product
from math import comb, inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optbench.inference.best_of import (
    expected_best,
    median_band,
    median_best,
    value_of_chosen,
    win_probability,
)

SCORES = [0.40, 0.25, 0.90, 0.31, 0.55]
"""Case 1."""

DIVERGING = [0.12, 0.15, 0.20, 0.22, 0.30, 0.41, 0.50, 0.80, inf, inf]
"""Case 3."""

finite = st.integers(1, 40).map(lambda number: number / 8)
scores = st.lists(st.one_of(finite, st.just(inf)), min_size=1, max_size=7)


def with_budget(lists: st.SearchStrategy) -> st.SearchStrategy:
    """Scores and a number of trials among them."""
    return lists.flatmap(lambda x: st.tuples(st.just(x), st.integers(1, len(x))))


def mean_best(draws: Callable, x: list[float], k: int) -> float:
    """Mean over all draws of k places, in whole numbers where all scores are eighths."""
    bests = [min(x[place] for place in places) for places in draws(range(len(x)), k)]
    return inf if inf in bests else float(sum(map(Fraction, bests)) / len(bests))


def with_replacement(places: range, k: int) -> product:
    return product(places, repeat=k)


def test_case_1_expected_best_of_five_trials():
    found = expected_best(SCORES, np.arange(1, 6))
    assert found == pytest.approx([0.482, 0.328, 0.283, 0.262, 0.25], rel=1e-9)
    found = expected_best(SCORES, np.arange(1, 6), "v")
    assert found == pytest.approx([0.482, 0.3588, 0.31256, 0.29064, 0.2783072], rel=1e-9)


def test_case_3_median_and_band_where_two_of_ten_diverged():
    k = [1, 2, 4, 8]
    low, high = median_band(DIVERGING, k)
    assert median_best(DIVERGING, k).tolist() == [0.30, 0.20, 0.15, 0.12]
    assert low.tolist() == [0.12, -inf, -inf, -inf]
    assert high.tolist() == [inf, 0.80, 0.41, 0.30]


@pytest.mark.parametrize(
    ("estimator", "draws"), [("u", combinations), ("v", with_replacement)], ids="uv"
)
@given(drawn=with_budget(scores))
def test_expected_best_is_the_mean_over_all_draws(estimator, draws, drawn):
    x, k = drawn
    if estimator == "v":
        x, k = x[:5], min(k, 5)
    assert expected_best(x, k, estimator) == pytest.approx(mean_best(draws, x, k), rel=1e-12)


def test_curves_are_those_of_opda():
    nonparametric = pytest.importorskip("opda.nonparametric")
    x = np.random.default_rng(1).lognormal(size=37)
    k = np.arange(1, 38)
    theirs = nonparametric.EmpiricalDistribution(x)
    for estimator, curve in (("u", theirs.u_tuning_curve), ("v", theirs.v_tuning_curve)):
        expected = curve(k, minimize=True)
        assert expected_best(x, k, estimator) == pytest.approx(expected, rel=1e-9)
    assert np.array_equal(median_best(x, k), theirs.quantile_tuning_curve(k, minimize=True))
    lower, _, upper = theirs.confidence_bands(x, 0.9, method="ks")
    low, high = median_band(x, k, 0.9)
    assert np.array_equal(low, upper.quantile_tuning_curve(k, minimize=True))
    assert np.array_equal(high, lower.quantile_tuning_curve(k, minimize=True))


def test_thousands_of_trials_neither_overflow_nor_lose_digits():
    trials = 5_000
    x = np.random.default_rng(2).permutation(np.arange(1.0, trials + 1))
    k = np.array([1, 7, 2_500, 5_000])
    assert expected_best(x, k) == pytest.approx((trials + 1) / (k + 1), rel=1e-11)


def test_an_infinite_score_counts_however_small_its_weight():
    x = [*np.arange(1.0, 10.0), inf]
    assert expected_best(x, 400, "v") == inf  # its weight, 10⁻⁴⁰⁰, is no number of float64
    assert expected_best(x, [1, 2]).tolist() == [inf, pytest.approx(11 / 3)]
    many = np.array([1.0] * 600 + [inf] * 600)
    assert expected_best(many, [600, 601]).tolist() == [inf, pytest.approx(1.0)]
    assert expected_best([inf, inf], 2) == inf


@given(drawn=with_budget(scores), rearranged=st.randoms(use_true_random=False))
def test_neither_order_nor_company_of_k_matters(drawn, rearranged):
    x, k = drawn
    other = rearranged.sample(x, len(x))
    for curve in (expected_best, median_best):
        assert curve(x, k) == curve(other, k) == curve(x, [[k, 1]])[0, 0]
    assert expected_best(x, k, "v") == expected_best(other, k, "v")


@given(scores)
def test_curves_never_rise_and_v_is_never_below_u(x):
    k = np.arange(1, len(x) + 1)
    u, v, median = expected_best(x, k), expected_best(x, k, "v"), median_best(x, k)
    low, high = median_band(x, k)
    for curve in (u, v, median, low, high):
        assert (curve[1:] <= curve[:-1] + 1e-12).all()
    assert (v >= u - 1e-12).all()
    assert ((low <= median) & (median <= high)).all()
    assert u[-1] == pytest.approx(min(x), rel=1e-12)
    assert [u[0], v[0]] == pytest.approx([np.mean(x)] * 2, rel=1e-12)


@given(drawn=with_budget(scores))
def test_the_median_is_the_smallest_score_that_half_of_all_draws_reach(drawn):
    x, k = drawn
    trials = len(x)
    reached = [y for y in sorted(x) if 1 - Fraction(sum(z > y for z in x), trials) ** k >= 0.5]
    assert median_best(x, k) == reached[0]


def test_the_median_is_finite_where_the_expected_best_is_not():
    x = [0.1, 0.2, 0.3, inf, inf, inf, inf]
    assert expected_best(x, [1, 2, 4]).tolist() == [inf] * 3
    assert median_best(x, [1, 2, 4]).tolist() == [inf, 0.3, 0.2]  # (4/7)² < ½


def test_a_band_widens_with_its_level_and_narrows_with_trials():
    generator = np.random.default_rng(3)
    few, many = generator.random(20), generator.random(2_000)
    k = np.arange(1, 5)
    (low, high), (wide_low, wide_high) = median_band(few, k, 0.8), median_band(few, k, 0.99)
    assert ((wide_low <= low) & (high <= wide_high)).all()
    assert (wide_high - high).max() > 0.05
    low, high = median_band(many, k)
    assert (high - low < 0.1).all()


def value_by_counting(x: list[float], values: list[float], k: int) -> float:
    """Mean over all choices of k trials of the mean value of those with the best score."""
    found = []
    for places in combinations(range(len(x)), k):
        best = min(x[place] for place in places)
        if best == inf:
            return inf
        chosen = [Fraction(values[place]) for place in places if x[place] == best]
        found.append(sum(chosen) / len(chosen))
    return float(sum(found) / len(found))


@given(drawn=with_budget(scores), values=st.lists(finite, min_size=7, max_size=7))
def test_the_value_of_the_chosen_is_that_of_counting_and_of_the_score_itself(drawn, values):
    x, k = drawn
    expected = value_by_counting(x, values, k)
    assert value_of_chosen(x, values[: len(x)], k) == pytest.approx(expected, rel=1e-12)
    for estimator in ("u", "v"):
        own = expected_best(x, k, estimator)
        assert value_of_chosen(x, x, k, estimator) == pytest.approx(own, rel=1e-12)


def test_the_value_of_a_trial_that_diverged_is_not_looked_at():
    assert value_of_chosen([0.2, inf, 0.1], [3.0, np.nan, 4.0], [1, 2, 3]).tolist() == [
        inf,
        pytest.approx(11 / 3),
        4.0,
    ]


def wins_by_counting(a: list[float], b: list[float], k: int) -> float:
    """Share of all pairs of choices of k that A wins, in halves."""
    bests = [[min(choice) for choice in combinations(x, k)] for x in (a, b)]
    halves = sum(2 * (ours < theirs) + (ours == theirs) for ours, theirs in product(*bests))
    return float(Fraction(halves, 2 * comb(len(a), k) * comb(len(b), k)))


@given(a=scores, b=scores, k=st.integers(1, 7))
def test_who_wins_is_that_of_counting(a, b, k):
    k = min(k, len(a), len(b))
    assert win_probability(a, b, k) == pytest.approx(wins_by_counting(a, b, k), rel=1e-12)
    assert win_probability(a, b, k) + win_probability(b, a, k) == pytest.approx(1.0, rel=1e-12)


def test_who_wins_takes_several_budgets_and_different_numbers_of_trials():
    a, b = [0.3, 0.1, inf, 0.2], [0.15, 0.4, 0.4, inf, 0.25, 0.2]
    found = win_probability(a, b, [1, 2, 4])
    assert found == pytest.approx([wins_by_counting(a, b, k) for k in (1, 2, 4)], rel=1e-12)
    assert win_probability([inf] * 3, [inf] * 4, 2) == pytest.approx(0.5)


@pytest.mark.parametrize("x", [[], [1.0, np.nan], [-inf, 1.0], [[1.0]]])
@pytest.mark.parametrize("curve", [expected_best, median_best, median_band])
def test_scores_that_are_none_are_refused(curve, x):
    with pytest.raises(ValueError, match="rows of numbers"):
        curve(x, 1)


@pytest.mark.parametrize("k", [0, 1.5, [1, -1]])
def test_budgets_that_are_none_are_refused(k):
    for curve in (expected_best, median_best, median_band):
        with pytest.raises(ValueError, match="at least 1"):
            curve(SCORES, k)


def test_no_more_trials_than_there_are_can_be_drawn_without_replacement():
    with pytest.raises(ValueError, match="at most the number of trials, 5; got 6"):
        expected_best(SCORES, [2, 6])
    with pytest.raises(ValueError, match="at most the number of trials, 2; got 3"):
        win_probability(SCORES, [1.0, 2.0], 3)
    with pytest.raises(ValueError, match="rows of numbers"):
        value_of_chosen([1.0, 2.0], [np.nan, 1.0], 1)
    assert expected_best(SCORES, 6, "v") < expected_best(SCORES, 5, "v")
