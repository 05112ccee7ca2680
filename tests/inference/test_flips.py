from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from optbench.inference.flips import RANDOM_FLIPS, SignFlips, flips


def share_at_least(differences: list[int]) -> Fraction:
    """The textbook's p of one group, in whole numbers: how many choices of signs sum to as much."""
    sums = [
        sum(sign * each for sign, each in zip(signs, differences, strict=True))
        for signs in product((1, -1), repeat=len(differences))
    ]
    return Fraction(sum(each >= sum(differences) for each in sums), len(sums))


def stepped_down(groups: list[list[int]]) -> list[Fraction]:
    """Adjusted p of several groups from squares of whole numbers, sign by sign."""

    def squared(differences: list[int], signs: tuple[int, ...]) -> Fraction:
        """T · |T|, which orders as T does and needs no root."""
        total = sum(sign * each for sign, each in zip(signs, differences, strict=True))
        return Fraction(total * abs(total), sum(each * each for each in differences) or 1)

    seeds = len(groups[0])
    choices = list(product((1, -1), repeat=seeds))
    observed = [squared(group, (1,) * seeds) for group in groups]
    order = sorted(range(len(groups)), key=lambda group: -observed[group])
    found: dict[int, Fraction] = {}
    before = Fraction(0)
    for step, group in enumerate(order):
        rivals = order[step:]
        hits = sum(
            max(squared(groups[rival], signs) for rival in rivals) >= observed[group]
            for signs in choices
        )
        before = max(before, Fraction(hits, len(choices)))
        found[group] = before
    return [found[group] for group in range(len(groups))]


def test_p_of_eight_seeds_and_no_interval_of_five():
    test = SignFlips.of(np.array([[0.1, 0.2, 0.15, 0.3, 0.12, 0.25, 0.18, 0.22]]))
    assert test.adjusted(1.0).tolist() == [1 / 256]
    assert test.adjusted(-1.0).tolist() == [1.0]
    test = SignFlips.of(np.array([[0.1] * 7 + [-0.1]]))
    assert test.adjusted(1.0).tolist() == [9 / 256]  # none or one of eight signs negative
    assert SignFlips.of(np.ones((1, 5))).interval(0, 0.01) == (-np.inf, np.inf)


@pytest.mark.parametrize("seeds", [1, 4, 8, 11, 12])
def test_p_is_that_of_counting_all_choices_of_signs(seeds):
    generator = np.random.default_rng(seeds)
    for _ in range(3):
        whole = generator.integers(-20, 40, seeds).tolist()
        expected = float(share_at_least(whole)) if any(whole) else 1.0
        test = SignFlips.of(np.array([whole], dtype=float) / 64)
        assert test.adjusted(1.0)[0] == pytest.approx(expected, abs=1e-12)


def test_adjusted_p_are_those_of_counting_the_largest_of_all_groups():
    generator = np.random.default_rng(5)
    for shift in (0, 6, 15):
        groups = (generator.integers(-20, 21, (5, 7)) + shift).tolist()
        found = SignFlips.of(np.array(groups, dtype=float)).adjusted(1.0)
        assert found == pytest.approx([float(each) for each in stepped_down(groups)], abs=1e-12)


def test_p_for_the_better_is_that_of_the_opposite_for_the_worse_at_any_scale():
    differences = np.random.default_rng(1).normal(0.3, 1.0, (3, 9))
    worse = SignFlips.of(-differences).adjusted(1.0)
    assert SignFlips.of(differences).adjusted(-1.0) == pytest.approx(worse)
    scaled = -differences * np.array([[1e-9], [1.0], [1e6]])
    assert SignFlips.of(scaled).adjusted(1.0).tolist() == worse.tolist()


def test_adjusting_never_makes_p_smaller_and_groups_without_change_cost_nothing():
    differences = np.random.default_rng(2).normal(0.5, 1.0, (6, 10))
    together = SignFlips.of(differences).adjusted(1.0)
    alone = np.array([SignFlips.of(row[None]).adjusted(1.0)[0] for row in differences])
    assert (together >= alone - 1e-12).all()
    assert (together > alone + 1e-3).any()
    with_still = np.concatenate([differences[:1], np.zeros((50, 10))])
    found = SignFlips.of(with_still).adjusted(1.0)
    assert found[0] == pytest.approx(alone[0])
    assert (found[1:] == 1.0).all()


def test_seeds_that_a_group_has_not_change_nothing_for_it():
    row = np.random.default_rng(4).normal(0.5, 1.0, 8)
    gappy = np.insert(row, [2, 5], np.nan)[None]
    alone, within = SignFlips.of(row[None]), SignFlips.of(gappy)
    assert within.adjusted(1.0) == pytest.approx(alone.adjusted(1.0))
    assert within.interval(0, 0.01) == pytest.approx(alone.interval(0, 0.01))


def test_above_twelve_seeds_9999_flips_of_a_fixed_stream_follow_the_identity():
    found = flips(13)
    assert found.shape == (RANDOM_FLIPS + 1, 13)
    assert not found[0].any()
    assert np.array_equal(found, flips(13))
    assert found[1:].mean() == pytest.approx(0.5, abs=0.01)
    assert np.packbits(found[1:4]).tolist() == [198, 111, 141, 90, 110]


def test_random_flips_come_near_to_all_of_them():
    differences = np.random.default_rng(6).normal(0.35, 1.0, 14)
    whole = np.rint(differences * 50).astype(int).tolist()
    exact = float(share_at_least(whole))
    assert 0.01 < exact < 0.5
    found = SignFlips.of(np.array([whole], dtype=float)).adjusted(1.0)[0]
    assert found == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 10_000))


@pytest.mark.parametrize("seeds", [8, 10, 14])
def test_the_interval_holds_the_shifts_that_the_test_does_not_reject(seeds):
    differences = np.random.default_rng(seeds).normal(0.2, 1.0, seeds)
    low, high = SignFlips.of(differences[None]).interval(0, 0.01)

    def rejected(shift: float) -> bool:
        test = SignFlips.of((differences - shift)[None])
        return bool(min(test.adjusted(1.0)[0], test.adjusted(-1.0)[0]) <= 0.01)

    shifts = [low - 1e-6, low + 1e-6, float(differences.mean()), high - 1e-6, high + 1e-6]
    assert [rejected(shift) for shift in shifts] == [True, False, False, False, True]


def test_the_interval_of_eight_seeds_ends_at_second_subset_means():
    differences = 2.0 ** np.arange(8)
    chosen = [list(signs) for signs in product((False, True), repeat=8) if any(signs)]
    means = sorted(float(np.mean(differences[signs])) for signs in chosen)
    assert SignFlips.of(differences[None]).interval(0, 0.01) == (means[1], means[-2])
    assert (means[1], means[-2]) == (1.5, 96.0)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    random = np.random.default_rng(7)
    tests = (SignFlips.of(random.standard_t(3, (1, 8))) for _ in range(2_000))
    missed = sum(
        low > 0.0 or high < 0.0 for low, high in (test.interval(0, 0.01) for test in tests)
    )
    assert 15 <= missed <= 53  # 2 · 2/256 of 2,000 is 31; 2.9 to 4 standard deviations
