"""Layers as users write them: ``"dense 300"``, ``"conv 30 5x5 stride=2"``, ``"dropout 0.5"``."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from optbench.errors import SuiteError, nearest
from optbench.problems.networks.nn.activations import Flatten, ReLU, Sigmoid, Tanh
from optbench.problems.networks.nn.base import Layer, Shape
from optbench.problems.networks.nn.convolution import Conv2d
from optbench.problems.networks.nn.dense import Dense
from optbench.problems.networks.nn.dropout import Dropout
from optbench.problems.networks.nn.initializers import INIT_NAMES, Initializer, InitName
from optbench.problems.networks.nn.normalization import BatchNorm
from optbench.problems.networks.nn.pooling import MaxPool

Reader = Callable[[str], Any]
"""Turns a word into a value; raises ValueError with what it takes."""

MOST_DIGITS = 9
"""Digits of a size; what is larger fits no memory."""


def parse_layers(
    texts: Sequence[str], input_shape: Shape, init: InitName, init_std: float
) -> tuple[Layer, ...]:
    """Return the layers that texts describe, each made for the output of the one before.

    Parameters
    ----------
    texts
        A layer each: its kind, its arguments, then options as key=value.
    input_shape
        Shape of an example, such as ``(784,)`` or ``(1, 28, 28)``.
    init, init_std
        How weights start where a layer does not say otherwise.

    Raises
    ------
    SuiteError
        For an unknown layer or option, a value out of range, or a layer that its input does not
        fit; the message names the layer.

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
            if kind.takes_init:
                name = values.pop("init", init)
                values["initializer"] = Initializer(name, values.pop("std", init_std))
            shape = layers[-1].out_shape if layers else input_shape
            if kind.layer is Dense and len(shape) > 1:
                add("flatten", Flatten)
            add(kind.name, kind.layer, **values)
        except SuiteError as error:
            raise SuiteError(f"layer {place} '{text}': {error}") from None
    return tuple(layers)


def _whole(low: int, word: str) -> int:
    digits = word.isascii() and word.isdecimal()
    if digits and len(word) > MOST_DIGITS:
        raise ValueError(f"a whole number of at most {MOST_DIGITS} digits")
    if not digits or int(word) < low:
        raise ValueError(f"a whole number of at least {low}")
    return int(word)


def _number(low: float, high: float, word: str) -> float:
    """Read a number in [low, high)."""
    takes = f"a number in [{low:g}, {'∞' if math.isinf(high) else f'{high:g}'})"
    try:
        value = float(word)
    except ValueError:
        raise ValueError(takes) from None
    if not low <= value < high:
        raise ValueError(takes)
    return value


def _positive(word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not 0.0 < value < math.inf:
        raise ValueError("a number above 0")
    return value


def _window(word: str) -> tuple[int, int]:
    height, _, width = word.partition("x")
    try:
        return _whole(1, height), _whole(1, width)
    except ValueError:
        raise ValueError("height x width, such as 5x5") from None


def _choice(choices: Mapping[str, Any], word: str) -> Any:
    if word not in choices:
        raise ValueError(" or ".join(choices))
    return choices[word]


_truth = partial(_choice, {"true": True, "false": False})
_COUNT, _DISTANCE = partial(_whole, 1), partial(_whole, 0)
_WEIGHTS: dict[str, tuple[str, Reader]] = {
    "init": ("init", partial(_choice, {name: name for name in INIT_NAMES})),
    "std": ("std", partial(_number, 0.0, math.inf)),
    "bias": ("has_bias", _truth),
}
_MOVES: dict[str, tuple[str, Reader]] = {"stride": ("stride", _COUNT), "pad": ("pad", _DISTANCE)}


@dataclass(frozen=True)
class _Kind:
    """How a kind of layer is written.

    Attributes
    ----------
    name
        Begins the names of such layers.
    example
        A text that makes one.
    arguments, options
        For each argument in order, and for each option by name: the field it sets, and its reader.
    """

    name: str
    layer: type[Layer]
    example: str
    arguments: tuple[tuple[str, Reader], ...] = ()
    options: Mapping[str, tuple[str, Reader]] = field(default_factory=dict)

    @property
    def takes_init(self) -> bool:
        """Whether its weights are drawn."""
        return "init" in self.options


KINDS = {
    "dense": _Kind("dense", Dense, "dense 300", (("fan_out", _COUNT),), _WEIGHTS),
    "conv": _Kind(
        "conv",
        Conv2d,
        "conv 30 5x5",
        (("filters", _COUNT), ("window", _window)),
        {**_MOVES, **_WEIGHTS},
    ),
    "max-pool": _Kind(
        "pool",
        MaxPool,
        "max-pool 2x2 stride=2",
        (("window", _window),),
        {**_MOVES, "pad-value": ("pad_value", partial(_choice, {"0": 0.0, "-inf": -math.inf}))},
    ),
    "relu": _Kind("relu", ReLU, "relu"),
    "sigmoid": _Kind("sigmoid", Sigmoid, "sigmoid"),
    "tanh": _Kind("tanh", Tanh, "tanh"),
    "flatten": _Kind("flatten", Flatten, "flatten"),
    "dropout": _Kind(
        "dropout",
        Dropout,
        "dropout 0.5",
        (("ratio", partial(_number, 0.0, 1.0)),),
        {"inverted": ("inverted", _truth)},
    ),
    "batch-norm": _Kind(
        "norm",
        BatchNorm,
        "batch-norm",
        options={
            "per-channel": ("per_channel", _truth),
            "eps": ("eps", _positive),
            "momentum": ("momentum", partial(_number, 0.0, 1.0)),
            "unbiased": ("unbiased", _truth),
            "running-var": ("variance_start", partial(_number, 0.0, math.inf)),
        },
    ),
}
"""All kinds of layers by the word that a text begins with."""


def _read(text: str) -> tuple[_Kind, dict[str, Any]]:
    """Return the kind of layer that a text names, and the fields that it sets.

    Raises
    ------
    SuiteError
        If the text is none, or names something unknown or out of range.
    """
    words = text.split() if isinstance(text, str) else []
    if not words:
        raise SuiteError("it is no layer; one is 'dense 300'")
    kind = KINDS.get(words[0])
    if kind is None:
        raise SuiteError(f"unknown layer '{words[0]}'; {nearest(words[0], KINDS)}")
    arguments = [word for word in words[1:] if "=" not in word]
    if len(arguments) != len(kind.arguments):
        raise SuiteError(f"it takes {_counted(len(kind.arguments))}, as in '{kind.example}'")
    values = {
        name: _value(read, word, f"'{word}'")
        for (name, read), word in zip(kind.arguments, arguments, strict=True)
    }
    for word in words[1:]:
        key, equals, value = word.partition("=")
        if not equals:
            continue
        if key not in kind.options:
            known = nearest(key, kind.options) if kind.options else "it takes none"
            raise SuiteError(f"{words[0]} has no option '{key}'; {known}")
        name, read = kind.options[key]
        if name in values:
            raise SuiteError(f"{key} is given twice")
        values[name] = _value(read, value, word)
    return kind, values


def _value(read: Reader, word: str, shown: str) -> Any:
    try:
        return read(word)
    except ValueError as error:
        raise SuiteError(f"{shown}; it takes {error}") from None


def _counted(arguments: int) -> str:
    return {0: "no values", 1: "one value", 2: "two values"}[arguments]
