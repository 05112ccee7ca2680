"""Trees of arrays as rows of numbers, and back."""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

WHOLE = "params"
"""What a tree that is one array calls it."""


@dataclass(frozen=True, eq=False)
class Tree:
    """The structure of a tree of arrays.

    Attributes
    ----------
    names, shapes, dtypes
        Of its leaves in order.
    definition
        What JAX calls its structure.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[Any, ...]
    definition: Any

    @classmethod
    def of(cls, tree: Any) -> "Tree":
        """Return the structure of a tree whose leaves are arrays or numbers."""
        import jax

        leaves, definition = jax.tree_util.tree_flatten_with_path(tree)
        names = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in leaves]
        arrays = [jax.numpy.asarray(leaf) for _, leaf in leaves]
        return cls(
            tuple(name or WHOLE for name in names),
            tuple(tuple(array.shape) for array in arrays),
            tuple(array.dtype for array in arrays),
            definition,
        )

    def row(self, tree: Any) -> np.ndarray:
        """Return a tree's numbers, float64 of shape (numbers,)."""
        import jax

        leaves = [np.asarray(leaf, np.float64).ravel() for leaf in jax.tree_util.tree_leaves(tree)]
        return np.concatenate(leaves) if leaves else np.empty(0)

    def built(self, row: Any) -> Any:
        """Return the tree of a row (numbers,): reals in its type, other leaves in their own."""
        import jax

        ends = np.cumsum([prod(shape) for shape in self.shapes]).tolist()
        leaves = [
            row[end - prod(shape) : end]
            .reshape(shape)
            .astype(row.dtype if np.dtype(dtype).kind == "f" else dtype)
            for end, shape, dtype in zip(ends, self.shapes, self.dtypes, strict=True)
        ]
        return jax.tree_util.tree_unflatten(self.definition, leaves)

    def flat(self, tree: Any, dtype: Any) -> Any:
        """Return a tree as a row (numbers,) of JAX; it must have this structure."""
        import jax

        leaves, definition = jax.tree_util.tree_flatten(tree)
        if definition != self.definition:
            raise TypeError(f"it returns the state {definition}, which began as {self.definition}")
        jnp = jax.numpy
        parts = [jnp.reshape(jnp.asarray(leaf), -1).astype(dtype) for leaf in leaves]
        return jnp.concatenate(parts) if parts else jnp.zeros(0, dtype)
