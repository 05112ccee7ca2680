"""What a baseline needs to detect a change; that it does is simulated in tests/slow."""

import numpy as np
import pytest

from optbench.inference.power import mean_deviations, needed_deviations


def test_more_groups_need_larger_changes_and_more_seeds_smaller_ones():
    by_groups = [needed_deviations(8, groups, 0.01) for groups in (1, 3, 10, 100)]
    assert by_groups == sorted(by_groups)
    by_seeds = [needed_deviations(seeds, 5, 0.01) for seeds in (8, 10, 16, 30)]
    assert by_seeds == sorted(by_seeds, reverse=True)
    assert needed_deviations(6, 1, 0.01) == np.inf


def test_one_group_needs_what_students_t_would_and_a_little_more():
    """Where s is known, 30 seeds need δ = (t₀.₉₉ + t₀.₉₁) √(2/30) s; t from tables, 29 degrees."""
    known = (2.462 + 1.374) * np.sqrt(2.0 / 30.0)
    assert known < needed_deviations(30, 1, 0.01) < 1.15 * known
    assert mean_deviations(30) == pytest.approx(2.462 * np.sqrt(2.0 / 30.0), rel=0.05)
