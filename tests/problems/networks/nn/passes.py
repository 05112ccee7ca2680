"""Layers run forward and backward on a device, with arrays of the host going in and coming out."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from optbench.arrays import Workspace
from optbench.device.base import Device
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
from optbench.problems.networks.nn.base import Layer, Mode, Pass
from optbench.problems.networks.nn.images import Conv2d, MaxPool
from optbench.problems.networks.nn.initializers import he
from optbench.problems.networks.nn.layers import Dense, Dropout, Flatten, RectifiedDense
from optbench.problems.networks.nn.normalization import BatchNorm, LayerNorm
from tests.strict import StrictDevice

LANES, BATCH = 3, 4

Arrays = Mapping[str, np.ndarray]

LAYERS: tuple[Layer, ...] = (
    Dense("dense1", (5,), 3, he),
    Dense("no-bias", (5,), 3, he, has_bias=False),
    RectifiedDense("rectified1", (5,), 3, he),
    ReLU("relu1", (6,)),
    ReLU("relu-images", (2, 3, 4)),
    Sigmoid("sigmoid1", (6,)),
    Tanh("tanh1", (2, 3, 4)),
    LeakyReLU("leaky1", (6,)),
    LeakyReLU("leaky-images", (2, 3, 4), 0.3),
    ELU("elu1", (6,)),
    ELU("elu-images", (2, 3, 4), 1.5),
    Softplus("softplus1", (6,)),
    Softplus("softplus-images", (2, 3, 4), 2.0),
    SiLU("silu1", (6,)),
    GELU("gelu1", (6,)),
    GELU("gelu-tanh", (2, 3, 4), "tanh"),
    Flatten("flatten1", (2, 3, 4)),
    Dropout("dropout1", (6,), 0.5),
    Dropout("inverted", (2, 3, 4), 0.3, inverted=True),
    Conv2d("conv1", (2, 6, 5), 3, (3, 2), he),
    Conv2d("strided", (2, 6, 5), 3, (3, 2), he, stride=2, pad=1),
    Conv2d("one-filter", (1, 4, 4), 1, (1, 1), he, has_bias=False),
    MaxPool("pool1", (2, 6, 4), (2, 2), stride=2),
    MaxPool("overlapping", (2, 5, 5), (3, 2), stride=1),
    MaxPool("remainder", (2, 5, 7), (2, 2), stride=3),
    MaxPool("padded", (2, 5, 4), (3, 2), stride=2, pad=1),
    MaxPool("never-pad", (2, 5, 4), (2, 2), stride=2, pad=1, pad_value=-np.inf),
    BatchNorm("norm1", (6,)),
    BatchNorm("image", (2, 3, 4)),
    BatchNorm("channels", (2, 3, 4), per_channel=True, eps=1e-5, unbiased=True),
    BatchNorm("features", (6,), per_channel=True),
    LayerNorm("layer", (6,)),
    LayerNorm("layer-image", (2, 3, 4), eps=1e-2),
    LayerNorm("scaled", (6,), has_bias=False),
    LayerNorm("plain", (5,), affine=False),
)
"""One of each kind, and of each variant."""


def by_name(layer: Layer) -> str:
    return layer.name


def stale(work: Workspace) -> Workspace:
    """Return a workspace whose arrays now hold NaN (or True) whenever they are given out."""
    take = work.take

    def spoilt(shape: tuple[int, ...], dtype: Any) -> Any:
        array = take(shape, dtype)
        array[...] = True if dtype == work.xp.bool else work.xp.nan
        return array

    work.take = spoilt  # type: ignore[method-assign]
    return work


class Counting(Workspace):
    """Counts the numbers that are given out."""

    taken = 0

    def take(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        self.taken += 0 if dtype == np.bool else math.prod(shape)
        return super().take(shape, dtype)


@dataclass
class Case:
    """What goes through one layer."""

    x: np.ndarray
    dy: np.ndarray
    weights: Arrays
    buffers: Arrays = field(default_factory=dict)
    masks: Arrays = field(default_factory=dict)

    def mapped(self, change: Callable[[np.ndarray], np.ndarray]) -> "Case":
        parts = (
            {name: change(array) for name, array in arrays.items()}
            for arrays in (self.weights, self.buffers, self.masks)
        )
        return Case(change(self.x), change(self.dy), *parts)

    def lane(self, index: int) -> "Case":
        """Return a lane alone."""
        return self.mapped(lambda array: array[:1] if len(array) == 1 else array[index : index + 1])

    def astype(self, dtype: str) -> "Case":
        return self.mapped(lambda array: array if array.dtype == bool else array.astype(dtype))


@dataclass
class Outcome:
    """What came out of it."""

    y: np.ndarray
    dx: np.ndarray | None
    grads: Arrays
    buffers: Arrays

    def arrays(self) -> dict[str, np.ndarray]:
        found = {"y": self.y, **self.grads, **self.buffers}
        return found if self.dx is None else {**found, "dx": self.dx}


def case(
    layer: Layer, *, shared: bool = False, lanes: int = LANES, batch: int = BATCH, seed: int = 5
) -> Case:
    """Return random input, gradient of the output, weights, running averages and masks."""
    generator = np.random.default_rng(seed)
    draw = generator.standard_normal
    x = draw((1 if shared else lanes, batch, *layer.in_shape))
    weights = {tensor.name: draw((lanes, *tensor.shape)) for tensor in layer.tensors}
    buffers = {buffer.name: np.abs(draw((lanes, *buffer.shape))) + 0.5 for buffer in layer.buffers}
    masks = {}
    if isinstance(layer, Dropout):
        masks[layer.name] = draw((lanes, batch, *layer.in_shape)) > 0.0
    own = weights or masks  # without either, lanes that share the input share the output
    dy = draw((lanes if own or not shared else 1, batch, *layer.out_shape))
    return Case(x, dy, weights, buffers, masks)


def run(
    layer: Layer,
    given: Case,
    *,
    mode: Mode = Mode.TRAIN,
    device: Device | None = None,
    first: bool = False,
) -> Outcome:
    """Return output, gradients and new buffers; ``EVALUATE`` goes forward only."""
    device = device or NumpyDevice()
    work = stale(device.workspace())
    work.begin("test")

    def put(array: np.ndarray) -> Any:
        return device.put(array.copy())

    weights, buffers, masks = (
        {name: put(array) for name, array in arrays.items()}
        for arrays in (given.weights, given.buffers, given.masks)
    )
    with device.quiet():
        context = Pass(work, mode, weights, buffers, masks)
        y, saved = layer.forward(put(given.x), context)
        kept = device.get(y).copy()
        grads = {name: put(np.full_like(array, np.nan)) for name, array in given.weights.items()}
        dx = None
        if mode is not Mode.EVALUATE:
            dx = layer.backward(put(given.dy), saved, context, grads, first=first)
    return Outcome(
        y=kept,
        dx=None if dx is None else np.array(device.get(dx)),
        grads={name: device.get(array) for name, array in grads.items()},
        buffers={name: device.get(array) for name, array in buffers.items()},
    )


DEVICES = {"numpy": NumpyDevice, "strict": StrictDevice}


def differences(function: Any, array: np.ndarray, h: float = 1e-5) -> np.ndarray:
    """Return the central differences (f(a + h) − f(a − h)) / 2h of a number, entry by entry."""
    slopes = np.empty_like(array)
    for index in np.ndindex(array.shape):
        kept = array[index]
        array[index] = kept + h
        above = function()
        array[index] = kept - h
        below = function()
        array[index] = kept
        slopes[index] = (above - below) / (2 * h)
    return slopes
