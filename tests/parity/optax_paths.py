"""Steps an optimizer of optax over a recording, for the tests beside this file."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

from optbench.arrays import Tensor
from tests.optimizers.driver import Recording

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")
jax.config.update("jax_enable_x64", True)

Make = Callable[[dict[str, Any]], Any]
"""Returns optax's optimizer of all hyperparameters."""

Seen = Callable[[Any, Any], Any]
"""Returns what is looked at, of state and parameters."""


def params_themselves(state: Any, params: Any) -> Any:
    return params


def optax_path(
    make: Make,
    given: dict[str, float],
    recording: Recording,
    dtype: str,
    seen: Seen = params_themselves,
) -> np.ndarray:
    """Return what is seen after each update, (updates, parameters)."""

    def tree(rows):
        ends = np.cumsum([tensor.size for tensor in recording.tensors])[:-1]
        parts = zip(recording.tensors, np.split(rows.astype(dtype), ends, axis=-1), strict=True)
        return {t.name: part.reshape(rows.shape[:-1] + t.shape) for t, part in parts}

    run = _compiled(make, recording.tensors, dtype, seen)
    path = run(given, tree(recording.start), tree(recording.gradients))
    rows = [np.asarray(path[t.name]).reshape(-1, t.size) for t in recording.tensors]
    assert all(each.dtype == dtype for each in rows)
    return np.concatenate(rows, axis=1)


@cache
def _compiled(make: Make, tensors: tuple[Tensor, ...], dtype: str, seen: Seen) -> Any:
    """Return a function of hyperparameters, which stay Python's floats, start and gradients."""

    @jax.jit
    def run(given, params, grads):
        transformation = make(given)

        def update(carry, grads):
            params, state = carry
            updates, state = transformation.update(grads, state, params)
            params = optax.apply_updates(params, updates)
            return (params, state), seen(state, params)

        return jax.lax.scan(update, (params, transformation.init(params)), grads)[1]

    return run
