"""From images to rows of values."""

from collections.abc import Mapping
from dataclasses import dataclass

from optbench.arrays import Array
from optbench.nn.base import Layer, Pass, Shape


@dataclass(frozen=True)
class Flatten(Layer):
    """Lays the values of an example out in one row, the last axis fastest; no numbers change."""

    @property
    def out_shape(self) -> Shape:
        """(values,)."""
        return (self.in_size,)

    @property
    def work_values(self) -> int:
        """None: the values stay where they are."""
        return 0

    def forward(self, x: Array, given: Pass) -> tuple[Array, None]:
        """Return x as (lanes or 1, batch, values)."""
        return given.work.xp.reshape(x, (*x.shape[:2], *self.out_shape)), None

    def backward(
        self, dy: Array, saved: None, given: Pass, grads: Mapping[str, Array], *, first: bool
    ) -> Array | None:
        """Return dy in the shape of the input."""
        return given.work.xp.reshape(dy, (*dy.shape[:2], *self.in_shape))
