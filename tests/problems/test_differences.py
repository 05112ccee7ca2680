"""Central differences, and gradients that are compared with them."""

import numpy as np
import pytest

from optbench.errors import SuiteError
from optbench.problems import differences
from optbench.problems.differences import central_differences
from optbench.problems.python.check import check_gradient
from optbench.problems.python.function import function
from tests.refusal import refusal


def rosenbrock(x):
    """Rosenbrock's function of each row, and its gradient, from its formula."""
    a, b = x[:, :-1], x[:, 1:]
    loss = ((1 - a) ** 2 + 100 * (b - a**2) ** 2).sum(axis=1)
    gradient = np.zeros_like(x)
    gradient[:, :-1] = -2 * (1 - a) - 400 * a * (b - a**2)
    gradient[:, 1:] += 200 * (b - a**2)
    return loss, gradient


def test_ten_digits_are_right_at_two_losses_a_parameter():
    points = np.random.default_rng(3).normal(size=(5, 4)) * [1, 10, 0.01, 1]
    counts = []

    def losses(rows):
        counts.append(len(rows))
        return np.exp(rows / 10).sum(axis=1)

    found = central_differences(losses, points)
    np.testing.assert_allclose(found, np.exp(points / 10) / 10, rtol=1e-8)
    assert counts == [2 * 4 * 5]


@pytest.mark.parametrize("most", [1, 60, 10_000])
def test_many_parameters_are_taken_in_parts(most, monkeypatch):
    monkeypatch.setattr(differences, "MOST_VALUES", most)
    points = np.random.default_rng(4).normal(size=(3, 7))
    sizes = []

    def losses(rows):
        sizes.append(rows.size)
        return rosenbrock(rows)[0]

    found = central_differences(losses, points)
    np.testing.assert_allclose(found, rosenbrock(points)[1], rtol=1e-6, atol=1e-6)
    assert max(sizes) <= max(most, 2 * points.size)


def test_a_loss_that_is_not_finite_leaves_no_slope():
    with np.errstate(all="ignore"):
        found = central_differences(lambda x: np.log(x[:, 0]) + x[:, 1], np.array([[0.0, 1.0]]))
    assert not np.isfinite(found[0, 0])


def made(gradient, start=(-1.2, 1.0), **options):
    return function(
        lambda x: float(rosenbrock(x[None])[0][0]), start=start, gradient=gradient, **options
    )


def right(x):
    return rosenbrock(x[None])[1][0]


@pytest.mark.parametrize(
    "problem",
    [
        made(right),
        made(lambda x: right(x).astype(np.float32)),
        function(lambda x: np.abs(x).sum(), start=[0.0, 1.0], gradient=np.sign),
        function(lambda x: 1e9 + (x**2).sum(), start=[1.0], gradient=lambda x: 2 * x),
        function(lambda x: (x**2).sum(), start=np.ones(300), gradient=lambda x: 2 * x),
        function(lambda x: np.sqrt(x[0]), start=[1e-9], gradient=lambda x: 0.5 / np.sqrt(x)),
        function(
            lambda x: (x**2).sum(axis=1), start=[3.0], gradient=lambda x: 2 * x, vectorized=True
        ),
        function(lambda x: x @ x, start=[1.0]),
    ],
    ids=["exact", "float32", "kink", "offset", "many", "edge", "vectorized", "none"],
)
def test_a_right_gradient_passes(problem):
    check_gradient(problem)


@pytest.mark.parametrize(
    ("problem", "says"),
    [
        (
            made(lambda x: right(x) * [1.0, 1.01]),
            "by y it is -88.88 where x = -1.2, y = 1, but the loss has the slope -88; mend it",
        ),
        (made(lambda x: right(x) * [np.nan, 1.0]), "by x it is nan where x = -1.2, y = 1"),
        (
            function(lambda x, y: x**2 + y**2, start={"x": 1.0, "y": 1.0},
                     gradient=lambda x, y: [2 * x, 3 * y]),
            "by y it is 3 where x = 1, y = 1, but the loss has the slope 2;",
        ),
        (
            function(lambda x: (x**3).sum(), start=[1.0], gradient=lambda x: 0 * x + 3),
            "wrong beside the start: by x it is 3 where x = ",
        ),
        (
            function(lambda x: ((x**2).sum(), 2 * x * [1, 1, 1, 1, -1]), start=np.arange(5.0)),
            "by x5 it is -8 where x1 = 0, x2 = 1, x3 = 2, …, but the loss has the slope 8;",
        ),
    ],
    ids=["scaled", "nan", "named", "nearby", "returned"],
)  # fmt: skip
def test_a_wrong_gradient_is_told_with_variable_place_and_size(problem, says):
    assert says in refusal(SuiteError, check_gradient, problem)
