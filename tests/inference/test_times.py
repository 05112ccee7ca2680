from itertools import product
from math import inf, isinf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optbench.inference.times import (
    Times,
    clopper_pearson,
    first_reached,
    hitting_times,
    median_ranks,
    summarise,
)
from optbench.records import final_and_best
from tests.inference.descent import descent

TAU = [120, 180, inf, 260, inf, 150, 410, 200]
"""Case 14, with a budget of 500."""

losses = st.lists(
    st.one_of(st.floats(-10, 10), st.sampled_from([inf, -inf, np.nan])), min_size=1, max_size=12
)
taus = st.lists(st.one_of(st.integers(0, 90), st.just(inf)), min_size=1, max_size=20)


def row_by_row(loss: list[float], target: float, window: int, first: int) -> int | None:
    for row in range(window - 1, len(loss)):
        rows = loss[row - window + 1 : row + 1]
        if np.isfinite(rows).all() and np.mean(rows) <= target:
            return row + first
    return None


def test_case_27_steps_of_gradient_descent_to_four_targets():
    targets = [1.0, 0.1, 0.01, 0.001]
    loss = np.stack([descent(lr, np.arange(201)) for lr in (0.95, 0.3)])
    assert hitting_times(loss, targets).tolist() == [[10, 21, 32, 43], [15, 53, 91, 129]]
    assert first_reached(loss[1], 0.01) == 91


def test_case_14_times_two_of_which_were_missed():
    found = summarise(TAU, 500)
    assert [found.success, found.low, found.high] == pytest.approx(
        [0.75, 0.3491442055872, 0.9681459737501], rel=1e-9
    )
    assert found.ert == pytest.approx(386.6666666667, rel=1e-9)
    assert (found.rmst, found.median, found.par2, found.par10) == (290.0, 230.0, 415.0, 1415.0)
    assert (found.median_low, found.median_high) == (120.0, inf)
    assert 120.0 < found.rmst_low < 290.0 < found.rmst_high < 500.0


def test_case_14_all_missed():
    found = summarise([inf] * 4, 500)
    assert (found.success, found.low, found.ert, found.rmst) == (0.0, 0.0, inf, 500.0)
    assert (found.median, found.par2, found.par10) == (inf, 1000.0, 5000.0)
    assert found.high == pytest.approx(1.0 - 0.025**0.25, rel=1e-9)
    no_interval = [found.rmst_low, found.rmst_high, found.median_low, found.median_high]
    assert np.isnan(no_interval).all()


@given(losses, st.floats(-10, 10), st.integers(1, 5), st.sampled_from(["before", "after"]))
def test_a_target_is_reached_at_the_first_row_that_a_loop_finds(loss, target, window, record):
    expected = row_by_row(loss, target, window, {"before": 0, "after": 1}[record])
    assert first_reached(loss, target, window, record) == expected


@given(
    st.lists(st.lists(st.floats(-1e308, 1e308), min_size=9, max_size=9), min_size=1, max_size=4),
    st.integers(1, 9),
)
def test_a_lane_reaches_its_best_loss_and_nothing_below(loss, window):
    with np.errstate(over="ignore", invalid="ignore"):
        best = final_and_best(np.array(loss), window)[1]
    for lane, lowest in zip(loss, best, strict=True):
        if np.isfinite(lowest):
            assert first_reached(lane, lowest, window) is not None
            assert first_reached(lane, np.nextafter(lowest, -np.inf), window) is None


def test_many_lanes_and_targets_are_each_by_itself():
    loss = np.random.default_rng(1).normal(size=(2, 3, 40)).cumsum(axis=-1)
    loss[1, 2, 20:] = np.nan
    targets = np.array([[0.5, -0.5], [-2.0, -90.0]])
    found = hitting_times(loss, targets, 4, "after")
    assert found.shape == (2, 3, 2, 2)
    for lane, target in product(np.ndindex(2, 3), np.ndindex(2, 2)):
        alone = first_reached(loss[lane], targets[target], 4, "after")
        assert found[lane + target] == (inf if alone is None else alone)
    assert np.isinf(found[..., 1, 1]).all()
    assert hitting_times(loss, 0.5).shape == (2, 3)


def test_the_last_row_counts_n_updates_however_rows_are_recorded():
    updates = 8
    before, after = np.ones(updates + 1), np.ones(updates)
    before[-1] = after[-1] = 0.0
    assert first_reached(before, 0.0, record="before") == updates
    assert first_reached(after, 0.0, record="after") == updates
    assert first_reached([0.0], 0.0, record="before") == 0
    assert first_reached([0.0], 0.0, record="after") == 1


def test_a_lane_that_diverges_later_has_reached_the_target():
    assert first_reached([3.0, 1.0, 9.0, inf, np.nan], 1.0) == 1
    assert first_reached([3.0, inf, 0.5], 1.0) == 2
    assert first_reached([-inf, np.nan], 1.0) is None
    assert first_reached([1e308, 1e308, 1.0], 2e307, window=2) is None
    assert first_reached([], 1.0) is None
    assert first_reached([0.0], 1.0, window=2) is None
    assert hitting_times(np.empty((0, 5)), [1.0, 2.0]).shape == (0, 2)


def test_questions_without_an_answer_are_refused():
    with pytest.raises(ValueError, match="targets must be finite"):
        hitting_times([[1.0]], [inf])
    with pytest.raises(ValueError, match="window must be at least 1; got 0"):
        first_reached([1.0], 1.0, window=0)
    with pytest.raises(ValueError, match='"before" or "after"; got "during"'):
        first_reached([1.0], 1.0, record="during")
    for times in ([], [np.nan], [-1.0], [[1.0]]):
        with pytest.raises(ValueError, match="one row of numbers"):
            summarise(times, 10)
    for budget in (0, inf, np.nan):
        with pytest.raises(ValueError, match="budget must be finite"):
            summarise([1.0], budget)


def test_the_restricted_mean_and_the_median_are_those_of_lifelines():
    lifelines = pytest.importorskip("lifelines")
    from lifelines.utils import restricted_mean_survival_time

    for seed in range(5):
        tau = np.rint(np.random.default_rng(seed).exponential(100.0, 11)) + 1.0
        curve = lifelines.KaplanMeierFitter()
        curve.fit(np.minimum(tau, 120.0), tau <= 120.0)
        found = summarise(tau, 120.0)
        assert found.rmst == pytest.approx(restricted_mean_survival_time(curve, 120.0), rel=1e-9)
        assert found.median == curve.median_survival_time_


@given(taus, st.integers(1, 80), st.sampled_from([0.25, 3.0]), st.randoms(use_true_random=False))
def test_summaries_are_in_order_and_of_any_unit_and_order(tau, budget, seconds, rearranged):
    found = summarise(tau, budget)
    assert found.low <= found.success <= found.high
    assert min(*tau, budget) <= found.rmst <= found.par2 <= found.par10 <= 10 * budget
    assert found.rmst <= found.ert
    assert found.median <= budget or isinf(found.median)
    if not np.isnan(found.rmst_low):
        assert found.rmst_low <= found.rmst_high
    if not np.isnan(found.median_low):
        assert found.median_low <= found.median <= found.median_high
    shuffled = summarise(rearranged.sample(tau, len(tau)), budget)
    for name in ("success", "ert", "rmst", "median", "median_low", "median_high", "par2", "par10"):
        assert getattr(shuffled, name) == pytest.approx(getattr(found, name), nan_ok=True)
    assert_scaled(summarise(np.multiply(tau, seconds), budget * seconds), found, seconds)


def assert_scaled(found: Times, other: Times, factor: float) -> None:
    assert (found.success, found.low, found.high) == (other.success, other.low, other.high)
    for name in ("ert", "rmst", "rmst_low", "rmst_high", "median", "median_low", "par2", "par10"):
        expected = factor * getattr(other, name)
        assert getattr(found, name) == pytest.approx(expected, nan_ok=True, rel=1e-12)


def test_beyond_the_budget_is_missed_and_at_it_is_not():
    assert summarise([10.0, 30.0], 20) == summarise([10.0, inf], 20)
    found = summarise([10.0, 20.0], 20)
    assert (found.success, found.ert, found.par10) == (1.0, 15.0, 15.0)


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_an_interval_of_the_rmst_leaves_as_much_on_either_side_as_all_draws_do(level):
    tau = np.array([3.0, 11.0, 18.0, 29.0, 41.0, inf])
    draws = np.array(list(product(np.minimum(tau, 50.0), repeat=6))).mean(axis=1)
    found = summarise(tau, 50.0, level)
    tail = (1.0 - level) / 2.0
    error = 4.0 * np.sqrt(tail / 2_000)
    for below, beyond in (
        (draws <= found.rmst_low + 1e-9, draws < found.rmst_low - 1e-9),
        (draws >= found.rmst_high - 1e-9, draws > found.rmst_high + 1e-9),
    ):
        assert beyond.mean() < tail + error
        assert below.mean() > tail - error


def test_the_interval_of_a_median_ends_at_the_values_of_its_ranks():
    found = summarise([7, 3, 10, 1, inf, 4, 8, 2, 9, 5], 20)
    assert (found.median_low, found.median, found.median_high) == (2.0, 6.0, 10.0)
    found = summarise([7, 3, 10, 1, inf, 4, 8, 2, 9, 5], 9)
    assert (found.median_low, found.median, found.median_high) == (2.0, 6.0, inf)
    assert np.isnan(summarise([1, 2, 3, 4, 5], 9).median_low)


@pytest.mark.parametrize("lanes", [*range(1, 13), 20, 2_000])
@pytest.mark.parametrize("level", [0.5, 0.9, 0.95])
def test_ranks_round_the_median_are_the_nearest_that_cover_it(lanes, level):
    from scipy.stats import binom

    def coverage(rank: int) -> float:
        """Probability that from rank to n + 1 − rank of n values hold the median."""
        return float(binom.cdf(lanes - rank, lanes, 0.5) - binom.cdf(rank - 1, lanes, 0.5))

    ranks = median_ranks(lanes, level)
    if ranks is None:
        assert coverage(1) < level
    else:
        low, high = ranks
        assert low + high == lanes + 1
        assert coverage(low) >= level - 1e-12
        assert low + 1 > high - 1 or coverage(low + 1) < level


@pytest.mark.parametrize("lanes", [1, 2, 7, 30])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_an_interval_of_a_share_is_that_of_scipy(lanes, level):
    from scipy.stats import binomtest

    for successes in range(lanes + 1):
        theirs = binomtest(successes, lanes).proportion_ci(level, method="exact")
        ours = clopper_pearson(successes, lanes, level)
        assert ours == pytest.approx((theirs.low, theirs.high), rel=1e-8)
