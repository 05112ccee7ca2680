"""A chain of layers with a loss at its end."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from optbench.arrays import Array, Tensor
from optbench.nn.layers import Dense, Initializer, Layer, ReLU
from optbench.nn.losses import SoftmaxCrossEntropy
from optbench.workspace import Workspace


@dataclass(frozen=True)
class Network:
    """Layers in order, and the loss of the last one's output."""

    layers: tuple[Layer, ...]
    loss: SoftmaxCrossEntropy

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors in the order in which they lie in a row."""
        return tuple(tensor for layer in self.layers for tensor in layer.tensors)

    @property
    def work_values(self) -> int:
        """How many numbers a lane's work arrays hold in training for each example."""
        dense = [layer for layer in self.layers if isinstance(layer, Dense)]
        return sum(2 * layer.fan_out for layer in dense) + sum(layer.fan_in for layer in dense[1:])

    def start(self, seed: int) -> np.ndarray:
        """Return the parameters' start for one seed: float64, shape (parameters,)."""
        values: dict[str, np.ndarray] = {}
        for layer in self.layers:
            values |= layer.start(seed)
        return np.concatenate([values[tensor.name].ravel() for tensor in self.tensors])

    def scores(self, x: Array, weights: Mapping[str, Array], *, work: Workspace) -> Array:
        """Return the last layer's output, shape (lanes, batch, classes); a work array."""
        work.begin("scores")
        for layer in self.layers:
            x, _ = layer.forward(x, weights, work=work)
        return x

    def loss_and_grad(
        self,
        x: Array,
        labels: Array,
        weights: Mapping[str, Array],
        grads: Mapping[str, Array],
        *,
        work: Workspace,
    ) -> Array:
        """Return the loss of each lane, shape (lanes,), and write all gradients in place."""
        work.begin("gradients")
        saved = []
        for layer in self.layers:
            x, kept = layer.forward(x, weights, work=work)
            saved.append(kept)
        loss, dy = self.loss.mean_and_grad(x, labels, xp=work.xp)
        for index in reversed(range(len(self.layers))):
            layer = self.layers[index]
            dy = layer.backward(dy, saved[index], weights, grads, first=index == 0, work=work)
        return loss


def dense_relu_layers(sizes: tuple[int, ...], initializer: Initializer) -> tuple[Layer, ...]:
    """Return dense layers between ``sizes``, ReLU after each but the last.

    >>> from optbench.nn.initializers import he
    >>> [type(layer).__name__ for layer in dense_relu_layers((784, 100, 10), he)]
    ['Dense', 'ReLU', 'Dense']
    """
    layers: list[Layer] = []
    for number, (fan_in, fan_out) in enumerate(pairwise(sizes), start=1):
        layers += [Dense(f"dense{number}", fan_in, fan_out, initializer), ReLU()]
    return tuple(layers[:-1])
