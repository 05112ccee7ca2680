"""What can be chosen: names, defaults and ranges."""

import math

import numpy as np
import pytest

from optbench.errors import SuiteError
from optbench.optimizers.base import powers
from optbench.optimizers.registry import OPTIMIZERS, complete_hyperparameters, get_optimizer

DEFAULTS = {
    "sgd": {"lr": 0.01},
    "momentum": {"lr": 0.01, "momentum": 0.9},
    "adagrad": {"lr": 0.01, "eps": 1e-7, "eps_place": "outside", "initial": 0.0},
    "rmsprop": {
        "lr": 0.01,
        "decay": 0.99,
        "eps": 1e-7,
        "eps_place": "outside",
        "bias_correction": 0.0,
    },
    "adam": {
        "lr": 0.001,
        "beta1": 0.9,
        "beta2": 0.999,
        "eps": 1e-7,
        "eps_place": "uncorrected",
        "bias_correction": 1.0,
    },
}


def test_the_optimizers_and_their_defaults_are_the_textbooks():
    assert DEFAULTS.keys() <= OPTIMIZERS.keys()
    for name, defaults in DEFAULTS.items():
        assert complete_hyperparameters(get_optimizer(name), {}) == defaults


@pytest.mark.parametrize("name", DEFAULTS)
def test_what_is_given_counts_before_defaults(name):
    completed = complete_hyperparameters(get_optimizer(name), {"lr": 2})
    assert completed == {**DEFAULTS[name], "lr": 2.0}
    assert type(completed["lr"]) is float


@pytest.mark.parametrize(
    ("name", "given", "says"),
    [
        ("adm", {}, "unknown optimizer 'adm'; did you mean 'adam', 'radam' or 'nadam'?"),
        ("zzz", {}, "unknown optimizer 'zzz'; known are sgd, momentum, "),
        ("adam", {"beta": 0.9}, "adam has no hyperparameter 'beta'; did you mean 'beta"),
        ("sgd", {"momentum": 0.9}, "sgd has no hyperparameter 'momentum'; known are lr, "),
        ("sgd", {"lr": -1}, "sgd: lr = -1 must be at least 0; the default is 0.01"),
        ("sgd", {"lr": "fast"}, "sgd: lr = 'fast' must be a number of at least 0"),
        ("momentum", {"momentum": 1.0}, "momentum: momentum = 1.0 must be at least 0 and below 1"),
        ("adam", {"beta2": 1.5}, "adam: beta2 = 1.5 must be at least 0 and below 1"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(name, given, says):
    with pytest.raises(SuiteError) as caught:
        complete_hyperparameters(get_optimizer(name), given)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_columns_of_adam_hold_the_bias_corrections():
    given = {"lr": [[0.1], [0.2]], "beta1": [[0.9], [0.5]], "beta2": [[0.999], [0.9]]}
    given = {name: np.array([values]) for name, values in given.items()}
    given |= {name: np.zeros((1, 2, 1)) for name in ("eps", "eps_place")}
    given["bias_correction"] = np.ones((1, 2, 1))
    columns = get_optimizer("adam").columns(given, range(3, 6))
    assert columns.keys() == {"step_size", "rate1", "rate2", "eps"}
    for row, t in enumerate((3, 4, 5)):
        for lane, (lr, beta1, beta2) in enumerate([(0.1, 0.9, 0.999), (0.2, 0.5, 0.9)]):
            expected = lr * math.sqrt(1 - beta2**t) / (1 - beta1**t)
            assert columns["step_size"][row, lane, 0] == pytest.approx(expected, rel=1e-14)
    np.testing.assert_allclose(columns["rate1"][0, :, 0], [0.1, 0.5], rtol=1e-14)
    np.testing.assert_allclose(columns["rate2"][0, :, 0], [0.001, 0.1], rtol=1e-12)


@pytest.mark.parametrize("lanes", [1, 2, 7, 64])
def test_powers_of_a_lane_do_not_depend_on_its_company(lanes):
    base = np.random.default_rng(1).uniform(size=(lanes, 1))
    base[lanes // 2 :] = base[0]
    found = powers(base, range(1, 300))
    distinct = len(np.unique(base))
    assert found.shape == (299, 1 if distinct == 1 else lanes, 1)
    found = np.broadcast_to(found, (299, lanes, 1))
    for row, exponent in enumerate(range(1, 300)):
        assert found[row, :, 0].tolist() == [value**exponent for value in base[:, 0].tolist()]


@pytest.mark.parametrize("rule", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_a_rule_is_in_the_file_of_its_name(rule):
    package, _, module = rule.__module__.rpartition(".")
    assert package == "optbench.optimizers.rules"
    assert rule.name.startswith(module.replace("_", "-"))
