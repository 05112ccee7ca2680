"""Layers as users write them: ``"dense 300"``, ``"conv 30 5x5 stride=2"``, ``"dropout 0.5"``."""

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from typing_extensions import override

from optbench.errors import SuiteError, nearest
from optbench.problems.networks.nn.activations import (
    APPROXIMATIONS,
    ELU,
    GELU,
    Activation,
    LeakyReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)
from optbench.problems.networks.nn.base import Layer, Shape
from optbench.problems.networks.nn.images import Conv2d, MaxPool
from optbench.problems.networks.nn.initializers import INIT_NAMES, Initializer, InitName
from optbench.problems.networks.nn.layers import Dense, Dropout, Flatten
from optbench.problems.networks.nn.normalization import BatchNorm, LayerNorm
from optbench.settings import Choice, Flag, Number, Setting, fraction

LARGEST = 999_999_999
"""Largest size; what is larger fits no memory."""


def parse_layers(
    texts: Sequence[str], input_shape: Shape, init: InitName, init_std: float
) -> tuple[Layer, ...]:
    """Return the layers that texts describe, each made for the output of the one before.

    A text is a layer's kind, its arguments, then options as key=value. ``init`` and ``init_std``
    say how weights start where a layer does not say otherwise.

    >>> layers = parse_layers(["conv 30 5x5", "relu", "dense 10"], (1, 28, 28), "he", 0.01)
    >>> [(layer.name, layer.out_shape) for layer in layers]
    [('conv1', (30, 24, 24)), ('relu1', (30, 24, 24)), ('flatten1', (17280,)), ('dense1', (10,))]
    """
    layers: list[Layer] = []
    numbers: Counter[str] = Counter()

    def add(kind: str, make: Callable[..., Layer], **values: Any) -> None:
        numbers[kind] += 1
        shape = layers[-1].out_shape if layers else input_shape
        layers.append(make(f"{kind}{numbers[kind]}", shape, **values))

    for place, text in enumerate(texts, start=1):
        try:
            kind, values = _read(text)
            if "init" in kind.options:
                values["initializer"] = Initializer(
                    values.pop("init", init), values.pop("std", init_std), values.pop("gain", None)
                )
            if "pad_value" in values:
                values["pad_value"] = float(values["pad_value"])
            shape = layers[-1].out_shape if layers else input_shape
            if kind.layer is Dense and len(shape) > 1:
                add("flatten", Flatten)
            add(kind.name, kind.layer, **values)
        except SuiteError as error:
            raise SuiteError(f"layer {place} '{text}': {error}") from None
    return tuple(_with_gains(layers))


def _with_gains(layers: Sequence[Layer]) -> list[Layer]:
    """Return layers whose initialisation by ``he`` suits the leaky rectifiers behind them.

    Where the next activation has the slope s below 0, the gain is √(2/(1 + s²)), unless one is
    given.
    """
    turned: list[Layer] = []
    following: Layer | None = None
    for layer in reversed(layers):
        if isinstance(layer, Activation):
            following = layer
        elif isinstance(layer, Dense | Conv2d):
            start = layer.initializer
            if isinstance(following, LeakyReLU) and (start.name, start.gain) == ("he", None):
                gain = math.sqrt(2.0 / (1.0 + following.below**2))
                layer = replace(layer, initializer=replace(start, gain=gain))
            following = None
        turned.append(layer)
    return turned[::-1]


class _Window(Setting):
    """Height and width of what moves over an image."""

    range = "height x width"

    @override
    def check(self, value: Any) -> tuple[int, int]:
        sizes = re.fullmatch("([0-9]{1,9})x([0-9]{1,9})", str(value))
        height, width = map(int, sizes.groups()) if sizes else (0, 0)
        if not (height and width):
            raise self.refusal(value, "height x width, such as 5x5")
        return height, width


def _size(name: str, default: int | None, meaning: str, low: int = 1) -> Number:
    return Number(name, default, meaning, low, LARGEST, whole=True)


_WINDOW = _Window("window", None, "size of the window")
_WEIGHTS: dict[str, Setting] = {
    "init": Choice("init", None, "initialisation, by default the problem's", INIT_NAMES),
    "std": Number("std", None, "standard deviation, by default the problem's init_std"),
    "gain": Number("gain", None, "factor of the start, by default the init's own", low_open=True),
    "has_bias": Flag("bias", True, "whether numbers are added"),
}
_MOVES: dict[str, Setting] = {
    "stride": _size("stride", 1, "how far a window moves"),
    "pad": _size("pad", 0, "rows and columns added on each side", low=0),
}


@dataclass(frozen=True)
class _Kind:
    """How a kind of layer is written; its name begins the names of such layers.

    ``arguments`` are the settings given in order, ``options`` those given by name; each by the
    field of the layer that it is for.
    """

    name: str
    layer: type[Layer]
    example: str
    arguments: Mapping[str, Setting] = field(default_factory=dict)
    options: Mapping[str, Setting] = field(default_factory=dict)


KINDS = {
    "dense": _Kind(
        "dense", Dense, "dense 300", {"fan_out": _size("outputs", None, "outputs")}, _WEIGHTS
    ),
    "conv": _Kind(
        "conv",
        Conv2d,
        "conv 30 5x5",
        {"filters": _size("filters", None, "outputs at each place"), "window": _WINDOW},
        {**_MOVES, **_WEIGHTS},
    ),
    "max-pool": _Kind(
        "pool",
        MaxPool,
        "max-pool 2x2 stride=2",
        {"window": _WINDOW},
        {**_MOVES, "pad_value": Choice("pad-value", "0", "value of what pad adds", ("0", "-inf"))},
    ),
    "relu": _Kind("relu", ReLU, "relu"),
    "leaky-relu": _Kind(
        "leaky-relu",
        LeakyReLU,
        "leaky-relu slope=0.1",
        options={"below": Number("slope", 0.01, "slope below 0", high=1.0)},
    ),
    "elu": _Kind(
        "elu", ELU, "elu", options={"alpha": Number("alpha", 1.0, "what it tends to, below 0")}
    ),
    "gelu": _Kind(
        "gelu",
        GELU,
        "gelu approximate=tanh",
        options={"approximate": Choice("approximate", "none", "how Φ is computed", APPROXIMATIONS)},
    ),
    "silu": _Kind("silu", SiLU, "silu"),
    "softplus": _Kind(
        "softplus",
        Softplus,
        "softplus beta=2",
        options={"beta": Number("beta", 1.0, "how sharp its bend is", low_open=True)},
    ),
    "sigmoid": _Kind("sigmoid", Sigmoid, "sigmoid"),
    "tanh": _Kind("tanh", Tanh, "tanh"),
    "flatten": _Kind("flatten", Flatten, "flatten"),
    "dropout": _Kind(
        "dropout",
        Dropout,
        "dropout 0.5",
        {"ratio": fraction("ratio", None, "share of the values dropped")},
        {"inverted": Flag("inverted", False, "whether it scales in training")},
    ),
    "batch-norm": _Kind(
        "norm",
        BatchNorm,
        "batch-norm",
        options={
            "per_channel": Flag("per-channel", False, "whether an image's places share means"),
            "eps": Number("eps", 1e-6, "added to the variance", low_open=True),
            "momentum": fraction("momentum", 0.9, "share of the running averages kept"),
            "unbiased": Flag("unbiased", False, "whether the running variance is unbiased"),
            "variance_start": Number("running-var", 0.0, "start of the running variance"),
        },
    ),
    "layer-norm": _Kind(
        "norm",
        LayerNorm,
        "layer-norm",
        options={
            "eps": Number("eps", 1e-5, "added to the variance", low_open=True),
            "affine": Flag("affine", True, "whether there are gamma and beta"),
            "has_bias": Flag("bias", True, "whether there is beta"),
        },
    ),
}
"""All kinds of layers by the word that a text begins with."""


def _read(text: str) -> tuple[_Kind, dict[str, Any]]:
    """Return the kind of layer that a text names, and the fields that it sets."""
    words = text.split() if isinstance(text, str) else []
    if not words:
        raise SuiteError("a layer is text such as 'dense 300'")
    kind = KINDS.get(words[0])
    if kind is None:
        raise SuiteError(f"unknown layer '{words[0]}'; {nearest(words[0], KINDS)}")
    arguments = [word for word in words[1:] if "=" not in word]
    if len(arguments) != len(kind.arguments):
        count = ("no values", "one value", "two values")[len(kind.arguments)]
        raise SuiteError(f"it takes {count}, as in '{kind.example}'")
    values = {
        name: setting.check(_literal(word))
        for (name, setting), word in zip(kind.arguments.items(), arguments, strict=True)
    }
    fields = {setting.name: name for name, setting in kind.options.items()}
    for key, equals, word in (word.partition("=") for word in words[1:]):
        if not equals:
            continue
        if key not in fields:
            known = nearest(key, fields) if fields else "it takes none"
            raise SuiteError(f"{words[0]} has no option '{key}'; {known}")
        if fields[key] in values:
            raise SuiteError(f"{key} is given twice")
        setting = kind.options[fields[key]]
        values[fields[key]] = setting.check(word if isinstance(setting, Choice) else _literal(word))
    return kind, values


def _literal(word: str) -> bool | int | float | str:
    """Return the truth value or number that a word is written as, or else the word."""
    if word in ("true", "false"):
        return word == "true"
    if re.fullmatch("-?[0-9]{1,18}", word):
        return int(word)
    try:
        return float(word)
    except ValueError:
        return word
