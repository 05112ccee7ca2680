"""The metric for many sides; tests/gate/test_metric.py has what it does with two."""

from itertools import permutations

import numpy as np
import pytest

from optbench.inference.metric import log_losses

FLOAT32, FLOAT64 = 2.0**-23, 2.0**-52

PROBLEMS = {
    "network": {"unit": FLOAT32, "noisy": True},
    "function": {"unit": FLOAT64, "minimum": 0.25},
    "noisy function": {"unit": FLOAT32, "minimum": 0.25, "noisy": True},
    "no minimum known": {"unit": FLOAT64},
}


def losses(problem: str, sides: int = 4) -> np.ndarray:
    drawn = np.random.default_rng(sides).lognormal(-2.0, 1.0, (sides, 7)) + 0.25
    return drawn - 0.5 if problem == "no minimum known" else drawn


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_metric_of_many_sides_is_that_of_the_formula(problem):
    given, found = losses(problem), log_losses(losses(problem), 6.0, **PROBLEMS[problem])
    zero, floor = {
        "network": (0.0, 6.0 * FLOAT32),
        "function": (0.25, 1024 * 6.0 * FLOAT64),
        "noisy function": (0.25, median_deviation([median(seed) for seed in given.T.tolist()])),
        "no minimum known": (min(given.ravel()), median([abs(loss) for loss in given.ravel()])),
    }[problem]
    assert found == pytest.approx(np.log(given - zero + floor), rel=1e-12)


def median(values: list[float]) -> float:
    ordered = sorted(values)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2.0


def median_deviation(values: list[float]) -> float:
    return median([abs(value - median(values)) for value in values])


@pytest.mark.parametrize("problem", PROBLEMS)
def test_sides_exchanged_within_a_seed_exchange_their_metrics_and_nothing_else(problem):
    given = losses(problem, 3)
    found = log_losses(given, 6.0, **PROBLEMS[problem])
    for order in permutations(range(3)):
        exchanged, expected = given.copy(), found.copy()
        exchanged[:, 2], expected[:, 2] = given[order, 2], found[order, 2]
        assert np.array_equal(log_losses(exchanged, 6.0, **PROBLEMS[problem]), expected)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_what_diverged_is_the_worst_and_has_no_say_in_m_and_floor(problem):
    given = losses(problem, 3)
    found = log_losses(given, 6.0, **PROBLEMS[problem])
    lost = np.full((1, 7), np.nan)
    lost[0, 3] = np.inf
    beside = log_losses(np.concatenate([given, lost]), np.nan, **PROBLEMS[problem])
    assert (beside[3] == np.inf).all()
    assert np.array_equal(beside[:3], log_losses(given, np.abs(given).max(), **PROBLEMS[problem]))
    assert np.isfinite(found).all()
    given[:, 2] = np.nan
    assert (log_losses(given, 6.0, **PROBLEMS[problem])[:, 2] == np.inf).all()
    assert (log_losses(np.full((2, 3), np.nan), 6.0, **PROBLEMS[problem]) == np.inf).all()


def test_one_side_that_fails_does_not_raise_the_floor_of_the_others():
    given = losses("noisy function")
    given[3] = np.random.default_rng(1).normal(1e6, 1e5, 7)
    found = log_losses(given, 6.0, **PROBLEMS["noisy function"])
    assert np.exp(found[:3]).max() < 10.0
    assert np.exp(found[:3].min(axis=1)).max() < 0.5
