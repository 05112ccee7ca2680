"""Layers as users write them, and what is said where they are wrong."""

import math

import pytest

from optbench.errors import ExitCode, SuiteError
from optbench.problems.networks.nn.activations import Flatten, ReLU, Sigmoid, Tanh
from optbench.problems.networks.nn.convolution import Conv2d
from optbench.problems.networks.nn.dense import Dense
from optbench.problems.networks.nn.dropout import Dropout
from optbench.problems.networks.nn.initializers import INIT_NAMES, Initializer, he
from optbench.problems.networks.nn.normalization import BatchNorm
from optbench.problems.networks.nn.parse import KINDS, parse_layers
from optbench.problems.networks.nn.pooling import MaxPool

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
    ],
)
def test_a_layer_may_have_its_own_start(options, initializer):
    assert parse(f"dense 10 {options}", shape=(4,)) == (Dense("dense1", (4,), 10, initializer),)


def test_a_row_of_values_is_not_flattened():
    assert parse("dense 10", shape=(784,)) == (Dense("dense1", (784,), 10, DEFAULT),)
    assert [each.name for each in parse("flatten", "dense 10")] == ["flatten1", "dense1"]
    assert parse("dense 10 init=he std=0.01", shape=(784,))[0].initializer == he


@pytest.mark.parametrize("kind", KINDS)
def test_every_example_makes_a_layer(kind):
    layers = parse(KINDS[kind].example)
    assert isinstance(layers[-1], KINDS[kind].layer)
    assert layers[-1].name == f"{KINDS[kind].name}1"


SHAPE = "it takes images of channels x height x width; its input has the shape"


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (
            ["conv 30 5x5", "relu", "max-pool 40x40"],
            "layer 3 'max-pool 40x40': its window is larger than its input of 24x24",
        ),
        (["dense 10", "conv 3 2x2"], f"layer 2 'conv 3 2x2': {SHAPE} 10"),
        (["flatten", "max-pool 2x2"], f"layer 2 'max-pool 2x2': {SHAPE} 784"),
        (["dens 10"], "layer 1 'dens 10': unknown layer 'dens'; did you mean 'dense'?"),
        (
            ["maxpool 2x2"],
            "layer 1 'maxpool 2x2': unknown layer 'maxpool'; did you mean 'max-pool'?",
        ),
        ([""], "layer 1 '': it is no layer; one is 'dense 300'"),
        ([300], "layer 1 '300': it is no layer; one is 'dense 300'"),
        (["dense"], "layer 1 'dense': it takes one value, as in 'dense 300'"),
        (["dense 3 4"], "layer 1 'dense 3 4': it takes one value, as in 'dense 300'"),
        (["conv 3"], "layer 1 'conv 3': it takes two values, as in 'conv 30 5x5'"),
        (["relu 3"], "layer 1 'relu 3': it takes no values, as in 'relu'"),
        (["dense 0"], "layer 1 'dense 0': '0'; it takes a whole number of at least 1"),
        (["dense 1.5"], "layer 1 'dense 1.5': '1.5'; it takes a whole number of at least 1"),
        (
            ["dense 1234567890"],
            "layer 1 'dense 1234567890': '1234567890'; it takes a whole number of at most 9 digits",
        ),
        (["dense ²"], "layer 1 'dense ²': '²'; it takes a whole number of at least 1"),
        (["conv 3 5"], "layer 1 'conv 3 5': '5'; it takes height x width, such as 5x5"),
        (["conv 3 0x2"], "layer 1 'conv 3 0x2': '0x2'; it takes height x width, such as 5x5"),
        (
            ["conv 3 2x2 stride=0"],
            "layer 1 'conv 3 2x2 stride=0': stride=0; it takes a whole number of at least 1",
        ),
        (
            ["conv 3 2x2 pad=-1"],
            "layer 1 'conv 3 2x2 pad=-1': pad=-1; it takes a whole number of at least 0",
        ),
        (
            ["max-pool 2x2 pad=2"],
            "layer 1 'max-pool 2x2 pad=2': its pad is 2; it must be smaller than its window",
        ),
        (
            ["max-pool 2x2 pad-value=1"],
            "layer 1 'max-pool 2x2 pad-value=1': pad-value=1; it takes 0 or -inf",
        ),
        (["dropout 1"], "layer 1 'dropout 1': '1'; it takes a number in [0, 1)"),
        (["dropout -0.1"], "layer 1 'dropout -0.1': '-0.1'; it takes a number in [0, 1)"),
        (["dropout nan"], "layer 1 'dropout nan': 'nan'; it takes a number in [0, 1)"),
        (["dropout half"], "layer 1 'dropout half': 'half'; it takes a number in [0, 1)"),
        (
            ["dropout 0.5 inverted=yes"],
            "layer 1 'dropout 0.5 inverted=yes': inverted=yes; it takes true or false",
        ),
        (
            ["dropout 0.5 invert=true"],
            "layer 1 'dropout 0.5 invert=true': dropout has no option 'invert'; "
            "did you mean 'inverted'?",
        ),
        (["relu a=b"], "layer 1 'relu a=b': relu has no option 'a'; it takes none"),
        (
            ["batch-norm eps=0"],
            "layer 1 'batch-norm eps=0': eps=0; it takes a number above 0",
        ),
        (
            ["batch-norm eps=x"],
            "layer 1 'batch-norm eps=x': eps=x; it takes a number above 0",
        ),
        (
            ["batch-norm momentum=1"],
            "layer 1 'batch-norm momentum=1': momentum=1; it takes a number in [0, 1)",
        ),
        (
            ["dense 3 std=inf"],
            "layer 1 'dense 3 std=inf': std=inf; it takes a number in [0, ∞)",
        ),
        (
            ["dense 3 init=zero"],
            "layer 1 'dense 3 init=zero': init=zero; it takes he or xavier or normal or "
            "truncated-normal or glorot-uniform or zeros",
        ),
        (
            ["dense 3 bias=true bias=true"],
            "layer 1 'dense 3 bias=true bias=true': bias is given twice",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_the_place(texts, message):
    with pytest.raises(SuiteError) as caught:
        parse(*texts)
    assert str(caught.value) == message
    assert caught.value.exit_code is ExitCode.USAGE
