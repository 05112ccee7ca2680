import csv
from itertools import pairwise
from math import inf
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optbench.inference.profiles import (
    algoperf,
    ecdf,
    ecdf_area,
    profile,
    profile_interval,
    score,
    score_interval,
    study_time,
)

DATA = Path(__file__).parent / "data"
TIMES = np.array([[100, 200, inf], [150, 200, 300], [100, 900, 330]])
"""Case 16: three labels on three problems."""

time = st.one_of(st.integers(0, 60).map(float), st.just(inf))
tables = st.integers(1, 5).flatmap(
    lambda problems: st.lists(
        st.lists(time, min_size=problems, max_size=problems), min_size=1, max_size=5
    )
)


def read(name: str) -> np.ndarray:
    """Read the numbers of a table, a row a submission."""
    with (DATA / name).open() as file:
        _, *rows = csv.reader(file)
    return np.array([row[1:] for row in rows], dtype=float)


def test_case_16_profile_and_score_of_three_labels():
    third = 1 / 3
    expected = [[2 * third, 2 * third, third]] + 3 * [[2 * third, 1.0, 2 * third]]
    assert profile(TIMES, [1.0, 1.5, 2.0, 4.0]) == pytest.approx(np.array(expected), rel=1e-9)
    expected = [0.6666666666667, 0.9444444444444, 0.6555555555556]
    assert score(TIMES) == pytest.approx(expected, rel=1e-9)


def test_case_17_scores_that_algoperf_published_and_the_exact_integral():
    times = read("algoperf_wall.csv")
    published, exact = read("algoperf_wall_scores.csv").T
    assert times.shape == (14, 9)
    assert np.abs(algoperf(times) - published).max() <= 1e-12
    assert np.abs(score(times) - exact).max() <= 1e-12
    assert np.abs(published - exact).max() > 1e-4


def test_case_20_time_of_three_studies():
    studies = [[300, inf, 250, 410, 500], [inf] * 5, [700, 260, inf, 280, 900]]
    assert study_time(studies) == 260.0
    assert study_time([*studies[:2], [inf] * 5]) == inf


@given(tables)
def test_the_score_is_the_area_of_the_profile(rows):
    t = np.array(rows)
    taus = np.linspace(1.0, 4.0, 3_001)
    middles = (taus[1:] + taus[:-1]) / 2.0
    area = profile(t, middles).mean(axis=0)
    assert score(t) == pytest.approx(area, abs=1 / 2_000)
    assert ((score(t) >= 0.0) & (score(t) <= 1.0)).all()
    shares = profile(t, taus)
    assert (np.diff(shares, axis=0) >= 0.0).all()
    solved = np.isfinite(t).any(axis=0)
    assert (shares[0].max() > 0.0) == solved.any()


@given(tables, st.sampled_from([0.5, 8.0]), st.randoms(use_true_random=False))
def test_neither_units_nor_the_order_of_problems_matter(rows, unit, rearranged):
    t = np.array(rows)
    order = rearranged.sample(range(t.shape[1]), t.shape[1])
    other = t[:, order].copy()
    other[:, 0] *= unit
    for statistic in (score, algoperf, lambda table: profile(table, [1.0, 2.0])):
        assert statistic(other) == pytest.approx(statistic(t), rel=1e-12)


def test_a_label_that_is_nobody_s_rival_changes_no_score_and_a_fast_one_does():
    slow, fast = np.full((1, 3), inf), np.array([[10.0, 2000.0, 3000.0]])
    assert score(np.concatenate([TIMES, slow]))[:3].tolist() == score(TIMES).tolist()
    entered = score(np.concatenate([TIMES, fast]))
    assert entered[0] == pytest.approx(1 / 3)
    assert score(TIMES)[0] == pytest.approx(2 / 3)


def test_a_target_that_is_reached_at_the_start_leaves_no_ratio_but_one():
    t = [[0.0, 5.0, inf], [0.0, 10.0, inf], [3.0, inf, inf]]
    assert profile(t, [1.0, 2.0]).tolist() == [[2 / 3, 1 / 3, 0.0], [2 / 3, 2 / 3, 0.0]]


def algoperf_by_loops(times: np.ndarray, variant_of: dict[int, int]) -> list[float]:
    """The five steps, cell by cell."""
    labels, problems = times.shape
    t = {(a, p): float(times[a, p]) for a in range(labels) for p in range(problems)}
    for a in range(labels):
        for variant, base in variant_of.items():
            if t[a, base] == inf:
                t[a, variant] = inf
    fastest = [min(t[a, p] for a in range(labels)) for p in range(problems)]
    t = {(a, p): inf if value > 4 * fastest[p] else value for (a, p), value in t.items()}
    for a in range(labels):
        for variant, base in variant_of.items():
            if t[a, variant] == inf:
                t[a, base] = inf
    bases = [p for p in range(problems) if p not in variant_of]
    fastest = [min(t[a, p] for a in range(labels)) for p in range(problems)]
    scores = []
    for a in range(labels):
        shares = []
        for step in range(100):
            tau = 1 + step / 33
            shares.append(
                sum(t[a, p] < inf and t[a, p] <= tau * fastest[p] + 1e-9 for p in bases)
                / len(bases)
            )
        area = sum((left + right) / 2 / 33 for left, right in pairwise(shares))
        scores.append(area / 3)
    return scores


@given(
    st.lists(st.lists(time, min_size=5, max_size=5), min_size=1, max_size=5),
    st.sampled_from([{}, {4: 0}, {3: 1, 4: 1}, {0: 2, 4: 3}]),
)
def test_algoperf_s_score_is_that_of_five_steps_cell_by_cell(rows, variant_of):
    t = np.array(rows)
    before = t.copy()
    found = algoperf(t, variant_of)
    assert found == pytest.approx(algoperf_by_loops(t, variant_of), rel=1e-9)
    assert np.array_equal(t, before)


def test_a_variant_that_is_missed_costs_its_base():
    t = np.array([[10.0, 10.0], [10.0, inf], [20.0, 50.0]])  # column 1 is a variant of 0
    assert algoperf(t, {1: 0}) == pytest.approx([1.0, 0.0, 0.0])
    assert algoperf(t[:, :1])[2] == pytest.approx(2 / 3, abs=0.01)
    with pytest.raises(ValueError, match="must not be a variant itself"):
        algoperf(t, {1: 0, 0: 1})


def test_seeds_that_are_alike_leave_an_interval_without_width():
    times = np.repeat(TIMES[:, None, :], 4, axis=1)
    low, high = score_interval(times)
    assert low.tolist() == high.tolist() == score(TIMES).tolist()
    low, high = profile_interval(times, [1.0, 1.5])
    assert low.tolist() == high.tolist() == profile(TIMES, [1.0, 1.5]).tolist()


def test_a_single_seed_that_missed_leaves_the_median_alone():
    times = np.repeat(TIMES[:, None, :], 11, axis=1)
    times[1, 4] = inf
    low, high = score_interval(times)
    assert low.tolist() == high.tolist() == score(TIMES).tolist()


def test_intervals_hold_what_medians_give_and_keep_labels_paired():
    noise = np.random.default_rng(4).lognormal(0.0, 0.3, (1, 9, 4))
    times = np.array([100.0, 150.0, 390.0])[:, None, None] * noise
    assert score_interval(times)[0] == pytest.approx(score_interval(times)[1])  # the same ratios
    times[1] *= np.random.default_rng(5).lognormal(0.0, 0.3, (9, 4))
    low, high = score_interval(times)
    found = score(np.median(times, axis=1))
    assert ((low <= found) & (found <= high)).all()
    assert high[1] - low[1] > 0.02
    taus = [1.0, 1.5, 2.0]
    low, high = profile_interval(times, taus)
    found = profile(np.median(times, axis=1), taus)
    assert low.shape == (3, 3)
    assert ((low <= found) & (found <= high)).all()
    narrow = score_interval(times, level=0.5)
    assert (narrow[1] - narrow[0] <= np.subtract(*score_interval(times)[::-1])).all()


def test_the_ecdf_is_that_of_scipy_and_its_area_that_of_a_fine_sum():
    from scipy.stats import CensoredData
    from scipy.stats import ecdf as scipy_ecdf

    budget = 1_000.0
    times = np.random.default_rng(6).lognormal(4.0, 2.0, (3, 5, 4))
    times[times > budget] = inf
    budgets = np.geomspace(1.0, budget, 50)
    censored = CensoredData.right_censored(
        np.minimum(times.ravel(), budget), np.isinf(times.ravel())
    )
    theirs = scipy_ecdf(censored).cdf.evaluate(budgets)
    assert ecdf(times, budgets) == pytest.approx(theirs, rel=1e-12)
    fine = (np.arange(20_000) + 0.5) / 20_000
    assert ecdf_area(times, budget) == pytest.approx(ecdf(times, budget**fine).mean(), abs=1e-4)


def test_problems_may_have_budgets_of_their_own():
    times = np.array([[[10.0, inf]], [[100.0, 1.0]]])  # (problems, targets, seeds)
    parts = [ecdf_area(times[0], 1_000.0), ecdf_area(times[1], 1e4)]
    budgets = np.array([1_000.0, 1e4])[:, None, None]
    assert ecdf_area(times, budgets) == pytest.approx(np.mean(parts))
    assert parts == pytest.approx([1 / 3, 3 / 4])


@given(st.lists(time, min_size=1, max_size=9))
def test_the_area_is_between_nothing_and_all_at_once(times):
    area = ecdf_area(times, 50.0)
    assert 0.0 <= area <= 1.0
    assert (area == 1.0) == (max(times) <= 1.0)
    assert (area == 0.0) == (min(times) >= 50.0)


def test_times_that_are_none_are_refused():
    for statistic in (score, algoperf, study_time, score_interval):
        with pytest.raises(ValueError, match="times must be numbers"):
            statistic([[1.0, np.nan]])
    with pytest.raises(ValueError, match="times must be numbers"):
        ecdf([], [1.0])
    for budget in (1.0, inf, [10.0, 0.5]):
        with pytest.raises(ValueError, match="budgets must be finite and above 1"):
            ecdf_area([1.0, 2.0], budget)
