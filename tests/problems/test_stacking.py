"""Functions of one point, stacked over lanes."""

import math

import numpy as np
import pytest

from optbench.arrays import Workspace, stack
from optbench.errors import DeviceError, SuiteError
from optbench.problems.stacking import StackedFunction, stacked_function
from optbench.records import Status
from tests.refusal import refusal
from tests.small import anisotropic, problem, run_suite, suite
from tests.strict import StrictDevice


@stacked_function(start={"x": -7.0, "y": 2.0}, minima=[((0, 0), 0)], iterations=30)
def valley(point):
    """A long valley.

    One point at a time.
    """
    x, y = point
    return x * x / 20.0 + y * y, np.array([x / 10.0, 2.0 * y])


def bowl(size: int, **options):
    @stacked_function(start=range(1, size + 1), gradient=lambda p: 2 * p, **options)
    def bowl(p):
        return p @ p

    return problem(bowl)


def raising(error: type[Exception]):
    """A parabola that raises beyond 3, from 1."""

    @stacked_function(start=[1.0])
    def parabola(p):
        if abs(p[0]) > 3:
            raise error("too far")
        return p[0] ** 2, 2 * p

    return problem(parabola)


def at(function: StackedFunction, points: np.ndarray):
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

    @stacked_function(start=(3.0, 4.0))
    def rough(p):
        gradient[:] = 2 * p
        p *= p
        return p.sum(), gradient

    loss, grads = at(problem(rough), np.array([[1.0, 2.0], [3.0, 4.0]]))
    assert loss.tolist() == [5.0, 25.0]
    assert grads.tolist() == [[2.0, 4.0], [6.0, 8.0]]


def test_a_separate_gradient_gets_a_point_of_its_own():
    @stacked_function(start=[1.0], gradient=lambda p: 2 * p)
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
    assert stacked_function(start=[0.0], gradient=abs)(abs_of_first).domain == ((-1.0, 1.0),)


def abs_of_first(p):
    return abs(p[0])


def test_a_point_of_the_figure_without_a_value_is_nan():
    @stacked_function(start=[1.0, 1.0], domain=[(-1, 1), (-1, 1)])
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
    @stacked_function(start=[1.0, 2.0])
    def mine(p):
        return value(p)

    return mine


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (lambda p: 1.0, "returns float, not a loss and a gradient; return both, or give"),
        (lambda p: (1.0, p, p), "returns tuple, not a loss and a gradient"),
        (lambda p: (p, p), "the loss of mine has the shape (2,); return a number"),
        (lambda p: (1.0, 1.0), "the gradient of mine has the shape (); return one of (2,)"),
        (lambda p: (1.0, [1, 2, 3]), "the gradient of mine has the shape (3,)"),
        (lambda p: (1j, p), "TypeError: "),
        (lambda p: 1 / 0, "ZeroDivisionError: division by zero (test_stacking.py, line "),
        (lambda p: math.exp(1000), "OverflowError: math range error (test_stacking.py, line "),
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
    made = problem(stacked_function(start=[1.0])(Callable()))
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
    assert says in refusal(SuiteError, stacked_function, **options)
