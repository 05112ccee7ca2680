"""Rounds of a study as suites: what is tried in which, and that the suites run exactly that."""

from dataclasses import replace

import pytest

from optbench.suite.resolve import resolve
from optbench.tuning import tpe
from optbench.tuning.protocol import TuneRequest
from optbench.tuning.rounds import distinct, final_suite, next_trials, search_suite
from optbench.tuning.samplers import Trial, trials
from optbench.tuning.settling import settle

SUITE = {
    "name": "two",
    "iterations": 5,
    "problem": [
        {"name": "booth", "sgd": {"lr": 0.02, "l2": 0.5}},
        {"name": "anisotropic"},
    ],
    "optimizer": [
        {"name": "sgd", "lr": 0.9},
        {"name": "momentum", "label": "heavy ball", "lr": 0.1},
    ],
}

SGD = ("anisotropic", "sgd")


def protocol(**options):
    request = TuneRequest(SUITE, **{"budget": "8 trials", **options})
    return settle(request, None, lambda suite: {}, lambda message: None)


def scored(tried):
    """Score each trial by its learning rate."""
    return [(trial, trial.values["lr"]) for trial in tried]


def play(settled):
    """Make all rounds of a search; return the numbers of trials in each, and all trials."""
    so_far, sizes = {}, []
    while tried := next_trials(settled, so_far):
        sizes.append({key: len(found) for key, found in tried.items()})
        so_far = {key: [*so_far.get(key, ()), *scored(found)] for key, found in tried.items()}
    return sizes, so_far


def test_all_trials_are_made_in_one_round_and_all_problems_get_the_same():
    settled = protocol()
    (sizes,), so_far = play(settled)
    assert set(sizes.values()) == {8}
    assert len(sizes) == 4
    for entrant in settled.entrants:
        found = [trial for trial, _ in so_far[entrant.key]]
        assert found == trials("random", entrant.rule, entrant.spaces, 0, 8)
    assert so_far["booth", "sgd"] == so_far[SGD]


def test_a_grid_may_end_before_its_budget():
    settled = protocol(sampler="grid", grid={"*.lr": [0.1, 0.2, 0.3, 0.4, 0.5]})
    (sizes,), so_far = play(settled)
    assert set(sizes.values()) == {5}
    assert [trial.values["lr"] for trial, _ in so_far[SGD]] == [0.1, 0.2, 0.3, 0.4, 0.5]


@pytest.fixture
def told(monkeypatch):
    """Stand in for optuna: points of ``halton``; return what each round is told."""
    rounds = []

    def next_round(rule, spaces, so_far, number, count):
        rounds.append((number, len(so_far)))
        return trials("halton", rule, spaces, len(so_far), len(so_far) + count)

    monkeypatch.setattr(tpe, "optuna_version", lambda: "4.5.0")
    monkeypatch.setattr(tpe, "next_round", next_round)
    return rounds


def test_tpe_goes_in_rounds_of_a_batch(told):
    settled = protocol(sampler="tpe", batch=3, optimizers="sgd")
    sizes, so_far = play(settled)
    assert [set(each.values()) for each in sizes] == [{3}, {3}, {2}]
    assert [trial.number for trial, _ in so_far[SGD]] == list(range(8))
    assert told[1::2] == [(0, 0), (1, 3), (2, 6)]  # of the second of two problems


@pytest.mark.usefixtures("told")
def test_in_each_round_of_tpe_all_optimizers_take_part():
    settled = protocol(sampler="tpe", batch=4)
    counts = (8, 8, 5, 8)
    entrants = [
        replace(entrant, trials=count)
        for entrant, count in zip(settled.entrants, counts, strict=True)
    ]
    sizes, so_far = play(replace(settled, entrants=tuple(entrants)))
    assert len(sizes) == 2
    assert [list(each.values()) for each in sizes] == [[4, 4, 2, 4], [4, 4, 3, 4]]
    assert tuple(len(found) for found in so_far.values()) == counts


def test_equal_configurations_are_run_once():
    tried = [Trial(number, {"lr": lr}, {}) for number, lr in enumerate([0.1, 0.2, 0.1, 0.3, 0.2])]
    assert distinct(tried) == ([{"lr": 0.1}, {"lr": 0.2}, {"lr": 0.3}], [0, 1, 0, 2, 1])
    assert distinct([]) == ([], [])


def points(suite, problem, label):
    (found,) = [each for each in resolve(suite).problems if each.label == problem]
    (entry,) = [each for each in found.optimizers if each.label == label]
    return entry.configurations


def test_the_suite_of_a_search_runs_the_points_on_the_tuning_seeds():
    settled = protocol()
    tried = {key: found[:3] for key, found in next_trials(settled, {}).items()}
    suite = search_suite(settled, "search-000", tried, (1_000_000, 1_000_001))
    assert (suite.name, suite.seeds) == ("search-000", [1_000_000, 1_000_001])
    for key, found in tried.items():
        configurations = points(suite, *key)
        assert len(configurations) == 3
        for trial, configuration in zip(found, configurations, strict=True):
            assert trial.values.items() <= configuration.items()
    # what a problem says of an optimizer stays where no space takes its place
    assert {each["l2"] for each in points(suite, "booth", "sgd")} == {0.5}
    assert {each.get("l2") for each in points(suite, "anisotropic", "sgd")} == {None}


def test_a_round_may_leave_problems_out():
    settled = protocol()
    suite = search_suite(settled, "finalists", {SGD: [Trial(0, {"lr": 0.5}, {})]}, (7,))
    assert [entry.title for entry in suite.problem] == ["anisotropic"]


def test_the_final_judges_winners_beside_what_the_suite_says():
    settled = protocol()
    chosen = {
        entrant.key: Trial(0, {name: space.at(0.25) for name, space in entrant.spaces.items()}, {})
        for entrant in settled.entrants
    }
    suite = final_suite(settled, chosen)
    labels = ["sgd", "heavy ball", "sgd (default)", "heavy ball (default)"]
    assert [entry.title for entry in suite.optimizer] == labels
    assert (suite.name, suite.seeds) == ("two", list(settled.evaluation_seeds))
    for key, trial in chosen.items():
        (configuration,) = points(suite, *key)
        assert trial.values.items() <= configuration.items()
    (default,) = points(suite, "booth", "sgd (default)")
    assert (default["lr"], default["l2"]) == (0.02, 0.5)
    (default,) = points(suite, "anisotropic", "sgd (default)")
    assert (default["lr"], default.get("l2")) == (0.9, None)
    (default,) = points(suite, "booth", "heavy ball (default)")
    assert (default["lr"], default["momentum"]) == (0.1, 0.9)


def test_the_final_may_leave_the_defaults_out():
    settled = protocol(defaults=False)
    chosen = {entrant.key: Trial(0, {"lr": 0.5}, {}) for entrant in settled.entrants}
    labels = [entry.title for entry in final_suite(settled, chosen).optimizer]
    assert labels == ["sgd", "heavy ball"]
