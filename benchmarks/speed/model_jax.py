"""The textbook's network as a JAX model, and a plain loop that trains stacked lanes of it."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import optbench
from benchmarks.speed.workload import SIZES, Workload


def init(key: Any) -> list[dict[str, Any]]:
    """Return He's initialisation."""
    keys = jax.random.split(key, len(SIZES) - 1)
    return [
        {"w": jax.random.normal(key, sizes) * (2 / sizes[0]) ** 0.5, "b": jnp.zeros(sizes[1])}
        for key, sizes in zip(keys, pairwise(SIZES), strict=True)
    ]


def loss(params: list[dict[str, Any]], batch: tuple[Any, Any], key: Any = None) -> Any:
    """Return the mean cross-entropy of a batch."""
    x, labels = batch
    for number, layer in enumerate(params, start=1):
        x = x @ layer["w"] + layer["b"]
        x = jax.nn.relu(x) if number < len(params) else x
    return -jnp.take_along_axis(jax.nn.log_softmax(x), labels[:, None], axis=1).mean()


def problem(batch_size: int = 128) -> optbench.jax.Task:
    """Return the textbook's network on its data."""
    workload = Workload()
    return optbench.jax.Task(init=init, loss=loss, data=(workload.pixels, workload.labels))


def plain_loop(lanes: int, steps: int, lr: float) -> Callable[[], object]:
    """Return what trains lanes with SGD, a seed each, by a compiled step of vmap."""
    workload = Workload()
    pixels, labels = jnp.asarray(workload.pixels), jnp.asarray(workload.labels)
    batches = jnp.asarray(
        np.stack([workload.batches(seed, steps) for seed in range(lanes)], axis=1)
    )
    begun = jax.vmap(init)(jax.random.split(jax.random.key(0), lanes))

    @jax.jit
    def step(params: Any, indices: Any) -> Any:
        value, grads = jax.vmap(jax.value_and_grad(loss))(
            params, (pixels[indices], labels[indices])
        )
        return jax.tree.map(lambda w, g: w - lr * g, params, grads), value

    jax.block_until_ready(step(begun, batches[0]))

    def train() -> np.ndarray:
        params, losses = begun, []
        for indices in batches:
            params, value = step(params, indices)
            losses.append(value)
        return np.asarray(jnp.stack(losses))

    return train
