"""Layers of images: convolution and max pooling, by windows that move over them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

from typing_extensions import override

from optbench.arrays import Array, Workspace
from optbench.errors import SuiteError
from optbench.problems.networks.nn.base import Layer, Pass, Shape, WeightedLayer, written
from optbench.problems.networks.nn.initializers import Initializer

Places = tuple[slice, slice]
"""Rows and columns of an image that one cell of the window meets, one for each position of it."""


@dataclass(frozen=True)
class Windows:
    """A window, (height, width), that moves over padded images, (channels, H, W), with a stride.

    There are ``1 + (H + 2·pad − height) // stride`` positions in a column of an image of height H,
    and as many in a row; what remains at the lower and right edges is left out.
    """

    image: Shape
    shape: tuple[int, int]
    stride: int = 1
    pad: int = 0

    def __post_init__(self) -> None:
        if len(self.image) != 3:
            raise SuiteError(
                "it takes images of channels x height x width; "
                f"its input has the shape {written(self.image)}"
            )
        height, width = self.padded
        if self.shape[0] > height or self.shape[1] > width:
            padding = " with its padding" if self.pad else ""
            raise SuiteError(f"its window is larger than its input of {height}x{width}{padding}")

    @property
    def padded(self) -> tuple[int, int]:
        """Height and width of an image with its padding."""
        return self.image[1] + 2 * self.pad, self.image[2] + 2 * self.pad

    @property
    def positions(self) -> tuple[int, int]:
        """Positions of the window in a column and in a row."""
        (height, width), (rows, columns) = self.padded, self.shape
        return 1 + (height - rows) // self.stride, 1 + (width - columns) // self.stride

    @property
    def padded_values(self) -> int:
        """Numbers in the padded copy of an example; 0 where none is made."""
        return self.image[0] * self.padded[0] * self.padded[1] if self.pad else 0

    @property
    def values(self) -> int:
        """Numbers under all positions together, in one example."""
        return self.image[0] * prod(self.shape) * prod(self.positions)

    def cells(self) -> Iterator[tuple[int, Places]]:
        """Yield number and places of each cell of the window, row by row."""
        reach = [self.stride * (count - 1) + 1 for count in self.positions]
        for i, j in product(*map(range, self.shape)):
            down = slice(i, i + reach[0], self.stride)
            yield i * self.shape[1] + j, (down, slice(j, j + reach[1], self.stride))

    def pad_with(self, value: float, x: Array, work: Workspace) -> Array:
        """Return images (…, C, H, W) with padding around them; a work array if there is any."""
        if not self.pad:
            return x
        padded = work.take((*x.shape[:-2], *self.padded), x.dtype)
        padded[...] = value
        padded[(..., *self._inside)] = x
        return padded

    def without_padding(self, padded: Array, work: Workspace) -> Array:
        """Return the images in padded ones; a work array if there is any padding."""
        if not self.pad:
            return padded
        x = work.take((*padded.shape[:-2], *self.image[1:]), padded.dtype)
        x[...] = padded[(..., *self._inside)]
        return x

    def zeros(self, like: Array, work: Workspace) -> Array:
        """Return padded images of zeros, for as many lanes and examples as ``like`` has."""
        images = work.take((*like.shape[:2], self.image[0], *self.padded), like.dtype)
        images[...] = 0.0
        return images

    def add(self, values: Array, places: Array, work: Workspace) -> None:
        """Add what belongs to one cell of the window to its places in images of zeros."""
        if self.stride < max(self.shape):
            work.into(places, work.xp.add, places, values)
        else:  # no place lies under two positions
            places[...] = values

    @property
    def _inside(self) -> Places:
        _, height, width = self.image
        return slice(self.pad, self.pad + height), slice(self.pad, self.pad + width)


def im2col(x: Array, windows: Windows, work: Workspace) -> Array:
    """Return the values under every position of the window on images (lanes, batch, C, H, W).

    A work array (lanes, batch, C, cells, positions), the cells of the window and its positions row
    by row; images are padded with zeros where the windows ask for it.
    """
    x = windows.pad_with(0.0, x, work)
    cells, positions = prod(windows.shape), windows.positions
    columns = work.take((*x.shape[:3], cells, *positions), x.dtype)
    for number, (down, across) in windows.cells():
        columns[:, :, :, number, :, :] = x[:, :, :, down, across]
    return work.xp.reshape(columns, (*x.shape[:3], cells, prod(positions)), copy=False)


def col2im(columns: Array, windows: Windows, work: Workspace) -> Array:
    """Return images in which each value of the columns is added to where it came from.

    It is the transpose of :func:`im2col`; what falls on the padding is dropped.
    """
    columns = work.xp.reshape(columns, (*columns.shape[:4], *windows.positions), copy=False)
    x = windows.zeros(columns, work)
    for number, (down, across) in windows.cells():
        windows.add(columns[:, :, :, number, :, :], x[:, :, :, down, across], work)
    return windows.without_padding(x, work)


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


@dataclass(frozen=True)
class MaxPool(Layer):
    """Largest value under each position of the window, channel by channel.

    dx adds dy where the largest value stood, and where several are equal to the first of them, row
    by row. Padding holds ``pad_value``: 0, as in the textbook, or −inf, as in PyTorch, which never
    wins; no position of the window may lie in the padding alone.

    Source: K. Saitoh, "Deep Learning from Scratch", section 7.4.4.
    """

    window: tuple[int, int]
    stride: int = 1
    pad: int = 0
    pad_value: float = 0.0

    def __post_init__(self) -> None:
        _ = self.windows  # it refuses inputs that do not fit
        if self.pad >= min(self.window):
            raise SuiteError(f"its pad is {self.pad}; it must be smaller than its window")

    @property
    def windows(self) -> Windows:
        """How the window moves."""
        return Windows(self.in_shape, self.window, self.stride, self.pad)

    @property
    def out_shape(self) -> Shape:
        """(channels, positions in a column, positions in a row)."""
        return (self.in_shape[0], *self.windows.positions)

    @property
    def work_values(self) -> int:
        """Output, padded input, gradient of the input."""
        return self.out_size + self.windows.padded_values + self.input_gradient_values

    @property
    def input_gradient_values(self) -> int:
        """The gradient, once more with padding, and what of dy goes to one cell of the window."""
        return self.in_size + self.windows.padded_values + self.out_size

    def forward(self, x: Array, pass_: Pass) -> tuple[Array, tuple[Array, Array]]:
        """Return the largest values; with them the padded input."""
        work = pass_.work
        x = self.windows.pad_with(self.pad_value, x, work)
        y = work.take((*x.shape[:2], *self.out_shape), x.dtype)
        for number, (down, across) in self.windows.cells():
            cell = x[:, :, :, down, across]
            if number == 0:
                y[...] = cell
            else:
                work.into(y, work.xp.maximum, y, cell)
        return y, (x, y)

    def backward(
        self, dy: Array, saved: Any, pass_: Pass, grads: Mapping[str, Array], *, first: bool
    ) -> Array | None:
        """Return dy where the largest values stood."""
        if first:
            return None
        work, xp, (x, y) = pass_.work, pass_.work.xp, saved
        dx = self.windows.zeros(dy, work)
        part = work.take(dy.shape, dy.dtype)
        largest, free = work.take(y.shape, xp.bool), work.take(y.shape, xp.bool)
        free[...] = True
        for _, (down, across) in self.windows.cells():
            work.into(largest, xp.equal, x[:, :, :, down, across], y)
            work.into(largest, xp.logical_and, largest, free)
            work.into(free, xp.logical_xor, free, largest)
            part[...] = dy
            work.keep_where(part, largest)
            self.windows.add(part, dx[:, :, :, down, across], work)
        return self.windows.without_padding(dx, work)
