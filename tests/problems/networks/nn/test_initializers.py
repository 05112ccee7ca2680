"""How weights start: the moments and the ends of each distribution, and the streams."""

import math

import numpy as np
import pytest

from optbench import rng
from optbench.problems.networks.nn.initializers import GAINED, INIT_NAMES, Initializer, he

FAN_IN, FAN_OUT = 400, 300
SHAPE = (FAN_IN, FAN_OUT)


def draw(name, std=0.01, seed=0):
    return Initializer(name, std).draw(seed, "dense1.weight", SHAPE, fan_in=FAN_IN, fan_out=FAN_OUT)


@pytest.mark.parametrize(
    ("name", "deviation", "within"),
    [
        ("he", math.sqrt(2 / FAN_IN), 0.6827),
        ("xavier", math.sqrt(1 / FAN_IN), 0.6827),
        ("normal", 0.03, 0.6827),
        # Of a normal distribution cut at 2: its standard deviation, and the part within it.
        ("truncated-normal", 0.03 * 0.87962566, 0.6501),
        ("glorot-uniform", math.sqrt(2 / (FAN_IN + FAN_OUT)), 1 / math.sqrt(3)),
    ],
)
def test_deviations_are_those_of_the_distribution(name, deviation, within):
    weights = draw(name, 0.03).ravel()
    assert abs(weights.mean()) < 4 * deviation / math.sqrt(weights.size)
    assert weights.std() == pytest.approx(deviation, rel=0.01)
    assert (np.abs(weights) < deviation).mean() == pytest.approx(within, abs=0.01)


@pytest.mark.parametrize("name", GAINED)
@pytest.mark.parametrize("gain", [5 / 3, math.sqrt(2 / 1.04)])
def test_a_gain_takes_the_place_of_the_own_one(name, gain):
    own = math.sqrt(2.0) if name == "he" else 1.0
    drawn = Initializer(name, gain=gain).draw(0, "w", SHAPE, fan_in=FAN_IN, fan_out=FAN_OUT)
    plain = Initializer(name).draw(0, "w", SHAPE, fan_in=FAN_IN, fan_out=FAN_OUT)
    np.testing.assert_allclose(drawn, plain * (gain / own), rtol=1e-13, atol=1e-15)


def test_the_truncated_normal_ends_at_two_deviations_and_changes_nothing_within():
    weights, normal = draw("truncated-normal", 1.0), draw("normal", 1.0)
    assert 1.99 < np.abs(weights).max() <= 2.0
    inside = np.abs(normal) <= 2.0
    np.testing.assert_array_equal(weights[inside], normal[inside])
    assert len(np.unique(weights)) == weights.size


def test_glorots_uniform_distribution_ends_where_it_should():
    bound = math.sqrt(6 / (FAN_IN + FAN_OUT))
    assert 0.999 * bound < np.abs(draw("glorot-uniform")).max() <= bound


def test_zeros_are_zeros_whatever_the_seed():
    assert not draw("zeros", seed=3).any()


@pytest.mark.parametrize("name", INIT_NAMES)
def test_starts_are_float64_and_a_function_of_seed_and_tensor(name):
    drawn = Initializer(name).draw(1, "conv1.weight", (2, 3, 4, 5), fan_in=60, fan_out=40)
    again = Initializer(name).draw(1, "conv1.weight", (2, 3, 4, 5), fan_in=60, fan_out=40)
    assert (drawn.shape, drawn.dtype) == ((2, 3, 4, 5), np.float64)
    assert drawn.tobytes() == again.tobytes()
    for other in ((2, "conv1.weight"), (1, "conv2.weight")):
        moved = Initializer(name).draw(*other, (2, 3, 4, 5), fan_in=60, fan_out=40)
        assert (moved.tobytes() == drawn.tobytes()) == (name == "zeros")


def test_a_tensor_has_its_own_stream():
    expected = rng.stream(3, "start/dense1.weight").standard_normal((2, 3)) * math.sqrt(1.0)
    np.testing.assert_array_equal(
        he.draw(3, "dense1.weight", (2, 3), fan_in=2, fan_out=3), expected
    )
