"""What choosing does to verdicts: two optimizers whose trials are all equally good, simulated.

All trials of both have the same true loss, so that it is wrong to call the winner of one better.
docs/tuning.md shows the rates. Every simulation draws from a fixed Philox stream, and passes within
three standard errors of the rate that is stated.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest

from optbench.inference.multiplicity import least_seeds
from optbench.report.compare import BETTER, WORSE, Contest, Question, Side, _judged, _pairs
from optbench.tuning.protocol import Entrant
from optbench.tuning.samplers import Trial
from optbench.tuning.scores import Outcome, best, over_both, winner

pytestmark = pytest.mark.slow

STUDIES = 4_000

TRIALS, SEARCH_SEEDS, FINALISTS, FINALIST_SEEDS, JUDGING_SEEDS = 64, 3, 4, 5, 10

OWN, SHARED = 0.1, 0.1
"""Spread of the logarithm of a loss: a lane's own, and what all lanes of a seed have in common."""

Noise = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def normal(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return generator.normal(0.0, OWN, shape)


def skewed(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return lognormal noise of the same spread: some lanes are far worse than most."""
    return OWN * generator.lognormal(0.0, 1.0, shape) / np.sqrt((np.e - 1.0) * np.e)


def diverging(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return normal noise, +inf for one lane in twenty."""
    return np.where(generator.random(shape) < 0.05, np.inf, normal(generator, shape))


noises = pytest.mark.parametrize("noise", [normal, skewed, diverging])


def stream(key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=key))


def three_errors(rate: float) -> float:
    return float(3.0 * np.sqrt(rate * (1.0 - rate) / STUDIES))


@dataclass(frozen=True)
class Found:
    """What two labels found, shape (labels, seeds) each.

    ``promised`` are the winners' losses on the seeds that chose them, ``judged`` those on others.
    """

    promised: np.ndarray
    judged: np.ndarray


def study(generator: np.random.Generator, noise: Noise, trials: tuple[int, int]) -> Found:
    """Return what two labels of so many equal trials find by the protocol."""
    shared = generator.normal(0.0, SHARED, SEARCH_SEEDS + FINALIST_SEEDS)
    promised = [chosen(generator, noise, shared, count) for count in trials]
    shared = generator.normal(0.0, SHARED, JUDGING_SEEDS)
    judged = np.exp(shared + noise(generator, (2, JUDGING_SEEDS)))
    return Found(np.stack(promised), judged)


def chosen(
    generator: np.random.Generator, noise: Noise, shared: np.ndarray, trials: int
) -> np.ndarray:
    """Return the losses of the winner on all tuning seeds."""
    losses = np.exp(shared + noise(generator, (trials, len(shared))))
    search = [outcome(number, losses[number, :SEARCH_SEEDS]) for number in range(trials)]
    again = [
        outcome(each.trial.number, losses[each.trial.number, SEARCH_SEEDS:])
        for each in best(search, FINALISTS)
    ]
    won = winner(ENTRANT, search, over_both(search, again))
    row: np.ndarray = losses[won.trial.number]
    return row


ENTRANT = Entrant("problem", "label", "adam", "adam", {}, "", False, True, 1)


def outcome(number: int, values: np.ndarray) -> Outcome:
    return Outcome(Trial(number, {}, {}), "search-000", values, 0, {}, 0, 0, 0.0)


def is_told_apart(values: np.ndarray) -> bool:
    """Say whether ``compare`` calls one of two labels better."""
    seeds = range(values.shape[1])
    sides = [
        Side(label, dict(zip(seeds, row.tolist(), strict=True)), True)
        for label, row in zip("ab", values, strict=True)
    ]
    contest = Contest("problem", "final_loss", sides, seeds, values, np.log(values), 0.0)
    question = Question()
    (pair,) = _judged(list(_pairs(contest, question)), question, least_seeds(1))
    return pair.verdict in (BETTER, WORSE)


@cache
def studies(noise: Noise, trials: tuple[int, int]) -> list[Found]:
    generator = stream(sum(trials))
    return [study(generator, noise, trials) for _ in range(STUDIES)]


@noises
@pytest.mark.parametrize("trials", [(TRIALS, TRIALS), (TRIALS, 1)])
def test_equal_optimizers_are_told_apart_in_less_than_one_study_in_twenty(noise, trials):
    """Whatever was chosen, and from how many: the seeds that judge have not seen it."""
    wrong = np.mean([is_told_apart(found.judged) for found in studies(noise, trials)])
    assert wrong <= 0.05


@noises
def test_seeds_that_choose_would_tell_a_tuned_one_of_equal_optimizers_apart(noise):
    """The winner of 64 trials against one trial, both on the seeds that chose the winner."""
    rate = {normal: 0.13, skewed: 0.09, diverging: 0.08}[noise]
    wrong = np.mean([is_told_apart(found.promised) for found in studies(noise, (TRIALS, 1))])
    assert wrong == pytest.approx(rate, abs=three_errors(rate))


@noises
def test_a_winner_ends_worse_than_it_promised(noise):
    """By more than the spread of its lanes after the search, by less after the finalists."""
    rates = {normal: (0.15, 0.09), skewed: (0.06, 0.04), diverging: (0.16, 0.09)}[noise]
    found = studies(noise, (TRIALS, TRIALS))
    judged = np.median([each.judged[0] for each in found], axis=1)
    for seeds, rate in zip((SEARCH_SEEDS, SEARCH_SEEDS + FINALIST_SEEDS), rates, strict=True):
        promised = np.median([each.promised[0, :seeds] for each in found], axis=1)
        assert np.median(judged / promised) - 1.0 == pytest.approx(rate, abs=0.01)
