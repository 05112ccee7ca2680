from fractions import Fraction
from itertools import product
from math import comb, exp, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, special, stats

from optbench.inference.pairs import (
    Wins,
    detects,
    interval,
    noether,
    seeds_needed,
    sign_flip,
    wins,
)
from tests.inference.cases import ERRORS_A, ERRORS_B, RATIOS

whole = st.lists(st.integers(-40, 60), min_size=1, max_size=12)
"""Differences in whole numbers, whose sums no order of addition rounds."""


def share_as_far(differences: list[int]) -> Fraction:
    """The textbook's two-sided p in whole numbers."""
    choices = list(product((1, -1), repeat=len(differences)))
    sums = [
        sum(sign * each for sign, each in zip(signs, differences, strict=True)) for signs in choices
    ]
    return Fraction(sum(abs(each) >= abs(sum(differences)) for each in sums), len(sums))


def test_case_7():
    d = np.log(RATIOS)
    assert exp(d.mean()) == pytest.approx(0.9392051990482, rel=1e-9)
    assert d.std(ddof=1) == pytest.approx(0.0439378309335, rel=1e-9)
    assert sign_flip(d) == 4 / 256
    ends = {0.95: (0.9031004181877, 0.9763500910830), 0.9: (0.9121350692523, 0.9670787097818)}
    for level, expected in {**ends, 0.99: (0.88, 1.01)}.items():
        assert np.exp(interval(d, level)) == pytest.approx(expected, rel=1e-9)


def test_case_9():
    d = ERRORS_A - ERRORS_B
    assert d.mean() == pytest.approx(-0.221, rel=1e-9)
    assert sign_flip(d) == 212 / 1024
    assert interval(d) == pytest.approx((-0.58, 0.094), abs=1e-9)


@given(whole)
def test_p_is_that_of_counting_all_choices_of_signs_and_knows_neither_sign_nor_order(d):
    found = sign_flip(np.array(d, dtype=float))
    assert found == float(share_as_far(d))
    assert sign_flip(-np.array(d, dtype=float)) == found
    assert sign_flip(np.array(d[::-1], dtype=float)) == found
    assert found >= 2.0 ** (1 - len(d)) or not any(d)


@given(whole, st.integers(-80, 120), st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_the_interval_holds_the_shifts_that_the_test_does_not_reject(d, shift, level):
    d, shift = np.array(d, dtype=float), shift / 2.0 + 1e-4
    low, high = interval(d, level)
    assert (low <= shift <= high) == (sign_flip(d - shift) > 1.0 - level + 1e-12)


@pytest.mark.parametrize("seeds", [6, 12, 13, 20])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_the_interval_ends_where_its_own_test_begins_to_reject(seeds, level):
    d = np.random.default_rng(seeds).lognormal(0.0, 1.0, seeds)
    low, high = interval(d, level)
    shifts = [low - 1e-6, low + 1e-6, float(d.mean()), high - 1e-6, high + 1e-6]
    finite = [np.isfinite(shift) for shift in shifts]
    p = np.array([sign_flip(d - shift) for shift in np.array(shifts)[finite]])
    expected = np.array([True, False, False, False, True])[finite]
    assert (p <= 1.0 - level + 1e-12).tolist() == expected.tolist()
    assert all(finite) == (2.0 ** (1 - seeds) <= 1.0 - level)


def test_the_interval_is_infinite_below_six_seeds():
    assert interval(np.arange(1.0, 6.0)) == (-np.inf, np.inf)
    assert interval(np.arange(1.0, 7.0)) == (1.0, 6.0)


@pytest.mark.parametrize("seeds", [5, 10])
def test_p_is_scipys(seeds):
    d = np.random.default_rng(seeds).normal(0.5, 1.0, seeds)
    found = stats.permutation_test(
        (d,), np.sum, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    )
    assert sign_flip(d) == pytest.approx(found.pvalue, rel=1e-12)
    d = np.sign(d) * stats.rankdata(np.abs(d))
    assert sign_flip(d) == pytest.approx(stats.wilcoxon(d, method="exact").pvalue, rel=1e-12)


def test_p_of_more_than_twelve_seeds_comes_near_to_the_exact_one():
    for seed in range(5):
        d = np.random.default_rng(seed).integers(-60, 100, 14).tolist()
        exact = float(share_as_far(d))
        deviation = np.sqrt(exact * (1.0 - exact) / 10_000)
        assert sign_flip(np.array(d, dtype=float)) == pytest.approx(exact, abs=4 * deviation)


def tail(successes: int, trials: int, chance: float) -> float:
    """P(at least so many successes)."""
    return sum(
        comb(trials, k) * chance**k * (1.0 - chance) ** (trials - k)
        for k in range(successes, trials + 1)
    )


@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 4), st.integers(0, 4))
def test_wins_are_counted_and_their_interval_is_the_inverted_sign_test(won, lost, same, gone):
    if not won + lost + same + gone:
        return
    lost_to = np.where(np.arange(won) % 2, np.inf, 1.0)
    a = np.concatenate([np.zeros(won), np.ones(lost), np.full(same, 3.0), np.full(gone, np.inf)])
    b = np.concatenate([lost_to, np.zeros(lost), np.full(same, 3.0), np.full(gone, np.inf)])
    found, decided = wins(a, b), won + lost
    assert found.ties == same + gone
    assert found.share == pytest.approx((won + (same + gone) / 2) / len(a))
    assert found.p == pytest.approx(min(1.0, 2.0 * tail(max(won, lost), decided, 0.5)))
    assert (found.low == 0.0) == (won == 0)
    assert (found.high == 1.0) == (lost == 0)
    if won:
        assert tail(won, decided, found.low) == pytest.approx(0.025, rel=1e-6)
    if lost:
        assert tail(lost, decided, 1.0 - found.high) == pytest.approx(0.025, rel=1e-6)
    assert (found.low <= 0.5 <= found.high) == (found.p > 0.05)
    other = wins(b, a)
    assert (other.share, other.p) == pytest.approx((1.0 - found.share, found.p))
    assert (other.low, other.high) == pytest.approx((1.0 - found.high, 1.0 - found.low), abs=1e-9)


def test_six_wins_of_six_are_needed_and_ties_alone_say_nothing():
    diverged = np.full(6, np.inf)
    six = wins(np.zeros(6), diverged)
    assert (six.share, six.high, six.p, six.ties) == (1.0, 1.0, 2 / 64, 0)
    assert six.low == pytest.approx(0.025 ** (1 / 6), rel=1e-9)
    assert wins(diverged, diverged) == Wins(share=0.5, low=0.0, high=1.0, p=1.0, ties=6)
    assert wins(np.zeros(6), diverged, 0.9).low == pytest.approx(0.05 ** (1 / 6), rel=1e-9)


def power(delta: float, n: int, level: float) -> float:
    """Of a two-sided paired t test, by the definition of the noncentral t: sd is 1."""
    beyond = special.stdtrit(n - 1, 1.0 - level / 2.0)

    def given_deviation(deviation: float) -> float:
        shift, reach = delta * np.sqrt(n), beyond * deviation / np.sqrt(n - 1)
        rejects = special.ndtr(shift - reach) + special.ndtr(-shift - reach)
        return float(stats.chi.pdf(deviation, n - 1) * rejects)

    return float(integrate.quad(given_deviation, 0.0, np.sqrt(n) + 12.0, epsabs=1e-12)[0])


@pytest.mark.parametrize("n", [2, 3, 6, 10, 20, 50])
@pytest.mark.parametrize(("level", "wanted"), [(0.05, 0.9), (0.05, 0.5), (0.05 / 45, 0.9)])
def test_the_smallest_difference_that_is_detected_has_that_power(n, level, wanted):
    delta = detects(1.0, n, level, wanted)
    assert power(delta, n, level) == pytest.approx(wanted, abs=1e-9)
    assert detects(0.25, n, level, wanted) == pytest.approx(delta / 4.0)


def test_what_cannot_be_detected_and_what_needs_no_seeds():
    assert detects(1.0, 1) == np.inf
    assert detects(0.0, 5) == 0.0
    assert seeds_needed(0.0, 0.1, level=1e-6) == 2
    with pytest.raises(ValueError, match="positive; got 0"):
        seeds_needed(1.0, 0.0)


@pytest.mark.parametrize("level", [0.05, 0.05 / 45])
@pytest.mark.parametrize("delta", [8.0, 2.0, 0.7, 0.1])
def test_seeds_needed_are_the_fewest_that_detect_so_little(delta, level):
    n = seeds_needed(1.0, delta, level)
    assert detects(1.0, n, level) <= delta
    assert n == 2 or detects(1.0, n - 1, level) > delta
    assert seeds_needed(3.0, 3.0 * delta, level) == n


def test_many_seeds_are_those_of_the_normal_distribution():
    z = special.ndtri(0.975) + special.ndtri(0.9)
    for delta in (1e-2, 2e-3, 1e-6):
        assert seeds_needed(1.0, delta) == pytest.approx((z / delta) ** 2, rel=3e-5)
    near = seeds_needed(1.0, 1.03e-2)  # a little below where the approximation takes over
    assert near == pytest.approx((z / 1.03e-2) ** 2 + special.ndtri(0.975) ** 2 / 2, abs=1.0)


def test_statsmodels_finds_the_same_power():
    power = pytest.importorskip("statsmodels.stats.power")
    for n, level in [(6, 0.05), (10, 0.05), (20, 0.005)]:
        found = power.TTestPower().solve_power(None, nobs=n, alpha=level, power=0.9)
        assert detects(1.0, n, level) == pytest.approx(found, rel=1e-6)


def test_noether_needs_29_runs_where_three_of_four_are_better():
    assert noether(0.75) == 29
    assert noether(0.25) == 29  # three of four are worse
    z = 1.6448536269514722
    for gamma, beta in [(0.6, 0.05), (0.9, 0.05), (0.7, 0.2)]:
        known = {0.05: z, 0.2: 0.8416212335729143}[beta]
        expected = (z + known) ** 2 / (6.0 * (gamma - 0.5) ** 2)
        assert noether(gamma, beta=beta) == int(expected) + 1
    assert noether(0.75, alpha=0.5, beta=0.5) == 0
    assert log(noether(0.5001)) > log(noether(0.75)) + 10


@pytest.mark.parametrize("deviation", [1e-300, 1e-17, 1e-6])
def test_hardly_any_noise_needs_the_fewest_seeds(deviation):
    assert seeds_needed(deviation, 0.01) == 2
    assert 0.0 < detects(deviation, 8) < 10 * deviation
