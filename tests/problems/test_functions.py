"""Functions of a few variables: values, gradients, minima, and what figures need of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optbench.arrays import stack
from optbench.problems import PROBLEMS
from optbench.problems.functions import Anisotropic, Function, Quadratic1D
from optbench.records import SURFACE_COLUMNS
from optbench.workspace import Workspace
from tests.small import anisotropic, problem, quadratic

FUNCTIONS = [kind for kind in PROBLEMS.values() if issubclass(kind, Function)]

FORMULAS = {
    "anisotropic": lambda x, y: x**2 / 20 + y**2,
    "quadratic-1d": lambda x: x**2 + x + 1,
}

# Coordinate-wise so that points can be drawn for functions of any number of variables.
coordinates = st.lists(st.floats(-20, 20), min_size=3, max_size=3)


def at(function: Function, points: np.ndarray):
    """Loss and gradients at points (lanes, variables), as the engine asks for them."""
    params = stack(points.copy(), function.tensors, np)
    grads = stack(np.full_like(points, np.nan), function.tensors, np)
    loss = function.loss_and_grad(params, grads, {}, work=Workspace(np))
    assert function.loss(params, {}, work=Workspace(np)).tobytes() == loss.tobytes()
    assert params.rows.tobytes() == points.tobytes()
    return loss, grads.rows


def test_every_function_has_its_formula_here():
    assert {kind.name for kind in FUNCTIONS} == set(FORMULAS)


@pytest.mark.parametrize("kind", FUNCTIONS)
@given(coordinates, coordinates)
def test_values_follow_the_formula_and_gradients_its_differences(kind, one, other):
    function, formula = problem(kind), FORMULAS[kind.name]
    points = np.array([one, other])[:, : len(kind.variables)]
    loss, grads = at(function, points)
    h = 1e-4
    for lane, point in enumerate(points):
        assert loss[lane] == pytest.approx(formula(*point), rel=1e-12)
        for index in range(len(point)):
            shift = h * np.eye(len(point))[index]
            difference = (formula(*(point + shift)) - formula(*(point - shift))) / (2 * h)
            assert grads[lane, index] == pytest.approx(difference, abs=1e-6)


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_minima_are_minima(kind):
    function = problem(kind)
    nearby = np.random.default_rng(11).normal(size=(50, len(kind.variables))) * 0.1
    for minimum in kind.minima:
        loss, grads = at(function, np.array([minimum.position]))
        assert loss[0] == minimum.value
        assert not grads.any()
        assert (at(function, np.array(minimum.position) + nearby)[0] > minimum.value).all()


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_start_and_minima_lie_in_the_domain_of_figures(kind):
    for point in (kind.origin, *(minimum.position for minimum in kind.minima)):
        for value, (low, high) in zip(point, kind.domain, strict=True):
            assert low < value < high


def test_the_textbooks_functions_are_the_textbooks():
    assert Anisotropic.origin == (-7.0, 2.0)
    assert Anisotropic.default_iterations == 30
    assert Anisotropic.domain == ((-10.0, 10.0), (-10.0, 10.0))
    assert max(Anisotropic.levels) == 7.0
    assert Quadratic1D.origin == (20.0,)
    assert Quadratic1D.default_iterations == 25
    assert Quadratic1D.minima[0].position == (-0.5,)


@pytest.mark.parametrize("seed", [0, 7])
def test_the_start_does_not_depend_on_the_seed(seed):
    start = anisotropic().start(seed)
    assert start.tolist() == [-7.0, 2.0]
    assert start.dtype == np.float64


def test_the_surface_is_the_function_on_a_grid_of_its_domain_x_outer():
    surface = anisotropic().surface()
    assert list(surface) == [name for name in SURFACE_COLUMNS if name != "problem"]
    side = np.linspace(-10.0, 10.0, 201)
    np.testing.assert_array_equal(surface["x"], np.repeat(side, 201))
    np.testing.assert_array_equal(surface["y"], np.tile(side, 201))
    np.testing.assert_allclose(surface["value"], surface["x"] ** 2 / 20 + surface["y"] ** 2)
    np.testing.assert_allclose(surface["gradient_x"], surface["x"] / 10, atol=1e-14)
    np.testing.assert_allclose(surface["gradient_y"], 2 * surface["y"], atol=1e-14)


def test_a_function_of_one_variable_has_no_surface():
    assert quadratic().surface() is None


def test_what_run_json_says_of_a_function():
    assert anisotropic().describe() == {
        "kind": "function",
        "record": "before",
        "dtype": "float64",
        "batch_size": None,
        "iterations_per_epoch": None,
        "formula": "x**2/20 + y**2",
        "variables": ["x", "y"],
        "minima": [{"position": [0.0, 0.0], "value": 0.0}],
        "plot": {
            "domain": [[-10.0, 10.0], [-10.0, 10.0]],
            "levels": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0],
        },
    }
    assert quadratic().describe()["plot"]["levels"] is None


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_the_formula_recorded_is_the_one_computed(kind):
    """run.json gives the formula as Python, so that a reader needs no code of optbench."""
    points = np.random.default_rng(12).normal(size=(5, len(kind.variables)))
    named = [dict(zip(kind.variables, point, strict=True)) for point in points]
    expected = [eval(kind.formula, {"__builtins__": {}}, values) for values in named]
    np.testing.assert_allclose(at(problem(kind), points)[0], expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_arithmetic_is_done_in_the_type_asked_for(dtype):
    loss, grads = at(anisotropic(dtype=dtype), np.ones((3, 2), dtype=dtype))
    assert loss.dtype == grads.dtype == dtype


def test_functions_have_no_splits():
    assert anisotropic().split_sizes() == {}
    assert anisotropic().data() == anisotropic().draws(0, 0) == {}
    with pytest.raises(AssertionError, match="no split 'test'"):
        anisotropic().evaluate(None, {}, "test", work=Workspace(np))
