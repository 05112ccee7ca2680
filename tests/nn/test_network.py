"""Stacked networks against the reference's network, one lane at a time."""

import numpy as np
import pytest

from optbench.arrays import stack
from optbench.nn.initializers import he
from optbench.nn.layers import Dense, ReLU
from optbench.nn.losses import SoftmaxCrossEntropy
from optbench.nn.network import Network, dense_relu_layers
from optbench.workspace import Workspace
from tests.reference.network import MultiLayerNet

SIZES = (6, 5, 4, 3)
SEEDS = (0, 7, 3)
BATCH = 8
RNG = np.random.default_rng(10)
WORK = Workspace(np)
X = RNG.normal(size=(len(SEEDS), BATCH, SIZES[0]))
LABELS = RNG.integers(SIZES[-1], size=(len(SEEDS), BATCH)).astype(np.uint8)


def network(log_eps: float = 1e-7) -> Network:
    return Network(dense_relu_layers(SIZES, he), SoftmaxCrossEntropy(log_eps))


def stacked(net: Network, dtype: str = "float64"):
    rows = np.stack([net.start(seed) for seed in SEEDS]).astype(dtype)
    return stack(rows, net.tensors, np), stack(np.full_like(rows, np.nan), net.tensors, np)


def references(net: Network, log_eps: float = 1e-7) -> list[MultiLayerNet]:
    params, _ = stacked(net)
    return [
        MultiLayerNet(
            SIZES[0],
            SIZES[1:-1],
            SIZES[-1],
            log_eps=log_eps,
            params={
                f"{letter}{i}": params.views[f"dense{i}.{name}"][lane]
                for i in range(1, len(SIZES))
                for letter, name in (("W", "weight"), ("b", "bias"))
            },
        )
        for lane in range(len(SEEDS))
    ]


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("log_eps", [0.0, 1e-7])
def test_losses_scores_and_gradients_are_the_references(log_eps, shared):
    net = network(log_eps)
    params, grads = stacked(net)
    x, labels = (X[:1], LABELS[:1]) if shared else (X, LABELS)
    loss = net.loss_and_grad(x, labels, params.views, grads.views, work=WORK)
    scores = net.scores(x, params.views, work=WORK)
    for lane, reference in enumerate(references(net, log_eps)):
        own, own_labels = x[0 if shared else lane], labels[0 if shared else lane]
        assert loss[lane] == pytest.approx(reference.loss(own, own_labels), rel=1e-12)
        np.testing.assert_allclose(scores[lane], reference.predict(own), rtol=1e-11, atol=1e-13)
        for name, expected in reference.gradient(own, own_labels).items():
            part = "weight" if name.startswith("W") else "bias"
            ours = grads.views[f"dense{name[1:]}.{part}"][lane]
            np.testing.assert_allclose(ours, expected, rtol=1e-10, atol=1e-14)


def test_gradients_are_the_differences_of_the_loss():
    net = network(0.0)
    params, grads = stacked(net)
    params.rows[...] += 0.01 * RNG.normal(size=params.rows.shape)
    net.loss_and_grad(X, LABELS, params.views, grads.views, work=WORK)
    h = 1e-6
    for parameter in range(params.rows.shape[1]):
        kept = params.rows[:, parameter].copy()
        losses = []
        for shift in (h, -h):
            params.rows[:, parameter] = kept + shift
            losses.append(net.loss.mean(net.scores(X, params.views, work=WORK), LABELS, xp=np))
        params.rows[:, parameter] = kept
        difference = (losses[0] - losses[1]) / (2 * h)
        np.testing.assert_allclose(grads.rows[:, parameter], difference, atol=1e-8)


def test_single_precision_follows_double():
    net = network()
    _, expected = stacked(net)
    double = net.loss_and_grad(X, LABELS, stacked(net)[0].views, expected.views, work=WORK)
    params, grads = stacked(net, "float32")
    single = net.loss_and_grad(X.astype("f4"), LABELS, params.views, grads.views, work=WORK)
    assert single.dtype == grads.rows.dtype == np.float32
    np.testing.assert_allclose(single, double, rtol=1e-5)
    np.testing.assert_allclose(grads.rows, expected.rows, rtol=1e-3, atol=1e-6)


def test_inputs_are_only_read():
    net = network()
    params, grads = stacked(net)
    before = [each.copy() for each in (X, LABELS, params.rows)]
    X.flags.writeable = False
    net.loss_and_grad(X, LABELS, params.views, grads.views, work=WORK)
    X.flags.writeable = True
    for kept, each in zip(before, (X, LABELS, params.rows), strict=True):
        assert kept.tobytes() == each.tobytes()


def test_tensors_lie_in_a_row_in_the_order_of_layers():
    net = network()
    assert [tensor.name for tensor in net.tensors] == [
        f"dense{i}.{part}" for i in (1, 2, 3) for part in ("weight", "bias")
    ]
    start = net.start(7)
    assert start.shape == (sum(tensor.size for tensor in net.tensors),) == (74,)
    np.testing.assert_array_equal(start[:30].reshape(6, 5), he(7, "dense1.weight", (6, 5)))
    assert start[30:35].tolist() == [0.0] * 5
    np.testing.assert_array_equal(start[35:55].reshape(5, 4), he(7, "dense2.weight", (5, 4)))


def test_relu_follows_every_layer_but_the_last():
    layers = dense_relu_layers(SIZES, he)
    assert [type(layer) for layer in layers] == [Dense, ReLU, Dense, ReLU, Dense]
    widths = [(each.fan_in, each.fan_out) for each in layers if isinstance(each, Dense)]
    assert widths == [(6, 5), (5, 4), (4, 3)]
