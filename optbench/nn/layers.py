"""Layers stacked over lanes.

Inputs have shape (lanes, batch, features), or (1, batch, features) where all lanes share them; a
weight has shape (lanes, fan_in, fan_out), so a forward pass is a batched matrix product in which
no two lanes meet. A layer is a description without state: ``forward`` returns what ``backward``
needs, and ``backward`` writes the gradients of the layer's tensors in place.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from optbench.arrays import Array, Tensor
from optbench.nn.initializers import zeros
from optbench.workspace import Workspace

Initializer = Callable[[int, str, tuple[int, int]], np.ndarray]


class Layer(ABC):
    """One layer of a network."""

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The layer's parameter tensors."""
        return ()

    def start(self, seed: int) -> dict[str, np.ndarray]:
        """Return the start of each tensor for one seed, on the host in float64."""
        return {}

    @abstractmethod
    def forward(
        self, x: Array, weights: Mapping[str, Array], *, work: Workspace
    ) -> tuple[Array, Array]:
        """Return the output and what :meth:`backward` needs."""

    @abstractmethod
    def backward(
        self,
        dy: Array,
        saved: Array,
        weights: Mapping[str, Array],
        grads: Mapping[str, Array],
        *,
        first: bool,
        work: Workspace,
    ) -> Array | None:
        """Write the gradients of the tensors; return that of the input, which may reuse ``dy``.

        ``dy`` is the gradient of the output. ``first`` says that nobody needs the gradient of the
        input, which may then be None.
        """


@dataclass(frozen=True)
class Dense(Layer):
    """Affine layer: y = x W + b, with x (lanes, batch, fan_in) and W (lanes, fan_in, fan_out).

    dW = xᵀ dy, db = Σ_batch dy, dx = dy Wᵀ.
    """

    name: str
    fan_in: int
    fan_out: int
    initializer: Initializer

    @property
    def weight(self) -> str:
        """Name of W."""
        return f"{self.name}.weight"

    @property
    def bias(self) -> str:
        """Name of b."""
        return f"{self.name}.bias"

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """W, then b."""
        shape = (self.fan_in, self.fan_out)
        return (Tensor(self.weight, shape), Tensor(self.bias, (self.fan_out,)))

    def start(self, seed: int) -> dict[str, np.ndarray]:
        """Return W as the initialiser draws it, and b = 0."""
        weight = self.initializer(seed, self.weight, (self.fan_in, self.fan_out))
        return {self.weight: weight, self.bias: zeros(seed, self.bias, (self.fan_out,))}

    def forward(
        self, x: Array, weights: Mapping[str, Array], *, work: Workspace
    ) -> tuple[Array, Array]:
        """Return x W + b, and x."""
        weight, bias = weights[self.weight], weights[self.bias]
        y = work.take((weight.shape[0], x.shape[1], self.fan_out), x.dtype)
        work.into(y, work.xp.matmul, x, weight)
        return work.into(y, work.xp.add, y, bias[:, None, :]), x

    def backward(
        self,
        dy: Array,
        saved: Array,
        weights: Mapping[str, Array],
        grads: Mapping[str, Array],
        *,
        first: bool,
        work: Workspace,
    ) -> Array | None:
        """Write dW and db, return dx."""
        xp = work.xp
        work.into(grads[self.weight], xp.matmul, xp.matrix_transpose(saved), dy)
        work.into(grads[self.bias], xp.sum, dy, axis=1)
        if first:
            return None
        dx = work.take((*dy.shape[:2], self.fan_in), dy.dtype)
        return work.into(dx, xp.matmul, dy, xp.matrix_transpose(weights[self.weight]))


@dataclass(frozen=True)
class ReLU(Layer):
    """Rectifier: y = max(x, 0); dx = dy where x > 0, else 0."""

    def forward(
        self, x: Array, weights: Mapping[str, Array], *, work: Workspace
    ) -> tuple[Array, Array]:
        """Return max(x, 0), twice; NaN stays NaN."""
        y = work.take(x.shape, x.dtype)
        # A row of zeros: NumPy's loop for a single number is twice as slow.
        work.into(y, work.xp.maximum, x, work.xp.zeros((1, 1, x.shape[-1]), dtype=x.dtype))
        return y, y

    def backward(
        self,
        dy: Array,
        saved: Array,
        weights: Mapping[str, Array],
        grads: Mapping[str, Array],
        *,
        first: bool,
        work: Workspace,
    ) -> Array | None:
        """Return dy where the output was positive, else 0."""
        return work.keep_where(dy, saved > 0)
