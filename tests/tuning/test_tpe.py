"""Rounds of optuna's proposals: functions of the rounds before, and nothing else."""

import math
import random
import warnings

import pytest

from optbench.errors import SuiteError
from optbench.tuning import tpe
from optbench.tuning.samplers import Trial, stream, trials
from optbench.tuning.spaces import grid, parse
from tests.refusal import refusal

SPACES = {
    "momentum": parse("1 - log(5e-3, 1)"),
    "lr": parse("log(1e-4, 10)"),
    "warmup": parse("int(0, 9)"),
    "schedule": parse("choice(constant, cosine, linear)"),
    "eps": grid([1e-8, 1e-4, 1.0]),
}


def score(trial: Trial) -> float:
    """Return a bowl round lr = 0.1 and momentum = 0.9; large learning rates diverge."""
    if trial.values["lr"] > 3.0:
        return math.inf
    size = math.log10(trial.values["lr"]) + 1.0
    return size**2 + (math.log10(1.0 - trial.values["momentum"]) + 1.0) ** 2


def told(rounds: int, count: int = 16) -> list[tuple[Trial, float]]:
    found: list[tuple[Trial, float]] = []
    for number in range(rounds):
        made = tpe.next_round("adam", SPACES, found, number, count)
        found += [(trial, score(trial)) for trial in made]
    return found


def test_without_optuna_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(tpe, "find_spec", lambda name: None)
    assert refusal(SuiteError, tpe.next_round, "adam", SPACES, [], 0, 4) == (
        "the sampler tpe needs optuna, which is not installed; pip install 'optbench[tune]'"
    )


@pytest.mark.parametrize(
    ("found", "enough"), [("4.4.1", False), ("4.5.0rc1", True), ("10.0", True)]
)
def test_an_old_optuna_is_refused(found, enough, monkeypatch):
    monkeypatch.setattr(tpe, "find_spec", lambda name: object())
    monkeypatch.setattr("importlib.metadata.version", lambda name: found)
    if enough:
        assert tpe.optuna_version() == found
    else:
        assert refusal(SuiteError, tpe.optuna_version) == (
            "the sampler tpe needs optuna 4.5, and 4.4.1 is here; pip install 'optbench[tune]'"
        )


def test_the_first_round_is_random():
    pytest.importorskip("optuna")
    found = tpe.next_round("adam", SPACES, [], 0, 16)
    assert found == trials("random", "adam", SPACES, 0, 16)


def test_a_round_is_what_optuna_proposes_after_the_rounds_before():
    optuna = pytest.importorskip("optuna")
    before = told(2)
    word = int(stream("tpe", "adam", SPACES).integers(2**32, size=2)[1])
    axes = {
        "eps": optuna.distributions.IntDistribution(0, 2),
        "lr": optuna.distributions.FloatDistribution(0.0, 1.0),
        "momentum": optuna.distributions.FloatDistribution(0.0, 1.0),
        "schedule": optuna.distributions.CategoricalDistribution([0, 1, 2]),
        "warmup": optuna.distributions.IntDistribution(0, 9),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sampler = optuna.samplers.TPESampler(seed=word, multivariate=True, constant_liar=True)
        study = optuna.create_study(sampler=sampler)
        for trial, loss in before:
            params = {
                "eps": [1e-8, 1e-4, 1.0].index(trial.values["eps"]),
                "lr": trial.coordinates["lr"],
                "momentum": trial.coordinates["momentum"],
                "schedule": ["constant", "cosine", "linear"].index(trial.values["schedule"]),
                "warmup": trial.values["warmup"],
            }
            study.add_trial(
                optuna.trial.create_trial(params=params, distributions=axes, value=loss)
            )
        proposed = [study.ask(axes).params for _ in range(5)]
    found = tpe.next_round("adam", SPACES, before, 2, 5)
    assert [trial.number for trial in found] == list(range(32, 37))
    for trial, params in zip(found, proposed, strict=True):
        assert trial.values == {
            "momentum": SPACES["momentum"].at(params["momentum"]),
            "lr": SPACES["lr"].at(params["lr"]),
            "warmup": params["warmup"],
            "schedule": ["constant", "cosine", "linear"][params["schedule"]],
            "eps": [1e-8, 1e-4, 1.0][params["eps"]],
        }
        assert trial.coordinates["lr"] == params["lr"]


def test_a_round_depends_on_nothing_but_rule_spaces_seed_and_the_rounds_before():
    pytest.importorskip("optuna")
    before = told(2)
    found = tpe.next_round("adam", SPACES, before, 2, 8)
    random.shuffle(before)
    random.seed(3)
    again = tpe.next_round("adam", dict(reversed(SPACES.items())), before, 2, 8)
    assert again == found
    assert tpe.next_round("sgd", SPACES, before, 2, 8) != found
    assert tpe.next_round("adam", SPACES, before, 3, 8) != found
    assert tpe.next_round("adam", SPACES, before, 2, 4) == found[:4]


def test_rounds_look_where_scores_are_low_and_diverged_trials_are_told():
    pytest.importorskip("optuna")
    found = told(4)
    scores = [loss for _, loss in found]
    assert any(loss == math.inf for loss in scores[:16])
    assert sorted(scores[48:])[8] < sorted(scores[:16])[8]
    all_diverged = [(trial, math.inf) for trial, _ in found[:16]]
    assert len(tpe.ask(SPACES, all_diverged, 3, 7)) == 3


def test_optuna_is_quiet_and_left_as_it_was(capfd):
    optuna = pytest.importorskip("optuna")
    verbosity = optuna.logging.get_verbosity()
    tpe.ask(SPACES, told(1), 2, 7)
    assert optuna.logging.get_verbosity() == verbosity
    assert capfd.readouterr() == ("", "")
