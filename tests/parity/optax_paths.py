"""Steps an optimizer of optax over a recording, for the tests beside this file."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax

from tests.optimizers.shaped import Recording

jax.config.update("jax_enable_x64", True)


def optax_path(
    transformation: Any,
    recording: Recording,
    dtype: str,
    evaluated: Callable[[Any, Any], Any] = lambda state, params: params,
) -> np.ndarray:
    """Return what ``evaluated(state, params)`` gives after each update, (updates, parameters)."""

    def tree(row):
        return {key: each.astype(dtype) for key, each in recording.split(row).items()}

    @jax.jit
    def update(grads, state, params):
        updates, state = transformation.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        return params, state, evaluated(state, params)

    params = tree(recording.start)
    state = transformation.init(jax.tree.map(jax.numpy.asarray, params))
    path = []
    for row in recording.gradients:
        params, state, seen = update(tree(row), state, params)
        path.append(np.concatenate([np.asarray(seen[t.name]).ravel() for t in recording.tensors]))
    assert path[-1].dtype == dtype
    return np.array(path)
