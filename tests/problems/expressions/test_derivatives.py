"""Values and derivatives against Python's own evaluation with a complex step, and closed forms."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.problems.expressions.independent import evaluate, ours

SCALARS = [
    "x**2/20 + y**2",
    "(1 - x)**2 + 100*(y - x**2)**2",
    "x*y - y/x",
    "-x**2*-y",
    "exp(-x)*sin(x*y) + cos(y)**3",
    "log(x**2 + y**2) + tan(x/2) + tanh(x - y)",
    "sqrt(x**2 + y**2)",
    "x**y + 2**x + x**2.5 + x**-3 + x**0.3 + x**17",
    "minimum(x, y)*maximum(x*y, 1) + abs(x - 2*y)",
    "1/(1 + exp(-5*(x**2 + y**2 - 1)))",
    "-20*exp(-0.2*sqrt((x**2 + y**2)/2)) - exp((cos(2*pi*x) + cos(2*pi*y))/2) + e + 20",
    "x - (y - (x - 3)) - -(x*-y) + (-x)*(-y) + (-x)/y - x/(-y)",
    "(-2)*(3*x)*(-1) + 0*y + 1*y + 0/x + x/1 + x**1 + x**0 + 1**y",
    "x + x + y - 0 + (0 - y) + (x + -y) + (-y + x) + minimum(x, x)",
    "e**x - pi",
    "sinh(x - y)*cosh(y) + arctan(x*y) + log10(x)/y + ln(y)",
    "sign(x - y)*x + sign(y)*y**2",
    "max(x, y, 0.9)*min(x*y, 1)",
    "where(x < y, sin(x)*y, x**2) + where(x*y >= 1, 2, x)",
    "where((x < 1) & (y > 0.5), x/y, -x) + where((x > 1) | (y > 1), x*y, y)",
    "where(0.5 < x <= 1 < y + 0.3, x, y)**2",
    "np.sin(x)*np.exp(y) - np.pi*x",
    "x",
    "+x",
    "3",
]
VECTORS = [
    "sum(x)",
    "sum(x**2)",
    "sum(100*(x[1:] - x[:-1]**2)**2 + (1 - x[:-1])**2)",
    "dot(x, x) + dot(b, x) - s*x[0]*x[-1]",
    "dot(x, dot(A, x))/2 - dot(b, x)",
    "dot(dot(x, A), dot(A, x)) + sum(dot(A, b + x))",
    "sum(exp(dot(A, sin(x)*s))) + sum(x)*sum(x*b)",
    "sqrt(sum(x**2))/s + sum(abs(x)*minimum(x, s)) + maximum(sum(x), 1)",
    "sum(s + x)*sum(-x/s) + sum(s**x) + sum(x**s)",
    "sum(x[1:3]) + sum(x[-2:]*x[:2]) + sum(x[2:3]) + x[3]",
    "sum((x[1:] - s)[1:])**2 + sum((-x)[:1])",
    "sum(b) + dot(b, b) + 0*s + sum(0*x)",
    "x[0]**2 + 10*x[1]**4 + exp(x[2]) + 0*sum(x)",
    "sum(dot(A, x*0 + 1)) + s",
    "sum(dot(B, x[:3])) + sum(dot(x, B)*c)",
    "a*sum(x) + s**a",
    "prod(x) + prod(x[:3])*s - prod(x[:1]) + prod(x + s)",
    "mean(x**2)*s + mean(x) + norm(x - b)*norm(dot(B, x[:3]))",
    "max(x)*s + min(x*b) - max(abs(x - s)) + sum(max(x, s))",
    "sum(where(x < s, x**2, s*x)) + sum(where(b > 0, x, 0))",
    "sum(dot(A, where(x > s, log(x), x*s)))",
]
RNG = np.random.default_rng(5)
CONSTANTS = {
    "A": RNG.normal(size=(4, 4)).tolist(),
    "B": RNG.normal(size=(4, 3)).tolist(),
    "b": RNG.normal(size=4).tolist(),
    "c": RNG.normal(size=3).tolist(),
    "a": 1.5,
}


def check(text, points, constants=None, device=None):
    values, grads = ours(text, points, constants, device)
    for lane, point in enumerate(points):
        value, expected = evaluate(text, point, constants)
        assert values[lane] == pytest.approx(value, rel=1e-12, abs=1e-12)
        np.testing.assert_allclose(
            grads[lane], expected, rtol=1e-11, atol=1e-12 * max(1, np.abs(expected).max())
        )


@pytest.mark.parametrize("text", SCALARS)
def test_scalars(text, core_device):
    points = [{"x": x, "y": y} for x, y in RNG.uniform(0.2, 1.4, (7, 2))]
    check(text, points, device=core_device)


@pytest.mark.parametrize("text", VECTORS)
def test_vectors(text, core_device):
    points = [{"x": x.tolist(), "s": 0.7} for x in RNG.uniform(0.2, 1.4, (5, 4))]
    check(text, points, CONSTANTS, core_device)


def test_central_differences_agree_as_well():
    """The complex step shares the chain rule's idea; the difference quotient shares nothing."""
    text = "exp(-x)*sin(x*y) + abs(x - 3)*maximum(y, x**1.5) + log(tanh(x) + 2)"

    def f(x, y):
        waves, kinks = math.exp(-x) * math.sin(x * y), abs(x - 3) * max(y, x**1.5)
        return waves + kinks + math.log(math.tanh(x) + 2)

    h, (x, y) = 1e-5, (0.8, 0.3)
    values, grads = ours(text, [{"x": x, "y": y}])
    assert values[0] == pytest.approx(f(x, y), rel=1e-14)
    assert grads[0, 0] == pytest.approx((f(x + h, y) - f(x - h, y)) / (2 * h), rel=1e-8)
    assert grads[0, 1] == pytest.approx((f(x, y + h) - f(x, y - h)) / (2 * h), abs=1e-8)


FLAT_AT_ZERO = ("x**2", "x**3", "x**1.5", "x**0.5", "x**0.25", "x*x", "abs(x)", "minimum(x, -x)")
FLAT_AT_ZERO += ("sqrt(x)", "sqrt(x**2)", "(x**4)**0.25", "sqrt(abs(x))")


@pytest.mark.parametrize(
    ("text", "x", "value", "slope"),
    [
        *((text, 0.0, 0.0, 0.0) for text in FLAT_AT_ZERO),
        ("x**1", 0.0, 0.0, 1.0),
        ("x**0", 0.0, 1.0, 0.0),
        ("x*exp(x)", 0.0, 0.0, 1.0),
        ("maximum(x, 0)", 0.0, 0.0, 0.5),
        ("maximum(0, x)", -1.0, 0.0, 0.0),
        ("maximum(0, x)", 1.0, 1.0, 1.0),
        ("x**x", 1.0, 1.0, 1.0),
        ("0**x", 2.0, 0.0, 0.0),
        ("2**x", 0.0, 1.0, math.log(2)),
        ("(-2)**2*x", 0.5, 2.0, 4.0),
        ("x**-1", -2.0, -0.5, -0.25),
        ("(x - 1)**3", -1.0, -8.0, 12.0),
        ("tanh(x)", 400.0, 1.0, 0.0),
        ("sign(x)", 0.0, 0.0, 0.0),
        ("sign(x)*x", -2.0, 2.0, -1.0),
        ("cosh(x)", 0.0, 1.0, 0.0),
        ("arctan(x)", 1.0, math.pi / 4, 0.5),
        ("log10(x)", 100.0, 2.0, 0.01 / math.log(10)),
        ("where(x < 0, -2*x, 3*x)", 0.0, 0.0, 3.0),
        ("where(x <= 0, -2*x, 3*x)", 0.0, 0.0, -2.0),
        ("where(x != 0, sin(x)/x, 1)", 0.0, 1.0, 0.0),
        ("where(x > 0, x*log(x), 0)", -1.0, 0.0, 0.0),
        ("where(x > 0, log(x), x**2)", -3.0, 9.0, -6.0),
        ("where(not x >= 0, 1/x, (x + 2)**2)", 0.0, 4.0, 4.0),
        ("where(x < 2, where(x > 0, 1/x, 5*x), exp(1000*x))", 0.0, 0.0, 5.0),
        ("where(x > 0, x**0.3*x**-2, x)", 0.0, 0.0, 1.0),
        ("3*where(x > 0, log(tan(x)**-3), 7*x) + x", 0.0, 0.0, 22.0),
    ],
)
def test_at_the_places_where_rules_go_wrong(text, x, value, slope, core_device):
    values, grads = ours(text, [{"x": x}, {"x": 0.5}], device=core_device)
    assert (values[0], grads[0, 0]) == (pytest.approx(value), pytest.approx(slope))


def test_powers_of_variables_at_zero():
    """u**v: the power itself is 1 at v = 0 and 0 at u = 0, and stays so."""
    places = [(0.0, 2.0), (0.0, 1.0), (0.0, 0.0), (-2.0, 3.0)]
    points = [{"x": x, "y": y} for x, y in places]
    values, grads = ours("x**y", points)
    assert values.tolist() == [0.0, 0.0, 1.0, -8.0]
    assert grads[:3].tolist() == [[0.0, 0.0], [1.0, 0.0], [0.0, 0.0]]
    assert grads[3, 0] == 12.0
    assert math.isnan(grads[3, 1])


def test_the_norm_at_its_minimum_has_no_slope():
    values, grads = ours("sqrt(sum(x**2))", [{"x": [0.0, 0.0, 0.0]}, {"x": [3.0, 0.0, 4.0]}])
    assert values.tolist() == [0.0, 5.0]
    np.testing.assert_allclose(grads, [[0, 0, 0], [0.6, 0, 0.8]], rtol=1e-15)


def test_coordinates_of_the_branch_not_taken_contribute_nothing():
    points = [{"x": [-1.0, 4.0, 0.0]}]
    values, grads = ours("sum(where(x > 0, sqrt(x)*log(x), -x))", points)
    assert values[0] == pytest.approx(1.0 + 2.0 * math.log(4.0))
    np.testing.assert_allclose(grads[0], [-1.0, math.log(4.0) / 4.0 + 0.5, -1.0], rtol=1e-14)


@pytest.mark.parametrize(
    ("text", "grads"),
    [
        ("max(x)", [0.0, 0.5, 0.5]),
        ("min(x)", [1.0, 0.0, 0.0]),
        ("sum(max(x, 2))", [0.0, 0.5, 0.5]),
        ("max(x - x[1:2][0]*0)", [0.0, 0.5, 0.5]),
    ],
)
def test_ties_share_the_derivative(text, grads, core_device):
    _, found = ours(text, [{"x": [-1.0, 2.0, 2.0]}], device=core_device)
    assert found[0].tolist() == grads


@pytest.mark.parametrize(
    ("x", "grads"),
    [
        ([2.0, 3.0, 5.0, 7.0, 11.0], [1155.0, 770.0, 462.0, 330.0, 210.0]),
        ([2.0, 0.0, 5.0, 7.0, 11.0], [0.0, 770.0, 0.0, 0.0, 0.0]),
        ([2.0, 0.0, 5.0, 0.0, 11.0], [0.0, 0.0, 0.0, 0.0, 0.0]),
    ],
)
def test_products_have_derivatives_where_factors_are_zero(x, grads, core_device):
    _, found = ours("prod(x)", [{"x": x}], device=core_device)
    assert found[0].tolist() == grads


def test_poles_are_infinite_and_edges_are_no_numbers():
    values, grads = ours("1/x + log(x)", [{"x": 0.0}, {"x": -1.0}])
    assert not np.isfinite(values).any()
    assert not np.isfinite(grads[0, 0])


def names(*leaves):
    return st.sampled_from(leaves) | st.floats(0.25, 3).map(lambda value: f"{value:.3g}")


def combined(inner):
    two = st.tuples(inner, inner)
    return st.one_of(
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda p: f"({p[0]}){p[1]}({p[2]})"),
        st.tuples(inner, st.sampled_from("23")).map(lambda p: f"({p[0]})**{p[1]}"),
        inner.map(lambda p: f"-({p})"),
        st.tuples(
            st.sampled_from(["exp", "sin", "cos", "tanh", "abs", "log", "sqrt", "tan"]), inner
        ).map(lambda p: f"{p[0]}({p[1]})"),
        st.tuples(st.sampled_from(["minimum", "maximum"]), two).map(
            lambda p: f"{p[0]}({p[1][0]}, {p[1][1]})"
        ),
    )


scalar_texts = st.recursive(names("x", "y", "pi", "x"), combined, max_leaves=8)
vector_texts = st.recursive(
    names("x", "x", "b", "s", "dot(A, x)", "x[0]", "sum(x)", "dot(x, b)"), combined, max_leaves=6
).map(lambda text: f"sum({text} + x)")


def compare(text, point, constants=None):
    value, expected = evaluate(text, point, constants)
    assume(math.isfinite(value) and np.isfinite(expected).all())
    size = max(abs(value), np.abs(expected).max())
    assume(size < 1e6)
    values, grads = ours(text, [point], constants)
    assert values[0] == pytest.approx(value, rel=1e-9, abs=1e-9)
    np.testing.assert_allclose(grads[0], expected, rtol=1e-7, atol=1e-8 * max(1.0, size))


@given(scalar_texts, st.floats(0.3, 2), st.floats(-2, -0.3))
def test_random_expressions(text, x, y):
    compare(text, {"x": x, "y": y})


@given(vector_texts, st.integers(0, 1000))
def test_random_expressions_of_vectors(text, seed):
    # Drawn apart from each other and from 0, since at kinks the independent way is one-sided.
    *x, s = np.random.default_rng(seed).uniform(0.3, 1.5, 5) * [1, -1, 1, -1, 1]
    constants = {name: CONSTANTS[name] for name in ("A", "b") if name in text.replace("abs", "")}
    compare(text, {"x": x, "s": s}, constants)
