"""Settings take what they say that they take, and refuse anything else in one line."""

import math

import pytest

from optbench.errors import SuiteError
from optbench.settings import (
    Choice,
    Hyperparameter,
    Number,
    Option,
    Switch,
    Text,
    complete,
    fraction,
)

FLAG = Option("flag", False, "")
TEXTS = Option("texts", ("a", "b"), "")
TEXT = Option("text", "a", "")
COUNT = Option("count", 3, "", choices=("full",), low=1)
SHARE = Option("share", 0.5, "", low=0.0)
FEW = Option("few", 3, "", low=1, high=9)
NAME = Option("name", "one", "", choices=("one", "two"))
LR = Hyperparameter("lr", 0.01, "")
BETA = fraction("beta", 0.9, "")
RATIO = Hyperparameter("ratio", 1, "", low=0.5, high=2.0)
ON = Switch("on", 1.0, "")
EPS = Number("eps", 1e-6, "", low_open=True)
ANY = Number("any", 0.5, "", low=-math.inf)


@pytest.mark.parametrize(
    ("setting", "given", "value"),
    [
        (FLAG, True, True),
        (TEXTS, ["x", "y", "z"], ("x", "y", "z")),
        (TEXTS, (), ()),
        (TEXT, "", ""),
        (COUNT, 7, 7),
        (COUNT, "full", "full"),
        (SHARE, 1, 1.0),
        (NAME, "two", "two"),
        (LR, 0, 0.0),
        (LR, 1e308, 1e308),
        (RATIO, 2, 2.0),
        (RATIO, 0.5, 0.5),
        (BETA, 0.999999, 0.999999),
        (ON, True, 1.0),
        (ON, 0, 0.0),
        (EPS, 1e-300, 1e-300),
        (ANY, -3, -3.0),
    ],
)
def test_what_fits_is_recorded_in_one_type(setting, given, value):
    recorded = setting.check(given)
    assert recorded == value
    assert type(recorded) is type(value)
    assert setting.check(recorded) == recorded


@pytest.mark.parametrize(
    ("setting", "given", "right"),
    [
        (FLAG, 1, "true or false; the default is false"),
        (FLAG, "yes", "true or false; the default is false"),
        (TEXTS, "dense 10", "a list of texts; the default is a, b"),
        (TEXTS, ["a", 1], "a list of texts; the default is a, b"),
        (TEXT, 3, "text in quotation marks; the default is a"),
        (COUNT, 0, "a whole number of at least 1 or full; the default is 3"),
        (COUNT, 2.0, "a whole number of at least 1 or full; the default is 3"),
        (COUNT, True, "a whole number of at least 1 or full; the default is 3"),
        (COUNT, "all", "a whole number of at least 1 or full; the default is 3"),
        (FEW, 10, "a whole number between 1 and 9; the default is 3"),
        (SHARE, -0.1, "at least 0; the default is 0.5"),
        (NAME, "three", "one of one, two; the default is one"),
        (NAME, 1, "one of one, two; the default is one"),
        (LR, -1e-300, "at least 0; the default is 0.01"),
        (LR, "fast", "a number of at least 0; the default is 0.01"),
        (LR, True, "a number of at least 0; the default is 0.01"),
        (LR, math.inf, "a finite number of at least 0; the default is 0.01"),
        (LR, math.nan, "a finite number of at least 0; the default is 0.01"),
        (RATIO, 0.4, "between 0.5 and 2; the default is 1"),
        (RATIO, 2.1, "between 0.5 and 2; the default is 1"),
        (RATIO, [1], "a number between 0.5 and 2; the default is 1"),
        (BETA, 1, "at least 0 and below 1; the default is 0.9"),
        (BETA, 1.0, "at least 0 and below 1; the default is 0.9"),
        (BETA, -0.1, "at least 0 and below 1; the default is 0.9"),
        (ON, 0.5, "0 or 1; the default is 1"),
        (EPS, 0, "above 0; the default is 1e-06"),
        (ANY, "x", "a number; the default is 0.5"),
        (Text("text", None, ""), 3, "text in quotation marks"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_would(setting, given, right):
    with pytest.raises(SuiteError) as caught:
        setting.check(given)
    assert str(caught.value) == f"{setting.name} = {given!r} must be {right}"


def test_a_message_quotes_the_beginning_of_a_long_value():
    with pytest.raises(SuiteError) as caught:
        LR.check(10**400)
    assert str(caught.value).startswith(f"lr = 1{'0' * 59}… must be a finite number")


def test_ranges_say_what_a_setting_takes():
    settings = (FLAG, TEXTS, TEXT, COUNT, SHARE, FEW, NAME, LR, BETA, RATIO, ON, EPS, ANY)
    assert [setting.range for setting in settings] == [
        *("true | false", "list of texts", "text", "[1, ∞) | full", "[0, ∞)", "[1, 9]"),
        *("one | two", "[0, ∞)", "[0, 1)", "[0.5, 2]", "0 | 1", "(0, ∞)", "number"),
    ]
    assert Number("n", 0.0, "", low=-math.inf, high=1e6).range == "(-∞, 1000000]"


def test_columns_hold_numbers():
    assert LR.number(0.5) == 0.5
    assert Choice("place", "in", "", ("in", "out")).number("out") == 1.0


def test_completing_checks_what_is_given_and_adds_defaults():
    known = (LR, ON, NAME)
    assert complete("sgd", "setting", known, {"lr": 1}) == {"lr": 1.0, "on": 1.0, "name": "one"}
    completed = complete("sgd", "setting", known, {"on": False}, optional=("on", "name"))
    assert completed == {"lr": 0.01, "on": 0.0}
    for given, says in (
        ({"nam": 1}, "sgd has no setting 'nam'; did you mean 'name'?"),
        ({"rate": 1}, "sgd has no setting 'rate'; did you mean 'lr'?"),
        ({"lr": -1}, "sgd: lr = -1 must be at least 0; the default is 0.01"),
    ):
        with pytest.raises(SuiteError) as caught:
            complete("sgd", "setting", known, given, aliases={"rate": "lr"})
        assert str(caught.value) == says
