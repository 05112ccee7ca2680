"""The reference itself, checked against closed forms."""

import ast
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.reference.network import MultiLayerNet, Relu
from tests.reference.optimizers import SGD, AdaGrad, Adam, Momentum, RMSprop
from tests.reference.training import minimise, train_network


def batches(count, size=6, inputs=4, classes=3):
    rng = np.random.default_rng(4)
    return [
        (rng.normal(size=(size, inputs)), rng.integers(classes, size=size)) for _ in range(count)
    ]


def test_imports_only_numpy_and_the_standard_library():
    allowed = sys.stdlib_module_names | {"numpy", "pytest", "tests"}
    for path in Path(__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module]
            else:
                continue
            assert {name.split(".")[0] for name in names} <= allowed, path.name


# Optimizers; that they take the textbook's steps is tested where the package is compared with them
# (tests/optimizers/test_bits.py) and with the papers (tests/optimizers/test_elementwise.py).


@pytest.mark.parametrize("optimizer", [SGD, Momentum, AdaGrad, RMSprop, Adam])
def test_tensors_are_updated_in_place_each_with_its_own_state(optimizer):
    together, alone = optimizer(), optimizer()
    first, second = np.ones((2, 2)), np.full(3, 2.0)
    params = {"W1": first, "b1": second}
    only_second = {"b1": second.copy()}
    for _ in range(3):
        grads = {"W1": np.full((2, 2), 5.0), "b1": np.array([1.0, -2.0, 0.5])}
        together.update(params, grads)
        alone.update(only_second, {"b1": grads["b1"]})
    assert params["W1"] is first
    assert params["b1"] is second
    np.testing.assert_array_equal(second, only_second["b1"])


def quadratic(w):
    return float(np.sum([0.5, 2.0] * w**2))


def quadratic_gradient(w):
    return np.array([1.0, 4.0]) * w


def test_sgd_on_a_quadratic_is_geometric():
    start, lr, curvature = np.array([-7.0, 2.0]), 0.45, np.array([1.0, 4.0])
    positions, losses = minimise(quadratic, quadratic_gradient, start, SGD(lr), 20)
    expected = start * (1 - lr * curvature) ** np.arange(21)[:, None]
    np.testing.assert_allclose(positions, expected, rtol=1e-12)
    np.testing.assert_allclose(losses, (0.5 * curvature * expected**2).sum(axis=1), rtol=1e-12)
    np.testing.assert_array_equal(start, [-7.0, 2.0])


def test_two_steps_of_momentum_on_a_quadratic():
    start, lr, momentum, curvature = np.array([-7.0, 2.0]), 0.1, 0.5, np.array([1.0, 4.0])
    optimizer = Momentum(lr, momentum)
    positions, _ = minimise(quadratic, quadratic_gradient, start, optimizer, 2)
    contraction = 1 - lr * curvature
    expected = [start, start * contraction, start * (contraction**2 - momentum * lr * curvature)]
    np.testing.assert_allclose(positions, expected, rtol=1e-12)


def test_no_iterations_leave_the_start():
    positions, losses = minimise(quadratic, quadratic_gradient, [2.0, 1.0], Adam(), 0)
    assert positions.tolist() == [[2.0, 1.0]]
    assert losses.tolist() == [4.0]


def zero_network(**settings):
    params = {"W1": np.zeros((4, 10)), "b1": np.zeros(10)}
    return MultiLayerNet(4, [], 10, params=params, **settings)


@pytest.mark.parametrize("log_eps", [0.0, 1e-7, 0.5])
def test_loss_of_a_zero_network_is_that_of_guessing(log_eps):
    (x, t), network = batches(1)[0], zero_network(log_eps=log_eps)
    assert network.loss(x, t) == pytest.approx(-math.log(0.1 + log_eps), rel=1e-14)


def test_default_log_eps_bounds_the_loss_of_a_certain_mistake():
    network = zero_network()
    network.params["b1"][3] = 1e4
    loss = network.loss(np.ones((2, 4)), np.array([3, 5]))
    assert loss == pytest.approx((-math.log(1 + 1e-7) - math.log(1e-7)) / 2, rel=1e-12)


@pytest.mark.parametrize("log_eps", [0.0, 0.5])
def test_gradient_of_a_zero_network_is_that_of_guessing(log_eps):
    x, t = np.array([[1.0, 2.0, 3.0, 4.0], [0.0, 1.0, 0.0, -1.0]]), np.array([3, 3])
    grads = zero_network(log_eps=log_eps).gradient(x, t)
    guess = np.full(10, 0.1)
    guess[3] = -0.9
    np.testing.assert_allclose(grads["b1"], guess, rtol=1e-14)
    np.testing.assert_allclose(grads["W1"], np.outer([0.5, 1.5, 1.5, 1.5], guess), rtol=1e-14)


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
@pytest.mark.parametrize("hidden", [[], [5], [5, 6, 4]])
def test_gradient_agrees_with_central_differences(activation, hidden):
    network = MultiLayerNet(4, hidden, 3, activation=activation, log_eps=0.0, seed=8)
    for name, param in network.params.items():
        if name.startswith("b"):
            param += np.linspace(-0.4, 0.6, param.size)
    (batch,) = batches(1)
    before = {name: param.copy() for name, param in network.params.items()}
    analytic, numerical = network.gradient(*batch), network.numerical_gradient(*batch)
    assert list(analytic) == list(network.params)
    for name, grad in analytic.items():
        assert np.abs(grad).max() > 1e-3
        np.testing.assert_allclose(grad, numerical[name], rtol=1e-6, atol=1e-9)
        np.testing.assert_array_equal(network.params[name], before[name])


@pytest.mark.parametrize(
    ("activation", "hidden"), [("relu", [0.0, 2.0]), ("sigmoid", [0.25, 0.75])]
)
def test_forward_pass_by_hand(activation, hidden):
    logit = 2.0 if activation == "relu" else math.log(3.0)
    params = {
        "W1": np.array([[-logit, logit]]),
        "b1": np.zeros(2),
        "W2": np.array([[1.0, 0.0], [0.0, 1.0]]),
        "b2": np.array([0.5, -0.5]),
    }
    network = MultiLayerNet(1, [2], 2, activation=activation, params=params)
    expected = [[hidden[0] + 0.5, hidden[1] - 0.5]]
    np.testing.assert_allclose(network.predict(np.ones((1, 1))), expected, rtol=1e-14)


def test_relu_and_its_slope_are_zero_up_to_zero():
    relu = Relu()
    assert relu.forward(np.array([-2.0, -1e-9, 0.0, 1e-9, 2.0])).tolist() == [0, 0, 0, 1e-9, 2]
    assert relu.backward(np.full(5, 3.0)).tolist() == [0, 0, 0, 3, 3]


def test_sigmoid_saturates_without_overflow():
    network = MultiLayerNet(1, [1], 2, activation="sigmoid")
    network.params["W1"][:] = 1.0
    network.predict(np.array([[-1e4], [1e4]]))
    assert network.layers["Activation1"].y.ravel().tolist() == [0.0, 1.0]


def test_accuracy_counts_the_largest_output():
    network = zero_network()
    network.params["b1"][3] = 1.0
    assert network.accuracy(np.ones((4, 4)), np.array([3, 0, 3, 3])) == 0.75


@pytest.mark.parametrize(("activation", "gain"), [("relu", 2.0), ("sigmoid", 1.0)])
def test_drawn_weights_have_the_variance_for_their_activation(activation, gain):
    params = MultiLayerNet(400, [500], 10, activation=activation).params
    assert np.var(params["W1"]) == pytest.approx(gain / 400, rel=0.02)
    assert np.var(params["W2"]) == pytest.approx(gain / 500, rel=0.06)
    assert not params["b1"].any()


def test_given_parameters_are_copied_and_checked():
    given = {"W1": np.ones((4, 3), dtype=np.float32), "b1": np.zeros(3, dtype=np.float32)}
    network = MultiLayerNet(4, [], 3, params=given)
    assert network.params["W1"].dtype == np.float64
    network.params["W1"][:] = 5.0
    assert given["W1"].max() == 1.0
    with pytest.raises(ValueError, match="the network has"):
        MultiLayerNet(4, [2], 3, params=given)


def test_after_records_the_loss_on_the_batch_just_learnt():
    data = batches(3)
    network, other = (MultiLayerNet(4, [5], 3, seed=1) for _ in range(2))
    losses = train_network(network, SGD(0.2), data)
    expected = []
    for x, t in data:
        grads = other.gradient(x, t)
        for name in other.params:
            other.params[name][...] = other.params[name] - 0.2 * grads[name]
        expected.append(other.loss(x, t))
    assert losses == expected


def test_before_records_the_loss_on_the_batch_to_be_learnt():
    data = batches(3)
    losses = train_network(MultiLayerNet(4, [5], 3, seed=1), Adam(0.05), data, record="before")
    assert losses[0] == MultiLayerNet(4, [5], 3, seed=1).loss(*data[0])
    for updates in (1, 2):
        network = MultiLayerNet(4, [5], 3, seed=1)
        train_network(network, Adam(0.05), data[:updates])
        assert losses[updates] == network.loss(*data[updates])
    assert len(losses) == 3


def test_after_is_before_moved_by_one_row_on_one_batch():
    data = batches(1) * 6
    after, before = (
        train_network(MultiLayerNet(4, [5], 3, seed=1), Momentum(0.1), data, record=record)
        for record in ("after", "before")
    )
    assert after[:-1] == before[1:]
    assert after[-1] < before[0]


def test_unknown_record_is_refused():
    with pytest.raises(ValueError, match="'after' or 'before'"):
        train_network(zero_network(), SGD(), batches(1), record="during")
