"""The affine layer."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from typing_extensions import override

from optbench.arrays import Array, Tensor
from optbench.errors import SuiteError
from optbench.problems.networks.nn.base import Layer, Pass, Shape, written
from optbench.problems.networks.nn.initializers import Initializer


@dataclass(frozen=True)
class Dense(Layer):
    """Affine layer: y = x W + b, with x (lanes, batch, fan_in) and W (lanes, fan_in, fan_out).

    dW = xᵀ dy, db = Σ_batch dy, dx = dy Wᵀ.

    Attributes
    ----------
    fan_out
        Values in one example's output.
    initializer
        Draws W; b starts at 0.
    has_bias
        Whether there is a b.

    Raises
    ------
    SuiteError
        If the input is not one row of values an example.
    """

    fan_out: int
    initializer: Initializer
    has_bias: bool = True

    def __post_init__(self) -> None:
        if len(self.in_shape) != 1:
            shape = written(self.in_shape)
            raise SuiteError(f"its input has the shape {shape}; put 'flatten' before it")

    @property
    def fan_in(self) -> int:
        """Values in one example's input."""
        return self.in_shape[0]

    @property
    @override
    def out_shape(self) -> Shape:
        return (self.fan_out,)

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
        weight = Tensor(self.weight, (self.fan_in, self.fan_out))
        return (weight, Tensor(self.bias, (self.fan_out,))) if self.has_bias else (weight,)

    @property
    @override
    def penalized(self) -> tuple[str, ...]:
        return (self.weight,)

    @property
    def work_values(self) -> int:
        """Output, and gradient of the input."""
        return self.fan_out + self.input_gradient_values

    @property
    def input_gradient_values(self) -> int:
        """The gradient itself."""
        return self.fan_in

    @override
    def start(self, seed: int) -> dict[str, np.ndarray]:
        fans = {"fan_in": self.fan_in, "fan_out": self.fan_out}
        shape = (self.fan_in, self.fan_out)
        values = {self.weight: self.initializer.draw(seed, self.weight, shape, **fans)}
        if self.has_bias:
            values[self.bias] = np.zeros(self.fan_out)
        return values

    def forward(self, x: Array, given: Pass) -> tuple[Array, Array]:
        """Return x W + b, and x."""
        work, weight = given.work, given.weights[self.weight]
        y = work.take((weight.shape[0], x.shape[1], self.fan_out), x.dtype)
        work.into(y, work.xp.matmul, x, weight)
        if self.has_bias:
            work.into(y, work.xp.add, y, given.weights[self.bias][:, None, :])
        return y, x

    def backward(
        self, dy: Array, saved: Array, given: Pass, grads: Mapping[str, Array], *, first: bool
    ) -> Array | None:
        """Write dW and db, return dx."""
        work, xp = given.work, given.work.xp
        work.into(grads[self.weight], xp.matmul, xp.matrix_transpose(saved), dy)
        if self.has_bias:
            work.into(grads[self.bias], xp.sum, dy, axis=1)
        if first:
            return None
        dx = work.take((*dy.shape[:2], self.fan_in), dy.dtype)
        return work.into(dx, xp.matmul, dy, xp.matrix_transpose(given.weights[self.weight]))
