"""A function given as an expression, as a problem: options, starts, what is recorded, and runs."""

import json
import math
import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optbench.errors import SuiteError
from optbench.problems.expressions import ExpressionError
from optbench.problems.expressions.function import ExpressionFunction
from tests.problems.functions.points import at
from tests.refusal import refusal
from tests.small import anisotropic, run_suite, suite

ROSENBROCK = "sum(100*(x[1:] - x[:-1]**2)**2 + (1 - x[:-1])**2)"
BOWL = {
    "expression": "dot(x, dot(A, x))/2 - dot(b, x) + a*s**2",
    "start": {"x": [1, -2], "s": 3},
    "constants": {"A": [[2, 1], [1, 3]], "b": [0.5, 1], "a": 2},
}


def make(expression="x**2/20 + y**2", **given):
    given = {"expression": expression, **given}
    options = {each.name: each for each in ExpressionFunction.options}
    assert given.keys() <= options.keys()
    return ExpressionFunction(
        {name: each.check(given.get(name, each.default)) for name, each in options.items()}
    )


def test_the_default_is_the_textbooks_valley(core_device):
    function, same = make(), anisotropic()
    points = np.random.default_rng(1).normal(size=(9, 2)) * 5
    for one, other in zip(at(function, points, core_device), at(same, points), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-15)
    assert function.start(0).tolist() == [-7.0, 2.0]
    assert (function.variables, function.minima) == (("x", "y"), ())
    assert function.domain == ((-10.0, 10.0), (-10.0, 10.0))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_vectors_matrices_and_numbers(core_device, dtype):
    function = make(**BOWL, dtype=dtype)
    assert [(each.name, each.shape) for each in function.tensors] == [("s", ()), ("x", (2,))]
    assert function.variables == ("s", "x[0]", "x[1]")
    assert function.start(3).tolist() == [3.0, 1.0, -2.0]
    assert function.domain == ((-5.0, 5.0),) * 3
    points = np.random.default_rng(2).normal(size=(6, 3))
    loss, grads = at(function, points, core_device)
    assert loss.dtype == grads.dtype == dtype
    A, b = np.array(BOWL["constants"]["A"]), np.array(BOWL["constants"]["b"])
    tolerance = {"rtol": 1e-5, "atol": 1e-5} if dtype == "float32" else {"rtol": 1e-13}
    for lane, (s, *x) in enumerate(points):
        value = x @ A @ x / 2 - b @ x + 2 * s**2
        np.testing.assert_allclose(loss[lane], value, **tolerance)
        np.testing.assert_allclose(grads[lane], [4 * s, *(A @ x - b)], **tolerance)


def test_rosenbrock_in_many_dimensions_against_differences():
    function = make(ROSENBROCK, start={"x": [-1.2, 1.0] * 10})

    def f(x):
        return sum(100 * (b - a**2) ** 2 + (1 - a) ** 2 for a, b in pairwise(x))

    points, h = np.random.default_rng(3).normal(size=(3, 20)), 1e-6
    loss, grads = at(function, points)
    for lane, point in enumerate(points):
        assert loss[lane] == pytest.approx(f(point), rel=1e-13)
        slopes = [(f(point + step) - f(point - step)) / (2 * h) for step in np.eye(20) * h]
        np.testing.assert_allclose(grads[lane], slopes, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("text", ["x", "3 + 0*x", "0*x*y + 2*y", "dot(b, b) + 0*x", "x*0 + b[1]"])
def test_results_without_variables_are_given_to_each_lane(text, core_device):
    names = {"x": 1, "y": 2} if "y" in text else {"x": 1}
    function = make(text, start=names, constants={"b": [1, 2]} if "b" in text else {})
    loss, grads = at(function, np.full((4, len(names)), 1.5), core_device)
    expected = {"x": 1.5, "3 + 0*x": 3.0, "0*x*y + 2*y": 3.0, "dot(b, b) + 0*x": 5.0}
    assert loss.tolist() == [expected.get(text, 2.0)] * 4
    assert grads.tolist() == [{"x": [1.0], "0*x*y + 2*y": [0.0, 2.0]}.get(text, [0.0])] * 4


def test_values_at_points_are_those_of_the_engine():
    function = make(**BOWL)
    points = np.random.default_rng(4).normal(size=(5, 3))
    value, partials = function.value_and_grad(tuple(points.T), np)
    loss, grads = at(function, points)
    np.testing.assert_allclose(value, loss, rtol=1e-14)
    np.testing.assert_allclose(np.stack(partials, axis=1), grads, rtol=1e-14)


def test_variables_come_in_natural_order():
    function = make("x10 + x2**2 + b", start={"x10": 1, "x2": 2, "b": 3})
    assert function.variables == ("b", "x2", "x10")
    assert function.start(0).tolist() == [3.0, 2.0, 1.0]
    assert make("y + x", start={"y": 1, "x": 2}).variables == ("x", "y")


def test_the_surface_covers_the_domain_and_may_be_infinite():
    surface = make("log(x) + 1/y", start={"x": 1, "y": 1}, domain={"x": [-1, 1]}).surface()
    assert (surface["x"].min(), surface["x"].max()) == (-1.0, 1.0)
    assert (surface["y"].min(), surface["y"].max()) == (-2.0, 2.0)
    inside = (surface["x"] > 0) & (surface["y"] != 0)
    expected = np.log(surface["x"][inside]) + 1 / surface["y"][inside]
    np.testing.assert_allclose(surface["value"][inside], expected)
    np.testing.assert_allclose(surface["gradient_x"][inside], 1 / surface["x"][inside])
    assert not np.isfinite(surface["value"][~inside]).any()
    assert make("sum(x**2)", start={"x": [1, 2]}).surface()["value"].max() == 50.0
    assert make(ROSENBROCK, start={"x": [1, 2, 3]}).surface() is None


@pytest.mark.parametrize(
    ("start", "reach"),
    [(0, 1), (0.5, 1), (0.9, 2), (20, 50), (-7, 10), (1e-9, 2e-9), (1e100, 2e100)],
)
def test_the_domain_is_a_square_around_the_origin_with_the_start_in_it(start, reach):
    ((low, high),) = make("x**2", start={"x": start}).domain
    assert (low, high) == (pytest.approx(-reach), pytest.approx(reach))


def test_what_nobody_gave_of_the_domain_is_a_guess_and_not_a_setting():
    half = make("x**2 + y**2", start={"x": 1, "y": 2}, domain={"x": [0, 3]})
    assert half.domain == ((0.0, 3.0), (-5.0, 5.0))
    assert half.guessed == (False, True)
    assert half.settings["domain"] == {"x": [0.0, 3.0]}
    assert half.describe()["plot"]["guessed"] == [False, True]


def test_the_fingerprint_is_that_of_what_is_minimised():
    plain = make("x**2 + y**2", start={"x": 1, "y": 2})
    assert plain.definition() == {
        "kind": "function",
        "name": "function",
        "formula": "x**2 + y**2",
        "start": {"x": 1.0, "y": 2.0},
        "constants": {},
        "record": "before",
        "dtype": "float64",
    }
    same = make(" (x**2.0)+y ** 2", start={"y": 2.0, "x": 1.0}, domain={"x": [0, 3]})
    assert same.fingerprint == plain.fingerprint
    others = [
        make("x**2 + y**3", start={"x": 1, "y": 2}),
        make("x**2 + y**2", start={"x": 1, "y": 3}),
        make("x**2 + y**2", start={"x": 1, "y": 2}, dtype="float32"),
        make("x**a + y**2", start={"x": 1, "y": 2}, constants={"a": 2}),
        make("x**a + y**2", start={"x": 1, "y": 2}, constants={"a": 3}),
    ]
    assert len({each.fingerprint for each in [plain, *others]}) == 6


def test_what_is_recorded_makes_the_same_problem_again():
    function = make(**BOWL)
    again = make(**json.loads(json.dumps(function.settings)))
    assert again.settings == function.settings
    assert again.fingerprint == function.fingerprint
    described = function.describe()
    assert described["formula"] == BOWL["expression"]
    assert len(described["plot"]["domain"]) == len(described["variables"]) == 3
    json.dumps(described, allow_nan=False)


def test_a_problem_can_be_sent_to_a_worker():
    function = make(**BOWL)
    again = pickle.loads(pickle.dumps(function))
    points = np.ones((2, 3))
    assert at(again, points)[0].tobytes() == at(function, points)[0].tobytes()


def test_data_stay_where_they_are():
    function = make(**BOWL)
    first, second = function.data(), function.data()
    assert set(first) == {"A", "b"}
    assert all(first[name] is second[name] for name in first)
    assert not any(array.flags.writeable for array in first.values())


X = {"start": {"x": 1}}
NUMBERS = "must be a number or a list"
NO_VALUES = (True, "1", [], [[1]], math.nan, 1e101)
RAGGED = ([[1], [2, 3]], [[]], [[[1]]], [1, [2]])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"expression": "x"}, "function: the start is missing; give each variable a value"),
        ({"expression": "x", "start": {}}, "the start is missing"),
        ({"start": 3}, "start = 3 must be a table, such as {x = -7, y = 2}"),
        *(({"start": {"x": bad}}, f"start: x = {bad!r} {NUMBERS}") for bad in NO_VALUES),
        ({"start": {"x": 10**400}}, "… must be a number or a list of numbers, none beyond 1e+100"),
        ({"start": {"exp": 1}}, "start: 'exp' already has a meaning; choose another name"),
        ({"start": {"e": 1}}, "start: 'e' already has a meaning"),
        ({"start": {"x y": 1}}, "start: 'x y' cannot be a name; use letters and digits"),
        ({"start": {"lambda": 1}}, "start: 'lambda' cannot be a name"),
        ({"start": {"ﬁ": 1}}, "start: 'ﬁ' cannot be a name"),
        ({"expression": 3}, "expression = 3 must be text in quotation marks"),
        ({"expression": "x", "start": {"x": 1, "y": 2}}, "start: 'y' is not in the expr"),
        ({"expression": "x", **X, "constants": {"b": 2}}, "constants: 'b' is not in"),
        ({"expression": "3", **X}, "start: 'x' is not in the expression; known are none"),
        ({"expression": "x", **X, "constants": {"x": 2}}, "'x' has a start and is a constant"),
        *(({"constants": {"A": bad}}, f"constants: A = {bad} {NUMBERS}") for bad in RAGGED),
        ({"domain": {"z": [1, 2]}}, "domain: unknown variable 'z'; known are x, y"),
        ({"domain": {"x": [2, 1]}}, "domain: x = [2, 1] must rise"),
        ({"domain": {"x": [1, 2, 3]}}, "domain: x = [1, 2, 3] must be a list of two numbers"),
        ({"domain": {"x": 3}}, "domain: x = 3 must be a list of two numbers"),
        ({"start": {"x": 1e50, "y": 0}, "dtype": "float32"}, "1e+50 is too large for float32"),
        ({"expression": "1e50*x", **X, "dtype": "float32"}, "1e+50 is too large for float32"),
        (
            {"expression": "x*sum(b)", **X, "constants": {"b": [1, 1e50]}, "dtype": "float32"},
            "1e+50 is too large for float32; use float64",
        ),
        ({"dtype": "float16"}, "dtype = 'float16' must be one of"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(given, says):
    assert says in refusal(SuiteError, make, **given)


def test_a_mistake_in_the_expression_is_shown_with_a_caret():
    with pytest.raises(ExpressionError) as caught:
        make("x + y", start={"x": 1})
    assert str(caught.value).split("\n") == [
        "function: unknown name 'y': the start gives it no value, and it is not a constant; "
        "known are x, pi, e",
        "    x + y",
        "        ^",
    ]


@given(st.text(max_size=30))
def test_no_text_leads_to_anything_but_a_problem_or_a_complaint(text):
    try:
        make(text, start={"x": 1})
    except SuiteError as error:
        text = str(error)
    assert isinstance(text, str)


def test_a_power_of_a_negative_number_is_data_not_a_complaint():
    """Its slope has no real value; a lane that runs into it diverges."""
    _, grads = at(make("(-2)**x", start={"x": 2}), [[2.0]])
    assert np.isnan(grads).all()


def test_options_say_what_they_take():
    ranges = {each.name: each.range for each in ExpressionFunction.options}
    assert ranges["expression"] == "text"
    assert ranges["start"] == "{x = -7, y = 2}"
    for option in ExpressionFunction.options:
        assert option.check(option.default) == option.default
        assert option.meaning


@pytest.mark.parametrize("given", [{}, BOWL], ids=["scalars", "vectors"])
def test_lanes_run_on_every_device_and_keep_their_bits(given, core_device):
    learning_rates = [{"lr": 0.01 * number} for number in range(1, 8)]
    settled = suite(make(**given), optimizers=[("sgd", learning_rates)], seeds=(0, 1, 2))
    outcomes = run_suite(settled, device=core_device)
    assert all(outcome.result.status == "done" for outcome in outcomes.values())
    assert all(outcome.loss[-1] < outcome.loss[0] for outcome in outcomes.values())
    position = outcomes[0].position
    assert position.shape == (21, make(**given).parameters)
    alone = run_suite(
        suite(make(**given), optimizers=[("sgd", learning_rates[2:3])]), device=core_device
    )
    (same,) = [
        each
        for each in outcomes.values()
        if each.lane.seed == 0 and each.lane.hyperparameters["lr"] == learning_rates[2]["lr"]
    ]
    assert alone[0].bits == same.bits
