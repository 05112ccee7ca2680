"""Layers of numbers in rows: affine, dropout, flattening; and which layers are computed as one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from typing_extensions import override

from optbench.arrays import Array
from optbench.errors import SuiteError
from optbench.problems.networks.nn.activations import ReLU
from optbench.problems.networks.nn.base import Layer, Mode, Pass, Shape, WeightedLayer, written
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

    def forward(self, x: Array, pass_: Pass) -> tuple[Array, Any]:
        """Return x W + b, and x."""
        y = self._product(x, pass_)
        if self.has_bias:
            pass_.work.into(y, pass_.work.xp.add, y, pass_.weights[self.bias][:, None, :])
        return y, x

    def backward(
        self, dy: Array, saved: Any, pass_: Pass, grads: Mapping[str, Array], *, first: bool
    ) -> Array | None:
        """Write dW and db, return dx."""
        if self.has_bias:
            pass_.work.into(grads[self.bias], pass_.work.xp.sum, dy, axis=1)
        return self._product_back(dy, saved, pass_, grads, first=first)

    def _product(self, x: Array, pass_: Pass) -> Array:
        """Return x W; a work array."""
        work, weight = pass_.work, pass_.weights[self.weight]
        y = work.take((weight.shape[0], x.shape[1], self.fan_out), x.dtype)
        return work.into(y, work.xp.matmul, x, weight)

    def _product_back(
        self, dy: Array, x: Array, pass_: Pass, grads: Mapping[str, Array], *, first: bool
    ) -> Array | None:
        """Write dW, return dx."""
        work, xp = pass_.work, pass_.work.xp
        work.into(grads[self.weight], xp.matmul, xp.matrix_transpose(x), dy)
        if first:
            return None
        dx = work.take((*dy.shape[:2], self.fan_in), dy.dtype)
        return work.into(dx, xp.matmul, dy, xp.matrix_transpose(pass_.weights[self.weight]))


class RectifiedDense(Dense):
    """An affine layer with a bias and the rectifier behind it, as one: y = max(x W + b, 0).

    It has the bits of the two, with fewer passes over memory.
    """

    @override
    def forward(self, x: Array, pass_: Pass) -> tuple[Array, Any]:
        y = self._product(x, pass_)
        return pass_.work.rectify(y, pass_.weights[self.bias]), (x, y)

    @override
    def backward(
        self, dy: Array, saved: Any, pass_: Pass, grads: Mapping[str, Array], *, first: bool
    ) -> Array | None:
        x, y = saved
        pass_.work.rectify_back(dy, y, grads[self.bias])
        return self._product_back(dy, x, pass_, grads, first=first)


def chained(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """Return layers as they are computed: an affine one and the rectifier behind it as one.

    >>> from optbench.problems.networks.nn.initializers import he
    >>> layers = Dense("dense1", (4,), 3, he), ReLU("relu1", (3,)), Dense("dense2", (3,), 2, he)
    >>> [type(layer).__name__ for layer in chained(layers)]
    ['RectifiedDense', 'Dense']
    """
    chain: list[Layer] = []
    for layer in layers:
        before = chain[-1] if chain else None
        if isinstance(layer, ReLU) and type(before) is Dense and before.has_bias:
            chain[-1] = RectifiedDense(**{f.name: getattr(before, f.name) for f in fields(before)})
        else:
            chain.append(layer)
    return tuple(chain)


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
            if self.inverted:
                return x, None
            y = pass_.work.take(x.shape, x.dtype)
            return pass_.work.into(y, pass_.work.xp.multiply, x, 1.0 - self.ratio), None
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
