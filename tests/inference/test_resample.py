from itertools import product

import numpy as np
import pytest

from optbench.inference.resample import drawn_seeds, percentile_interval, resampled
from tests.inference.cases import Z_A


def mean(z: np.ndarray) -> np.ndarray:
    return z.mean(axis=(-2, -1))


def standard_error_of_mean(z: np.ndarray, joint: bool) -> float:
    """Of the mean over all draws of seeds, counted out."""
    seeds, problems = z.shape
    draws = np.array(list(product(range(seeds), repeat=seeds)))
    means = z[draws].mean(axis=1)  # (draws, problems)
    variance = means.mean(axis=1).var() if joint else means.var(axis=0).sum() / problems**2
    return float(np.sqrt(variance))


@pytest.mark.parametrize(("joint", "exact"), [(True, 0.0401278339), (False, 0.0501300392)])
def test_case_24_standard_error_of_a_mean(joint, exact):
    assert standard_error_of_mean(Z_A, joint) == pytest.approx(exact, rel=1e-8)
    assert resampled(mean, Z_A, joint=joint).std() == pytest.approx(exact, rel=0.05)


def test_every_seed_is_drawn_as_often_as_any_other_and_the_draws_stay_what_they_are():
    drawn = drawn_seeds(7, 3)
    assert drawn.shape == (2_000, 7, 3)
    counts = np.bincount(drawn.ravel(), minlength=7)
    assert abs(counts - 6_000).max() < 4 * np.sqrt(6_000)
    assert np.abs(np.corrcoef(drawn.reshape(-1, 3).T) - np.eye(3)).max() < 4 / np.sqrt(14_000)
    assert drawn[:2, :, 1].tolist() == [[0, 4, 6, 3, 3, 6, 5], [5, 2, 5, 5, 2, 2, 6]]
    assert np.array_equal(drawn_seeds(7, 4)[:, :, :3], drawn)
    assert np.array_equal(drawn_seeds(7, 3, draws=10), drawn[:10])


def test_labels_stay_paired_whatever_the_size_of_a_chunk(monkeypatch):
    data = np.random.default_rng(1).random((3, 6, 2))
    data[2] = data[0] + 1.0
    found = resampled(mean, data)
    assert found.shape == (2_000, 3)
    assert found[:, 2] - found[:, 0] == pytest.approx(np.ones(2_000))
    monkeypatch.setattr("optbench.inference.resample.LARGEST_CHUNK", 7 * data.size)
    assert np.array_equal(resampled(mean, data), found)


def test_a_statistic_may_take_labels_together_and_give_several_numbers():
    data = np.random.default_rng(2).random((3, 6, 2))
    alone = [resampled(mean, each) for each in data]
    ranks = resampled(lambda z: mean(z).argsort(axis=-1), data, draws=50)
    assert np.array_equal(ranks, np.stack(alone, axis=-1)[:50].argsort(axis=-1))


def test_an_interval_leaves_as_many_draws_on_either_side_and_takes_infinite_ones():
    values = np.stack([np.arange(2_000.0), np.full(2_000, np.inf)], axis=1)
    low, high = percentile_interval(np.random.default_rng(3).permutation(values))
    assert (low.tolist(), high.tolist()) == ([50.0, np.inf], [1949.0, np.inf])
    low, high = percentile_interval(values[:, 0], level=0.9)
    assert (low, high) == (100.0, 1899.0)
