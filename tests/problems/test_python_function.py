"""Problems made of Python functions."""

import math

import numpy as np
import pytest

from optbench.arrays import Workspace, stack
from optbench.errors import DeviceError, SuiteError
from optbench.problems.python.function import PythonFunction, function
from optbench.records import Status
from tests.refusal import refusal
from tests.small import anisotropic, problem, run_suite, suite
from tests.strict import StrictDevice


@function(start={"x": -7.0, "y": 2.0}, minima=[((0, 0), 0)], iterations=30)
def valley(x, y):
    """A long valley.

    One point at a time.
    """
    return x * x / 20.0 + y * y, (x / 10.0, 2.0 * y)


def bowl(size: int, **options):
    @function(start=range(1, size + 1), gradient=lambda p: 2 * p, **options)
    def bowl(p):
        return p @ p

    return problem(bowl)


def raising(error: type[Exception]):
    """A parabola that raises beyond 3, from 1."""

    @function(start=[1.0])
    def parabola(p):
        if abs(p[0]) > 3:
            raise error("too far")
        return p[0] ** 2, 2 * p

    return problem(parabola)


def at(function: PythonFunction, points: np.ndarray):
    params = stack(points.copy(), function.tensors, np)
    grads = stack(np.full_like(points, 7.0), function.tensors, np)
    with np.errstate(all="ignore"):
        losses = function.loss_and_grad(params, grads, {}, buffers={}, work=Workspace(np))
        again = function.loss(params, {}, buffers={}, work=Workspace(np))
    assert again.total.tobytes() == losses.total.tobytes()
    assert losses.penalty is None
    assert params.rows.tobytes() == points.tobytes()
    return losses.total, grads.rows


def test_the_decorator_makes_a_problem_of_a_function():
    assert valley.name == "valley"
    assert valley.summary == "A long valley."
    assert valley.default_iterations == 30
    assert valley.__module__ == __name__
    made = problem(valley)
    assert made.prepare() == ()
    assert [tensor.name for tensor in made.tensors] == ["x", "y"]
    assert made.start(3).tolist() == [-7.0, 2.0]
    found = made.describe()
    assert found["variables"] == ["x", "y"]
    assert found["minima"] == [{"position": [0.0, 0.0], "value": 0.0}]
    guess = {"domain": [[-8.75, 8.75], [-8.75, 8.75]], "guessed": [True, True]}
    assert found["plot"] == guess | {"levels": None}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_lane_has_the_functions_value_and_gradient(dtype):
    points = np.random.default_rng(1).normal(size=(5, 2)).astype(dtype)
    loss, grads = at(problem(valley, dtype=dtype), points)
    assert loss.dtype == grads.dtype == dtype
    exact = points.astype(np.float64)
    np.testing.assert_allclose(loss, exact[:, 0] ** 2 / 20 + exact[:, 1] ** 2, rtol=1e-6)
    np.testing.assert_allclose(grads, exact * [0.1, 2.0], rtol=1e-6)


def test_it_is_minimised_as_the_same_function_written_over_lanes():
    options = {"optimizers": ["sgd", "adam"], "seeds": (0, 1), "iterations": 40}
    ours = run_suite(suite(problem(valley), **options))
    theirs = run_suite(suite(anisotropic(), **options))
    for lane, outcome in ours.items():
        assert outcome.bits == theirs[lane].bits


def test_a_lane_alone_has_the_same_bits_as_in_company():
    function = bowl(5)
    points = np.random.default_rng(2).normal(size=(4, 5))
    loss, grads = at(function, points)
    for lane in range(4):
        alone = at(function, points[lane : lane + 1])
        assert alone[0].tobytes() == loss[lane : lane + 1].tobytes()
        assert alone[1].tobytes() == grads[lane : lane + 1].tobytes()


def test_a_function_may_write_into_its_point_and_return_the_same_array_again():
    gradient = np.zeros(2)

    @function(start=(3.0, 4.0))
    def rough(p):
        gradient[:] = 2 * p
        p *= p
        return p.sum(), gradient

    loss, grads = at(problem(rough), np.array([[1.0, 2.0], [3.0, 4.0]]))
    assert loss.tolist() == [5.0, 25.0]
    assert grads.tolist() == [[2.0, 4.0], [6.0, 8.0]]


def test_a_separate_gradient_gets_a_point_of_its_own():
    @function(start=[1.0], gradient=lambda p: 2 * p)
    def rough(p):
        p *= p
        return p[0]

    assert [each.tolist() for each in at(problem(rough), np.array([[3.0]]))] == [[9.0], [[6.0]]]


def test_many_variables_lie_in_one_vector_and_have_no_figure():
    function = bowl(4, minima=[([0, 0, 0, 0], 0.0)])
    assert [(tensor.name, tensor.shape) for tensor in function.tensors] == [("x", (4,))]
    assert function.variables == ("x1", "x2", "x3", "x4")
    assert function.describe()["plot"] is None
    assert function.surface() is None
    assert bowl(3).variables == ("x", "y", "z")
    assert len(bowl(3).tensors) == 3


def test_the_domain_is_the_one_given_or_a_box_around_what_is_known():
    assert bowl(2, domain=[(0, 3), (-1, 2.5)]).domain == ((0.0, 3.0), (-1.0, 2.5))
    assert bowl(1, minima=[([-4], 0)]).domain == ((-5.0, 5.0),)
    assert function(start=[0.0], gradient=abs)(abs_of_first).domain == ((-1.0, 1.0),)


def abs_of_first(p):
    return abs(p[0])


def test_a_point_of_the_figure_without_a_value_is_nan():
    @function(start=[1.0, 1.0], domain=[(-1, 1), (-1, 1)])
    def root(p):
        return math.sqrt(p[0]) + 1 / (p[1] if p[0] > 0.5 else float(p[1])), p

    surface = problem(root).surface()
    undefined = (surface["x"] < 0) | (surface["y"] == 0)
    assert 0 < undefined.sum() < undefined.size
    np.testing.assert_array_equal(np.isnan(surface["value"]), undefined)
    raised = undefined & (surface["x"] <= 0.5)
    np.testing.assert_array_equal(np.isnan(surface["gradient_y"]), raised)


def test_python_numbers_that_overflow_end_a_lane_and_spare_its_company():
    sweep = [("sgd", [{"lr": 0.1}, {"lr": 3.0}])]
    outcomes = run_suite(suite(raising(OverflowError), optimizers=sweep, iterations=10))
    assert [outcomes[lane].result.status for lane in (0, 1)] == [Status.DONE, Status.DIVERGED]
    assert outcomes[1].result.diverged_at == 1
    assert outcomes[0].loss[-1] == pytest.approx(0.8**20)


def test_lanes_that_are_no_longer_finite_are_not_called():
    points = np.array([[np.nan], [np.inf], [2.0]])
    loss, grads = at(raising(ValueError), points)
    np.testing.assert_array_equal(loss, [np.nan, np.nan, 4.0])
    np.testing.assert_array_equal(grads, [[np.nan], [np.nan], [4.0]])


@pytest.mark.parametrize("error", [ValueError, ZeroDivisionError])
def test_any_other_exception_ends_the_block(error):
    settled = suite(raising(error), optimizers=[("sgd", [{"lr": 3.0}])], iterations=10)
    (outcome,) = run_suite(settled).values()
    assert outcome.result.status is Status.FAILED
    with pytest.raises(error, match="too far"):
        at(raising(error), np.array([[5.0]]))


def test_another_device_is_refused_in_one_line():
    device = StrictDevice()
    assert valley.cpu_only
    with pytest.raises(DeviceError, match=r"^valley .* runs on the CPU only; use --device cpu$"):
        run_suite(suite(problem(valley), optimizers=["sgd"]), device=device)
    params = stack(
        device.rows(1, 2, "float64", by_coordinate=False), problem(valley).tensors, device.xp
    )
    with pytest.raises(DeviceError, match=r"^valley is written .* runs on the CPU only; .*cpu$"):
        problem(valley).loss(params, {}, buffers={}, work=device.workspace())


def returns(value):
    @function(start=[1.0, 2.0])
    def mine(p):
        return value(p)

    return mine


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (lambda p: "1.0", "TypeError: its loss is made of str; return a number"),
        (lambda p: None, "TypeError: its loss is made of NoneType; return a number"),
        (lambda p: p, "its loss has the shape (2,); return a number"),
        (lambda p: (1.0, p, p), "it returns a tuple of 3; return a loss, or a loss and its"),
        (lambda p: (p, p), "its loss has the shape (2,); return a number"),
        (lambda p: (1.0, 1.0), "its gradient has the shape (); return one of (2,)"),
        (lambda p: (1.0, [1, 2, 3]), "its gradient has the shape (3,)"),
        (lambda p: (1j, p), "TypeError: its loss is made of complex; return a number"),
        (lambda p: 1 / 0, "ZeroDivisionError: division by zero (test_python_function.py, line "),
        (
            lambda p: math.exp(1000),
            "OverflowError: math range error (test_python_function.py, ",
        ),
    ],
)
def test_what_a_function_gets_wrong_is_found_at_its_start(value, says):
    message = refusal(SuiteError, problem(returns(value)).prepare)
    assert message.startswith("mine fails at its start: ")
    assert says in message


class Callable:
    """A function without code that could be looked up."""

    __name__ = "callable"

    def __call__(self, p):
        raise ValueError("no")


def test_an_object_that_is_called_is_a_function_too():
    made = problem(function(start=[1.0])(Callable()))
    with pytest.raises(SuiteError, match=r"callable fails at its start: ValueError: no$"):
        made.prepare()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"start": []}, "start is empty; give a number for each variable"),
        ({"start": {"x": "a"}}, "start = ['a'] must be finite numbers, one per variable"),
        ({"start": [1.0, math.nan]}, "must be finite numbers"),
        ({"start": [[1.0, 2.0]]}, "must be finite numbers"),
        ({"start": [1.0], "domain": [(1.0, 1.0)]}, "must be an interval (low, high) for each"),
        ({"start": [1.0], "domain": [(1, 2, 3)]}, "must be an interval (low, high) for each"),
        ({"start": [1.0], "domain": [(1, 2), (1, 2)]}, "must have 1 variables, as start has"),
        ({"start": [1.0], "minima": [((1, 2), 0)]}, "must have 1 variables, as start has"),
    ],
)
def test_what_the_decorator_cannot_take_is_refused(options, says):
    assert says in refusal(SuiteError, function, **options)


# Where a gradient comes from.


def test_a_loss_alone_is_differentiated_and_says_so():
    """The slopes of x³ + 2y at (2, 5) are 12 and 2; in float32 the differences still are exact."""
    made = problem(function(lambda x: x[0] ** 3 + 2 * x[1], start=[2.0, 5.0]))
    (notice,) = made.prepare()
    assert notice.startswith("function: its gradient is taken by central differences, 5 losses a s")
    assert made.definition()["gradient"] == "central differences"
    assert "gradient" not in problem(valley).definition()
    _, grads = at(made, np.array([[2.0, 5.0]]))
    np.testing.assert_allclose(grads, [[12.0, 2.0]], rtol=1e-9)
    _, grads = at(made, np.array([[2.0, 5.0]], dtype=np.float32))
    np.testing.assert_allclose(grads, [[12.0, 2.0]], rtol=1e-7)


def test_the_surface_of_a_loss_alone_has_its_slopes_between_the_points_of_the_grid():
    made = problem(function(lambda x, y: x**2 / 20 + y**2, start={"x": -7.0, "y": 2.0}))
    found, exact = made.surface(), problem(valley).surface()
    np.testing.assert_array_equal(found["x"], exact["x"])
    np.testing.assert_allclose(found["value"], exact["value"], rtol=1e-14)
    inside = (abs(found["x"]) < 8.7) & (abs(found["y"]) < 8.7)
    for name in ("gradient_x", "gradient_y"):  # central differences of a quadratic are exact
        np.testing.assert_allclose(found[name][inside], exact[name][inside], atol=1e-9)


def stacked(names):
    calls = []

    def loss(x):
        calls.append(x.shape)
        return (x**4).sum(axis=1)

    def loss_of_two(x, y):
        calls.append(x.shape)
        return x**4 + y**4

    start = {"x": 1.0, "y": 2.0} if names else [1.0, 2.0]
    return problem(function(loss_of_two if names else loss, start=start, vectorized=True)), calls


@pytest.mark.parametrize("names", [False, True])
def test_a_vectorized_function_is_called_once_for_all_lanes(names):
    made, calls = stacked(names)
    made.prepare()
    assert made.definition()["vectorized"] is True
    calls.clear()
    points = np.array([[1.0, 2.0], [np.inf, 0.0], [3.0, -1.0]])
    loss, grads = at(made, points)
    np.testing.assert_array_equal(loss, [17.0, np.nan, 82.0])
    np.testing.assert_allclose(grads, [[4, 32], [np.nan, np.nan], [108, -4]], rtol=1e-8)
    rows = [2, 2 * 4, 2]  # the losses, the shifted points, and the losses once more
    assert calls == [(count,) if names else (count, 2) for count in rows]


@pytest.mark.parametrize(
    ("loss", "options", "says"),
    [
        (lambda x: x.sum(), {}, "its loss has the shape (); return one of (1,)"),
        (lambda x: (x[:, 0], x[0]), {}, "its gradient has the shape (2,); return one of (1, 2)"),
        (lambda x: x[:, 0], {"gradient": lambda x: x.T}, "its gradient has the shape (2, 1)"),
    ],
)
def test_a_vectorized_function_returns_what_fits_the_lanes(loss, options, says):
    made = problem(function(loss, start=[1.0, 2.0], vectorized=True, **options))
    assert says in refusal(SuiteError, made.prepare)


def test_variables_are_given_by_their_names():
    made = problem(function(lambda b, a: a - b, start={"a": 3.0, "b": 1.0}))
    loss, grads = at(made, np.array([[3.0, 1.0]]))
    assert loss.tolist() == [2.0]
    np.testing.assert_allclose(grads, [[1.0, -1.0]], rtol=1e-9)
    wrong = problem(function(lambda u: u, start={"a": 3.0}))
    assert "unexpected keyword argument 'a'" in refusal(SuiteError, wrong.prepare)
