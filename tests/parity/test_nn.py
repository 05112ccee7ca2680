"""Layers and losses against PyTorch's, in float64."""

import numpy as np
import pytest

from optbench.device.cpu import NumpyDevice
from optbench.problems.networks.nn.base import Layer, Mode
from optbench.problems.networks.nn.images import Conv2d, MaxPool
from optbench.problems.networks.nn.initializers import Initializer, he
from optbench.problems.networks.nn.layers import Dense, Dropout, RectifiedDense, ReLU, Sigmoid, Tanh
from optbench.problems.networks.nn.losses import SoftmaxCrossEntropy, zero_one_errors
from optbench.problems.networks.nn.normalization import BatchNorm
from tests.problems.networks.nn.passes import LANES, Arrays, Case, case, run

torch = pytest.importorskip("torch")
F = torch.nn.functional
WORK = NumpyDevice().workspace()
CLOSE = {"rtol": 1e-10, "atol": 1e-12}


def lane_of(given: Case, lane: int):
    """Return a lane's input and weights as tensors that gather gradients, and dy."""
    x = torch.tensor(given.x[lane], requires_grad=True)
    weights = [torch.tensor(each[lane], requires_grad=True) for each in given.weights.values()]
    return x, weights, torch.tensor(given.dy[lane])


def compare(layer: Layer, given: Case, function) -> None:
    """Compare output and all gradients with those of ``function(x, weights, lane)``."""
    outcome = run(layer, given)
    for lane in range(LANES):
        x, weights, dy = lane_of(given, lane)
        y = function(x, weights, lane)
        y.backward(dy)
        np.testing.assert_allclose(outcome.y[lane], y.detach().numpy(), **CLOSE)
        np.testing.assert_allclose(outcome.dx[lane], x.grad.numpy(), **CLOSE)
        for ours, theirs in zip(outcome.grads.values(), weights, strict=True):
            np.testing.assert_allclose(ours[lane], theirs.grad.numpy(), **CLOSE)


@pytest.mark.parametrize("has_bias", [True, False])
def test_linear(has_bias):
    layer = Dense("dense1", (7,), 4, he, has_bias)
    compare(layer, case(layer), lambda x, w, lane: F.linear(x, w[0].T, *w[1:]))


def test_rectified_linear():
    layer = RectifiedDense("dense1", (7,), 4, he)
    compare(layer, case(layer), lambda x, w, lane: F.relu(F.linear(x, w[0].T, w[1])))


@pytest.mark.parametrize(
    ("kind", "function"), [(ReLU, F.relu), (Sigmoid, torch.sigmoid), (Tanh, torch.tanh)]
)
def test_activations(kind, function):
    layer = kind("layer1", (2, 3, 4))
    compare(layer, case(layer), lambda x, w, lane: function(x))


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("window", [(1, 1), (3, 2), (5, 5)])
@pytest.mark.parametrize(("stride", "pad"), [(1, 0), (2, 0), (1, 1), (3, 2)])
def test_conv2d(window, stride, pad, has_bias):
    layer = Conv2d("conv1", (3, 8, 7), 4, window, he, stride, pad, has_bias)

    def function(x, weights, lane):
        return F.conv2d(x, *weights, stride=stride, padding=pad)

    compare(layer, case(layer), function)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(
    ("window", "stride", "pad"), [((2, 2), 2, 0), ((3, 2), 1, 0), ((3, 3), 2, 1), ((2, 2), 3, 0)]
)
def test_max_pool2d(window, stride, pad, ties):
    layer = MaxPool("pool1", (3, 8, 7), window, stride, pad, -np.inf)
    given = case(layer)
    if ties:
        given.x = np.round(given.x)
    compare(layer, given, lambda x, w, lane: F.max_pool2d(x, window, stride=stride, padding=pad))


def pytorch_norm(shape, weights: Arrays, lane: int, eps: float):
    """Return PyTorch's layer with a lane's scale and shift, its running averages at their start."""
    kind = torch.nn.BatchNorm2d if len(shape) == 3 else torch.nn.BatchNorm1d
    module = kind(shape[0], eps=eps).double()
    with torch.no_grad():
        module.weight[:] = torch.tensor(weights["norm1.gamma"][lane])
        module.bias[:] = torch.tensor(weights["norm1.beta"][lane])
    return module


@pytest.mark.parametrize("shape", [(5,), (3, 4, 5)])
def test_batch_norm_in_training(shape):
    layer = BatchNorm("norm1", shape, per_channel=True, eps=1e-5)

    def function(x, weights, lane):
        return F.batch_norm(x, None, None, *weights, training=True, eps=1e-5)

    compare(layer, case(layer), function)


@pytest.mark.parametrize("shape", [(5,), (3, 4, 5)])
def test_batch_norms_running_averages_and_evaluation(shape):
    layer = BatchNorm("norm1", shape, per_channel=True, eps=1e-5, unbiased=True, variance_start=1.0)
    given = case(layer)
    given.buffers = {
        buffer.name: np.full((LANES, *buffer.shape), buffer.start) for buffer in layer.buffers
    }
    theirs = [pytorch_norm(shape, given.weights, lane, 1e-5) for lane in range(LANES)]
    for step in range(5):
        given.x = case(layer, seed=step).x * (step + 1)
        given.buffers = run(layer, given).buffers
        for lane, module in enumerate(theirs):
            module(torch.tensor(given.x[lane]))
            mean, var = (given.buffers[f"norm1.running_{each}"][lane] for each in ("mean", "var"))
            np.testing.assert_allclose(mean, module.running_mean.numpy(), **CLOSE)
            np.testing.assert_allclose(var, module.running_var.numpy(), **CLOSE)
    y = run(layer, given, mode=Mode.EVALUATE).y
    for lane, module in enumerate(theirs):
        expected = module.eval()(torch.tensor(given.x[lane])).detach().numpy()
        np.testing.assert_allclose(y[lane], expected, **CLOSE)


def test_inverted_dropout_with_a_given_mask():
    """PyTorch draws a mask of its own; it is read from what came out, and given to ours."""
    layer = Dropout("dropout1", (2, 3, 4), 0.3, inverted=True)
    given = case(layer)
    for lane in range(LANES):
        torch.manual_seed(lane)
        kept = F.dropout(torch.tensor(given.x[lane]), 0.3).numpy()
        given.masks["dropout1"][lane] = kept != 0.0

    def function(x, weights, lane):
        torch.manual_seed(lane)
        return F.dropout(x, 0.3)

    compare(layer, given, function)
    y = run(layer, given, mode=Mode.EVALUATE).y
    theirs = F.dropout(torch.tensor(given.x), 0.3, training=False).numpy()
    np.testing.assert_array_equal(y, theirs)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_cross_entropy_and_negative_log_likelihood(reduction):
    generator = np.random.default_rng(2)
    scores = generator.normal(size=(LANES, 6, 5)) * 4.0
    labels = generator.integers(5, size=(LANES, 6)).astype(np.uint8)
    loss = SoftmaxCrossEntropy(reduction=reduction)
    value, grad = loss.value_and_grad(scores, labels, work=WORK)
    each = loss.per_example(scores, labels, work=WORK)
    for lane in range(LANES):
        x = torch.tensor(scores[lane], requires_grad=True)
        target = torch.tensor(labels[lane].astype(np.int64))
        theirs = F.cross_entropy(x, target, reduction=reduction)
        nll = F.nll_loss(F.log_softmax(x, dim=1), target, reduction=reduction)
        theirs.backward()
        np.testing.assert_allclose(value[lane], theirs.item(), **CLOSE)
        np.testing.assert_allclose(value[lane], nll.item(), **CLOSE)
        np.testing.assert_allclose(grad[lane], x.grad.numpy(), **CLOSE)
        examples = F.cross_entropy(x, target, reduction="none").detach().numpy()
        np.testing.assert_allclose(each[lane], examples, **CLOSE)
        wrong = (x.argmax(dim=1) != target).numpy()
        np.testing.assert_array_equal(zero_one_errors(scores, labels, xp=np)[lane], wrong)


def test_the_truncated_normal_distribution():
    values = Initializer("truncated-normal", 0.5).draw(0, "w", (400, 500), fan_in=1, fan_out=1)
    theirs = torch.nn.init.trunc_normal_(
        torch.empty(400, 500, dtype=torch.float64), std=0.5, a=-1.0, b=1.0
    ).numpy()
    quantiles = np.linspace(0.01, 0.99, 50)
    ours, others = np.quantile(values, quantiles), np.quantile(theirs, quantiles)
    np.testing.assert_allclose(ours, others, atol=0.01)


def test_glorots_uniform_distribution_has_xavier_uniforms_bounds():
    layer = Conv2d("conv1", (3, 30, 30), 20, (10, 20), Initializer("glorot-uniform"))
    theirs = torch.nn.init.xavier_uniform_(torch.empty(20, 3, 10, 20)).abs().max().item()
    assert np.abs(layer.start(0)["conv1.weight"]).max() == pytest.approx(theirs, rel=1e-2)
