"""The timed loop computes what the reference computes: fast and wrong would be worth nothing."""

import numpy as np
import pytest

from benchmarks.speed import textbook
from tests.reference import optimizers as reference
from tests.reference.network import MultiLayerNet
from tests.reference.training import train_network

STEPS, BATCH = 6, 8
REFERENCE = {
    "sgd": reference.SGD,
    "momentum": reference.Momentum,
    "adagrad": reference.AdaGrad,
    "adam": reference.Adam,
}


@pytest.fixture
def task():
    rng = np.random.default_rng(1)
    shapes = [(5, 4), (4, 4), (4, 3)]
    weights = [(rng.normal(size=shape), np.zeros(shape[1])) for shape in shapes]
    pixels = rng.random((20, 5), dtype=np.float32)
    labels = rng.integers(3, size=20)
    return weights, pixels, labels, rng.integers(20, size=(STEPS, BATCH))


def expected(task, optimizer, record):
    weights, pixels, labels, batches = task
    params = {}
    for i, (weight, bias) in enumerate(weights, start=1):
        params |= {f"W{i}": weight, f"b{i}": bias}
    network = MultiLayerNet(5, [4, 4], 3, params=params)
    pairs = [(pixels[batch], labels[batch]) for batch in batches]
    return train_network(network, REFERENCE[optimizer](0.05), pairs, record)


@pytest.mark.parametrize("optimizer", REFERENCE)
def test_the_books_loop_records_after_the_update_in_float64(task, optimizer):
    weights, *data = task
    network = textbook.Network(weights, "float64")
    losses = textbook.train_twice(network, textbook.OPTIMIZERS[optimizer](0.05), *data)
    np.testing.assert_allclose(losses, expected(task, optimizer, "after"), rtol=1e-6)
    assert {each.dtype for each in network.params.values()} == {np.dtype("float64")}


@pytest.mark.parametrize("optimizer", REFERENCE)
def test_the_other_records_before_it_in_float32(task, optimizer):
    weights, *data = task
    network = textbook.Network(weights, "float32")
    losses = textbook.train_once(network, textbook.OPTIMIZERS[optimizer](0.05), *data)
    np.testing.assert_allclose(losses, expected(task, optimizer, "before"), rtol=1e-4)
    assert {each.dtype for each in network.params.values()} == {np.dtype("float32")}


def test_descent_on_the_function():
    history = textbook.descend(40, 0.3)
    params = {"x": np.array([-7.0]), "y": np.array([2.0])}
    adam = reference.Adam(0.3)
    for x, y, loss in history:
        assert [x, y] == pytest.approx([params["x"][0], params["y"][0]], rel=1e-12)
        assert loss == pytest.approx(params["x"][0] ** 2 / 20 + params["y"][0] ** 2, rel=1e-12)
        adam.update(params, {"x": params["x"] / 10, "y": 2 * params["y"]})
