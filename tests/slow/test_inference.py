"""How often verdicts are wrong, intervals miss and differences are found: simulated.

docs/statistics.md shows the rates. Every simulation draws from a fixed Philox stream, and passes
within three standard errors of the rate that is stated.
"""

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest

from optbench.inference.aggregate import iqm, probability_of_improvement
from optbench.inference.multiplicity import holm
from optbench.inference.pairs import detects, interval, sign_flip
from optbench.inference.resample import percentile_interval, resampled

pytestmark = pytest.mark.slow

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]

NOISE: dict[str, Draw] = {
    "normal": lambda generator, shape: generator.normal(0.0, 1.0, shape),
    "lognormal 1": lambda generator, shape: generator.lognormal(0.0, 1.0, shape),
    "lognormal 2": lambda generator, shape: generator.lognormal(0.0, 2.0, shape),
}

noises = pytest.mark.parametrize("noise", NOISE)


def stream(key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=key))


def three_errors(rate: float, total: int) -> float:
    return float(3.0 * np.sqrt(rate * (1.0 - rate) / total))


def holds(ends: tuple[float, float], truth: float) -> bool:
    return bool(ends[0] <= truth <= ends[1])


@noises
def test_any_false_verdict_among_all_pairs_of_five_equal_labels_is_as_rare_as_stated(noise):
    y = NOISE[noise](stream(1), (4_000, 5, 10))
    pairs = list(combinations(range(5), 2))
    p = np.array([[sign_flip(labels[a] - labels[b]) for a, b in pairs] for labels in y])
    adjusted = np.array([holm(family) for family in p])
    assert (adjusted <= 0.05).any(axis=1).mean() <= 0.05 + three_errors(0.05, len(y))
    alone = (p <= 0.05).any(axis=1).mean()
    assert alone > 0.25  # the test above could fail


@noises
@pytest.mark.parametrize("seeds", [6, 8, 10, 14])
def test_the_interval_of_a_ratio_covers_as_often_as_stated(noise, seeds):
    """Exactly 1 − 2 ⌊2ⁿ/40⌋/2ⁿ, never below 94 %, if both sides have the same noise."""
    a, b = NOISE[noise](stream(seeds), (2, 4_000, seeds))
    covered = np.mean([holds(interval(d), 0.3) for d in a + 0.3 - b])
    exact = 1.0 - 2 * (2**seeds // 40) / 2**seeds
    assert covered == pytest.approx(exact, abs=three_errors(exact, 4_000))
    assert covered >= 0.94


@pytest.mark.parametrize("seeds", [6, 8, 10, 20])
def test_the_interval_of_a_ratio_covers_less_where_one_side_alone_is_heavily_skewed(seeds):
    a = NOISE["lognormal 1"](stream(seeds), (4_000, seeds))
    truth, spread = np.exp(0.5), np.sqrt((np.e - 1.0) * np.e)
    b = spread * NOISE["normal"](stream(seeds + 100), (4_000, seeds))
    covered = np.mean([holds(interval(d), truth) for d in a - b])
    assert covered >= 0.93 - three_errors(0.93, 4_000)
    alone = np.mean([holds(interval(d), truth) for d in a])
    assert alone < 0.93  # all that is left of the noise is skewed


@pytest.mark.parametrize("seeds", [7, 8, 10, 20])
def test_sign_flips_find_what_is_said_to_be_detected_as_often_as_it_says(seeds):
    d = NOISE["normal"](stream(seeds), (4_000, seeds)) + detects(1.0, seeds)
    found = np.mean([sign_flip(row) <= 0.05 for row in d])
    assert found == pytest.approx(0.9, abs=0.04)


def test_six_seeds_find_it_less_often_as_all_must_agree():
    d = NOISE["normal"](stream(6), (4_000, 6)) + detects(1.0, 6)
    found = np.mean([sign_flip(row) <= 0.05 for row in d])
    assert found == pytest.approx(0.75, abs=0.03)


CENTRE = np.array([0.95, 0.8, 0.6, 0.9, 0.3])
SPREAD = np.array([0.03, 0.1, 0.2, 0.05, 0.15])
"""Of the scores of runs on five problems."""


def scores(generator: np.random.Generator, runs: int, noise: str) -> np.ndarray:
    """Return normalised scores, (runs, problems), of which larger ones are better."""
    shape = (runs, len(CENTRE))
    if noise == "lognormal 1":  # some runs are far worse than most
        return np.maximum(CENTRE + SPREAD * (1.0 - NOISE[noise](generator, shape)), 0.0)
    z = np.maximum(CENTRE + SPREAD * NOISE["normal"](generator, shape), 0.0)
    return np.where(generator.random(shape) < 0.1, 0.0, z) if noise == "one in ten diverged" else z


@pytest.mark.parametrize("noise", ["normal", "lognormal 1", "one in ten diverged"])
@pytest.mark.parametrize(("runs", "stated"), [(10, 0.88), (20, 0.92)])
def test_the_interval_of_the_interquartile_mean_covers_as_often_as_stated(noise, runs, stated):
    truth = float(iqm(scores(stream(1), 1_000_000, noise)))
    generator = stream(runs)
    covered = np.mean(
        [
            holds(percentile_interval(resampled(iqm, scores(generator, runs, noise))), truth)
            for _ in range(2_000)
        ]
    )
    assert covered >= stated - three_errors(stated, 2_000)
    assert covered <= 0.97


@pytest.mark.parametrize("noise", ["normal", "lognormal 1", "one in ten diverged"])
def test_the_interval_of_the_probability_of_improvement_covers_nine_times_in_ten(noise):
    def improvement(z: np.ndarray) -> np.ndarray:
        return probability_of_improvement(z[..., 0, :, :], z[..., 1, :, :])

    def both(generator: np.random.Generator, runs: int) -> np.ndarray:
        a, b = scores(generator, runs, noise), scores(generator, runs, noise)
        return np.stack([a, b - 0.03])

    truth = float(improvement(both(stream(1), 3_000)))
    generator = stream(10)
    covered = np.mean(
        [
            holds(percentile_interval(resampled(improvement, both(generator, 10))), truth)
            for _ in range(1_000)
        ]
    )
    assert 0.9 - three_errors(0.9, 1_000) <= covered <= 0.97
