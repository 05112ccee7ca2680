"""The affine layer."""

from collections.abc import Mapping
from dataclasses import dataclass

from typing_extensions import override

from optbench.arrays import Array
from optbench.errors import SuiteError
from optbench.problems.networks.nn.base import Pass, Shape, WeightedLayer, written
from optbench.problems.networks.nn.initializers import Initializer


@dataclass(frozen=True)
class Dense(WeightedLayer):
    """Affine layer: y = x W + b, with x (lanes, batch, fan_in) and W (lanes, fan_in, fan_out).

    dW = xᵀ dy, db = Σ_batch dy, dx = dy Wᵀ; b starts at 0.
    """

    fan_out: int
    initializer: Initializer
    has_bias: bool = True

    def __post_init__(self) -> None:
        if len(self.in_shape) != 1:
            shape = written(self.in_shape)
            raise SuiteError(f"its input has the shape {shape}; put 'flatten' before it")

    @property
    @override
    def out_shape(self) -> Shape:
        return (self.fan_out,)

    @property
    @override
    def weight_shape(self) -> Shape:
        return self.fans

    @property
    @override
    def fans(self) -> tuple[int, int]:
        return self.in_shape[0], self.fan_out

    @property
    def work_values(self) -> int:
        """Output, and gradient of the input."""
        return self.fan_out + self.input_gradient_values

    @property
    def input_gradient_values(self) -> int:
        """The gradient itself."""
        return self.fan_in

    def forward(self, x: Array, pass_: Pass) -> tuple[Array, Array]:
        """Return x W + b, and x."""
        work, weight = pass_.work, pass_.weights[self.weight]
        y = work.take((weight.shape[0], x.shape[1], self.fan_out), x.dtype)
        work.into(y, work.xp.matmul, x, weight)
        if self.has_bias:
            work.into(y, work.xp.add, y, pass_.weights[self.bias][:, None, :])
        return y, x

    def backward(
        self, dy: Array, saved: Array, pass_: Pass, grads: Mapping[str, Array], *, first: bool
    ) -> Array | None:
        """Write dW and db, return dx."""
        work, xp = pass_.work, pass_.work.xp
        work.into(grads[self.weight], xp.matmul, xp.matrix_transpose(saved), dy)
        if self.has_bias:
            work.into(grads[self.bias], xp.sum, dy, axis=1)
        if first:
            return None
        dx = work.take((*dy.shape[:2], self.fan_in), dy.dtype)
        return work.into(dx, xp.matmul, dy, xp.matrix_transpose(pass_.weights[self.weight]))
