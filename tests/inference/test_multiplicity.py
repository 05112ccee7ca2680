from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optbench.inference.multiplicity import holm, least_seeds

family = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=6)


def closed(p: list[float]) -> list[float]:
    """Adjusted p by Bonferroni's test of every subset that a row is in (Marcus et al., 1976)."""
    rows = range(len(p))
    subsets = [chosen for size in rows for chosen in combinations(rows, size + 1)]
    return [
        max(min(1.0, len(s) * min(p[each] for each in s)) for s in subsets if row in s)
        for row in rows
    ]


def test_case_11():
    found = holm(np.array([0.0078125, 0.0234375, 0.046875, 0.6]))
    assert found.tolist() == [0.03125, 0.0703125, 0.09375, 0.6]
    assert [least_seeds(rows) for rows in (1, 3, 6, 10, 45)] == [6, 7, 8, 9, 11]


@given(family)
def test_holm_is_the_closure_of_bonferroni(p):
    assert holm(np.array(p)) == pytest.approx(closed(p), abs=1e-15)


@given(family, st.randoms(use_true_random=False))
def test_holm_keeps_the_order_never_lowers_p_and_does_not_care_where_a_row_stands(p, random):
    p, found = np.array(p), holm(np.array(p))
    assert (found >= p).all()
    assert (found <= np.minimum(len(p) * p, 1.0) + 1e-15).all()
    assert (np.diff(found[np.argsort(p)]) >= 0.0).all()
    order = random.sample(range(len(p)), len(p))
    assert np.array_equal(holm(p[order]), found[order])
    larger = p.copy()
    larger[0] = (1.0 + p[0]) / 2.0
    assert (holm(larger) >= found).all()


def test_statsmodels_adjusts_alike():
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    p = np.random.default_rng(1).random(20) ** 3
    assert holm(p) == pytest.approx(multitest.multipletests(p, method="holm")[1], rel=1e-12)


@pytest.mark.parametrize("level", [0.05, 0.01, 2.0**-9])
def test_one_seed_fewer_could_not_reach_the_level(level):
    for rows in range(1, 60):
        seeds = least_seeds(rows, level)
        assert rows * 2.0 ** (1 - seeds) <= level < rows * 2.0 ** (2 - seeds)
