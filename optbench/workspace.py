"""Work arrays of a block, allocated once and used again in every step.

A pass over a network asks for its arrays in the same order each time, so the n-th request of a
pass is answered with the n-th array, whatever it held before. Operations write into these arrays
where the namespace can (``out=``, which the array API standard does not have), and copy elsewhere.
"""

from collections.abc import Callable
from typing import Any

from optbench.arrays import Array, Namespace


class Workspace:
    """Work arrays, and operations that write into them.

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
        self._pass = ""
        self._position = 0

    def begin(self, name: str) -> None:
        """Begin a pass; arrays of the pass of that name before it are given out again."""
        self._pass, self._position = name, 0

    def take(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return the next array of the pass; its values are whatever they were."""
        key = (self._pass, self._position, shape, dtype)
        self._position += 1
        if key not in self._arrays:
            self._arrays[key] = self.xp.empty(shape, dtype=dtype)
        return self._arrays[key]

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
        """Return the rows (examples, …) at indices (n,), all within bounds; maybe a work array."""
        if not self._writes_out:
            return self.xp.take(rows, indices, axis=0)
        out = self.take((*indices.shape, *rows.shape[1:]), rows.dtype)
        # NumPy writes straight into out only where it need not raise halfway.
        return self.xp.take(rows, indices, axis=0, out=out, mode="clip")

    def ratio(self, out: Array, values: Array, divisor: float) -> Array:
        """Return ``out``, holding values / divisor, both in its dtype first."""
        if self._writes_out:
            return self.into(out, self.xp.divide, values, divisor, dtype=out.dtype)
        out[...] = self.xp.astype(values, out.dtype) / divisor
        return out

    def keep_where(self, values: Array, condition: Array) -> Array:
        """Set ``values`` to 0 where the condition does not hold, by a product; return them."""
        if self._writes_out:  # a product with truth values is one pass where it is allowed
            return self.into(values, self.xp.multiply, values, condition)
        values[...] = values * self.xp.astype(condition, values.dtype)
        return values
