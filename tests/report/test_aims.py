"""Targets as users write them."""

from math import inf

import numpy as np
import pytest

from optbench.errors import UsageError
from optbench.report.aims import (
    Aim,
    aims_of,
    parse_aim,
    published_for,
    published_targets,
    target_of,
)
from optbench.report.watched import WATCHABLE, watch
from tests.refusal import refusal
from tests.report.runs import Lane, function_problem, network_problem, tables


def watched(finals, problem=None, start=8.0, **lane):
    """Return a problem on which labels fall from the start to these losses at once."""
    lanes = [Lane(label, [start, final], **lane) for label, final in finals.items()]
    return watch(tables(lanes, [problem or function_problem()]), "anisotropic")


def value(text, *arguments, **options):
    return target_of(parse_aim(text), watched(*arguments, **options)).value


@pytest.mark.parametrize(
    ("text", "kind", "number", "label"),
    [
        ("0.1", "value", 0.1, ""),
        ("-1e-3", "value", -1e-3, ""),
        ("best:5%", "best", 0.05, ""),
        ("best:0%", "best", 0.0, ""),
        ("of:adam", "of", 0.0, "adam"),
        ("of:adam:2.5%", "of", 0.025, "adam"),
        ("of:optax:adam", "of", 0.0, "optax:adam"),
        ("of:a=b:1%", "of", 0.01, "a=b"),
        ("quantile:0.5", "quantile", 0.5, ""),
        ("start/100", "start", 100.0, ""),
        ("published", "published", 0.0, ""),
    ],
)
def test_every_form_is_read(text, kind, number, label):
    found = parse_aim(text)
    assert (found.text, found.kind, found.label) == (text, kind, label)
    assert found.number == pytest.approx(number)


@pytest.mark.parametrize(
    "text", ["", "best", "best:5", "best:x%", "of:", "quantile:", "start/", "nan", "inf", "adam"]
)
def test_what_is_none_of_them_is_refused_with_all_of_them(text):
    message = refusal(UsageError, parse_aim, text)
    assert message.startswith(f"target '{text}' is malformed; write 0.1, best:5%, of:adam")


def test_what_is_out_of_range_is_refused():
    assert "from 0 to 1" in refusal(UsageError, parse_aim, "quantile:1.5")
    assert "1 or more" in refusal(UsageError, parse_aim, "start/0.5")


FINALS = {"sgd": 3.0, "adam": 2.0, "lion": 5.0}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.25", 0.25),
        ("best:5%", 2.1),
        ("of:sgd", 3.0),
        ("of:sgd:10%", 3.3),
        ("quantile:0.5", 3.0),
        ("quantile:0.25", 2.5),
        ("start/4", 2.0),
    ],
)
def test_a_target_is_a_share_of_the_distance_from_zero(text, expected):
    unknown = function_problem(minima=[])
    assert value(text, FINALS, unknown) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "expected"), [("best:5%", 2.05), ("of:sgd:10%", 3.2), ("start/7", 2.0)]
)
def test_or_from_the_smallest_value_where_that_is_known(text, expected):
    known = function_problem(minima=[{"position": [0.0, 0.0], "value": 1.0}])
    assert value(text, FINALS, known) == pytest.approx(expected, rel=1e-12)


def test_losses_below_zero_are_measured_by_their_size():
    unknown = function_problem(minima=[])
    assert value("best:5%", {"sgd": -2.0, "adam": -1.0}, unknown) == pytest.approx(-1.9)


def test_what_lies_below_rounding_counts_as_rounding():
    # 1,024 units of rounding of the start, 8; of a network one unit.
    assert value("best:0%", {"sgd": 0.0}) == 8.0 * 1024 * 2.0**-52
    assert value("of:sgd", {"sgd": 1e-300}) == 8.0 * 1024 * 2.0**-52
    assert value("best:0%", {"sgd": 0.0}, function_problem(minima=[])) == 8.0 * 2.0**-52


def test_lanes_that_diverged_are_the_worst_and_where_most_did_there_is_no_target():
    lanes = [
        Lane("sgd", [8.0, 1.0], seed=0),
        *(Lane("sgd", [8.0, inf], seed=seed, status="diverged") for seed in (1, 2)),
        *(Lane("adam", [8.0, 4.0], seed=seed) for seed in range(3)),
    ]
    problem = function_problem(minima=[])
    found = watch(tables(lanes, [problem]), "anisotropic")
    assert found.finals() == {"sgd": inf, "adam": 4.0}
    assert target_of(parse_aim("best:0%"), found).value == 4.0
    assert target_of(parse_aim("of:sgd"), found) is None
    assert target_of(parse_aim("quantile:1"), found) is None


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        *((text, True) for text in ("best:5%", "of:sgd", "of:sgd:5%", "quantile:0.5")),
        *((text, False) for text in ("0.1", "start/100")),
    ],
)
def test_a_target_that_results_had_a_say_in_says_so(text, chosen):
    target = target_of(parse_aim(text), watched(FINALS))
    assert target.chosen_here is chosen
    assert ("chosen from these runs" in target.says) is chosen


def test_a_label_that_is_not_there_is_refused():
    message = refusal(UsageError, target_of, parse_aim("of:adm"), watched(FINALS))
    assert message == (
        "'anisotropic' has no optimizer 'adm' for the target of:adm; did you mean 'adam'?"
    )


def test_a_start_that_was_not_evaluated_is_refused():
    lanes = [Lane("sgd", [8.0, 1.0], evaluations=[(1, "train", 1.0, 0.5)])]
    found = watch(tables(lanes, [function_problem()]), "anisotropic", "train_loss")
    message = refusal(UsageError, target_of, parse_aim("start/10"), found)
    assert message.startswith("'anisotropic' has no train_loss at the start; run it with --evaluat")


def test_published_targets_say_where_they_stand():
    for target in published_targets():
        assert target.on in WATCHABLE
        assert np.isfinite(target.value)
        assert len(target.source) > 40
        assert (target.problem is None) != (target.data is None)
    of_quadratic = published_for(function_problem("mine", name="quadratic-deep"))
    assert (of_quadratic.on, of_quadratic.by) == ("test_loss", "DeepOBS")
    assert of_quadratic.value == 87.70315464772136
    of_mnist = published_for(network_problem(name="network", data="mnist"))
    assert (of_mnist.on, of_mnist.value, of_mnist.by) == ("validation_error", 0.03, "AlgoPerf")


@pytest.mark.parametrize(
    "problem", [function_problem(name="anisotropic"), network_problem(name="x", data="mnist-5k")]
)
def test_where_nothing_was_published_it_is_refused_with_what_was(problem):
    message = refusal(UsageError, published_for, problem)
    assert message == (
        f"no target of '{problem['problem']}' is published; there are those of quadratic-deep, "
        f"networks on mnist: give {problem['problem']}=RULE"
    )


def test_an_aim_is_plain_data():
    assert parse_aim("of:adam") == Aim("of:adam", "of", 0.0, "adam")


def test_targets_that_depend_on_no_run_may_be_asked_for_alone():
    asked = aims_of(["published", "a=0.5"], ["a", "b"], fixed=True)
    assert {name: (aim.kind, aim.number) for name, aim in asked.items()} == {
        "a": ("value", 0.5),
        "b": ("published", 0.0),
    }
    assert aims_of(["b=start/9"], ["a", "b"], fixed=True).keys() == {"b"}
    for text in ("best:5%", "of:adam", "quantile:0.5"):
        said = f"target '{text}' depends on the runs that are compared; write 0.1, start/100 or "
        assert refusal(UsageError, parse_aim, text, fixed=True).startswith(said)
    said = "it has no problem 'c'; known are a, b"
    assert refusal(UsageError, aims_of, ["c=1"], ["a", "b"], who="it has") == said
