"""Arrays of any namespace: their types, named views of stacked rows, sums, and work arrays.

NumPy, CuPy and array-api-strict arrays share no base class and the standard's typing protocols are
not published yet, so ``Array`` and ``Namespace`` are names for the reader. Shapes are given in
docstrings.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

Array: TypeAlias = Any
Namespace: TypeAlias = Any


@dataclass(frozen=True)
class Tensor:
    """A named parameter tensor of a problem; every lane holds one in its row.

    Attributes
    ----------
    name
        Such as ``"dense1.weight"``, or the variable of a function.
    shape
        Shape in one lane; ``()`` for a variable.
    """

    name: str
    shape: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """Number of parameters."""
        return prod(self.shape)


@dataclass(frozen=True)
class Buffer(Tensor):
    """A named array of every lane that steps change but nothing trains, such as a running mean.

    ``start`` is what all its values are at the start.
    """

    start: float = 0.0


@dataclass(frozen=True)
class Stacked:
    """Rows of all lanes, and the tensors in them by name; both share memory.

    Attributes
    ----------
    rows
        Shape (lanes, parameters).
    views
        Tensor name to an array of shape (lanes, *shape).
    """

    rows: Array
    views: dict[str, Array]


def stack(rows: Array, tensors: Sequence[Tensor], xp: Namespace) -> Stacked:
    """Name the tensors in ``rows``, an array of shape (lanes, parameters), without copying.

    >>> import numpy as np
    >>> stacked = stack(np.zeros((2, 6)), (Tensor("w", (2, 2)), Tensor("b", (2,))), np)
    >>> stacked.views["b"][...] = 1.0
    >>> stacked.rows[0].tolist()
    [0.0, 0.0, 0.0, 0.0, 1.0, 1.0]
    """
    views = {}
    offset = 0
    for tensor in tensors:
        flat = rows[:, offset : offset + tensor.size]
        views[tensor.name] = xp.reshape(flat, (rows.shape[0], *tensor.shape), copy=False)
        offset += tensor.size
    return Stacked(rows, views)


def lane_sum(terms: Array, xp: Namespace) -> Array:
    """Return the sum of an array (lanes, …) within each lane, shape (lanes, 1)."""
    return _sum(_stored_by_lane(terms, xp), xp)


def inner(a: Array, b: Array, xp: Namespace) -> Array:
    """Return Σ a·b within each lane, shape (lanes, 1), of arrays of the same shape (lanes, …).

    >>> import numpy as np
    >>> rows = np.array([[3.0, 4.0], [1.0, 0.0]])
    >>> inner(rows, rows, np).tolist()
    [[25.0], [1.0]]
    """
    product = _stored_by_lane(a, xp)
    product *= b
    return _sum(product, xp)


def _stored_by_lane(array: Array, xp: Namespace) -> Array:
    """Return a copy that stores each lane together.

    Sums add in the order of storage, which by coordinate would depend on the number of lanes.
    """
    stored = xp.empty(array.shape, dtype=array.dtype)
    stored[...] = array
    return stored


def _sum(stored: Array, xp: Namespace) -> Array:
    return xp.sum(xp.reshape(stored, (stored.shape[0], -1)), axis=1, keepdims=True)


class Workspace:
    """Work arrays that are used again and again, and operations that write into them.

    Parameters
    ----------
    xp
        The array namespace.
    writes_out
        Whether its functions take ``out=``.
    """

    def __init__(self, xp: Namespace, *, writes_out: bool = False) -> None:
        self.xp = xp
        self._writes_out = writes_out
        self._arrays: dict[tuple[Any, ...], Array] = {}
        self._scratch: dict[tuple[Any, ...], Array] = {}
        self._views: dict[tuple[int, int], tuple[Array, Sequence[Tensor], dict[str, Array]]] = {}
        self._pass = ""
        self._position = 0

    def begin(self, name: str) -> None:
        """Begin a pass, which gets the arrays of the last pass of that name again."""
        self._pass, self._position = name, 0

    def take(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return the next array of the pass, with whatever values it has."""
        key = (self._pass, self._position, shape, dtype)
        self._position += 1
        if key not in self._arrays:
            self._arrays[key] = self._empty(shape, dtype)
        return self._arrays[key]

    def _empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Allocate an array with whatever values it has."""
        return self.xp.empty(shape, dtype=dtype)

    def take_like(self, array: Array) -> Array:
        """Return the next array of the pass, of another's shape, type and order of storage.

        Parameters of a block are all stored in one order, so it does not tell arrays apart.
        """
        key = (self._pass, self._position, "like", array.shape, array.dtype)
        self._position += 1
        if key not in self._arrays:
            self._arrays[key] = self.xp.empty_like(array)
        return self._arrays[key]

    def views(self, rows: Array, tensors: Sequence[Tensor]) -> dict[str, Array]:
        """Return views of tensors in rows by name: the same arrays for the same rows and tensors.

        Both are kept, so they should be as lasting as the parameters.
        """
        key = (id(rows), id(tensors))
        if key not in self._views:
            self._views[key] = (rows, tensors, stack(rows, tensors, self.xp).views)
        return self._views[key][2]

    def by_lane(self, terms: Array) -> Array:
        """Return an array that stores each lane together, as sums need it; may be the same one."""
        stored = self.scratch(terms.shape, terms.dtype)
        stored[...] = terms
        return stored

    def lane_sum(self, terms: Array) -> Array:
        """Return the sum of an array (lanes, parameters) within each lane, shape (lanes, 1)."""
        return _sum(self.by_lane(terms), self.xp)

    def tensor_sums(self, terms: Array, tensors: Sequence[Tensor]) -> Array:
        """Return the sums of an array (lanes, parameters) within tensors, (lanes, tensors)."""
        stored, end = self.by_lane(terms), 0
        sums = self.xp.empty((terms.shape[0], len(tensors)), dtype=terms.dtype)
        for place, tensor in enumerate(tensors):
            start, end = end, end + tensor.size
            self.into(sums[:, place], self.xp.sum, stored[:, start:end], axis=1)
        return sums

    def scratch(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return an array for use within one operation: the next one may get it too."""
        key = (shape, dtype)
        if key not in self._scratch:
            self._scratch[key] = self.xp.empty(shape, dtype=dtype)
        return self._scratch[key]

    def into(
        self, out: Array, function: Callable[..., Array], *operands: Any, **options: Any
    ) -> Array:
        """Return ``out``, holding ``function(*operands, **options)``."""
        if self._writes_out:
            function(*operands, out=out, **options)
        else:
            out[...] = function(*operands, **options)
        return out

    def gather(self, rows: Array, indices: Array) -> Array:
        """Return the rows (examples, …) at indices (n,), all within bounds; may be a work array."""
        if not self._writes_out:
            return self.xp.take(rows, indices, axis=0)
        out = self.take((*indices.shape, *rows.shape[1:]), rows.dtype)
        # NumPy writes straight into out only in the modes that cannot raise halfway.
        return self.xp.take(rows, indices, axis=0, out=out, mode="clip")

    def gather_ratio(self, rows: Array, indices: Array, divisor: float, dtype: Any) -> Array:
        """Return rows[indices] / divisor, both converted to a dtype first; a work array."""
        out = self.take((*indices.shape, *rows.shape[1:]), dtype)
        return self.ratio(out, self.gather(rows, indices), divisor)

    def ratio(self, out: Array, values: Array, divisor: float) -> Array:
        """Return ``out``, holding values / divisor, both converted to its dtype first."""
        if self._writes_out:
            return self.into(out, self.xp.divide, values, divisor, dtype=out.dtype)
        out[...] = self.xp.astype(values, out.dtype) / divisor
        return out

    def keep_where(self, values: Array, condition: Array) -> Array:
        """Set ``values`` to 0 where the condition does not hold, by a product, and return them."""
        if self._writes_out:  # NumPy multiplies by truth values in one pass
            return self.into(values, self.xp.multiply, values, condition)
        values[...] = values * self.xp.astype(condition, values.dtype)
        return values

    def rectify(self, values: Array, shift: Array) -> Array:
        """Return ``values``, holding max(values + shift, 0); NaN stays NaN.

        Values have the shape (lanes, rows, columns), the shift (lanes, columns).
        """
        self.into(values, self.xp.add, values, shift[:, None, :])
        # A row of zeros: NumPy's loop for a single number is twice as slow.
        zeros = self.xp.zeros((1, 1, values.shape[2]), dtype=values.dtype)
        return self.into(values, self.xp.maximum, values, zeros)

    def rectify_back(self, grads: Array, values: Array, sums: Array) -> Array:
        """Return ``grads``, 0 now where values are not positive, with their sums over rows.

        Gradients and values have the shape (lanes, rows, columns), sums (lanes, columns).
        """
        positive = self.scratch(values.shape, self.xp.bool)
        self.keep_where(grads, self.into(positive, self.xp.greater, values, 0.0))
        self.into(sums, self.xp.sum, grads, axis=1)
        return grads

    def softmax_losses(self, scores: Array, labels: Array, log_eps: float) -> tuple[Array, Array]:
        """Return −log(y[label] + log_eps) of each example, and y − t, with y = softmax(scores).

        Scores have the shape (lanes, batch, classes), labels (lanes, batch) or (1, batch); t are
        one-hot labels. The losses have the shape (lanes, batch), y − t that of the scores.
        """
        xp = self.xp
        target = labels[..., None] == xp.arange(scores.shape[-1], dtype=labels.dtype)
        shifted = scores - xp.max(scores, axis=-1, keepdims=True)
        exponentials = xp.exp(shifted)
        total = xp.sum(exponentials, axis=-1, keepdims=True)
        y = exponentials / total
        picked_of = y if log_eps else shifted
        # Adding zeros changes no bit.
        zero = xp.zeros((), dtype=scores.dtype)
        picked = xp.sum(xp.where(target, picked_of, zero), axis=-1)
        losses = -xp.log(picked + log_eps) if log_eps else xp.log(total[..., 0]) - picked
        return losses, y - xp.astype(target, scores.dtype)

    def normal_cdf(self, out: Array, x: Array) -> Array:
        """Return ``out``, another array than x, holding Φ(x) of the standard normal distribution.

        It is Φ(x) = ½ + φ(x)·(x + x³/3 + x⁵/(3·5) + …), after G. Marsaglia, "Evaluating the normal
        distribution", J. Stat. Softw. 11 (2004); below −9 it is 0.
        """
        xp = self.xp
        near = xp.clip(x, -9.0, 9.0)
        square, term, total = near * near, near, near
        for factor in range(3, 231, 2):  # at 9 what follows adds less than 1e-16
            term = term * square / factor
            total = total + term
        density = xp.exp(-0.5 * square) / math.sqrt(2.0 * math.pi)
        out[...] = 0.5 + density * total
        return self.keep_where(out, x > -9.0)

    def all_finite(self, rows: Array) -> Array:
        """Return whether all numbers of each row are finite: bool, shape (rows,)."""
        finite = self.into(self.scratch(rows.shape, self.xp.bool), self.xp.isfinite, rows)
        return self.xp.all(finite, axis=1)
