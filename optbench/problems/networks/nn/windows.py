"""Windows that move over images, for convolution and pooling."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod

from optbench.arrays import Array, Workspace
from optbench.errors import SuiteError
from optbench.problems.networks.nn.base import Shape, written

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
