import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from optbench.inference.aggregate import (
    geometric_mean_ratio,
    iqm,
    normalised,
    optimality_gap,
    probability_of_improvement,
)
from tests.inference.cases import Z_A, Z_B

scores = arrays(float, st.tuples(st.integers(1, 6), st.integers(1, 4)), elements=st.floats(0, 2))


def test_case_24():
    assert iqm(Z_A) == pytest.approx(0.625, rel=1e-9)
    assert iqm(Z_B) == pytest.approx(0.6166666667, rel=1e-9)
    assert optimality_gap(Z_A) == pytest.approx(0.3958333333, rel=1e-9)
    assert optimality_gap(Z_B) == pytest.approx(0.3833333333, rel=1e-9)
    assert probability_of_improvement(Z_A, Z_B) == pytest.approx(0.5104166667, rel=1e-9)
    alone = [probability_of_improvement(Z_A[:, [p]], Z_B[:, [p]]) for p in range(3)]
    assert alone == pytest.approx([0.84375, 0.28125, 0.40625], rel=1e-9)


@given(scores)
def test_the_interquartile_mean_is_scipys_trimmed_mean(z):
    assert iqm(z) == pytest.approx(stats.trim_mean(z, 0.25, axis=None), abs=1e-12)
    assert z.min() - 1e-12 <= iqm(z) <= z.max() + 1e-12
    assert optimality_gap(z) == pytest.approx(np.mean([max(0.0, 1.0 - x) for x in z.flat]))


@given(scores, st.data())
def test_the_probability_of_improvement_counts_pairs_as_mann_and_whitney_do(a, data):
    quarters = st.integers(0, 8).map(lambda x: x / 4.0)
    a = np.rint(4.0 * a) / 4.0
    b = data.draw(arrays(float, (data.draw(st.integers(1, 5)), a.shape[1]), elements=quarters))
    u = [stats.mannwhitneyu(a[:, p], b[:, p]).statistic for p in range(a.shape[1])]
    found = probability_of_improvement(a, b)
    assert found == pytest.approx(np.mean(u) / (len(a) * len(b)))
    assert probability_of_improvement(b, a) == pytest.approx(1.0 - found)
    assert probability_of_improvement(a, a) == pytest.approx(0.5)


def test_a_run_that_diverged_never_improves_and_is_as_bad_as_another():
    losses, other = np.array([[1.0], [np.inf]]), np.array([[2.0], [np.inf]])
    assert probability_of_improvement(-losses, -other) == (1 + 1 + 0 + 0.5) / 4


def test_what_stands_in_front_stays_in_front():
    z = np.random.default_rng(1).random((3, 2, 7, 4))
    for function in (iqm, optimality_gap, lambda z: probability_of_improvement(z, 1.0 - z)):
        alone = [[float(function(z[i, j])) for j in range(2)] for i in range(3)]
        assert function(z) == pytest.approx(np.array(alone), rel=1e-12)


def test_rliable_finds_the_same():
    metrics = pytest.importorskip("rliable.metrics")
    a, b = np.random.default_rng(2).random((2, 9, 5)) * 1.3
    assert iqm(a) == pytest.approx(metrics.aggregate_iqm(a), rel=1e-12)
    assert optimality_gap(a) == pytest.approx(metrics.aggregate_optimality_gap(a), rel=1e-12)
    expected = metrics.probability_of_improvement(a, b)
    assert probability_of_improvement(a, b) == pytest.approx(expected, rel=1e-12)


def test_scores_are_shares_of_the_best_labels_drop_and_never_negative():
    start, best = np.array([2.0, -1.0]), np.array([-2.0, -1.5])
    y = np.array([[-2.0, -1.25], [2.0, 0.0], [-4.0, np.inf], [np.nan, -1.0]])
    expected = [[1.0, 0.5], [0.0, 0.0], [1.5, 0.0], [0.0, 0.0]]
    assert normalised(y, start, best).tolist() == expected
    assert normalised(y[None, :, :1], start[:1], best[:1])[0].ravel().tolist() == [1, 0, 1.5, 0]


def test_where_no_label_improved_on_the_start_no_run_has_a_score():
    y, start = np.array([[1.0, 3.0], [5.0, 0.5]]), np.array([2.0, 2.0])
    assert normalised(y, start, np.array([2.0, np.inf])).tolist() == [[0.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_the_interval_of_the_geometric_mean_is_scipys_by_students_t(level):
    d = np.random.default_rng(3).normal(-0.1, 0.2, 7)
    ratio, low, high = geometric_mean_ratio(d, level)
    assert ratio == pytest.approx(stats.gmean(np.exp(d)), rel=1e-12)
    expected = stats.ttest_1samp(d, 0.0).confidence_interval(level)
    assert (low, high) == pytest.approx(np.exp(expected), rel=1e-9)


def test_two_problems_say_nothing_of_others():
    assert geometric_mean_ratio(np.log([0.5, 2.0])) == (pytest.approx(1.0), 0.0, np.inf)
    assert geometric_mean_ratio(np.log([0.5, 0.5, 0.5])) == pytest.approx((0.5, 0.5, 0.5))
