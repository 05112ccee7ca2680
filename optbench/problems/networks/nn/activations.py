"""Activations: functions of each number on its own."""

from collections.abc import Mapping
from dataclasses import dataclass

from typing_extensions import override

from optbench.arrays import Array
from optbench.problems.networks.nn.base import Layer, Pass, Shape


@dataclass(frozen=True)
class ReLU(Layer):
    """Rectifier: y = max(x, 0); dx = dy where x > 0, else 0."""

    @property
    def work_values(self) -> int:
        """The output."""
        return self.in_size

    def forward(self, x: Array, pass_: Pass) -> tuple[Array, Array]:
        """Return max(x, 0), twice; NaN stays NaN."""
        work, xp = pass_.work, pass_.work.xp
        y = work.take(x.shape, x.dtype)
        flat = (*x.shape[:2], self.in_size)
        # A row of zeros: NumPy's loop for a single number is twice as slow.
        zeros = xp.zeros((1, 1, self.in_size), dtype=x.dtype)
        work.into(xp.reshape(y, flat, copy=False), xp.maximum, xp.reshape(x, flat), zeros)
        return y, y

    def backward(
        self, dy: Array, saved: Array, pass_: Pass, grads: Mapping[str, Array], *, first: bool
    ) -> Array | None:
        """Return dy where the output was positive, else 0."""
        work, xp = pass_.work, pass_.work.xp
        positive = work.take(saved.shape, xp.bool)
        return work.keep_where(dy, work.into(positive, xp.greater, saved, 0.0))


@dataclass(frozen=True)
class Sigmoid(Layer):
    """Logistic function: y = 1/(1 + exp(−x)); dx = dy·y·(1 − y)."""

    @property
    def work_values(self) -> int:
        """The output and the derivative."""
        return 2 * self.in_size

    def forward(self, x: Array, pass_: Pass) -> tuple[Array, Array]:
        """Return 1/(1 + exp(−x)), twice; where the exponential overflows it is 0, as it should."""
        work, xp = pass_.work, pass_.work.xp
        y = work.take(x.shape, x.dtype)
        work.into(y, xp.negative, x)
        work.into(y, xp.exp, y)
        work.into(y, xp.add, y, 1.0)
        return work.into(y, xp.divide, 1.0, y), y

    def backward(
        self, dy: Array, saved: Array, pass_: Pass, grads: Mapping[str, Array], *, first: bool
    ) -> Array | None:
        """Return dy·y·(1 − y)."""
        work, xp = pass_.work, pass_.work.xp
        slope = work.take(saved.shape, saved.dtype)
        work.into(slope, xp.subtract, 1.0, saved)
        work.into(slope, xp.multiply, slope, saved)
        return work.into(dy, xp.multiply, dy, slope)


@dataclass(frozen=True)
class Tanh(Layer):
    """Hyperbolic tangent: y = tanh(x); dx = dy·(1 − y²)."""

    @property
    def work_values(self) -> int:
        """The output and the derivative."""
        return 2 * self.in_size

    def forward(self, x: Array, pass_: Pass) -> tuple[Array, Array]:
        """Return tanh(x), twice."""
        work = pass_.work
        y = work.take(x.shape, x.dtype)
        return work.into(y, work.xp.tanh, x), y

    def backward(
        self, dy: Array, saved: Array, pass_: Pass, grads: Mapping[str, Array], *, first: bool
    ) -> Array | None:
        """Return dy·(1 − y²)."""
        work, xp = pass_.work, pass_.work.xp
        slope = work.take(saved.shape, saved.dtype)
        work.into(slope, xp.multiply, saved, saved)
        work.into(slope, xp.subtract, 1.0, slope)
        return work.into(dy, xp.multiply, dy, slope)


@dataclass(frozen=True)
class Flatten(Layer):
    """Lays the values of an example out in one row, the last axis fastest; no numbers change."""

    @property
    @override
    def out_shape(self) -> Shape:
        return (self.in_size,)

    @property
    def work_values(self) -> int:
        """None: the values stay where they are."""
        return 0

    @override
    def forward(self, x: Array, pass_: Pass) -> tuple[Array, None]:
        return pass_.work.xp.reshape(x, (*x.shape[:2], *self.out_shape)), None

    @override
    def backward(
        self, dy: Array, saved: None, pass_: Pass, grads: Mapping[str, Array], *, first: bool
    ) -> Array | None:
        return pass_.work.xp.reshape(dy, (*dy.shape[:2], *self.in_shape))
