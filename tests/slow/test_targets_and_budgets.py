"""Estimators and intervals of targets and budgets do what docs/statistics.md says: simulated."""

import numpy as np
import pytest

from optbench.inference.best_of import expected_best, median_band
from optbench.inference.times import Times, summarise

pytestmark = pytest.mark.slow

SURE = 3.0
"""Standard errors by which a mean or a share may miss what is claimed."""

REACHED = 0.7
"""Probability that a lane reaches the target: budgets end at this quantile of the times."""

BUDGET = -np.log(1.0 - REACHED)

LANES = 10


def drawn(key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=key))


def error_of(share: float, simulations: int) -> float:
    """Return the standard error of a simulated share."""
    return float(np.sqrt(share * (1.0 - share) / simulations))


def test_the_u_statistic_is_unbiased_and_the_v_statistic_is_not():
    trials, k, simulations = 16, 8, 20_000
    scores = drawn(1).random((simulations, trials))
    u, v = (np.array([expected_best(x, k, estimator) for x in scores]) for estimator in ("u", "v"))
    places = np.arange(1, trials + 1)
    expected_v = ((places / trials) ** k).sum() / (trials + 1)
    assert expected_v == pytest.approx(0.1364, abs=5e-5)
    for found, expected in ((u, 1.0 / (k + 1)), (v, expected_v)):
        assert abs(found.mean() - expected) < SURE * found.std() / np.sqrt(simulations)
    assert v.mean() - 1.0 / (k + 1) > 20.0 * v.std() / np.sqrt(simulations)


@pytest.mark.parametrize("diverging", [0.0, 0.3])
@pytest.mark.parametrize("trials", [8, 64])
def test_a_band_holds_the_whole_curve_of_medians(trials, diverging):
    simulations, k = 4_000, np.arange(1, trials + 1)
    curve = 1.0 - 0.5 ** (1.0 / k)
    held = 0
    for x in drawn(2).random((simulations, trials)):
        low, high = median_band(np.where(x > 1.0 - diverging, np.inf, x), k)
        held += bool(((low <= curve) & (curve <= high)).all())
    assert held / simulations > 0.95 - SURE * error_of(0.95, simulations)


@pytest.fixture(scope="module")
def summaries() -> list[Times]:
    """Exponential times of ten lanes, many times over."""
    return [summarise(tau, BUDGET) for tau in drawn(3).exponential(size=(4_000, LANES))]


@pytest.mark.parametrize(
    ("low", "high", "true", "claimed"),
    [
        ("low", "high", REACHED, 0.95),
        ("rmst_low", "rmst_high", 1.0 - np.exp(-BUDGET), 0.88),
        ("median_low", "median_high", np.log(2.0), 1.0 - 22 / 1024),
    ],
    ids=["success", "rmst", "median"],
)
def test_intervals_cover_as_often_as_they_say(summaries, low, high, true, claimed):
    held = [getattr(each, low) <= true <= getattr(each, high) for each in summaries]
    assert np.mean(held) > claimed - SURE * error_of(claimed, len(summaries))


def test_the_restricted_mean_is_unbiased(summaries):
    found = np.array([each.rmst for each in summaries])
    error = found.std() / np.sqrt(len(found))
    assert abs(found.mean() - (1.0 - np.exp(-BUDGET))) < SURE * error
