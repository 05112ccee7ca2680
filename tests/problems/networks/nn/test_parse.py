"""Layers as users write them, and what is said where they are wrong."""

import dataclasses
import math

import pytest

from optbench.errors import ExitCode, SuiteError
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
from optbench.problems.networks.nn.images import Conv2d, MaxPool
from optbench.problems.networks.nn.initializers import GAINED, INIT_NAMES, Initializer, he
from optbench.problems.networks.nn.layers import Dense, Dropout, Flatten
from optbench.problems.networks.nn.normalization import BatchNorm, LayerNorm
from optbench.problems.networks.nn.parse import KINDS, parse_layers

IMAGE = (1, 28, 28)
DEFAULT = Initializer("he", 0.02)


def parse(*texts: str, shape: tuple[int, ...] = IMAGE):
    return parse_layers(texts, shape, "he", 0.02)


def test_the_textbooks_convolutional_network():
    layers = parse("conv 30 5x5", "relu", "max-pool 2x2 stride=2", "dense 100", "relu", "dense 10")
    assert layers == (
        Conv2d("conv1", IMAGE, 30, (5, 5), DEFAULT),
        ReLU("relu1", (30, 24, 24)),
        MaxPool("pool1", (30, 24, 24), (2, 2), stride=2),
        Flatten("flatten1", (30, 12, 12)),
        Dense("dense1", (4320,), 100, DEFAULT),
        ReLU("relu2", (100,)),
        Dense("dense2", (100,), 10, DEFAULT),
    )


@pytest.mark.parametrize(
    ("text", "layer"),
    [
        ("relu", ReLU("relu1", IMAGE)),
        ("sigmoid", Sigmoid("sigmoid1", IMAGE)),
        ("tanh", Tanh("tanh1", IMAGE)),
        ("leaky-relu", LeakyReLU("leaky-relu1", IMAGE)),
        ("leaky-relu slope=0.2", LeakyReLU("leaky-relu1", IMAGE, 0.2)),
        ("elu", ELU("elu1", IMAGE)),
        ("elu alpha=1.5", ELU("elu1", IMAGE, 1.5)),
        ("softplus", Softplus("softplus1", IMAGE)),
        ("softplus beta=2", Softplus("softplus1", IMAGE, 2.0)),
        ("silu", SiLU("silu1", IMAGE)),
        ("gelu", GELU("gelu1", IMAGE)),
        ("gelu approximate=tanh", GELU("gelu1", IMAGE, "tanh")),
        ("layer-norm", LayerNorm("norm1", IMAGE)),
        ("layer-norm eps=1e-6 bias=false", LayerNorm("norm1", IMAGE, 1e-6, has_bias=False)),
        ("layer-norm affine=false", LayerNorm("norm1", IMAGE, affine=False)),
        ("flatten", Flatten("flatten1", IMAGE)),
        ("dropout 0", Dropout("dropout1", IMAGE, 0.0)),
        ("dropout 0.25 inverted=true", Dropout("dropout1", IMAGE, 0.25, inverted=True)),
        ("  dropout   inverted=false  0.25 ", Dropout("dropout1", IMAGE, 0.25)),
        (
            "conv 8 3x5 stride=2 pad=1 bias=false init=normal std=0.5",
            Conv2d("conv1", IMAGE, 8, (3, 5), Initializer("normal", 0.5), 2, 1, has_bias=False),
        ),
        (
            "max-pool 3x2 stride=2 pad=1 pad-value=-inf",
            MaxPool("pool1", IMAGE, (3, 2), 2, 1, -math.inf),
        ),
        ("max-pool 3x2 pad-value=0", MaxPool("pool1", IMAGE, (3, 2))),
        ("batch-norm", BatchNorm("norm1", IMAGE)),
        (
            "batch-norm per-channel=true eps=1e-5 momentum=0.8 unbiased=true running-var=1",
            BatchNorm("norm1", IMAGE, True, 1e-5, 0.8, True, 1.0),
        ),
    ],
)
def test_arguments_and_options(text, layer):
    assert parse(text) == (layer,)


@pytest.mark.parametrize(
    ("options", "initializer"),
    [
        ("", DEFAULT),
        ("init=zeros", Initializer("zeros", 0.02)),
        ("std=0.3", Initializer("he", 0.3)),
        *((f"init={name} std=1", Initializer(name, 1.0)) for name in INIT_NAMES),
        *((f"init={name} gain=3", Initializer(name, 0.02, 3.0)) for name in GAINED),
    ],
)
def test_a_layer_may_have_its_own_start(options, initializer):
    assert parse(f"dense 10 {options}", shape=(4,)) == (Dense("dense1", (4,), 10, initializer),)


def test_a_row_of_values_is_not_flattened():
    assert parse("dense 10", shape=(784,)) == (Dense("dense1", (784,), 10, DEFAULT),)
    assert [each.name for each in parse("flatten", "dense 10")] == ["flatten1", "dense1"]
    assert parse("dense 10 init=he std=0.01", shape=(784,))[0].initializer == he


def gains(*texts: str) -> list[float | None]:
    layers = parse(*texts, shape=(2, 8, 8))
    return [layer.initializer.gain for layer in layers if isinstance(layer, Dense | Conv2d)]


def test_hes_initialisation_knows_the_leaky_rectifier_that_comes_next():
    leaky = math.sqrt(2.0 / 1.04)
    follows = ("batch-norm", "max-pool 2x2", "leaky-relu slope=0.2")
    assert gains("dense 3", "leaky-relu slope=0.2") == [leaky]
    assert gains("conv 3 2x2", *follows, "dense 4", "relu", "dense 2") == [leaky, None, None]
    assert gains("dense 3", "tanh", "leaky-relu slope=0.2") == [None]
    assert gains("dense 3", "dense 3", "leaky-relu slope=0.2") == [None, leaky]
    assert gains("dense 3 gain=1", "leaky-relu") == [1.0]
    assert gains("dense 3 init=xavier", "leaky-relu") == [None]


def test_layers_of_normalisation_are_numbered_together():
    names = [layer.name for layer in parse("batch-norm", "layer-norm", "batch-norm")]
    assert names == ["norm1", "norm2", "norm3"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_example_makes_a_layer(kind):
    layers = parse(KINDS[kind].example)
    assert isinstance(layers[-1], KINDS[kind].layer)
    assert layers[-1].name == f"{KINDS[kind].name}1"


SIZE = "must be a whole number between 1 and 999999999"
SHAPE = "it takes images of channels x height x width; its input has the shape"


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (["conv 30 5x5", "relu", "max-pool 40x40"], "its window is larger than its input of 24x24"),
        (["dense 10", "conv 3 2x2"], f"{SHAPE} 10"),
        (["flatten", "max-pool 2x2"], f"{SHAPE} 784"),
        (["dens 10"], "unknown layer 'dens'; did you mean 'dense'?"),
        (["maxpool 2x2"], "unknown layer 'maxpool'; did you mean 'max-pool'?"),
        ([""], "a layer is text such as 'dense 300'"),
        ([300], "a layer is text such as 'dense 300'"),
        (["dense"], "it takes one value, as in 'dense 300'"),
        (["dense 3 4"], "it takes one value, as in 'dense 300'"),
        (["conv 3"], "it takes two values, as in 'conv 30 5x5'"),
        (["relu 3"], "it takes no values, as in 'relu'"),
        (["dense 0"], f"outputs = 0 {SIZE}"),
        (["dense 1.5"], f"outputs = 1.5 {SIZE}"),
        (["dense 1234567890"], f"outputs = 1234567890 {SIZE}"),
        (["dense ²"], f"outputs = '²' {SIZE}"),
        (["conv 3 5"], "window = 5 must be height x width, such as 5x5"),
        (["conv 3 0x2"], "window = '0x2' must be height x width, such as 5x5"),
        (["conv 3 2x2 stride=0"], f"stride = 0 {SIZE}; the default is 1"),
        (
            ["conv 3 2x2 pad=-1"],
            "pad = -1 must be a whole number between 0 and 999999999; the default is 0",
        ),
        (["max-pool 2x2 pad=2"], "its pad is 2; it must be smaller than its window"),
        (["max-pool 2x2 pad-value=1"], "pad-value = '1' must be one of 0, -inf; the default is 0"),
        (["dropout 1"], "ratio = 1 must be at least 0 and below 1"),
        (["dropout -0.1"], "ratio = -0.1 must be at least 0 and below 1"),
        (["dropout nan"], "ratio = nan must be a finite number of at least 0 and below 1"),
        (["dropout half"], "ratio = 'half' must be a number of at least 0 and below 1"),
        (
            ["dropout 0.5 inverted=yes"],
            "inverted = 'yes' must be true or false; the default is false",
        ),
        (["dropout 0.5 invert=true"], "dropout has no option 'invert'; did you mean 'inverted'?"),
        (["relu a=b"], "relu has no option 'a'; it takes none"),
        (["batch-norm eps=0"], "eps = 0 must be above 0; the default is 1e-06"),
        (["batch-norm eps=x"], "eps = 'x' must be a number above 0; the default is 1e-06"),
        (
            ["batch-norm momentum=1"],
            "momentum = 1 must be at least 0 and below 1; the default is 0.9",
        ),
        (["leaky-relu slope=2"], "slope = 2 must be between 0 and 1; the default is 0.01"),
        (["elu alpha=-1"], "alpha = -1 must be at least 0; the default is 1"),
        (["softplus beta=0"], "beta = 0 must be above 0; the default is 1"),
        (
            ["gelu approximate=erf"],
            "approximate = 'erf' must be one of none, tanh; the default is none",
        ),
        (["layer-norm eps=0"], "eps = 0 must be above 0; the default is 1e-05"),
        (["dense 3 gain=0"], "gain = 0 must be above 0"),
        (
            ["dense 3 init=normal gain=2"],
            "init=normal has no gain; it belongs to he, xavier, glorot-uniform",
        ),
        (["dense 3 std=inf"], "std = inf must be a finite number of at least 0"),
        (["dense 3 init=zero"], f"init = 'zero' must be one of {', '.join(INIT_NAMES)}"),
        (["dense 3 bias=true bias=true"], "bias is given twice"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_the_place(texts, says):
    with pytest.raises(SuiteError) as caught:
        parse(*texts)
    assert str(caught.value) == f"layer {len(texts)} '{texts[-1]}': {says}"
    assert caught.value.exit_code is ExitCode.USAGE


def test_defaults_of_options_are_those_of_the_layers():
    for kind in KINDS.values():
        fields = {field.name: field.default for field in dataclasses.fields(kind.layer)}
        for name, option in kind.options.items():
            if option.default is not None:
                default = option.check(option.default)
                assert fields[name] == (float(default) if name == "pad_value" else default)
