"""Convolution, as a product with the columns of im2col."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from typing_extensions import override

from optbench.arrays import Array
from optbench.problems.networks.nn.base import Pass, Shape, WeightedLayer
from optbench.problems.networks.nn.initializers import Initializer
from optbench.problems.networks.nn.windows import Windows, col2im, im2col


@dataclass(frozen=True)
class Conv2d(WeightedLayer):
    """Convolution (cross-correlation) of images, with x (lanes, batch, C, H, W).

    y[f] = b[f] + Σ_c Σ_ij W[f, c, i, j] · x[c, s·row + i, s·column + j] with stride s, over images
    padded with zeros, for each filter f. With the columns X of im2col: y = W X + b,
    dW = Σ_batch dy Xᵀ, db = Σ_batch Σ_positions dy, dx = col2im(Wᵀ dy).

    W is drawn with fan_in = C·height·width and fan_out = filters·height·width; b starts at 0.

    Source: K. Saitoh, "Deep Learning from Scratch", section 7.4.
    """

    filters: int
    window: tuple[int, int]
    initializer: Initializer
    stride: int = 1
    pad: int = 0
    has_bias: bool = True

    def __post_init__(self) -> None:
        _ = self.windows  # it refuses inputs that do not fit

    @property
    def windows(self) -> Windows:
        """How the window moves."""
        return Windows(self.in_shape, self.window, self.stride, self.pad)

    @property
    def out_shape(self) -> Shape:
        """(filters, positions in a column, positions in a row)."""
        return (self.filters, *self.windows.positions)

    @property
    @override
    def weight_shape(self) -> Shape:
        return (self.filters, self.in_shape[0], *self.window)

    @property
    @override
    def fans(self) -> tuple[int, int]:
        cells = prod(self.window)
        return self.in_shape[0] * cells, self.filters * cells

    @property
    def work_values(self) -> int:
        """Columns, output and gradient of W of each example; gradient of the input."""
        columns = self.windows.values + self.windows.padded_values
        of_weight = self.fan_in * self.filters
        return columns + self.out_size + of_weight + self.input_gradient_values

    @property
    def input_gradient_values(self) -> int:
        """The gradient, and once more with padding; its columns take the place of those of x."""
        return self.in_size + self.windows.padded_values

    def forward(self, x: Array, pass_: Pass) -> tuple[Array, Array]:
        """Return W X + b as images, and the columns X."""
        work, xp = pass_.work, pass_.work.xp
        columns = im2col(x, self.windows, work)
        flat = (*x.shape[:2], self.fan_in, columns.shape[-1])
        columns = xp.reshape(columns, flat, copy=False)
        kernels = self._kernels(pass_)
        y = work.take((kernels.shape[0], x.shape[1], self.filters, columns.shape[-1]), x.dtype)
        work.into(y, xp.matmul, kernels, columns)
        if self.has_bias:
            work.into(y, xp.add, y, pass_.weights[self.bias][:, None, :, None])
        return xp.reshape(y, (*y.shape[:2], *self.out_shape), copy=False), columns

    def backward(
        self, dy: Array, saved: Array, pass_: Pass, grads: Mapping[str, Array], *, first: bool
    ) -> Array | None:
        """Write dW and db, return dx."""
        work, xp = pass_.work, pass_.work.xp
        lanes, batch = dy.shape[:2]
        dy = xp.reshape(dy, (lanes, batch, self.filters, saved.shape[-1]))
        of_examples = work.take((lanes, batch, self.filters, self.fan_in), dy.dtype)
        work.into(of_examples, xp.matmul, dy, xp.matrix_transpose(saved))
        kernel_grads = xp.reshape(grads[self.weight], (lanes, *of_examples.shape[2:]), copy=False)
        work.into(kernel_grads, xp.sum, of_examples, axis=1)
        if self.has_bias:
            # Within an image first: one sum over both axes may add in another order for one lane.
            work.into(grads[self.bias], xp.sum, xp.sum(dy, axis=-1), axis=1)
        if first:
            return None
        # The columns of x are not needed any more, unless lanes share them.
        shared = saved.shape[0] != lanes
        columns = work.take((lanes, *saved.shape[1:]), dy.dtype) if shared else saved
        work.into(columns, xp.matmul, xp.matrix_transpose(self._kernels(pass_)), dy)
        cells = (self.in_shape[0], prod(self.window), saved.shape[-1])
        columns = xp.reshape(columns, (lanes, batch, *cells), copy=False)
        return col2im(columns, self.windows, work)

    def _kernels(self, pass_: Pass) -> Array:
        """Return W as (lanes, 1, filters, fan_in)."""
        weight = pass_.weights[self.weight]
        shape = (weight.shape[0], 1, self.filters, self.fan_in)
        return pass_.work.xp.reshape(weight, shape, copy=False)
