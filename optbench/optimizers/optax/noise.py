"""Random numbers of gradient transformations: those of a lane come from its seed.

A transformation draws from a key that its state holds, or that its factory is given, itself or as
a seed. A lane has a number, its noise, drawn from a stream of its seed: factories are given that,
and keys in the state at the start are folded with it.
"""

import inspect
from collections.abc import Callable
from typing import Any

from optbench import rng

NAMES = ("seed", "key", "rng", "rng_key", "prng_key", "random_seed", "random_key")
"""What factories call an argument that their random numbers come from."""

STREAM = "optimizer"


def noise_of(seed: int) -> int:
    """Return the noise of lanes of a seed, an int32."""
    return int(rng.stream(seed, STREAM).integers(2**31))


def seed_arguments(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the arguments that a factory's random numbers come from, and their defaults."""
    return {
        name: parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
        if name in NAMES and _may_be_seed(parameter.default)
    }


def _may_be_seed(default: Any) -> bool:
    if isinstance(default, bool):
        return False
    nothing = default is None or default is inspect.Parameter.empty
    return nothing or isinstance(default, int) or is_key(default) or _is_raw_key(default)


def seed_for(name: str, default: Any, noise: Any) -> Any:
    """Return what a factory is given for one of its :func:`seed_arguments`."""
    import jax

    if is_key(default) or _is_raw_key(default):
        return jax.random.fold_in(default, noise)
    whole = name.endswith("seed") or isinstance(default, int)
    return noise if whole else jax.random.key(noise)


def with_noise(leaf: Any, like: Any, noise: Any) -> Any:
    """Return a leaf of a state folded with a noise if it is a key or several, else as it is.

    ``like`` says its type and its shape.
    """
    import jax

    if _is_raw_key(like):
        return jax.random.fold_in(leaf, noise)
    if not is_key(like):
        return leaf
    folded = jax.vmap(jax.random.fold_in, (0, None))(leaf.ravel(), noise)
    return folded.reshape(leaf.shape)


def draws(state: Any) -> bool:
    """Say whether a state holds a key of random numbers."""
    import jax

    return any(is_key(leaf) or _is_raw_key(leaf) for leaf in jax.tree.leaves(state))


def is_key(leaf: Any) -> bool:
    """Say whether a leaf is a key of random numbers, a type that no other library has."""
    import jax

    dtype = getattr(leaf, "dtype", None)
    return dtype is not None and bool(jax.numpy.issubdtype(dtype, jax.dtypes.prng_key))


def _is_raw_key(leaf: Any) -> bool:
    """Say whether a leaf is a key as JAX wrote them before they had a type of their own."""
    import jax

    raw = jax.eval_shape(jax.random.PRNGKey, 0)
    return (getattr(leaf, "dtype", None), getattr(leaf, "shape", None)) == (raw.dtype, raw.shape)
