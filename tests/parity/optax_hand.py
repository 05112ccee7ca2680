"""Plain loops over optax, and what they are given."""

import numpy as np
import pytest

from optbench.arrays import Tensor
from optbench.optimizers.optax.noise import noise_of

jax = pytest.importorskip("jax")
optax = pytest.importorskip("optax")
contrib = pytest.importorskip("optax.contrib")

TENSORS = (Tensor("w", (3, 4)), Tensor("b", (4,)), Tensor("s"))
PARAMETERS = 17
BOUNDS = {"float64": 1e-12, "float32": 1e-5}


def noisy_sgd(learning_rate, seed=0):
    """Return SGD with the noise that a lane of a seed has."""
    noise = noise_of(seed)
    key = jax.random.fold_in(jax.random.key(noise), noise)
    return optax.noisy_sgd(learning_rate, key=key)


def gradients(updates=9, lanes=2, dtype="float64"):
    generator = np.random.default_rng(5)
    return generator.standard_normal((updates, lanes, PARAMETERS)).astype(dtype)


def start(dtype="float64"):
    return np.random.default_rng(6).standard_normal(PARAMETERS).astype(dtype)


def theirs(make, configuration, given, dtype="float64"):
    """Return the parameters after each update of a plain loop over optax, of one lane."""
    optional = dict(configuration)
    rate = optional.pop("lr", None)
    if rate is not None:
        optional["learning_rate"] = None if rate == "none" else rate
    for key, value in optional.items():
        optional[key] = tuple(value) if isinstance(value, list) else value

    def tree(row):
        return {"w": row[:12].reshape(3, 4), "b": row[12:16], "s": row[16]}

    path = []
    with jax.enable_x64(dtype == "float64"):
        transformation = make(**optional)
        params = jax.tree.map(jax.numpy.asarray, tree(start(dtype)))
        state, update = transformation.init(params), jax.jit(transformation.update)
        for gradient in given:
            updates, state = update(tree(gradient), state, params)
            params = optax.apply_updates(params, updates)
            path.append(np.concatenate([np.ravel(params[name]) for name in "wbs"]))
    return np.array(path)


def difference(found, expected):
    return np.max(np.abs(found - expected) / (1.0 + np.abs(expected)))


def schedule_free(learning_rate, base_optimizer="sgd", **given):
    """Return the wrapper around an optimizer of this name with the same learning rate."""
    base = getattr(optax, base_optimizer)(learning_rate)
    return contrib.schedule_free(base, learning_rate, **given)


def mechanize(learning_rate, base_optimizer="sgd", **given):
    return contrib.mechanize(getattr(optax, base_optimizer)(learning_rate), **given)
