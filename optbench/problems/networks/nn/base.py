"""The contract of a layer: a description without state, stacked over lanes.

Inputs have shape (lanes, batch, *in_shape), or (1, batch, *in_shape) where all lanes share them;
weights have shape (lanes, …). No operation mixes lanes. What a pass needs beside its input comes in
a :class:`Pass`, so that one layer object serves all lanes and all threads.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from typing_extensions import override

from optbench.arrays import Array, Buffer, Tensor, Workspace
from optbench.problems.networks.nn.initializers import Initializer

Shape = tuple[int, ...]


def written(shape: Shape) -> str:
    """Return a shape as messages show it.

    >>> written((1, 28, 28))
    '1x28x28'
    """
    return "x".join(map(str, shape))


class Mode(Enum):
    """What a pass is for.

    ``TRAIN``: gradients; statistics are those of the batch, and buffers are updated in place.
    ``SCORE``: the loss on the batch once more, with the same masks and batch statistics; buffers
    are only read. ``EVALUATE``: examples on their own; running statistics and no masks.
    """

    TRAIN = auto()
    SCORE = auto()
    EVALUATE = auto()


@dataclass(frozen=True)
class Pass:
    """Everything that layers may look at in one pass.

    Work arrays are given out in the order in which layers ask. Weights and buffers are arrays
    (lanes, *shape) by name; masks are bool arrays (lanes, batch, *shape) by dropout layer, or
    (1, batch, *shape) where all lanes share them; True keeps a value. ``EVALUATE`` needs none.
    """

    work: Workspace
    mode: Mode
    weights: Mapping[str, Array]
    buffers: Mapping[str, Array] = field(default_factory=dict)
    masks: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Layer(ABC):
    """One layer of a network, made for one shape of input.

    Its name, such as ``"dense1"``, is kind and running number of that kind, and begins the names of
    its tensors. ``in_shape`` is that of one example, such as ``(784,)`` or ``(1, 28, 28)``.
    """

    name: str
    in_shape: Shape

    @property
    def out_shape(self) -> Shape:
        """Shape of one example's output; that of the input unless a layer says otherwise."""
        return self.in_shape

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The tensors that are trained, in the order in which they lie in a row."""
        return ()

    @property
    def penalized(self) -> tuple[str, ...]:
        """Names of the tensors that regularisation covers: weights, but not biases or scales."""
        return ()

    @property
    def buffers(self) -> tuple[Buffer, ...]:
        """The arrays that training updates but does not train."""
        return ()

    @property
    @abstractmethod
    def work_values(self) -> int:
        """How many numbers a lane's work arrays hold in training for each example.

        Truth values, which take a byte each or less, are not counted.
        """

    @property
    def input_gradient_values(self) -> int:
        """How many of them are there for the gradient of the input alone."""
        return 0

    @property
    def in_size(self) -> int:
        """Numbers in one example's input."""
        return prod(self.in_shape)

    @property
    def out_size(self) -> int:
        """Numbers in one example's output."""
        return prod(self.out_shape)

    def start(self, seed: int) -> dict[str, np.ndarray]:
        """Return the start of each tensor for one seed, on the host in float64."""
        return {}

    @abstractmethod
    def forward(self, x: Array, pass_: Pass) -> tuple[Array, Any]:
        """Return the output (lanes or 1, batch, *out_shape) and what :meth:`backward` needs.

        ``x`` is only read.
        """

    @abstractmethod
    def backward(
        self, dy: Array, saved: Any, pass_: Pass, grads: Mapping[str, Array], *, first: bool
    ) -> Array | None:
        """Write the gradients of the tensors; return that of the input, which may reuse ``dy``.

        ``dy``, the gradient of the output, has shape (lanes, batch, *out_shape). ``first`` says
        that nobody needs the gradient of the input, which may then be None.
        """


class WeightedLayer(Layer):
    """A layer with weights W, which an initialiser draws, and perhaps a bias b, which starts at 0.

    There is one b for each value, or each channel, of the output.
    """

    initializer: Initializer
    has_bias: bool

    @property
    @abstractmethod
    def weight_shape(self) -> Shape:
        """Shape of W."""

    @property
    @abstractmethod
    def fans(self) -> tuple[int, int]:
        """Inputs that an output depends on, and outputs that depend on an input."""

    @property
    def fan_in(self) -> int:
        """Inputs that an output depends on."""
        return self.fans[0]

    @cached_property
    def weight(self) -> str:
        """Name of W."""
        return f"{self.name}.weight"

    @cached_property
    def bias(self) -> str:
        """Name of b."""
        return f"{self.name}.bias"

    @property
    @override
    def tensors(self) -> tuple[Tensor, ...]:
        weight = Tensor(self.weight, self.weight_shape)
        return (weight, Tensor(self.bias, self.out_shape[:1])) if self.has_bias else (weight,)

    @property
    @override
    def penalized(self) -> tuple[str, ...]:
        return (self.weight,)

    @override
    def start(self, seed: int) -> dict[str, np.ndarray]:
        fan_in, fan_out = self.fans
        draw = self.initializer.draw
        start = draw(seed, self.weight, self.weight_shape, fan_in=fan_in, fan_out=fan_out)
        values = {self.weight: start}
        if self.has_bias:
            values[self.bias] = np.zeros(self.out_shape[:1])
        return values
