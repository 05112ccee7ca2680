"""Activations against the formulas of one number, by the standard library alone."""

import math
import warnings

import numpy as np
import pytest

from optbench.problems.networks.nn.activations import (
    ELU,
    GELU,
    LeakyReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)
from optbench.problems.networks.nn.base import Mode, Pass
from tests.problems.networks.nn.passes import DEVICES, Case, case, run


def sigmoid(x):
    return 1.0 / (1.0 + math.exp(-x)) if x > -700.0 else 0.0


def density(x):
    return math.exp(-x * x / 2.0) / math.sqrt(2.0 * math.pi)


def below(x):
    """Return the normal distribution function, to the last digits where it is small as well."""
    return math.erfc(-x / math.sqrt(2.0)) / 2.0


def tanh_of(x):
    return math.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3))


def tanh_slope(x):
    inner = math.sqrt(2.0 / math.pi) * (1.0 + 3.0 * 0.044715 * x * x)
    return (1.0 + tanh_of(x)) / 2.0 + x / 2.0 * (1.0 - tanh_of(x) ** 2) * inner


def softplus(beta):
    return lambda x: (math.log1p(math.exp(-abs(beta * x))) + max(beta * x, 0.0)) / beta


FORMULAS = {
    "relu": (ReLU, {}, lambda x: max(x, 0.0), lambda x: float(x > 0.0)),
    "leaky-relu": (LeakyReLU, {}, lambda x: max(x, 0.01 * x), lambda x: 1.0 if x > 0.0 else 0.01),
    "leaky-0.2": (
        LeakyReLU,
        {"below": 0.2},
        lambda x: max(x, 0.2 * x),
        lambda x: 1.0 if x > 0.0 else 0.2,
    ),
    "elu": (
        ELU,
        {},
        lambda x: x if x > 0.0 else math.expm1(x),
        lambda x: 1.0 if x > 0.0 else math.exp(x),
    ),
    "elu-2.5": (
        ELU,
        {"alpha": 2.5},
        lambda x: x if x > 0.0 else 2.5 * math.expm1(x),
        lambda x: 1.0 if x > 0.0 else 2.5 * math.exp(x),
    ),
    "sigmoid": (Sigmoid, {}, sigmoid, lambda x: sigmoid(x) * sigmoid(-x)),
    "tanh": (Tanh, {}, math.tanh, lambda x: 1.0 - math.tanh(x) ** 2),
    "softplus": (Softplus, {}, softplus(1.0), sigmoid),
    "softplus-3": (Softplus, {"beta": 3.0}, softplus(3.0), lambda x: sigmoid(3.0 * x)),
    "silu": (
        SiLU,
        {},
        lambda x: x * sigmoid(x),
        lambda x: sigmoid(x) * (1.0 + x * sigmoid(-x)),
    ),
    "gelu": (GELU, {}, lambda x: x * below(x), lambda x: below(x) + x * density(x)),
    "gelu-tanh": (
        GELU,
        {"approximate": "tanh"},
        lambda x: x / 2.0 * (1.0 + tanh_of(x)),
        tanh_slope,
    ),
}
"""Activations by a name of their own: class, fields, f and f', of one number in Python."""

every_activation = pytest.mark.parametrize("name", FORMULAS)


@every_activation
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("shape", [(5,), (2, 3, 4)])
def test_values_and_slopes_are_those_of_the_formula(name, device, shape):
    kind, fields, value, slope = FORMULAS[name]
    layer = kind("layer1", shape, **fields)
    given = case(layer)
    given.x *= 3.0
    outcome = run(layer, given, device=DEVICES[device]())
    np.testing.assert_allclose(outcome.y, np.vectorize(value)(given.x), rtol=1e-11, atol=1e-14)
    expected = given.dy * np.vectorize(slope)(given.x)
    np.testing.assert_allclose(outcome.dx, expected, rtol=1e-11, atol=1e-14)


@every_activation
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_large_inputs_give_the_limits_and_no_warning(name, device, dtype):
    kind, fields, value, slope = FORMULAS[name]
    x = np.array([[[-1e4, -1e3, -100.0, -30.0, 30.0, 100.0, 1e3, 1e4]]], dtype)
    layer = kind("layer1", (8,), **fields)
    outcome = run(layer, Case(x, np.full_like(x, 3.0), {}), device=DEVICES[device]())
    rounding = 64 * np.finfo(dtype).eps
    expected = np.vectorize(value)(x.astype(float))
    np.testing.assert_allclose(outcome.y, expected, rtol=rounding, atol=rounding)
    expected = 3.0 * np.vectorize(slope)(x.astype(float))
    np.testing.assert_allclose(outcome.dx, expected, rtol=rounding, atol=rounding)
    ends = outcome.y[0, 0, [0, -1]]
    np.testing.assert_allclose(ends, [value(-1e4), value(1e4)], rtol=rounding)


@pytest.mark.parametrize("name", [name for name in FORMULAS if name != "sigmoid"])
def test_nothing_overflows_on_the_way_to_them(name):
    """The engine silences overflows, as that of the sigmoid's exponential; here there is none."""
    kind, fields, *_ = FORMULAS[name]
    layer, x = kind("layer1", (4,), **fields), np.array([[[-1e4, -90.0, 90.0, 1e4]]], np.float32)
    work = DEVICES["numpy"]().workspace()
    with np.errstate(over="raise", invalid="raise", divide="raise"), warnings.catch_warnings():
        warnings.simplefilter("error")
        given = Pass(work, Mode.TRAIN, {})
        _, saved = layer.forward(x, given)
        layer.backward(np.ones_like(x), saved, given, {}, first=False)


@pytest.mark.parametrize(
    ("kind", "values", "slopes"),
    [
        # What is positive and NaN passes ReLU.
        (ReLU, [0.0, 0.0, 0.0, 1000.0, np.inf, np.nan], [0.0, 0.0, 0.0, 3.0, 3.0, 0.0]),
        (Sigmoid, [0.0, 0.0, 0.5, 1.0, 1.0, np.nan], [0.0, 0.0, 0.75, 0.0, 0.0, np.nan]),
        (Tanh, [-1.0, -1.0, 0.0, 1.0, 1.0, np.nan], [0.0, 0.0, 3.0, 0.0, 0.0, np.nan]),
        (ELU, [-1.0, -1.0, 0.0, 1000.0, np.inf, np.nan], [0.0, 0.0, 3.0, 3.0, 3.0, np.nan]),
    ],
)
def test_activations_far_out(kind, values, slopes):
    x = np.array([[[-np.inf, -1000.0, 0.0, 1000.0, np.inf, np.nan]]])
    outcome = run(kind("layer1", (6,)), Case(x, np.full_like(x, 3.0), {}))
    np.testing.assert_array_equal(outcome.y[0, 0], values)
    np.testing.assert_array_equal(outcome.dx[0, 0], slopes)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Sigmoid, math.exp),
        (Softplus, math.exp),
        (SiLU, lambda x: x * math.exp(x)),
        (GELU, lambda x: x * below(x)),
    ],
)
def test_small_values_keep_their_digits(kind, value):
    x = np.array([[[-37.0, -36.0]]])
    y = run(kind("layer1", (2,)), Case(x, x, {})).y
    np.testing.assert_allclose(y[0, 0], [value(-37.0), value(-36.0)], rtol=1e-12)


@every_activation
def test_a_diverged_lane_stays_one(name):
    kind, fields, *_ = FORMULAS[name]
    x = np.array([[[np.nan, 1.0]]])
    assert np.isnan(run(kind("layer1", (2,), **fields), Case(x, x, {})).y[0, 0, 0])


@every_activation
def test_activations_have_nothing_to_train(name):
    kind, fields, *_ = FORMULAS[name]
    layer = kind("layer1", (4,), **fields)
    assert (layer.tensors, layer.buffers, layer.penalized, layer.start(0)) == ((), (), (), {})
