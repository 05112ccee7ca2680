"""Simplification, nodes that are made once, and programs."""

import math
import pickle

import numpy as np
import pytest

from optbench.device.cpu import NumpyDevice
from optbench.problems.expressions import Graph, compile_graph, gradient, parse
from tests.problems.expressions.independent import ours


def steps(text, *, partials=(), shapes=None):
    """The operations that are left of an expression, or of its derivatives."""
    shapes = shapes or {"x": (), "y": ()}
    expression = parse(text, shapes, {"A": (3, 3), "b": (3,)})
    graph = expression.graph
    results = [expression.result]
    if partials:
        results = gradient(graph, results[0], [graph.variable(n, shapes[n]) for n in partials])
    program = compile_graph(graph, results)
    return [step.operation for step in program.instructions], program


WITHOUT_STEPS = "0 + x; x - 0; 1*x*1; 0*exp(x); x/1; 0/x; x**1; x**0; 1**x; --x"
LEFT = {
    f"{WITHOUT_STEPS}; minimum(x, x); sin(1) + 2**3 - pi*e": [],
    "0 - x; -1*x": ["negative"],
    "2*3*x*4; 2*(3*x); -(2*x); (-x)*(-y); 2*(-x); x + x": ["multiply"],
    "1e200*(1e200*x); x*y + y*x": ["multiply", "multiply"],
    "x**0.5": ["sqrt"],
    "(-x)/y": ["divide", "negative"],
    "x + (-y); -y + x": ["subtract"],
    "x - (-y)": ["add"],
    "exp(x)*exp(x)": ["exp", "multiply"],
}
"""Operations that are left of expressions."""


@pytest.mark.parametrize(
    ("text", "left"), [(text, left) for texts, left in LEFT.items() for text in texts.split("; ")]
)
def test_what_needs_no_value_is_done_before(text, left):
    assert steps(text)[0] == left


@pytest.mark.parametrize(
    ("text", "left"),
    [
        *((text, []) for text in ("x*y", "3*x + y", "exp(y)")),
        ("x**2", ["multiply"]),
        ("x**3", ["power", "multiply"]),
        ("sqrt(x)", ["sqrt", "divide_or_zero"]),
    ],
)
def test_derivatives_hold_no_needless_arithmetic(text, left):
    assert steps(text, partials="x")[0] == left


def test_what_value_and_derivatives_share_is_computed_once():
    expression = parse("exp(x*y)", {"x": (), "y": ()}, {})
    graph = expression.graph
    partials = gradient(graph, expression.result, [graph.variable("x"), graph.variable("y")])
    program = compile_graph(graph, [expression.result, *partials])
    found = [step.operation for step in program.instructions]
    assert sorted(found) == ["exp", "multiply", "multiply", "multiply"]


def test_a_uniform_vector_stays_a_scalar_until_it_is_needed():
    shapes = {"x": (3,), "y": ()}
    assert steps("sum(y + 0*x)", shapes=shapes)[0] == ["multiply"]
    assert steps("sum(x)", partials="x", shapes=shapes)[0] == ["spread"]
    assert steps("sum(0*dot(A, 0*x) + x[0]*(0*x))", shapes=shapes)[0] == []
    assert steps("0*x[0] + sum(exp(0*x)) + (y + 0*x)[1] + y", shapes=shapes)[0].count("exp") == 0


def test_zero_minus_zero_and_nan_are_numbers_of_their_own():
    graph = Graph()
    assert graph.number(0.0) != graph.number(-0.0)
    assert graph.number(math.nan) == graph.number(math.nan)


def test_programs_can_be_pickled_and_need_no_deep_stack():
    text = "+".join(f"(x*{n})**2" for n in range(300))
    expression = parse(text, {"x": ()}, {})
    graph = expression.graph
    (slope,) = gradient(graph, expression.result, [graph.variable("x")])
    program = compile_graph(graph, [slope])
    again = pickle.loads(pickle.dumps(program))
    expected = 2 * 1.5 * sum(n**2 for n in range(300))
    found = again({"x": np.array([[1.5]])}, np, np.float64)[0]
    assert found.item() == pytest.approx(expected, rel=1e-14)
    assert program.work_values <= 302


def test_work_values_are_the_most_that_are_held():
    assert steps("x*y + exp(x)")[1].work_values == 3
    assert steps("sum(exp(x)*y)", shapes={"x": (5,), "y": ()})[1].work_values == 10
    assert steps("x")[1].work_values == 0


def test_every_array_is_let_go_after_its_last_use():
    _, program = steps("exp(exp(exp(x)))*x")
    assert [len(step.done) for step in program.instructions] == [0, 1, 1, 2]


TEXT = (
    "sum(exp(x)*sin(x) + tanh(x/3)*cos(x) + abs(x)**2.5 + log(x**2 + 1)) + sum(x[1:]*x[:-1])**2 "
    "+ dot(x, dot(A, exp(x/5))) + sqrt(dot(b, x)**2 + tan(s/9)) + s**17*x[3] + sum(dot(A, x)**3)"
)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [4, 7, 16, 33])
def test_a_lane_has_the_same_bits_whatever_its_company_and_its_place(n, dtype):
    rng = np.random.default_rng(3)
    constants = {"A": rng.normal(size=(n, n)).tolist(), "b": rng.normal(size=n).tolist()}
    points = [{"x": each, "s": 1.3} for each in rng.normal(size=(37, n))]
    whole = ours_by_coordinate(TEXT, points, constants, dtype)
    for first, stop in [(0, 1), (5, 6), (36, 37), (3, 12), (0, 16)]:
        part = ours_by_coordinate(TEXT, points[first:stop], constants, dtype)
        for one, all_ in zip(part, whole, strict=True):
            assert one.tobytes() == np.ascontiguousarray(all_[first:stop]).tobytes()


def ours_by_coordinate(text, points, constants, dtype):
    """As the engine stores functions: views of rows that hold each coordinate together."""
    n = len(points[0]["x"])
    rows = NumpyDevice().rows(len(points), n + 1, dtype, by_coordinate=True)
    rows[:, :n] = [point["x"] for point in points]
    rows[:, n] = [point["s"] for point in points]
    known = {name: np.shape(value) for name, value in constants.items()}
    expression = parse(text, {"x": (n,), "s": ()}, known)
    graph = expression.graph
    variables = [graph.variable("x", (n,)), graph.variable("s")]
    results = [expression.result, *gradient(graph, expression.result, variables)]
    arrays = {name: np.asarray(value, dtype=dtype)[None] for name, value in constants.items()}
    inputs = {"x": rows[:, :n], "s": rows[:, n:], **arrays}
    with np.errstate(all="ignore"):
        found = compile_graph(graph, results)(inputs, np, np.dtype(dtype))
    assert all(each.dtype == dtype for each in found)
    return found


def test_sums_lose_no_more_than_pairwise_sums_do():
    values = np.random.default_rng(8).uniform(0.5, 1.5, 1001).astype("float32")
    found, _ = ours("sum(x)", [{"x": values.tolist()}], dtype="float32")
    assert found[0] == pytest.approx(math.fsum(values.tolist()), rel=3e-7)
