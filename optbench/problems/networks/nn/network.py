"""A chain of layers with a loss at its end, and the penalty on its weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from optbench.arrays import Array, Buffer, Tensor, Workspace
from optbench.errors import SuiteError
from optbench.problems.networks.nn.activations import ReLU
from optbench.problems.networks.nn.base import Layer, Pass, written
from optbench.problems.networks.nn.initializers import Initializer
from optbench.problems.networks.nn.layers import Dense, Dropout, chained
from optbench.problems.networks.nn.losses import Loss


@dataclass(frozen=True)
class Regularization:
    """What large weights cost: l1·Σ|W| + l2·ΣW² + ½·weight_decay·ΣW².

    The sums go over the weights of dense and convolutional layers; biases and the scales and
    shifts of normalisation are excepted. Added to the gradient is
    l1·sign(W) + (2·l2 + weight_decay)·W, with sign(0) = 0.

    Sources: for l1 and l2, which have no ½, the Theano tutorials; for weight_decay, K. Saitoh,
    "Deep Learning from Scratch", section 6.4.2.
    """

    l1: float = 0.0
    l2: float = 0.0
    weight_decay: float = 0.0

    @property
    def active(self) -> bool:
        """Whether there is any penalty."""
        return bool(self.l1 or self.square)

    @property
    def square(self) -> float:
        """The factor of ΣW²."""
        return self.l2 + 0.5 * self.weight_decay

    def penalty(self, weight: Array, work: Workspace) -> Array:
        """Return the penalty of one tensor (lanes, …), shape (lanes,)."""
        xp, rows = work.xp, (weight.shape[0], -1)
        values = work.take(weight.shape, weight.dtype)
        total = xp.zeros(weight.shape[0], dtype=weight.dtype)
        if self.l1:
            work.into(values, xp.abs, weight)
            total = total + self.l1 * xp.sum(xp.reshape(values, rows), axis=1)
        if self.square:
            work.into(values, xp.multiply, weight, weight)
            total = total + self.square * xp.sum(xp.reshape(values, rows), axis=1)
        return total

    def add_gradient(self, weight: Array, grad: Array, work: Workspace) -> None:
        """Add the gradient of one tensor's penalty to ``grad``, in place."""
        xp = work.xp
        values = work.take(weight.shape, weight.dtype)
        if self.l1:
            work.into(values, xp.sign, weight)
            work.into(values, xp.multiply, values, self.l1)
            work.into(grad, xp.add, grad, values)
        if self.square:
            work.into(values, xp.multiply, weight, 2.0 * self.square)
            work.into(grad, xp.add, grad, values)


MOST_PARAMETERS = 2**31 - 1
"""More of them would take more memory than any machine gives a lane."""


@dataclass(frozen=True)
class Network:
    """Layers in order, the loss of the last one's output, and the penalty on the weights."""

    layers: tuple[Layer, ...]
    loss: Loss
    regularization: Regularization = field(default_factory=Regularization)

    def __post_init__(self) -> None:
        if not self.tensors:
            raise SuiteError("none of the layers can be trained; add one such as 'dense 10'")
        for before, layer in pairwise(self.layers):
            if before.out_shape != layer.in_shape:
                gives, takes = written(before.out_shape), written(layer.in_shape)
                raise SuiteError(
                    f"{before.name} gives the shape {gives}, {layer.name} takes {takes}"
                )
        last = self.layers[-1]
        if len(last.out_shape) != 1:
            raise SuiteError(
                f"the last layer, {last.name}, gives images of the shape "
                f"{written(last.out_shape)}; end with one score per class, such as 'dense 10'"
            )
        largest = max(self.tensors, key=lambda tensor: tensor.size)
        if sum(tensor.size for tensor in self.tensors) > MOST_PARAMETERS:
            raise SuiteError(
                f"{largest.name} has {largest.size:.3g} parameters; "
                f"all layers together may have at most {MOST_PARAMETERS}"
            )

    @cached_property
    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors in the order in which they lie in a row."""
        return tuple(tensor for layer in self.layers for tensor in layer.tensors)

    @cached_property
    def buffers(self) -> tuple[Buffer, ...]:
        """All arrays that training updates but does not train, in the order of layers."""
        return tuple(buffer for layer in self.layers for buffer in layer.buffers)

    @cached_property
    def dropouts(self) -> tuple[Dropout, ...]:
        """The layers that take masks, in order."""
        return tuple(layer for layer in self.layers if isinstance(layer, Dropout))

    @property
    def work_values(self) -> int:
        """How many numbers a lane's work arrays hold in training for each example."""
        unneeded = self._chain[self._first].input_gradient_values
        of_loss = self.layers[-1].out_size
        return sum(layer.work_values for layer in self._chain) - unneeded + of_loss

    def start(self, seed: int) -> np.ndarray:
        """Return the parameters' start for one seed: float64, shape (parameters,)."""
        values: dict[str, np.ndarray] = {}
        for layer in self.layers:
            values |= layer.start(seed)
        return np.concatenate([values[tensor.name].ravel() for tensor in self.tensors])

    def scores(self, x: Array, pass_: Pass) -> Array:
        """Return the last layer's output, shape (lanes, batch, classes); a work array."""
        pass_.work.begin("scores")
        return self._forward(x, pass_)[0]

    def loss_of(self, x: Array, labels: Array, pass_: Pass) -> tuple[Array, Array | None]:
        """Return the loss of each lane with the penalty in it, and the penalty.

        Both have the shape (lanes,); the penalty is None where nothing is regularised.
        """
        scores = self.scores(x, pass_)
        return self._with_penalty(self.loss.value(scores, labels, work=pass_.work), pass_)

    def loss_and_grad(
        self, x: Array, labels: Array, pass_: Pass, grads: Mapping[str, Array]
    ) -> tuple[Array, Array | None]:
        """Return what :meth:`loss_of` does, and write all gradients in place."""
        pass_.work.begin("gradients")
        scores, saved = self._forward(x, pass_)
        loss, dy = self.loss.value_and_grad(scores, labels, work=pass_.work)
        for index in reversed(range(self._first, len(self._chain))):
            layer, first = self._chain[index], index == self._first
            dy = layer.backward(dy, saved[index], pass_, grads, first=first)
        if self.regularization.active:
            for name in self._penalized:
                self.regularization.add_gradient(pass_.weights[name], grads[name], pass_.work)
        return self._with_penalty(loss, pass_)

    @cached_property
    def _chain(self) -> tuple[Layer, ...]:
        """The layers as they are computed."""
        return chained(self.layers)

    @cached_property
    def _first(self) -> int:
        """Index of the first of them that is trained; nobody needs the gradient of its input."""
        return next(index for index, layer in enumerate(self._chain) if layer.tensors)

    @cached_property
    def _penalized(self) -> tuple[str, ...]:
        return tuple(name for layer in self.layers for name in layer.penalized)

    def _forward(self, x: Array, pass_: Pass) -> tuple[Array, list[Any]]:
        saved = []
        for layer in self._chain:
            x, kept = layer.forward(x, pass_)
            saved.append(kept)
        return x, saved

    def _with_penalty(self, loss: Array, pass_: Pass) -> tuple[Array, Array | None]:
        if not self.regularization.active:
            return loss, None
        parts = (
            self.regularization.penalty(pass_.weights[name], pass_.work) for name in self._penalized
        )
        penalty = sum(parts, start=0.0)
        return loss + penalty, penalty


def dense_relu_layers(sizes: Sequence[int], initializer: Initializer) -> tuple[Layer, ...]:
    """Return dense layers between ``sizes``, ReLU after each but the last.

    >>> from optbench.problems.networks.nn.initializers import he
    >>> [layer.name for layer in dense_relu_layers((784, 100, 10), he)]
    ['dense1', 'relu1', 'dense2']
    """
    layers: list[Layer] = []
    for number, (fan_in, fan_out) in enumerate(pairwise(sizes), start=1):
        layers += [
            Dense(f"dense{number}", (fan_in,), fan_out, initializer),
            ReLU(f"relu{number}", (fan_out,)),
        ]
    return tuple(layers[:-1])
