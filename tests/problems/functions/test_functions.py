"""Functions: values, gradients, minima, starts, and what figures need of them."""

import json
import math

import numpy as np
import pytest

from optbench.arrays import Workspace
from optbench.problems.functions import multimodal, noisy, oscillating, quadratics, valleys
from optbench.problems.functions.base import VectorFunction
from optbench.problems.functions.quadratics import Anisotropic, Quadratic1D
from optbench.records import SURFACE_COLUMNS
from tests.problems.functions.formulas import FORMULAS, gradient
from tests.problems.functions.points import at, in_domain
from tests.small import anisotropic, problem, quadratic
from tests.strict import StrictDevice

MODULES = (quadratics, valleys, multimodal, oscillating)
KINDS = {kind.name: kind for module in MODULES for kind in module.FUNCTIONS}
PLAIN = [name for name in KINDS if name != "rotated-quadratic"]
PLANAR = [name for name, kind in KINDS.items() if getattr(kind, "variables", ()) == ("x", "y")]
LATTICES = {kind.name for kind in oscillating.FUNCTIONS}

STARTS = {
    "anisotropic": (-7, 2),
    "quadratic-1d": (20,),
    "beale": (-4.5, 4.5),
    "branin": (2.5, 12.5),
    "rosenbrock": (-0.5, 1.5),
    "rastrigin": (-2, 3.5),
    "saddle": (2, 0.01),
    "plateau": (1.5, 1.5),
}
"""Starts that the sources prescribe."""


@pytest.mark.parametrize("name", PLAIN)
def test_values_and_gradients_are_those_of_the_published_formula(name):
    function, formula = problem(KINDS[name]), FORMULAS[name]
    points = in_domain(function, 500)
    loss, grads = at(function, points)
    scale = np.abs(formula(points.T)).max()
    np.testing.assert_allclose(loss, formula(points.T), rtol=1e-12, atol=1e-14 * scale)
    expected = gradient(formula, points.T).T
    atol = 1e-14 * np.abs(expected).max()
    np.testing.assert_allclose(grads, expected, rtol=1e-11, atol=atol)


@pytest.mark.parametrize("name", KINDS)
def test_gradients_are_the_differences_of_the_values(name):
    function = problem(KINDS[name])
    points = in_domain(function, 20, seed=2)
    _, grads = at(function, points)
    h = 1e-6
    for index in range(points.shape[1]):
        shift = h * np.eye(points.shape[1])[index]
        difference = (at(function, points + shift)[0] - at(function, points - shift)[0]) / (2 * h)
        np.testing.assert_allclose(
            grads[:, index], difference, rtol=1e-6, atol=1e-7 * np.abs(grads).max()
        )


@pytest.mark.parametrize("name", KINDS)
def test_minima_have_their_value_no_slope_and_higher_neighbours(name):
    function = problem(KINDS[name])
    around = np.random.default_rng(3).normal(size=(200, function.parameters))
    values = [minimum.value for minimum in function.minima]
    assert values == sorted(values)
    for minimum in function.minima:
        here = np.array([minimum.position])
        loss, slope = at(function, here)
        steepness = np.abs(at(function, here + 0.01 * around)[1]).max()
        assert loss[0] == pytest.approx(minimum.value, rel=1e-14, abs=1e-13)
        assert np.abs(slope).max() <= 1e-12 * steepness
        assert (at(function, here + 1e-3 * around)[0] > minimum.value).all()


def stationary(function):
    """Return the minima that Newton's method finds from a grid over the domain, (n, 2)."""
    sides = [np.linspace(*interval, 60) for interval in function.domain]
    point = np.stack([each.ravel() for each in np.meshgrid(*sides)]).astype(complex)
    for _ in range(60):
        slope, hessian = derivatives(function, point)
        (a, b), (_, d) = hessian
        determinant = a * d - b * b
        with np.errstate(all="ignore"):
            step = np.stack([d * slope[0] - b * slope[1], a * slope[1] - b * slope[0]])
            step = np.clip(np.nan_to_num(step / determinant), -0.2, 0.2)
        point = point - step
    slope, ((a, b), (_, d)) = derivatives(function, point)
    low, high = np.array(function.domain).T[..., None]
    inside = ((point.real >= low) & (point.real <= high)).all(axis=0)
    settled = (np.abs(step) < 1e-9).all(axis=0)
    found = point.real.T[inside & settled & (a > 0) & (a * d - b * b > 1e-9)]
    return np.unique(found.round(5), axis=0)


def derivatives(function, point):
    """Return the gradient, and the Hessian as the complex-step derivative of the gradient."""
    columns = []
    for step in (1e-30j * np.eye(2))[..., None]:
        columns.append([each.imag / 1e-30 for each in function.value_and_grad(point + step, np)[1]])
    return np.stack(function.value_and_grad(point, np)[1]).real, columns


@pytest.mark.parametrize("name", sorted(set(PLANAR) - LATTICES))
def test_every_minimum_in_the_domain_is_named(name):
    function = problem(KINDS[name])
    named = np.array([minimum.position for minimum in function.minima])
    found = stationary(function)
    assert len(found) == len(named)
    np.testing.assert_allclose(sorted(found.tolist()), sorted(named.round(5).tolist()), atol=2e-5)


def test_of_a_lattice_only_the_global_minimum_is_named():
    function = problem(KINDS["rastrigin"])
    found = stationary(function)
    assert len(found) == 121
    (best,) = function.minima
    lowest = found[np.argmin(at(function, found)[0])]
    np.testing.assert_allclose(lowest, best.position, atol=1e-5)


@pytest.mark.parametrize("name", KINDS)
def test_start_and_minima_lie_in_the_domain_of_figures(name):
    function = problem(KINDS[name])
    for point in (function.origin, *(minimum.position for minimum in function.minima)):
        for value, (low, high) in zip(point, function.domain, strict=True):
            assert low < value < high


@pytest.mark.parametrize("name", STARTS)
def test_starts_are_those_of_the_sources(name):
    start = problem(KINDS[name]).start(7)
    assert start.tolist() == list(STARTS[name])
    assert start.dtype == np.float64


def test_the_textbooks_functions_are_the_textbooks():
    assert Anisotropic.default_iterations == 30
    assert Anisotropic.domain == ((-10.0, 10.0), (-10.0, 10.0))
    assert max(Anisotropic.levels) == 7.0
    assert Quadratic1D.default_iterations == 25


def test_values_that_the_literature_prints():
    values = {
        "branin": 0.397887,
        "six-hump-camel": -1.0316285,
        "styblinski-tang": 2 * -39.16616570377142,
        "mccormick": -1.9132,
        "three-hump-camel": 0.0,
        "goldstein-price": 3.0,
        "plateau": 0.0066929,
        "saddle": -1.0,
    }
    for name, value in values.items():
        assert problem(KINDS[name]).minima[0].value == pytest.approx(value, abs=5e-5)
    assert [each.value for each in KINDS["goldstein-price"].minima] == [3.0, 30.0, 84.0, 840.0]
    assert KINDS["saddle"].minima[0].position == (0.0, math.sqrt(2))
    assert KINDS["saddle"].minima[1].position == (0.0, -math.sqrt(2))


def test_ackley_has_gradient_zero_at_its_tip():
    loss, grads = at(problem(KINDS["ackley"]), np.zeros((2, 2)))
    assert loss.tolist() == [0.0, 0.0]
    assert grads.tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_mccormick_falls_without_end_outside_its_domain():
    function = problem(KINDS["mccormick"])
    best = function.minima[0]
    beyond = np.array([best.position]) - np.pi
    assert at(function, beyond)[0][0] == pytest.approx(best.value - np.pi)
    assert not function.domain[0][0] < beyond[0, 0]


def test_the_plateau_is_flat_at_its_start_but_not_without_slope():
    loss, grads = at(problem(KINDS["plateau"]), np.array([[1.5, 1.5], [5.0, 5.0]]))
    assert loss.tolist() == pytest.approx([1.0, 1.0], abs=1e-7)
    assert 0 < np.linalg.norm(grads[1]) < np.linalg.norm(grads[0]) < 6e-7


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", KINDS)
def test_a_device_of_the_standard_computes_the_same(name, dtype):
    function = problem(KINDS[name], dtype=dtype)
    points = in_domain(function, 7)
    loss, grads = at(function, points)
    assert loss.dtype == grads.dtype == dtype
    assert loss.shape == (7,)
    strict_loss, strict_grads = at(function, points, StrictDevice())
    eps = 100 * np.finfo(dtype).eps
    assert strict_loss.dtype == strict_grads.dtype == dtype
    np.testing.assert_allclose(strict_loss, loss, rtol=eps, atol=eps * np.abs(loss).max())
    np.testing.assert_allclose(strict_grads, grads, rtol=eps, atol=eps * np.abs(grads).max())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", KINDS)
def test_a_lane_alone_has_the_same_bits_as_in_company(name, dtype):
    function = problem(KINDS[name], dtype=dtype)
    points = in_domain(function, 37)
    loss, grads = at(function, points)
    for lane in (0, 1, 18, 36):
        one_loss, one_grads = at(function, points[lane : lane + 1])
        assert one_loss[0] == loss[lane]
        assert one_grads[0].tolist() == grads[lane].tolist()


@pytest.mark.parametrize("name", KINDS)
def test_float32_keeps_close_to_float64(name):
    function = problem(KINDS[name])
    points = in_domain(function, 100).astype("float32").astype("float64")
    narrow = at(problem(KINDS[name], dtype="float32"), points)
    for wide, result in zip(at(function, points), narrow, strict=True):
        np.testing.assert_allclose(result, wide, rtol=1e-4, atol=1e-5 * np.abs(wide).max())


@pytest.mark.parametrize("name", KINDS)
def test_the_formula_recorded_is_the_one_computed(name):
    """run.json gives the formula as Python, so that a reader needs no code of optbench."""
    function = problem(KINDS[name])
    names = {each: getattr(np, each) for each in ("cos", "exp", "pi", "sin", "sqrt")}
    names |= {"sum": np.sum, "dot": np.dot, **function.data()}
    names["R"] = names.get("rotation")
    points = in_domain(function, 5)
    for point, value in zip(points, at(function, points)[0], strict=True):
        variables = dict(zip(function.variables, point, strict=True))
        if isinstance(function, VectorFunction):
            variables = {"x": point}
        expected = eval(function.formula, {"__builtins__": {}}, names | variables)
        assert value == pytest.approx(expected, rel=1e-11, abs=1e-11)


def test_fingerprints_tell_all_functions_and_their_options_apart():
    made = [
        problem(kind, dtype=dtype) for kind in KINDS.values() for dtype in ("float32", "float64")
    ]
    made += [problem(KINDS[name], dimensions=3) for name in ("sphere", "rosenbrock-nd")]
    made += [
        problem(KINDS["rotated-quadratic"], **each)
        for each in ({"condition": 10.0}, {"dimensions": 5})
    ]
    assert len({each.fingerprint for each in made}) == len(made)
    assert all(len(json.dumps(each.definition())) < 1000 for each in made)


def test_the_surface_is_the_function_on_a_grid_of_its_domain_x_outer():
    surface = anisotropic().surface()
    assert list(surface) == [name for name in SURFACE_COLUMNS if name != "problem"]
    side = np.linspace(-10.0, 10.0, 201)
    np.testing.assert_array_equal(surface["x"], np.repeat(side, 201))
    np.testing.assert_array_equal(surface["y"], np.tile(side, 201))
    np.testing.assert_allclose(surface["value"], surface["x"] ** 2 / 20 + surface["y"] ** 2)
    np.testing.assert_allclose(surface["gradient_x"], surface["x"] / 10, atol=1e-14)
    np.testing.assert_allclose(surface["gradient_y"], 2 * surface["y"], atol=1e-14)


@pytest.mark.parametrize("name", PLANAR)
def test_surfaces_are_finite_and_those_of_lattices_not_below_the_global_minimum(name):
    function = problem(KINDS[name])
    surface = function.surface()
    assert all(np.isfinite(column).all() for column in surface.values())
    if name in LATTICES:
        assert surface["value"].min() >= function.minima[0].value == 0.0


def test_a_function_of_one_variable_has_a_curve_for_a_surface():
    surface = quadratic().surface()
    assert list(surface) == ["x", "value", "gradient_x"]
    side = np.linspace(-21.0, 21.0, 2001)
    np.testing.assert_array_equal(surface["x"], side)
    np.testing.assert_allclose(surface["value"], side**2 + side + 1)
    np.testing.assert_allclose(surface["gradient_x"], 2 * side + 1, atol=1e-12)


def test_functions_of_more_variables_have_no_surface():
    assert problem(KINDS["sphere"], dimensions=3).surface() is None
    assert problem(KINDS["sphere"], dimensions=2).surface()["value"].max() == 50.0


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
            "guessed": [False, False],
            "levels": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0],
        },
    }
    assert quadratic().describe()["plot"]["levels"] is None


def test_functions_have_no_splits():
    assert anisotropic().split_sizes() == {}
    assert anisotropic().data() == anisotropic().draws(0, 0) == {}
    with pytest.raises(AssertionError, match="no split 'test'"):
        anisotropic().evaluate(None, {}, "test", buffers={}, work=Workspace(np))


def test_no_name_comes_twice():
    kinds = [*(kind for module in MODULES for kind in module.FUNCTIONS), *noisy.NOISY]
    assert len({kind.name for kind in kinds}) == len(kinds) == 24
    assert set(FORMULAS) == set(PLAIN)
    assert all(kind.__doc__ for kind in kinds)
