"""Arguments of foreign constructors: what they take, how it is recorded, and what is refused."""

import inspect
import json
import math
import re
from collections import namedtuple
from dataclasses import MISSING
from enum import Enum
from pathlib import Path

import pytest

from optbench.errors import SuiteError
from optbench.optimizers import arguments, plugin
from optbench.optimizers.arguments import Argument, arguments_of
from optbench.optimizers.registry import get_optimizer


class Rule:
    """A constructor with an argument of every kind."""

    def __init__(
        self,
        params,
        lr=1e-3,
        betas=(0.9, 0.999),
        steps: int = 5,
        nesterov=False,
        mode="auto",
        bounds=(1e-6, 50, None),
        weights=[1.0, 2.0],  # noqa: B006 - as some libraries write it
        growth=math.inf,
        fused: bool | None = None,
        beta3: float | None = None,
        decay=None,
        name="x",
        table={},  # noqa: B006
        function=len,
        *rest,
        **more,
    ):
        pass


ALL = {each.name: each for each in arguments_of(Rule, ("params",))}


def test_what_can_be_recorded_is_found_in_order():
    assert list(ALL) == [
        *("lr", "betas", "steps", "nesterov", "mode", "bounds", "weights", "growth"),
        *("fused", "beta3", "decay"),
    ]


@pytest.mark.parametrize(
    ("name", "recorded", "value"),
    [
        ("lr", 1e-3, 1e-3),
        ("betas", "[0.9, 0.999]", (0.9, 0.999)),
        ("steps", 5.0, 5),
        ("nesterov", 0.0, False),
        ("mode", "auto", "auto"),
        ("bounds", "[1e-06, 50, null]", (1e-6, 50, None)),
        ("weights", "[1.0, 2.0]", [1.0, 2.0]),
        ("growth", "inf", math.inf),
        ("fused", "none", None),
        ("beta3", "none", None),
        ("decay", "none", None),
    ],
)
def test_a_default_is_recorded_and_comes_back(name, recorded, value):
    each = ALL[name]
    found = each.check(each.default)
    assert (found, type(found)) == (recorded, type(recorded))
    assert each.check(json.loads(json.dumps(found))) == recorded
    again = each.value(found)
    assert (again, type(again)) == (value, type(value))


@pytest.mark.parametrize(
    ("name", "given", "recorded", "value"),
    [
        ("lr", 1, 1.0, 1.0),
        ("steps", 7, 7.0, 7),
        ("steps", 0.5, 0.5, 0.5),
        ("nesterov", True, 1.0, True),
        ("nesterov", 1, 1.0, True),
        ("mode", "[1]", "[1]", "[1]"),
        ("betas", [0.5, 1], "[0.5, 1]", (0.5, 1)),
        ("betas", "[0.5,0.90]", "[0.5, 0.9]", (0.5, 0.9)),
        ("growth", 1.02, 1.02, 1.02),
        ("growth", math.inf, "inf", math.inf),
        ("fused", True, 1.0, True),
        ("fused", 0, 0.0, False),
        ("fused", "none", "none", None),
        ("beta3", 1, 1.0, 1.0),
        ("decay", 3, 3.0, 3),
        ("decay", 0.3, 0.3, 0.3),
        ("decay", [1, 2.5], "[1, 2.5]", (1, 2.5)),
        ("decay", "linear", "linear", "linear"),
        ("decay", 0, 0.0, 0),
    ],
)
def test_a_value_is_recorded_and_decoded(name, given, recorded, value):
    found = ALL[name].check(given)
    assert (found, type(found)) == (recorded, type(recorded))
    assert ALL[name].check(found) == found
    again = ALL[name].value(found)
    assert (again, type(again)) == (value, type(value))


NO_VALUES = [math.nan, math.inf, -math.inf, {}, {"a": 1}, [math.nan], [[1]], 10**400, object()]


@pytest.mark.parametrize("name", [name for name in ALL if name != "growth"])
@pytest.mark.parametrize("value", NO_VALUES, ids=lambda each: str(each)[:12])
def test_what_cannot_be_recorded_is_refused(name, value):
    with pytest.raises(SuiteError) as caught:
        ALL[name].check(value)
    assert str(caught.value).startswith(f"{name} = ")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("lr", "a", "lr = 'a' must be a number; the default is 0.001"),
        ("lr", True, "lr = True must be a number; the default is 0.001"),
        ("betas", 0.9, "betas = 0.9 must be a list of numbers; the default is [0.9, 0.999]"),
        ("betas", "0.9", "betas = '0.9' must be a list of numbers; the default is [0.9, 0.999]"),
        ("nesterov", 2, "nesterov = 2 must be 0 or 1; the default is 0"),
        ("mode", 2, "mode = 2 must be text in quotation marks; the default is auto"),
        ("growth", -math.inf, "growth = -inf must be a finite number; the default is inf"),
    ],
)
def test_what_is_of_another_kind_is_refused(name, value, message):
    with pytest.raises(SuiteError) as caught:
        ALL[name].check(value)
    assert str(caught.value).startswith(message)


def test_a_column_holds_numbers_only():
    assert ALL["lr"].number(0.5) == 0.5
    assert math.isnan(ALL["betas"].number("[0.9, 0.999]"))


def test_ranges_are_a_few_words():
    ranges = {name: each.range for name, each in ALL.items()}
    assert ranges == {
        "lr": "number",
        "betas": "list",
        "steps": "number",
        "nesterov": "0 | 1",
        "mode": "text",
        "bounds": "list",
        "weights": "list",
        "growth": "number | inf",
        "fused": "0 | 1 | none",
        "beta3": "number | none",
        "decay": "number, list or text | none",
    }


def test_one_without_a_default_has_to_be_given():
    lr, steps = arguments_of(lambda lr, *, steps: None)
    assert (lr, steps) == (Argument("lr", None, "", True), Argument("steps", None, "", True))
    whole = "; if it takes an object, name a function that makes the optimizer"
    for each, example in ((lr, "lr = 0.001"), (steps, f"steps = VALUE{whole}")):
        with pytest.raises(SuiteError, match=f"{each.name} has no default; give one") as caught:
            each.check(None)
        assert str(caught.value).endswith(f"give one, as {example}")
    assert lr.value(lr.check(0.1)) == 0.1
    assert lr.check("none") == "none" == lr.value("none")


class Token(Enum):
    MISSING = 0


class Mode(Enum):
    FAST = 0
    SLOW = 1


class Required:
    def __repr__(self):
        return "<required parameter>"


class Mean:
    def reduce(self, values):
        return sum(values) / len(values)


@pytest.mark.parametrize(
    "marker", [object(), Required(), Required, Token.MISSING, MISSING, inspect.Parameter.empty, ...]
)
def test_a_default_that_only_marks_an_argument_as_missing_is_none(marker):
    def rule(lr=marker, momentum: float = marker):
        pass

    lr, momentum = arguments_of(rule)
    assert lr == Argument("lr", None, "", True, marked=marker is not inspect.Parameter.empty)
    with pytest.raises(SuiteError, match=r"lr has no default; give one, as lr = 0\.001"):
        lr.check(None)
    assert momentum.value(momentum.check(1)) == 1.0
    assert momentum.range == "number"


@pytest.mark.parametrize(
    "default", [Mode.FAST, Mean(), Mean, int, len, {}, 1j, b"text", re.compile("a"), Path("a")]
)
def test_an_argument_whose_default_no_suite_can_give_keeps_it(default):
    assert arguments_of(lambda lr=default: None) == ()


def test_numbers_of_other_libraries_and_named_tuples_are_numbers_and_lists():
    np = pytest.importorskip("numpy")
    pair = namedtuple("pair", "a b")

    def rule(eps=np.float64(1e-8), both=pair(0.1, 0.2)):  # noqa: B008
        pass

    eps, both = arguments_of(rule)
    assert eps.check(eps.default) == 1e-8
    assert both.check(both.default) == "[0.1, 0.2]"


def test_what_has_no_signature_says_so():
    class Odd:
        __signature__ = "params, lr"

    with pytest.raises(SuiteError, match="Odd does not say which arguments it takes"):
        arguments_of(Odd)


@pytest.mark.parametrize("library", ["torch", "optax"])
def test_a_library_that_is_missing_is_named_with_its_extra(library, monkeypatch):
    monkeypatch.setattr(plugin, "find_spec", lambda name: None)
    with pytest.raises(SuiteError) as caught:
        get_optimizer(f"{library}:adam")
    assert str(caught.value) == (
        f"'{library}:adam' needs {library}, which is not installed; "
        f"pip install 'optbench[{library}]'"
    )


def test_reserved_names_are_those_of_an_entry():
    from optbench.suite.format import OptimizerEntry

    assert set(arguments.RESERVED) == set(OptimizerEntry.model_fields)
