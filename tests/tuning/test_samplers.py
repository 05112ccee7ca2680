"""Trials are the same for ever, and a larger budget begins with those of a smaller one."""

import hashlib
import struct
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import Generator, Philox, SeedSequence

from optbench.errors import SuiteError
from optbench.suite.format import parse_suite
from optbench.suite.resolve import resolve
from optbench.tuning.samplers import Trial, canonical, points, trial_count, trials
from optbench.tuning.spaces import grid, parse
from tests.refusal import refusal

SPACES = {
    "momentum": parse("1 - log(5e-3, 1)"),
    "lr": parse("log(1e-4, 10)"),
    "warmup": parse("int(0, 9)"),
    "schedule": parse("choice(constant, cosine)"),
}
TEXT = (
    '{"lr": "log(0.0001, 10)", "momentum": "1 - log(0.005, 1)", '
    '"schedule": "choice(constant, cosine)", "warmup": "int(0, 9)"}'
)
DRAWN = ("random", "sobol", "halton")

# Momentum, learning rate, warmup and schedule of the first trials.
GOLDEN = [
    (0.971834513113, 0.0989707313389, 8, "cosine"),
    (0.852310223998, 3.62932215659, 9, "constant"),
]


def generator(sampler: str, rule: str, text: str) -> Generator:
    name = f"tune/{sampler}/{rule}/{hashlib.sha256(text.encode()).hexdigest()}"
    words = struct.unpack("<4I", hashlib.sha256(name.encode()).digest()[:16])
    return Generator(Philox(SeedSequence(0, spawn_key=(*words, 0))))


def test_the_text_of_spaces_is_the_same_in_any_order():
    assert canonical(SPACES) == TEXT
    assert canonical(dict(reversed(SPACES.items()))) == TEXT


def test_random_points_are_those_of_the_stream():
    drawn = generator("random", "momentum", TEXT).random((7, 4))
    assert points("random", "momentum", SPACES, 7).tolist() == drawn.tolist()


def test_sobol_and_halton_are_scipy_s_scrambled_by_the_stream():
    from scipy.stats import qmc

    drawn = qmc.Sobol(4, seed=generator("sobol", "momentum", TEXT)).random(8)
    assert points("sobol", "momentum", SPACES, 6).tolist() == drawn[:6].tolist()
    drawn = qmc.Halton(4, seed=generator("halton", "momentum", TEXT)).random(6)
    assert points("halton", "momentum", SPACES, 6).tolist() == drawn.tolist()


def test_random_trials_are_the_same_for_ever():
    found = trials("random", "momentum", SPACES, 0, 2)
    assert [tuple(trial.values.values()) for trial in found] == GOLDEN


@given(st.sampled_from(DRAWN), st.integers(0, 40), st.integers(1, 40))
def test_a_larger_budget_begins_with_the_smaller_one_s_trials(sampler, count, more):
    small = points(sampler, "sgd", SPACES, count)
    large = points(sampler, "sgd", SPACES, count + more)
    assert small.tolist() == large[:count].tolist()
    assert small.shape == (count, 4)
    assert (large >= 0.0).all()
    assert (large < 1.0).all()
    later = trials(sampler, "sgd", SPACES, count, count + more)
    assert later == trials(sampler, "sgd", SPACES, 0, count + more)[count:]
    assert [trial.number for trial in later] == list(range(count, count + more))


@pytest.mark.parametrize("sampler", DRAWN)
def test_values_are_those_at_the_coordinates(sampler):
    drawn = points(sampler, "sgd", SPACES, 16)
    for trial, point in zip(trials(sampler, "sgd", SPACES, 0, 16), drawn, strict=True):
        assert trial.coordinates == dict(zip(sorted(SPACES), point.tolist(), strict=True))
        assert trial.values == {name: SPACES[name].at(trial.coordinates[name]) for name in SPACES}
        assert list(trial.values) == list(SPACES)


@pytest.mark.parametrize("sampler", DRAWN)
def test_trials_depend_on_rule_and_spaces_but_not_on_the_order_of_these(sampler):
    drawn = trials(sampler, "sgd", SPACES, 0, 4)
    assert trials(sampler, "sgd", dict(reversed(SPACES.items())), 0, 4) == drawn
    assert trials(sampler, "adam", SPACES, 0, 4) != drawn
    other = {**SPACES, "lr": parse("log(1e-4, 1)")}
    coordinates = [trial.coordinates for trial in trials(sampler, "sgd", other, 0, 4)]
    assert coordinates != [trial.coordinates for trial in drawn]


@pytest.mark.parametrize("sampler", ["sobol", "halton"])
def test_points_that_fill_the_cube_lie_one_in_each_stratum(sampler):
    count = {"sobol": 16, "halton": 9}[sampler]  # the second axis of Halton's has base 3
    cells = (points(sampler, "sgd", SPACES, count)[:, 1] * count).astype(int)
    assert sorted(cells.tolist()) == list(range(count))


def test_a_grid_is_tried_in_the_order_in_which_suites_run_it():
    values = {"momentum": [0.9, 0.5], "lr": [1e-3, 1.0, 0.1]}
    found = trials("grid", "momentum", {key: grid(values[key]) for key in values}, 0, 99)
    suite = {
        "name": "s",
        "problem": [{"name": "anisotropic"}],
        "optimizer": [{"name": "momentum", "grid": values}],
    }
    entry = resolve(parse_suite(suite, "s")).problems[0].optimizers[0]
    assert [trial.values for trial in found] == list(entry.configurations)
    assert [trial.number for trial in found] == list(range(6))
    assert found[1] == Trial(
        1, {"momentum": 0.9, "lr": 1.0}, {"momentum": 0.25, "lr": pytest.approx(0.5)}
    )
    part = trials("grid", "momentum", {key: grid(values[key]) for key in values}, 2, 4)
    assert part == found[2:4]


def test_grids_may_hold_words_and_whole_numbers():
    spaces = {"schedule": SPACES["schedule"], "warmup": parse("int(0, 2)")}
    found = [tuple(trial.values.values()) for trial in trials("grid", "sgd", spaces, 0, 6)]
    assert found == list(product(["constant", "cosine"], [0, 1, 2]))


@pytest.mark.parametrize(
    ("sampler", "asked", "count"),
    [("random", 50, 50), ("halton", 50, 50), ("tpe", 50, 50), ("sobol", 64, 64), ("grid", 6, 6)],
)
def test_most_numbers_of_trials_are_what_was_asked_for(sampler, asked, count):
    spaces = {"lr": grid([1.0, 0.1, 0.01]), "warmup": parse("int(0, 1)")}
    assert trial_count(sampler, spaces, asked) == (count, None)


def test_other_numbers_are_said():
    spaces = {"lr": grid("1e-3:1:25")}
    assert trial_count("grid", spaces, 64) == (
        25,
        "grid makes 25 trials of the 64 asked for, as many as there are points",
    )
    assert trial_count("sobol", SPACES, 65) == (
        128,
        "sobol makes 128 trials of the 65 asked for, as it needs a power of two",
    )
    assert refusal(SuiteError, trial_count, "grid", spaces, 24) == (
        "the grid has 25 points, more than the 24 trials of the budget; "
        "give a budget of '25 trials', or fewer values"
    )


def test_a_grid_takes_no_intervals():
    message = refusal(SuiteError, trials, "grid", "sgd", {"lr": SPACES["lr"]}, 0, 4)
    assert message == (
        "the sampler grid takes grids only, and lr has the space log(0.0001, 10); "
        "give it a grid, as 1e-4:1:9, or take another sampler"
    )


def test_an_unknown_sampler_is_refused():
    message = refusal(SuiteError, trials, "sobo", "sgd", SPACES, 0, 4)
    assert message == "unknown sampler 'sobo'; did you mean 'sobol'?"


def test_random_points_are_uniform():
    counts, _ = np.histogram(points("random", "sgd", SPACES, 1600), bins=64, range=(0.0, 1.0))
    assert ((counts - 100.0) ** 2 / 100.0).sum() < 103.4  # 0.999 quantile, 63 degrees of freedom
