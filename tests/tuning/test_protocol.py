"""What a request is settled as before the first trial runs, and what is refused."""

import json
from dataclasses import replace
from math import comb
from pathlib import Path

import pytest

from optbench.datasets.base import split_as
from optbench.errors import SuiteError
from optbench.problems.networks import classifier
from optbench.tuning import tpe
from optbench.tuning.protocol import OWN_SPACES, Protocol, TuneRequest
from optbench.tuning.settling import FIRST_TUNING_SEED, settle
from optbench.tuning.spaces import grid
from optbench.tuning.written import read_protocol
from tests.refusal import refusal
from tests.small import IMAGES as SMALL

VALLEY = {
    "name": "valley",
    "iterations": 30,
    "problem": [{"name": "anisotropic"}],
    "optimizer": [{"name": "sgd", "lr": 0.95}, {"name": "momentum", "lr": 0.1}],
}

IMAGES = {
    "name": "images",
    "iterations": 10,
    "problem": [{"name": "mnist-mlp", "data": "mnist-5k", "batch_size": 16}],
    "optimizer": [{"name": "sgd"}, {"name": "adam"}],
}


def never(suite, unit):
    raise AssertionError("nothing is measured where a step is a step")


def settled(suite=None, notices=None, measure=never, **options) -> Protocol:
    request = TuneRequest(VALLEY if suite is None else suite, **options)
    return settle(request, None, measure, (notices if notices is not None else []).append)


def refused(suite=None, **options) -> str:
    return refusal(SuiteError, settled, suite, **options)


def space_of(protocol, label="sgd", problem="anisotropic"):
    (entrant,) = [each for each in protocol.entrants if each.key == (problem, label)]
    return {name: str(space) for name, space in entrant.spaces.items()}, entrant.source


# Spaces.


def test_a_set_takes_the_place_of_the_values_that_a_suite_writes():
    protocol = settled()
    assert space_of(protocol)[0] == {"lr": "log(0.0001, 10)"}
    momentum = {"lr": "log(0.0001, 10)", "momentum": "1 - log(0.005, 1)"}
    assert space_of(protocol, "momentum")[0] == momentum
    assert "Schmidt et al. 2021" in space_of(protocol)[1]
    (entry, _) = protocol.base.optimizer
    assert entry.hyperparameters["lr"] == 0.95


def test_an_own_space_replaces_the_whole_set():
    protocol = settled(space={"momentum.momentum": "uniform(0, 0.9)"})
    assert space_of(protocol, "momentum") == ({"momentum": "uniform(0, 0.9)"}, OWN_SPACES)
    assert protocol.base.optimizer[1].hyperparameters["lr"] == 0.1
    suite = VALLEY | {"optimizer": [{"name": "sgd", "space": {"lr": "log(1e-2, 1)"}}]}
    assert space_of(settled(suite)) == ({"lr": "log(0.01, 1)"}, OWN_SPACES)
    assert space_of(settled(suite, space={"*.lr": "log(0.1, 1)"}))[0] == {"lr": "log(0.1, 1)"}


def test_a_grid_is_a_space_and_its_default_is_that_of_the_suite():
    protocol = settled(grid={"sgd.lr": [0.1, 0.2]})
    (sgd, _) = protocol.entrants
    assert sgd.spaces == {"lr": grid([0.1, 0.2])}
    assert protocol.base.optimizer[0].hyperparameters["lr"] == 0.95
    assert not protocol.base.optimizer[0].grid


def test_what_the_request_sets_is_not_searched():
    protocol = settled(set={"momentum.lr": 0.3})
    assert space_of(protocol, "momentum")[0] == {"momentum": "1 - log(0.005, 1)"}
    assert protocol.base.optimizer[1].hyperparameters["lr"] == 0.3
    said = "--set leaves nothing to tune; give --space 'sgd.KEY=…'"
    assert said in refused(set={"sgd.lr": 0.3})


def test_spaces_of_one_problem_alone_are_specific():
    problems = [{"name": "booth"}, {"name": "anisotropic", "sgd": {"space": {"lr": "log(1, 2)"}}}]
    protocol = settled(VALLEY | {"problem": problems})
    assert [each.specific for each in protocol.entrants] == [False, False, True, False]
    assert space_of(protocol, "sgd", "booth")[0] == {"lr": "log(0.0001, 10)"}
    assert space_of(protocol)[0] == {"lr": "log(1, 2)"}
    assert protocol.as_meta()["problem_specific"] == ["sgd"]


def test_another_set_is_named():
    suite = VALLEY | {"optimizer": [{"name": "adam"}]}
    assert [*space_of(settled(suite, spaces="full"), "adam")[0]] == ["lr", "beta1", "beta2", "eps"]
    assert "have none for adam" in refused(suite, spaces="algoperf")
    assert "unknown spaces 'wode'; did you mean 'wide'?" in refused(spaces="wode")


@pytest.mark.parametrize(
    ("suite", "options", "said"),
    [
        ({}, {"space": {"sgd.lr": "log(0, 1)"}}, "sgd: space.lr: space 'log(0, 1)' is malformed"),
        ({}, {"space": {"sgd.lr": "uniform(-1, 1)"}}, "sgd: lr takes [0, ∞), but uniform(-1, 1)"),
        ({}, {"space": {"sgd.rate": "log(1, 2)"}}, "sgd has no hyperparameter 'rate'"),
        ({}, {"space": {"adam.lr": "log(1, 2)"}}, "there is no optimizer or problem 'adam'"),
        ({}, {"space": {"anisotropic.dtype": "log(1, 2)"}}, "only hyperparameters of optimizers"),
        ({}, {"grid": {"sgd.lr": "1:2"}}, "--grid sgd.lr"),
        (
            {"optimizer": [{"name": "sgd", "lr": 0.1, "space": {"lr": "log(1, 2)"}}]},
            {},
            "lr has a ",
        ),
        (
            {"optimizer": [{"name": "sgd", "grid": {"lr": [1]}, "space": {"lr": "log(1, 2)"}}]},
            {},
            "sgd: lr has a grid and a space; give one of them",
        ),
        ({"optimizer": [{"name": "sgd", "grid": {"lr": "1:2"}}]}, {}, "sgd: grid.lr"),
        (
            {"optimizer": [{"name": "sgd", "points": [{"lr": 0.1}, {"lr": 0.2}]}]},
            {},
            "sgd: points are run by optbench run; to tune it, give spaces or grids",
        ),
        (
            {"optimizer": [{"name": "sgd", "label": "dtype"}]},
            {},
            "an optimizer called 'dtype' cannot be tuned on anisotropic",
        ),
        (
            {"optimizer": [{"name": "sgd", "label": "stop"}]},
            {},
            "an optimizer called 'stop' cannot be tuned on",
        ),
        ({}, {"sampler": "randm"}, "unknown sampler 'randm'; did you mean 'random'?"),
        ({}, {"batch": 0}, "--batch 0: it must be 1 to "),
        ({}, {"trial_seeds": 0}, "--trial-seeds 0: it must be 1 to "),
        ({}, {"finalists": -1}, "--finalists -1: it must be 0 to "),
        ({}, {"finalist_seeds": -1}, "--finalist-seeds -1: it must be 0 to "),
        ({}, {"eval_seeds": 0}, "--eval-seeds 0: it must be 1 to "),
        ({}, {"eval_seeds": 9, "seeds": 8}, "both say which seeds judge; give one of them"),
        ({}, {"budget": "3 trials"}, "sgd on anisotropic: a budget of 3 trials buys 3 trials"),
        ({}, {"budget": "soon"}, "budget 'soon' is malformed"),
        ({}, {"sampler": "grid"}, "the sampler grid takes grids only, and lr has the space log("),
        ({}, {"metric": "test_error"}, "the test split never chooses; take validation_error"),
        ({}, {"metric": "loss"}, "unknown metric 'loss'"),
        ({}, {"metric": "validation_loss"}, "anisotropic has no validation split; take final_loss"),
        ({}, {"seeds": [0, FIRST_TUNING_SEED + 7]}, "would choose and judge: tuning seeds are"),
    ],
)
def test_what_cannot_be_done_is_refused(suite, options, said):
    assert said in refused(VALLEY | suite, **options)


def test_a_study_tunes_one_suite():
    said = "a study tunes one suite, not 2; tune them one by one"
    assert refused(["anisotropic", "quadratic-1d"]) == said


# Problems.


def test_each_value_of_a_grid_of_problems_is_a_problem():
    protocol = settled(
        VALLEY | {"problem": [{"name": "anisotropic", "sgd": {"lr": 0.5}}]},
        grid={"anisotropic.start_spread": [0.0, 0.1]},
    )
    titles = ["anisotropic (start_spread=0.0)", "anisotropic (start_spread=0.1)"]
    assert [each.problem for each in protocol.entrants[::2]] == titles
    assert [each.random for each in protocol.entrants] == [False, False, True, True]
    assert [entry.title for entry in protocol.base.problem] == titles
    assert all(entry.overrides == {"sgd": {"lr": 0.5}} for entry in protocol.base.problem)


def test_networks_choose_by_validation_loss_functions_by_final_loss():
    notices: list[str] = []
    assert settled().metrics == {"anisotropic": "final_loss"}
    noisy = VALLEY | {"problem": [{"name": "noisy-beale"}]}
    assert settled(noisy, notices).metrics == {"noisy-beale": "final_loss"}
    assert "noisy-beale has no validation split" in refused(noisy, metric="validation_loss")
    assert settled(IMAGES, notices).metrics == {"mnist-mlp": "validation_loss"}
    assert settled(IMAGES, metric="best_loss").metrics == {"mnist-mlp": "best_loss"}
    assert notices == []


def test_a_network_without_validation_split_gets_one(monkeypatch):
    def load(name, folder, splitting):
        return split_as(split_as(SMALL, "train-test", 30), splitting, 30)

    monkeypatch.setattr(classifier.datasets, "load", load)
    notices: list[str] = []
    network = {"name": "network", "data": "mnist", "layers": ["dense 4"], "batch_size": 16}
    suite = IMAGES | {"problem": [network]}
    protocol = settled(suite, notices)
    assert protocol.metrics == {"network": "validation_loss"}
    assert protocol.base.problem[0].options["split"] == "train-validation-test"
    assert notices == [
        "network has no validation split to choose by, so a part of its training data becomes "
        'one (split = "train-validation-test"); --metric final_loss keeps the split'
    ]
    protocol = settled(suite, notices, metric="final_loss")
    assert protocol.base.problem[0].options["split"] != "train-validation-test"
    assert len(notices) == 1


# Seeds.


def test_seeds_that_choose_and_seeds_that_judge():
    protocol = settled(IMAGES, trial_seeds=2, finalist_seeds=3)
    assert protocol.tuning_seeds == (1_000_000, 1_000_001)
    assert protocol.finalist_seeds == (1_000_002, 1_000_003, 1_000_004)
    assert protocol.evaluation_seeds == tuple(range(10))
    assert [entrant.random for entrant in protocol.entrants] == [True, True]
    assert protocol.retried == protocol.entrants
    assert settled(IMAGES, finalists=0).finalist_seeds == ()
    assert settled(IMAGES, finalists=0).retried == ()
    assert settled().retried == ()


@pytest.mark.parametrize(
    ("suite_seeds", "options", "seeds"),
    [
        (3, {}, range(10)),
        ([5, 7], {}, (5, 7)),
        ([5, 7], {"eval_seeds": 4}, range(4)),
        ([5, 7], {"seeds": "1-3"}, (1, 2, 3)),
        (3, {"seeds": 6}, range(6)),
    ],
)
def test_who_says_which_seeds_judge(suite_seeds, options, seeds):
    suite = IMAGES | {"seeds": suite_seeds}
    assert settled(suite, **options).evaluation_seeds == tuple(seeds)


@pytest.mark.parametrize("labels", [2, 4, 5, 7])
def test_by_default_so_many_seeds_judge_that_every_pair_can_get_a_verdict(labels):
    names = ["sgd", "momentum", "adagrad", "adam", "rmsprop", "nadam", "lion"][:labels]
    problems = [{"name": "booth", "start_spread": 0.1}, {"name": "beale", "start_spread": 0.1}]
    optimizers = [{"name": name} for name in names]
    protocol = settled(VALLEY | {"problem": problems, "optimizer": optimizers})
    pairs = 2 * comb(labels, 2)
    least = next(n for n in range(100) if pairs * 2.0 ** (1 - n) <= 0.05)
    assert len(protocol.evaluation_seeds) == max(10, least + 2)


# Budgets.


def test_a_budget_buys_each_optimizer_its_trials():
    assert [each.trials for each in settled(budget="1920 steps").entrants] == [64, 64]
    # 3·T·10 for the search and 4·5·10 for the finalists
    assert [each.trials for each in settled(IMAGES, budget="500 steps").entrants] == [10, 10]


def test_tpe_needs_optuna(monkeypatch):
    monkeypatch.setattr(tpe, "find_spec", lambda name: None)
    assert "the sampler tpe needs optuna" in refused(sampler="tpe")


def test_an_optimizer_that_a_suite_lacks_is_told():
    notices: list[str] = []
    assert [each.label for each in settled(None, notices, optimizers="lion").entrants] == ["lion"]
    assert notices == ["suite 'valley' has no optimizer 'lion': added with its defaults"]


def test_seconds_are_measured_once_and_kept():
    asked = []

    def measure(suite, unit):
        asked.append([unit, *(entry.label for entry in suite.problems[0].optimizers)])
        return {("anisotropic", "sgd"): 0.01, ("anisotropic", "momentum"): 0.02}

    protocol = settled(measure=measure, budget="6 s")
    assert asked == [["s", "sgd", "momentum"]]
    assert [each.trials for each in protocol.entrants] == [20, 10]
    assert protocol.as_meta()["budget"] == {
        "given": "6 s",
        "amount": 6.0,
        "unit": "s",
        "trials": {"anisotropic": {"sgd": 20, "momentum": 10}},
        "seconds_per_step": {"anisotropic": {"sgd": 0.01, "momentum": 0.02}},
    }


def test_what_a_sampler_makes_of_a_budget_is_told_once():
    notices: list[str] = []
    protocol = settled(None, notices, sampler="sobol", budget="50 trials")
    assert [each.trials for each in protocol.entrants] == [64, 64]
    assert notices == ["sobol makes 64 trials of the 50 asked for, as it needs a power of two"]


# The default, and what is kept.


def test_nothing_named_means_half_of_the_textbook():
    notices: list[str] = []
    protocol = settle(TuneRequest(data="mnist-5k"), None, never, notices.append)
    assert protocol.base.name == "mnist-mlp"
    assert [each.label for each in protocol.entrants] == ["sgd", "momentum", "adagrad", "adam"]
    assert {(each.iterations, each.trials) for each in protocol.entrants} == {(1000, 64)}
    assert len(protocol.evaluation_seeds) == 10
    (notice,) = notices
    assert "nothing is named: mnist-mlp with 1,000 of its 2,000 iterations" in notice
    for given in ({"iterations": 7}, {"epochs": 1}):
        request = TuneRequest(data="mnist-5k", **given)
        protocol = settle(request, None, never, notices.append)
        assert protocol.entrants[0].iterations == given.get("iterations", 3500 // 128)
    assert len(notices) == 1


@pytest.mark.parametrize(
    "options",
    [
        {"suite": VALLEY, "space": {"*.lr": "log(1e-3, 1)"}, "defaults": False},
        {"suite": IMAGES, "grid": {"sgd.lr": f"1e-3:1:{25}"}, "sampler": "random"},
        {
            "suite": VALLEY | {"problem": [{"name": "booth"}, {"name": "beale"}]},
            "grid": {"booth.start_spread": [0.0, 0.1]},
            "budget": "1e4 steps",
            "space": {"sgd.schedule": "choice(constant, cosine)"},
        },
    ],
)
def test_a_protocol_is_read_as_it_was_written(options):
    protocol = settle(TuneRequest(**options), None, never)
    meta = json.loads(json.dumps(protocol.as_meta()))
    again = read_protocol(meta, Path("results/study"), None)
    assert json.loads(json.dumps(again.as_meta())) == meta
    plain = {"written": {}, "given": {}, "base": None}
    assert replace(again, **plain) == replace(protocol, **plain)
