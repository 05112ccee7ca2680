"""Stacked networks against the reference's network, one lane at a time, and against differences."""

from dataclasses import replace

import numpy as np
import pytest

from optbench.arrays import Stacked, stack
from optbench.device.cpu import NumpyDevice
from optbench.errors import SuiteError
from optbench.problems.networks.nn.activations import ReLU
from optbench.problems.networks.nn.base import Mode, Pass
from optbench.problems.networks.nn.images import Conv2d
from optbench.problems.networks.nn.initializers import Initializer, he
from optbench.problems.networks.nn.layers import Dense, chained
from optbench.problems.networks.nn.losses import SoftmaxCrossEntropy
from optbench.problems.networks.nn.network import Network, Regularization, dense_relu_layers
from optbench.problems.networks.nn.parse import parse_layers
from tests.problems.networks.nn.passes import Counting, differences, stale
from tests.reference.network import MultiLayerNet
from tests.strict import StrictDevice

SIZES = (6, 5, 4, 3)
SEEDS = (0, 7, 3)
BATCH = 8
RNG = np.random.default_rng(10)
WORK = stale(NumpyDevice().workspace())
X = RNG.normal(size=(len(SEEDS), BATCH, SIZES[0]))
LABELS = RNG.integers(SIZES[-1], size=(len(SEEDS), BATCH)).astype(np.uint8)
EVERYTHING = (
    *("dropout 0.2", "conv 2 3x3 pad=1", "batch-norm", "relu"),
    *("conv 3 2x2", "batch-norm per-channel=true", "tanh", "max-pool 2x2 stride=2"),
    *("dropout 0.5 inverted=true", "dense 4 init=xavier", "sigmoid", "dense 4", "leaky-relu"),
    *("dense 5", "layer-norm", "gelu", "dense 4", "elu", "dense 4", "silu", "dense 3", "softplus"),
    "dense 3",
)
IMAGES = RNG.normal(size=(len(SEEDS), BATCH, 2, 5, 5))


def network(log_eps: float = 1e-7, **regularization: float) -> Network:
    loss = SoftmaxCrossEntropy(log_eps)
    return Network(dense_relu_layers(SIZES, he), loss, Regularization(**regularization))


def with_everything(**regularization: float) -> Network:
    layers = parse_layers(EVERYTHING, (2, 5, 5), "he", 0.01)
    return Network(layers, SoftmaxCrossEntropy(), Regularization(**regularization))


def stacked(net: Network, dtype: str = "float64") -> tuple[Stacked, Stacked]:
    rows = np.stack([net.start(seed) for seed in SEEDS]).astype(dtype)
    return stack(rows, net.tensors, np), stack(np.full_like(rows, np.nan), net.tensors, np)


def passes(net: Network, params: Stacked, mode: Mode = Mode.TRAIN) -> Pass:
    lanes = params.rows.shape[0]
    buffers = {each.name: np.full((lanes, *each.shape), each.start) for each in net.buffers}
    generator = np.random.default_rng(3)
    masks = {
        layer.name: generator.random((lanes, BATCH, *layer.out_shape)) >= layer.ratio
        for layer in net.dropouts
    }
    return Pass(WORK, mode, params.views, buffers, masks)


def ready(net: Network) -> tuple[Stacked, Stacked, Pass]:
    """Return parameters, gradients and a training pass."""
    params, grads = stacked(net)
    return params, grads, passes(net, params)


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
    _, grads, given = ready(net)
    x, labels = (X[:1], LABELS[:1]) if shared else (X, LABELS)
    loss, penalty = net.loss_and_grad(x, labels, given, grads.views)
    assert penalty is None
    assert net.loss_of(x, labels, given)[0].tobytes() == loss.tobytes()
    scores = net.scores(x, given)
    for lane, reference in enumerate(references(net, log_eps)):
        own, own_labels = x[0 if shared else lane], labels[0 if shared else lane]
        assert loss[lane] == pytest.approx(reference.loss(own, own_labels), rel=1e-12)
        np.testing.assert_allclose(scores[lane], reference.predict(own), rtol=1e-11, atol=1e-13)
        for name, expected in reference.gradient(own, own_labels).items():
            part = "weight" if name.startswith("W") else "bias"
            ours = grads.views[f"dense{name[1:]}.{part}"][lane]
            np.testing.assert_allclose(ours, expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("penalties", [{}, {"l1": 0.01, "l2": 0.02, "weight_decay": 0.3}])
def test_gradients_of_all_layers_together_are_the_differences_of_the_loss(penalties):
    net = with_everything(**penalties)
    params, grads = stacked(net)
    params.rows[...] += 0.1 * RNG.normal(size=params.rows.shape)
    given = passes(net, params)
    net.loss_and_grad(IMAGES, LABELS, given, grads.views)
    score = replace(given, mode=Mode.SCORE)
    slopes = differences(lambda: net.loss_of(IMAGES, LABELS, score)[0].sum(), params.rows, 1e-6)
    np.testing.assert_allclose(grads.rows, slopes, rtol=1e-5, atol=1e-8)


def test_penalties_are_the_sums_over_weights_alone():
    net = with_everything(l1=0.1, l2=0.02, weight_decay=0.3)
    params, _ = stacked(net)
    params.rows[...] += 1.0
    given = passes(net, params)
    total, penalty = net.loss_of(IMAGES, LABELS, given)
    plain, none = with_everything().loss_of(IMAGES, LABELS, passes(net, params))
    assert none is None
    weights = ("conv1.weight", "conv2.weight", *(f"dense{n}.weight" for n in range(1, 8)))
    for lane in range(len(SEEDS)):
        values = [v for name in weights for v in params.views[name][lane].ravel().tolist()]
        squares = sum(value**2 for value in values)
        expected = 0.1 * sum(map(abs, values)) + 0.02 * squares + 0.5 * 0.3 * squares
        assert penalty[lane] == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(total, plain + penalty, rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "value", "slope"),
    [
        ("l1", lambda w: abs(w), lambda w: np.sign(w)),
        ("l2", lambda w: w**2, lambda w: 2 * w),
        ("weight_decay", lambda w: w**2 / 2, lambda w: w),
    ],
)
def test_each_penalty_adds_its_slope(name, value, slope):
    net, plain = network(**{name: 0.25}), network()
    params, grads = stacked(net)
    params.views["dense1.weight"][0, 0, 0] = 0.0
    _, penalty = net.loss_and_grad(X, LABELS, passes(net, params), grads.views)
    without = stacked(net)[1]
    plain.loss_and_grad(X, LABELS, passes(net, params), without.views)
    total = 0.0
    for tensor in net.tensors:
        w, added = (each.views[tensor.name] for each in (params, grads))
        added = added - without.views[tensor.name]
        if tensor.name.endswith("bias"):
            assert not added.any()
        else:
            np.testing.assert_allclose(added, 0.25 * slope(w), rtol=1e-9, atol=1e-12)
            total = total + 0.25 * value(w).sum(axis=(1, 2))
    np.testing.assert_allclose(penalty, total, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_lane_alone_has_the_bits_that_it_has_in_company(dtype):
    net = with_everything(l1=0.01, l2=0.02)
    params, grads = stacked(net, dtype)
    given, x = passes(net, params), IMAGES.astype(dtype)
    given = replace(given, buffers={n: b.astype(dtype) for n, b in given.buffers.items()})
    loss, penalty = net.loss_and_grad(x, LABELS, given, grads.views)
    for lane in range(len(SEEDS)):
        own = slice(lane, lane + 1)
        rows = stack(params.rows[own], net.tensors, np)
        grad = stack(np.full_like(rows.rows, np.nan), net.tensors, np)
        alone = Pass(
            WORK,
            Mode.TRAIN,
            rows.views,
            {each.name: np.zeros((1, *each.shape), dtype) for each in net.buffers},
            {name: mask[own] for name, mask in given.masks.items()},
        )
        one = net.loss_and_grad(x[own], LABELS[own], alone, grad.views)
        assert one[0].dtype == dtype
        assert [each.tobytes() for each in one] == [loss[own].tobytes(), penalty[own].tobytes()]
        assert grad.rows.tobytes() == grads.rows[own].tobytes()
        for name, buffer in alone.buffers.items():
            assert buffer.tobytes() == given.buffers[name][own].tobytes()


def test_devices_agree():
    net = with_everything(l1=0.01, weight_decay=0.1)
    params, grads, given = ready(net)
    loss, penalty = net.loss_and_grad(IMAGES, LABELS, given, grads.views)
    device = StrictDevice()
    there = stack(device.put(params.rows), net.tensors, device.xp)
    their_grads = stack(device.put(np.full_like(params.rows, np.nan)), net.tensors, device.xp)
    fresh = passes(net, params)
    strict = Pass(
        device.workspace(),
        Mode.TRAIN,
        there.views,
        {name: device.put(array) for name, array in fresh.buffers.items()},
        {name: device.put(array) for name, array in fresh.masks.items()},
    )
    x, labels = device.put(IMAGES), device.put(LABELS)
    one, other = net.loss_and_grad(x, labels, strict, their_grads.views)
    np.testing.assert_allclose(device.get(one), loss, rtol=1e-12)
    np.testing.assert_allclose(device.get(other), penalty, rtol=1e-12)
    np.testing.assert_allclose(device.get(their_grads.rows), grads.rows, rtol=1e-9, atol=1e-12)


def test_layers_before_the_first_that_is_trained_go_forward_only():
    layers = parse_layers(["max-pool 2x2", "relu", "dense 3"], (2, 5, 5), "he", 0.01)
    net = Network(layers, SoftmaxCrossEntropy())
    _, grads, given = ready(net)
    net.loss_and_grad(IMAGES, LABELS, given, grads.views)
    assert np.isfinite(grads.rows).all()
    dense = layers[-1]
    before = sum(layer.work_values for layer in layers[:-1])
    assert net.work_values == before + dense.out_size + 3


@pytest.mark.parametrize("texts", [("dense 3",), ("conv 2 3x3", "tanh", "dense 3")])
def test_nobody_works_out_the_gradient_of_the_input(texts):
    net = Network(parse_layers(texts, (2, 5, 5), "he", 0.01), SoftmaxCrossEntropy())
    params, grads = stacked(net)
    work = Counting(np, writes_out=True)
    net.loss_and_grad(IMAGES, LABELS, replace(passes(net, params), work=work), grads.views)
    of_loss = 3  # its gradient is no work array, but takes as much
    assert work.taken == len(SEEDS) * BATCH * (net.work_values - of_loss)


def test_a_second_step_asks_for_no_new_arrays():
    net = with_everything(l1=0.1)
    params, grads = stacked(net)
    given = replace(passes(net, params), work=NumpyDevice().workspace())
    kept = []
    for _ in range(2):
        net.loss_and_grad(IMAGES, LABELS, given, grads.views)
        net.loss_of(IMAGES, LABELS, replace(given, mode=Mode.SCORE))
        net.scores(IMAGES, replace(given, mode=Mode.EVALUATE))
        kept.append(sorted(id(array) for array in given.work._arrays.values()))
    assert kept[0] == kept[1]


def test_single_precision_follows_double():
    net = network()
    params, expected = stacked(net)
    double, _ = net.loss_and_grad(X, LABELS, passes(net, params), expected.views)
    params, grads = stacked(net, "float32")
    single, _ = net.loss_and_grad(X.astype("f4"), LABELS, passes(net, params), grads.views)
    assert single.dtype == grads.rows.dtype == np.float32
    np.testing.assert_allclose(single, double, rtol=1e-5)
    np.testing.assert_allclose(grads.rows, expected.rows, rtol=1e-3, atol=1e-6)


def test_inputs_are_only_read():
    net = with_everything()
    params, grads, given = ready(net)
    read = (IMAGES, LABELS, params.rows, *given.masks.values())
    before = [each.copy() for each in read]
    net.loss_and_grad(IMAGES, LABELS, given, grads.views)
    for kept, each in zip(before, read, strict=True):
        assert kept.tobytes() == each.tobytes()


def test_tensors_lie_in_a_row_in_the_order_of_layers():
    net = network()
    assert [tensor.name for tensor in net.tensors] == [
        f"dense{i}.{part}" for i in (1, 2, 3) for part in ("weight", "bias")
    ]
    start = net.start(7)
    assert start.shape == (sum(tensor.size for tensor in net.tensors),) == (74,)
    first = he.draw(7, "dense1.weight", (6, 5), fan_in=6, fan_out=5)
    np.testing.assert_array_equal(start[:30].reshape(6, 5), first)
    assert start[30:35].tolist() == [0.0] * 5
    second = he.draw(7, "dense2.weight", (5, 4), fan_in=5, fan_out=4)
    np.testing.assert_array_equal(start[35:55].reshape(5, 4), second)


def test_a_network_lists_buffers_and_dropouts_in_order():
    net = with_everything()
    assert [buffer.name for buffer in net.buffers] == [
        f"norm{i}.{part}" for i in (1, 2) for part in ("running_mean", "running_var")
    ]
    dropouts = [(layer.name, layer.ratio) for layer in net.dropouts]
    assert dropouts == [("dropout1", 0.2), ("dropout2", 0.5)]


def test_relu_follows_every_layer_but_the_last():
    layers = dense_relu_layers(SIZES, he)
    assert [layer.name for layer in layers] == ["dense1", "relu1", "dense2", "relu2", "dense3"]
    widths = [(each.fan_in, each.fan_out) for each in layers if isinstance(each, Dense)]
    assert widths == [(6, 5), (5, 4), (4, 3)]
    texts = ("dense 5", "relu", "dense 4", "relu", "dense 3")
    assert layers == parse_layers(texts, (6,), "he", he.std)


def test_a_dense_network_takes_outputs_and_gradients():
    outputs, inputs, of_loss = 5 + 4 + 3, 5 + 4, 3
    assert network().work_values == outputs + inputs + of_loss


def test_an_affine_layer_and_its_rectifier_have_the_bits_of_the_two(monkeypatch):
    net = network()
    found = []
    for chain in (chained, tuple):
        monkeypatch.setattr("optbench.problems.networks.nn.network.chained", chain)
        params, grads = stacked(net, "float32")
        loss, _ = replace(net).loss_and_grad(
            X.astype("f4"), LABELS, passes(net, params), grads.views
        )
        found.append((loss.tobytes(), grads.rows.tobytes()))
    assert found[0] == found[1]


def test_rectifiers_stay_apart_where_they_follow_something_else():
    texts = ("conv 2 3x3", "relu", "dense 4", "batch-norm", "relu", "dense 3", "relu", "dense 2")
    kinds = [type(layer).__name__ for layer in chained(parse_layers(texts, (1, 5, 5), "he", 0.01))]
    assert kinds == [
        "Conv2d",
        "ReLU",
        "Flatten",
        "Dense",
        "BatchNorm",
        "ReLU",
        "RectifiedDense",
        "Dense",
    ]
    no_bias = (Dense("dense1", (4,), 3, he, has_bias=False), ReLU("relu1", (3,)))
    assert chained(no_bias) == no_bias


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((), "none of the layers can be trained; add one such as 'dense 10'"),
        ((ReLU("relu1", (4,)),), "none of the layers can be trained"),
        (
            (Dense("dense1", (4,), 3, he), Dense("dense2", (5,), 3, he)),
            "dense1 gives the shape 3, dense2 takes 5",
        ),
        (
            (Conv2d("conv1", (1, 5, 5), 2, (2, 2), Initializer("zeros")),),
            "the last layer, conv1, gives images of the shape 2x4x4; end with one score per class",
        ),
        (
            (Dense("dense1", (65_536,), 65_536, he),),
            r"dense1.weight has 4.29e\+09 parameters; all layers together may have at most 21474",
        ),
    ],
)
def test_layers_that_make_no_network_are_refused(layers, message):
    with pytest.raises(SuiteError, match=f"^{message}"):
        Network(layers, SoftmaxCrossEntropy())
