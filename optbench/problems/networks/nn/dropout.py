"""Dropout."""

from collections.abc import Mapping
from dataclasses import dataclass

from optbench.arrays import Array
from optbench.errors import SuiteError
from optbench.problems.networks.nn.base import Layer, Mode, Pass


@dataclass(frozen=True)
class Dropout(Layer):
    """Dropout: in training and scoring y = x·m, dx = dy·m with a mask m of zeros and ones.

    In evaluation y = (1 − p)·x, as in the textbook, with the ratio p in [0, 1). With ``inverted``,
    as in PyTorch, training divides by 1 − p instead and evaluation leaves x alone. Whoever draws a
    mask keeps each value with probability 1 − p.

    Sources: N. Srivastava et al., "Dropout", JMLR 15 (2014); K. Saitoh, "Deep Learning from
    Scratch", section 6.4.3.
    """

    ratio: float
    inverted: bool = False

    def __post_init__(self) -> None:
        if not 0.0 <= self.ratio < 1.0:
            raise SuiteError(f"its ratio is {self.ratio:g}; it must be in [0, 1)")

    @property
    def work_values(self) -> int:
        """The output; a mask is not a work array."""
        return self.in_size

    def forward(self, x: Array, pass_: Pass) -> tuple[Array, Array | None]:
        """Return the values that are kept, and the mask."""
        if pass_.mode is Mode.EVALUATE:
            return (x if self.inverted else self._scaled(x, 1.0 - self.ratio, pass_)), None
        mask = pass_.masks[self.name]
        y = pass_.work.take((max(x.shape[0], mask.shape[0]), *x.shape[1:]), x.dtype)
        y[...] = x
        return self._kept(y, mask, pass_), mask

    def backward(
        self, dy: Array, saved: Array, pass_: Pass, grads: Mapping[str, Array], *, first: bool
    ) -> Array | None:
        """Return dy where values were kept, else 0."""
        return self._kept(dy, saved, pass_)

    def _kept(self, values: Array, mask: Array, pass_: Pass) -> Array:
        work = pass_.work
        work.keep_where(values, mask)
        if self.inverted:
            work.into(values, work.xp.divide, values, 1.0 - self.ratio)
        return values

    def _scaled(self, x: Array, factor: float, pass_: Pass) -> Array:
        y = pass_.work.take(x.shape, x.dtype)
        return pass_.work.into(y, pass_.work.xp.multiply, x, factor)
