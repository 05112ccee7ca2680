"""What each operation of a graph does to arrays.

Values are arrays of shape (lanes, n), where scalars have n = 1 and what all lanes share has a
leading axis of one, or Python floats. Within a lane, sums add the two halves of a vector until one
number is left, so that a lane has the same bits whatever its company and its place in memory.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from optbench.arrays import Array, Namespace

Value: TypeAlias = Any
"""An array (lanes, n) or (1, n), or a float."""

LARGEST_PRODUCT = 16
"""Whole exponents up to this are computed by multiplication, which is faster than the library's
power and has the same bits everywhere."""


@dataclass(frozen=True)
class Context:
    """What an operation needs to make new arrays: their namespace and their dtype."""

    xp: Namespace
    dtype: Any

    def zeros(self, like: Value, width: int) -> Array:
        """Return zeros (lanes, width), lanes as in ``like``; each coordinate lies together."""
        lanes = 1 if isinstance(like, float) else like.shape[0]
        return self.xp.permute_dims(self.xp.zeros((width, lanes), dtype=self.dtype), (1, 0))

    def array(self, value: Value) -> Array:
        """Return an array; a float as one number for all lanes."""
        return self.xp.full((1, 1), value, dtype=self.dtype) if isinstance(value, float) else value

    def truth(self, condition: Array) -> Array:
        """Return 1 where a condition holds, else 0."""
        return self.xp.astype(condition, self.dtype)


def _power(context: Context, data: Any, base: Value, exponent: Value) -> Value:
    """Return base**exponent."""
    if isinstance(exponent, float) and exponent.is_integer() and abs(exponent) <= LARGEST_PRODUCT:
        product = _whole_power(base, abs(int(exponent)))
        return product if exponent > 0 else 1.0 / product
    return context.xp.pow(base, exponent)


def _whole_power(base: Value, exponent: int) -> Value:
    """Return base**exponent by squaring; the exponent is at least 1."""
    result = None
    while True:
        if exponent % 2:
            result = base if result is None else result * base
        exponent //= 2
        if not exponent:
            return result
        base = base * base


def _below(context: Context, data: Any, one: Value, other: Value) -> Array:
    """Return 1 where one < other, 1/2 where they are equal, else 0."""
    return 0.5 * (context.truth(one < other) + context.truth(one <= other))


def _where(context: Context, data: Any, condition: Value, one: Value, other: Value) -> Array:
    """Return one where the condition is not 0, else the other."""
    return context.xp.where(condition != 0.0, context.array(one), context.array(other))


def _divide_or_zero(context: Context, data: Any, one: Value, other: Array) -> Array:
    """Return one / other, and 0 where other is 0."""
    zero = context.truth(other == 0.0)
    return (1.0 - zero) * (one / (other + zero))


def _or_one(context: Context, data: Any, one: Array) -> Array:
    """Return the same numbers, and 1 where they are 0."""
    return one + context.truth(one == 0.0)


def _slice(context: Context, data: tuple[int, int], vector: Array) -> Array:
    """Return the coordinates from ``start`` to before ``stop``."""
    start, stop = data
    return vector[:, start:stop]


def _pad(context: Context, data: tuple[int, int, int], part: Value) -> Array:
    """Return a vector of n coordinates: those from ``start`` to before ``stop`` given, others 0."""
    start, stop, n = data
    whole = context.zeros(part, n)
    whole[:, start:stop] = part
    return whole


def _spread(context: Context, data: int, scalar: Value) -> Array:
    """Return a vector whose n coordinates are all the scalar."""
    return context.zeros(scalar, data) + scalar


def _sum(context: Context, data: Any, vector: Array) -> Array:
    """Return the sum of the coordinates, shape (lanes, 1)."""
    while (n := vector.shape[1]) > 1:
        half = n // 2
        folded = vector[:, :half] + vector[:, half : 2 * half]
        if n % 2:
            folded[:, :1] = folded[:, :1] + vector[:, n - 1 :]
        vector = folded
    return vector


def _fold(operation: str) -> "Operation":
    """Return what makes one number, (lanes, 1), of a vector by an operation of two numbers."""

    def fold(context: Context, data: Any, vector: Array) -> Array:
        combine = getattr(context.xp, operation)
        while (n := vector.shape[1]) > 1:
            half = n // 2
            folded = combine(vector[:, :half], vector[:, half : 2 * half])
            if n % 2:
                folded[:, :1] = combine(folded[:, :1], vector[:, n - 1 :])
            vector = folded
        return vector

    return fold


def _product_of_others(context: Context, data: Any, vector: Array) -> Array:
    """Return for each coordinate the product of all others, also where some are 0."""
    n = vector.shape[1]
    others = context.zeros(vector, n)
    if n == 1:
        return others + 1.0
    half = n // 2
    one, other, rest = vector[:, :half], vector[:, half : 2 * half], vector[:, 2 * half :]
    outside = _product_of_others(context, data, context.xp.concat([one * other, rest], axis=1))
    others[:, :half] = outside[:, :half] * other
    others[:, half : 2 * half] = outside[:, :half] * one
    others[:, 2 * half :] = outside[:, half:]
    return others


def _share(context: Context, data: Any, vector: Array, chosen: Array) -> Array:
    """Return 1/k for each of the k coordinates that equal the chosen number, and 0 for others."""
    equal = context.truth(vector == chosen)
    return equal / _sum(context, data, equal)


def _matrix_product(context: Context, transposed: bool, matrix: Array, vector: Array) -> Array:
    """Return matrix · vector, or matrixᵀ · vector, of each lane; matrix is (1, rows, columns)."""
    xp = context.xp
    # BLAS chooses by the strides: the same for any number of lanes only in an array of our own.
    column = xp.empty((*vector.shape, 1), dtype=context.dtype)
    column[:, :, 0] = vector
    return xp.matmul(xp.matrix_transpose(matrix) if transposed else matrix, column)[:, :, 0]


def _named(name: str) -> Callable[..., Value]:
    """Return the operation that is a function of the array namespace."""
    return lambda context, data, *values: getattr(context.xp, name)(*values)


LIBRARY = (
    *("exp", "log", "log10", "sin", "cos", "tan", "atan", "sinh", "cosh", "tanh"),
    *("sqrt", "abs", "sign", "minimum", "maximum"),
)
"""Operations that are functions of the array namespace."""

Operation: TypeAlias = Callable[..., Value]

OPERATIONS: dict[str, Operation] = {
    "add": lambda context, data, one, other: one + other,
    "subtract": lambda context, data, one, other: one - other,
    "multiply": lambda context, data, one, other: one * other,
    "divide": lambda context, data, one, other: one / other,
    "negative": lambda context, data, one: -one,
    "power": _power,
    "below": _below,
    "less": lambda context, data, one, other: context.truth(one < other),
    "less_equal": lambda context, data, one, other: context.truth(one <= other),
    "equal": lambda context, data, one, other: context.truth(one == other),
    "where": _where,
    "divide_or_zero": _divide_or_zero,
    "or_one": _or_one,
    "slice": _slice,
    "pad": _pad,
    "spread": _spread,
    "sum": _sum,
    "product": _fold("multiply"),
    "product_of_others": _product_of_others,
    "smallest": _fold("minimum"),
    "largest": _fold("maximum"),
    "share": _share,
    "matrix_product": _matrix_product,
    **{name: _named(name) for name in LIBRARY},
}
"""``operation(context, data, *values)`` by name; ``data`` is what its node says beside its
arguments."""
