"""Activations against the functions of the standard library."""

import math

import numpy as np
import pytest

from optbench.problems.networks.nn.layers import ReLU, Sigmoid, Tanh
from tests.problems.networks.nn.passes import Case, case, run

FUNCTIONS = {
    ReLU: (lambda x: x if x > 0.0 else 0.0, lambda x: 1.0 if x > 0.0 else 0.0),
    Sigmoid: (
        lambda x: 1.0 / (1.0 + math.exp(-x)),
        lambda x: math.exp(-x) / (1.0 + math.exp(-x)) ** 2,
    ),
    Tanh: (math.tanh, lambda x: 1.0 / math.cosh(x) ** 2),
}


@pytest.mark.parametrize("kind", FUNCTIONS)
@pytest.mark.parametrize("shape", [(5,), (2, 3, 4)])
def test_values_and_slopes_are_those_of_the_formula(kind, shape):
    layer = kind("layer1", shape)
    given = case(layer)
    outcome = run(layer, given)
    value, slope = FUNCTIONS[kind]
    np.testing.assert_allclose(outcome.y, np.vectorize(value)(given.x), rtol=1e-12)
    expected = given.dy * np.vectorize(slope)(given.x)
    np.testing.assert_allclose(outcome.dx, expected, rtol=1e-11)


def ends(kind: type[ReLU | Sigmoid | Tanh]) -> tuple[list[float], list[float]]:
    """Return what becomes of numbers that are far out, and of dy = 3 there."""
    x = np.array([[[-np.inf, -1000.0, 0.0, 1000.0, np.inf, np.nan]]])
    outcome = run(kind("layer1", (6,)), Case(x, np.full_like(x, 3.0), {}))
    return outcome.y[0, 0], outcome.dx[0, 0]


def test_relu_passes_what_is_positive_and_nan():
    y, dx = ends(ReLU)
    np.testing.assert_array_equal(y, [0.0, 0.0, 0.0, 1000.0, np.inf, np.nan])
    np.testing.assert_array_equal(dx, [0.0, 0.0, 0.0, 3.0, 3.0, 0.0])


def test_the_sigmoid_saturates():
    y, dx = ends(Sigmoid)
    np.testing.assert_array_equal(y, [0.0, 0.0, 0.5, 1.0, 1.0, np.nan])
    np.testing.assert_array_equal(dx, [0.0, 0.0, 0.75, 0.0, 0.0, np.nan])


def test_the_sigmoid_keeps_its_digits_where_it_is_small():
    x = np.array([[[-40.0, -300.0]]])
    y = run(Sigmoid("sigmoid1", (2,)), Case(x, x, {})).y
    np.testing.assert_allclose(y[0, 0], [math.exp(-40.0), math.exp(-300.0)], rtol=1e-13)


def test_tanh_saturates():
    y, dx = ends(Tanh)
    np.testing.assert_array_equal(y, [-1.0, -1.0, 0.0, 1.0, 1.0, np.nan])
    np.testing.assert_array_equal(dx, [0.0, 0.0, 3.0, 0.0, 0.0, np.nan])


def test_activations_have_nothing_to_train():
    for kind in FUNCTIONS:
        layer = kind("layer1", (4,))
        assert (layer.tensors, layer.buffers, layer.penalized, layer.start(0)) == ((), (), (), {})
