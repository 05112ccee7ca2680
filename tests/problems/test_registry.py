"""What can be chosen: problems and their options."""

import hashlib
import json
import math

import pytest

from optbench.errors import SuiteError
from optbench.problems.registry import PROBLEMS, make_problem
from tests.refusal import refusal
from tests.small import anisotropic, small_network


def test_every_problem_says_what_it_is():
    assert {"anisotropic", "quadratic-1d", "mnist-mlp"} <= set(PROBLEMS)
    for name, kind in PROBLEMS.items():
        assert kind.name == name
        assert kind.summary
        assert kind.default_iterations >= 1
        assert all(option.meaning for option in kind.options)


@pytest.mark.parametrize("kind", PROBLEMS.values(), ids=PROBLEMS)
def test_the_defaults_of_options_are_values_that_they_take(kind):
    for option in kind.options:
        assert option.check(option.default) == option.default


@pytest.mark.parametrize(
    ("name", "given", "says"),
    [
        ("mnist", {}, "unknown problem 'mnist'; did you mean 'mnist-mlp' or 'mnist-cnn'?"),
        ("zzz", {}, "unknown problem 'zzz'; known are anisotropic, quadratic-1d, "),
        ("anisotropic", {"dtyp": "x"}, "anisotropic has no option 'dtyp'; did you mean 'dtype'?"),
        ("anisotropic", {"batch_size": 4}, "anisotropic has no option 'batch_size'; known are dt"),
        ("anisotropic", {"dtype": "float16"}, "anisotropic: dtype = 'float16' must be one of flo"),
        ("mnist-mlp", {"batch_size": 0}, "batch_size = 0 must be a whole number of at least 1"),
        ("mnist-mlp", {"log_eps": -1}, "log_eps = -1 must be at least 0; the default is"),
        ("mnist-mlp", {"log_eps": math.inf}, "log_eps = inf must be a finite number"),
        ("mnist-mlp", {"record": "during"}, "record = 'during' must be one of before, after"),
        ("mnist-mlp", {"data": "mnits"}, "data = 'mnits' must be one of auto, mnist, "),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(name, given, says):
    assert says in refusal(SuiteError, make_problem, name, given)


def test_the_fingerprint_is_the_sha256_of_the_definition_as_canonical_json():
    function = anisotropic()
    assert function.definition() == {
        "kind": "function",
        "name": "anisotropic",
        "formula": "x**2/20 + y**2",
        "start": [-7.0, 2.0],
        "record": "before",
        "dtype": "float64",
    }
    text = json.dumps(function.definition(), sort_keys=True, separators=(",", ":"))
    assert function.fingerprint == hashlib.sha256(text.encode()).hexdigest()
    golden = "122303825d718f5dcb2708b21c25348155f56ea39d0e9871198e8b5f414854b1"
    assert function.fingerprint == golden


def test_a_fingerprint_holds_neither_seeds_nor_arrays():
    for problem in (anisotropic(), small_network()):
        text = json.dumps(problem.definition())
        assert "seed" not in text
        assert len(text) < 2000
