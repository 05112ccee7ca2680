from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from optbench.inference.ranks import friedman, mean_ranks, ranks, wilcoxon
from tests.inference.cases import DEMSAR


def losses(problems: int, labels: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(np.arange(labels) / 4.0, 1.0, (problems, labels))


def test_case_22():
    assert mean_ranks(DEMSAR) == pytest.approx(np.array([44.0, 28.0, 40.5, 27.5]) / 14, rel=1e-12)
    assert friedman(DEMSAR) == pytest.approx((9.278571428571, 3.686313032089, 0.0198230062), 1e-9)


@given(arrays(float, (3, 5), elements=st.sampled_from([0.0, 1.0, 2.5, np.inf])))
def test_ranks_are_scipys_also_of_labels_that_diverged(y):
    assert np.array_equal(ranks(y), stats.rankdata(y, axis=1))
    assert mean_ranks(y) == pytest.approx(stats.rankdata(y, axis=1).mean(axis=0))


def test_labels_that_diverged_are_last_and_tied():
    y = np.array([[np.inf, 1.0, np.inf, 2.0], [0.0, 1.0, np.inf, 1.0]])
    assert ranks(y).tolist() == [[3.5, 1.0, 3.5, 2.0], [1.0, 2.5, 4.0, 2.5]]


@pytest.mark.parametrize(("problems", "labels"), [(6, 3), (14, 4), (40, 10)])
def test_friedmans_chi_squared_is_scipys_where_nothing_is_tied(problems, labels):
    y = losses(problems, labels)
    chi2, f, p = friedman(y)
    assert chi2 == pytest.approx(stats.friedmanchisquare(*y.T).statistic, rel=1e-10)
    assert f == pytest.approx(analysis_of_variance(y), rel=1e-9)
    assert p == pytest.approx(stats.f.sf(f, labels - 1, (labels - 1) * (problems - 1)), rel=1e-9)


def analysis_of_variance(y: np.ndarray) -> float:
    """The F of ranks by label, problems as blocks: what Iman and Davenport's F is."""
    r = stats.rankdata(y, axis=1)
    between = len(r) * ((r.mean(axis=0) - r.mean()) ** 2).sum()
    left = ((r - r.mean(axis=0)) ** 2).sum()
    return float(between / (left / (len(r) - 1)))


def test_problems_that_all_agree_and_labels_that_are_all_alike():
    assert friedman(np.tile([1.0, 2.0, 3.0], (5, 1))) == (10.0, np.inf, pytest.approx(6.0**-4))
    assert friedman(np.ones((5, 3))) == (0.0, 0.0, 1.0)


def signed_ranks(difference: np.ndarray) -> float:
    """Wilcoxon's p by adding up ranks with all choices of signs."""
    difference = difference[difference != 0.0]
    if not len(difference):
        return 1.0
    size = stats.rankdata(np.abs(difference))
    sums = np.array(list(product((-1, 1), repeat=len(size)))) @ size
    return float((np.abs(sums) >= abs((np.sign(difference) * size).sum()) - 1e-9).mean())


@given(arrays(float, (8, 2), elements=st.integers(0, 6).map(float)))
def test_wilcoxons_p_is_that_of_all_choices_of_signs_with_ties_and_without(y):
    assert wilcoxon(y) == pytest.approx([signed_ranks(y[:, 0] - y[:, 1])], abs=1e-12)
    assert wilcoxon(y[:, ::-1]) == pytest.approx(wilcoxon(y), abs=1e-12)


@pytest.mark.parametrize("problems", [2, 6, 20, 50, 80])
def test_wilcoxons_p_is_scipys_exact_one_for_all_pairs_in_their_order(problems):
    y = losses(problems, 4, problems)
    pairs = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    expected = [stats.wilcoxon(y[:, a], y[:, b], method="exact").pvalue for a, b in pairs]
    assert wilcoxon(y) == pytest.approx(expected, rel=1e-9)


def test_a_label_that_diverged_differs_most_and_two_that_did_are_alike():
    y = np.array([[1.0, 2.0], [1.0, 4.0], [3.0, np.inf], [np.inf, np.inf], [5.0, 1.0]])
    alike = np.array([[1.0, 2.0], [1.0, 4.0], [3.0, 99.0], [7.0, 7.0], [5.0, 1.0]])
    assert wilcoxon(y).tolist() == wilcoxon(alike).tolist() == [0.625]
    assert wilcoxon(np.full((7, 2), np.inf)).tolist() == [1.0]
    everywhere = np.stack([np.arange(6.0), np.full(6, np.inf)], axis=1)
    assert wilcoxon(everywhere).tolist() == [2.0**-5]


def test_scikit_posthocs_finds_the_same_pairs():
    posthocs = pytest.importorskip("scikit_posthocs")
    y = losses(14, 4)
    table = posthocs.posthoc_wilcoxon(list(y.T), method="exact").to_numpy()
    assert wilcoxon(y) == pytest.approx(table[np.triu_indices(4, 1)], rel=1e-9)
