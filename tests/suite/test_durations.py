"""How long lanes run and when they are evaluated, as suites say it."""

import pytest

from optbench.engine.stopping import Rules
from optbench.errors import SuiteError
from optbench.suite.durations import as_written, rules_of
from optbench.suite.format import parse_suite
from tests.refusal import refusal
from tests.small import anisotropic, small_network


def rules(problem, top=None, own=None) -> Rules:
    entry = {"name": problem.name, **(own or {})}
    file = parse_suite({"name": "s", **(top or {}), "problem": [entry]}, "s")
    return rules_of(file, file.problem[0], problem, 1000)


@pytest.mark.parametrize(
    ("asked", "every"),
    [(7, 7), ("7 iterations", 7), ("1 iteration", 1), ("1 epoch", 25), ("3 epochs", 75)],
)
def test_an_interval_is_iterations_or_epochs(asked, every):
    assert rules(small_network(), {"evaluate_every": asked}).evaluate_every == every
    assert rules(small_network(), own={"evaluate_every": asked}).evaluate_every == every


def test_a_problems_own_word_counts_before_the_suites():
    found = rules(
        small_network(),
        {"evaluate_every": 9, "stop": {"loss": 1.0, "patience": 5}},
        {"evaluate_every": 2, "stop": {"loss": 0.5}},
    )
    assert found == Rules(evaluate_every=2, loss=0.5, patience=5)


def test_a_pause_is_written_as_it_was_given_and_ends_nothing():
    found = rules(anisotropic(), own={"pause_at": 999})
    assert found == Rules(pause_at=999)
    assert as_written(found) == {"pause_at": 999}
    assert (found.stopping(), found.may_stop) == (None, True)


def test_functions_have_no_evaluations_to_make():
    assert rules(anisotropic(), {"evaluate_every": 5}).evaluate_every is None


@pytest.mark.parametrize(
    ("problem", "own", "message"),
    [
        (small_network(), {"evaluate_every": "often"}, "'often' is not an interval; write 100, or"),
        (small_network(), {"evaluate_every": "0 epochs"}, "'0 epochs' is not an interval"),
        (anisotropic(), {"evaluate_every": 5}, "evaluate_every needs data splits; it has none"),
        (
            anisotropic(),
            {"stop": {"patience": 5}},
            "needs a validation split; its splits are: none",
        ),
        (
            small_network(),
            {"stop": {"patience_increase": 3.0}},
            "stop.patience_increase means nothing without stop.patience",
        ),
        (
            anisotropic(),
            {"pause_at": 1000},
            "pause_at = 1000 must be less than its 1000 iterations",
        ),
    ],
)
def test_what_does_not_fit_the_problem_is_refused(problem, own, message):
    said = refusal(SuiteError, rules, problem, own=own)
    assert message in said
    assert said.startswith(problem.name)


@pytest.mark.parametrize(
    ("stop", "message"),
    [
        ({"los": 1.0}, "unknown key 'stop los'; did you mean 'loss'?"),
        ({"zzz": 1.0}, "known are loss, grad_norm, patience"),
        ({"loss": float("nan")}, "finite"),
        ({"loss": float("inf")}, "finite"),
        ({"grad_norm": float("inf")}, "finite"),
        ({"patience": 0}, "patience"),
        ({"patience": 2**31}, "patience"),
        ({"grad_norm": -1.0}, "grad_norm"),
        ({"improvement_threshold": 1.5}, "improvement_threshold"),
    ],
)
def test_malformed_rules_are_refused_with_their_place(stop, message):
    said = refusal(SuiteError, parse_suite, {"name": "s", "stop": stop}, "s.toml")
    assert "stop" in said
    assert message in said


def test_rules_as_written_are_read_again():
    found = Rules(evaluate_every=4, loss=0.1, patience=6)
    assert rules(small_network(), own=as_written(found)) == found
    assert as_written(Rules()) == {}
