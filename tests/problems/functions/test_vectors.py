"""Functions of n variables: their starts, rotations and minima."""

import numpy as np
import pytest

from optbench import rng
from optbench.problems.functions.quadratics import RotatedQuadratic, Sphere
from optbench.problems.functions.valleys import RosenbrockND
from tests.problems.functions.points import at, in_domain
from tests.small import problem


@pytest.mark.parametrize("kind", [Sphere, RotatedQuadratic, RosenbrockND])
@pytest.mark.parametrize("n", [2, 3, 50])
def test_variables_start_and_domain_have_as_many_parts_as_dimensions(kind, n):
    function = problem(kind, dimensions=n)
    assert function.variables == tuple(f"x{i}" for i in range(1, n + 1))
    assert function.parameters == len(function.domain) == n
    assert function.start(0).tolist() == [kind.cycle[i % 2] for i in range(n)]
    assert all(len(minimum.position) == n for minimum in function.minima)
    assert [(tensor.name, tensor.shape) for tensor in function.tensors] == [("x", (n,))]
    definition = function.definition()
    assert (definition["dimensions"], definition["start"]) == (n, {"repeat": list(kind.cycle)})


def test_a_sphere_may_have_one_dimension():
    loss, grads = at(problem(Sphere, dimensions=1), np.array([[3.0], [-2.0]]))
    assert (loss.tolist(), grads.tolist()) == ([9.0, 4.0], [[6.0], [-4.0]])


@pytest.mark.parametrize("kind", [Sphere, RotatedQuadratic, RosenbrockND])
def test_variables_one_by_one_give_what_rows_give(kind):
    function = problem(kind, dimensions=4)
    points = in_domain(function, 6)
    loss, grads = at(function, points)
    value, partials = function.value_and_grad(tuple(points.T), np)
    np.testing.assert_array_equal(value, loss)
    np.testing.assert_array_equal(np.stack(partials, axis=1), grads)


@pytest.mark.parametrize(("n", "condition"), [(2, 10.0), (10, 1000.0), (40, 1e6)])
def test_the_rotated_quadratic_has_its_condition_number_and_is_dense(n, condition):
    function = problem(RotatedQuadratic, dimensions=n, condition=condition)
    _, columns = at(function, np.eye(n))  # a quadratic's gradient at the unit vectors
    np.testing.assert_allclose(columns, columns.T, atol=1e-15)
    eigenvalues = np.linalg.eigvalsh(columns)
    np.testing.assert_allclose(eigenvalues[::-1], condition ** (-np.linspace(0, 1, n)), rtol=1e-9)
    assert np.abs(columns - np.diag(np.diagonal(columns))).max() > 0.01
    points = in_domain(function, 9)
    expected = [0.5 * point @ columns @ point for point in points]
    np.testing.assert_allclose(at(function, points)[0], expected, rtol=1e-9)


def test_the_rotation_is_orthogonal_and_that_of_its_stream():
    function = problem(RotatedQuadratic)
    rotation = function.rotation
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(10), atol=1e-14)
    normals = rng.stream(0, "rotation").standard_normal((10, 10))
    triangle = rotation.T @ normals
    np.testing.assert_allclose(np.tril(triangle, -1), 0.0, atol=1e-14)
    assert (np.diagonal(triangle) > 0).all()
    np.testing.assert_allclose(rotation[0, :3], GOLDEN, rtol=1e-9)
    named = function.definition()["rotation"]
    assert (named["generator"], named["stream"], named["seed"]) == ("Philox", "rotation", 0)


GOLDEN = [-0.20457702728178417, 0.34793126351207493, -0.00152782265902272]


def test_a_condition_number_beyond_float32_leaves_the_bowl_a_bowl():
    function = problem(RotatedQuadratic, condition=1e9, dtype="float32")
    low = function.rotation[-1:] * 4.0  # along the flattest axis
    loss, _ = at(function, np.concatenate([low, in_domain(function, 100)]))
    assert (loss >= 0).all()
    assert loss[0] < 1e-6


@pytest.mark.parametrize(
    ("n", "value", "first"),
    [(4, 3.70143, -0.77566), (5, 3.93084, -0.96205), (6, 3.97394, -0.98658), (7, 3.98360, None)],
)
def test_the_second_minimum_of_rosenbrocks_valley(n, value, first):
    """Values from S. Kok and C. Sandrock, Evolutionary Computation 17, 2009,."""
    function = problem(RosenbrockND, dimensions=n)
    best, other = function.minima
    assert best.position == (1.0,) * n
    assert other.value == pytest.approx(value, abs=1e-4)
    assert first is None or other.position[0] == pytest.approx(first, abs=1e-4)
    steps = 1e-30j * np.eye(n)
    rows = np.array([other.position] * n) + steps
    hessian = function.value_and_grad_rows(rows, {}, np)[1].imag / 1e-30
    assert np.linalg.eigvalsh(hessian).min() > 0


@pytest.mark.parametrize("n", [2, 3, 31, 100])
def test_beyond_what_is_proven_only_the_global_minimum_is_named(n):
    assert len(problem(RosenbrockND, dimensions=n).minima) == 1


def test_in_two_dimensions_it_is_rosenbrocks_function():
    points = np.array([[-0.5, 1.5], [0.3, -0.2]])
    x, y = points.T
    loss, _ = at(problem(RosenbrockND, dimensions=2), points)
    np.testing.assert_allclose(loss, (1 - x) ** 2 + 100 * (y - x**2) ** 2, rtol=1e-14)
