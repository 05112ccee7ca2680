"""Layers and losses against PyTorch's, in float64."""

import numpy as np
import pytest

from optbench.device.cpu import NumpyDevice
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
from optbench.problems.networks.nn.base import Layer, Mode
from optbench.problems.networks.nn.images import Conv2d, MaxPool
from optbench.problems.networks.nn.initializers import Initializer, he
from optbench.problems.networks.nn.layers import Dense, Dropout, RectifiedDense
from optbench.problems.networks.nn.losses import SoftmaxCrossEntropy, zero_one_errors
from optbench.problems.networks.nn.normalization import BatchNorm, LayerNorm
from optbench.problems.networks.nn.parse import parse_layers
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


ACTIVATIONS = [
    (ReLU, (), F.relu),
    (Sigmoid, (), torch.sigmoid),
    (Tanh, (), torch.tanh),
    (LeakyReLU, (), F.leaky_relu),
    (LeakyReLU, (0.3,), lambda x: F.leaky_relu(x, 0.3)),
    (ELU, (), F.elu),
    (ELU, (1.5,), lambda x: F.elu(x, 1.5)),
    (GELU, (), F.gelu),
    (GELU, ("tanh",), lambda x: F.gelu(x, approximate="tanh")),
    (SiLU, (), F.silu),
    (Softplus, (), F.softplus),
    (Softplus, (2.0,), lambda x: F.softplus(x, 2.0)),
]


@pytest.mark.parametrize(("kind", "settings", "function"), ACTIVATIONS)
@pytest.mark.parametrize("batch", [1, 4])
def test_activations(kind, settings, function, batch):
    layer = kind("layer1", (2, 3, 4), *settings)
    compare(layer, case(layer, batch=batch), lambda x, w, lane: function(x))


@pytest.mark.parametrize(("kind", "settings", "function"), ACTIVATIONS)
def test_activations_of_large_inputs(kind, settings, function):
    layer = kind("layer1", (8,), *settings)
    given = case(layer)
    # PyTorch's softplus is a line from 20 on; with beta = 2, from 10 on.
    given.x[...] = [-1e4, -100.0, -15.0, 0.0, -0.0, 9.0, 100.0, 1e4]
    compare(layer, given, lambda x, w, lane: function(x))


def test_softplus_stays_near_pytorchs_line():
    x = np.linspace(0.0, 12.0, 1201)[None, None]
    layer = Softplus("softplus1", (1201,), 2.0)
    outcome = run(layer, Case(x, np.ones_like(x), {}))
    there = torch.tensor(x, requires_grad=True)
    theirs = F.softplus(there, 2.0)
    theirs.sum().backward()
    apart = np.abs(outcome.y - theirs.detach().numpy()).max()
    assert 1e-10 < apart < 2.1e-9 / 2.0
    assert np.abs(outcome.dx - there.grad.numpy()).max() < 2.1e-9


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("shape", [(1,), (5,), (3, 4, 5)])
@pytest.mark.parametrize(("affine", "has_bias"), [(True, True), (True, False), (False, True)])
def test_layer_norm(shape, affine, has_bias, batch):
    layer = LayerNorm("norm1", shape, 1e-5, affine, has_bias)
    theirs = torch.nn.LayerNorm(shape, elementwise_affine=affine, bias=has_bias)
    assert [list(p.shape) for p in theirs.parameters()] == [[*t.shape] for t in layer.tensors]

    def function(x, weights, lane):
        return F.layer_norm(x, shape, *weights)

    compare(layer, case(layer, batch=batch), function)


@pytest.mark.parametrize(
    ("texts", "settings"),
    [
        (("dense 200", "relu"), {"nonlinearity": "relu"}),
        (("dense 200", "leaky-relu slope=0.3"), {"a": 0.3, "nonlinearity": "leaky_relu"}),
        (("dense 200 gain=1.6666666666666667", "tanh"), {"nonlinearity": "tanh"}),
        (("conv 20 5x5", "leaky-relu slope=0.3"), {"a": 0.3, "nonlinearity": "leaky_relu"}),
    ],
)
def test_hes_initialisation_has_the_gain_that_pytorch_calculates(texts, settings):
    shape = (10, 12, 12) if texts[0].startswith("conv") else (300,)
    layer = parse_layers(texts, shape, "he", 0.01)[0]
    ours = layer.start(0)[layer.weight]
    theirs = torch.empty(ours.shape if ours.ndim == 4 else ours.T.shape, dtype=torch.float64)
    torch.nn.init.kaiming_normal_(theirs, **settings)
    gain = torch.nn.init.calculate_gain(settings["nonlinearity"], settings.get("a"))
    assert ours.std() == pytest.approx(gain / layer.fan_in**0.5, rel=0.02)
    assert ours.std() == pytest.approx(theirs.std().item(), rel=0.04)


def test_a_gain_is_that_of_xavier_uniform():
    layer = parse_layers(["dense 200 init=glorot-uniform gain=2.5"], (300,), "he", 0.01)[0]
    theirs = torch.nn.init.xavier_uniform_(torch.empty(200, 300), gain=2.5).abs().max().item()
    assert np.abs(layer.start(0)["dense1.weight"]).max() == pytest.approx(theirs, rel=1e-2)


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
