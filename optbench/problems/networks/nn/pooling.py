"""Max pooling."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optbench.arrays import Array
from optbench.errors import SuiteError
from optbench.problems.networks.nn.base import Layer, Pass, Shape
from optbench.problems.networks.nn.windows import Windows


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
