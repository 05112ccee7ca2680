"""The textbook's comparison as a JAX program: per optimizer one compiled scan of all seeds.

``python -m benchmarks.speed.jax_program INPUTS.npz LOSSES.parquet``
"""

import sys
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import lax

from benchmarks.speed.jax_ import OPTIMIZERS, state

SIZES = (784, 100, 100, 100, 100, 10)
RATES = {"sgd": 0.01, "momentum": 0.01, "adagrad": 0.01, "adam": 0.001}
Tree = Any


def layers(start: jax.Array) -> list[tuple[jax.Array, jax.Array]]:
    """Return weights (fan_in, fan_out) and biases of a start."""
    found, place = [], 0
    for fan_in, fan_out in pairwise(SIZES):
        weight = start[place : place + fan_in * fan_out].reshape(fan_in, fan_out)
        place += fan_in * fan_out
        found.append((weight, start[place : place + fan_out]))
        place += fan_out
    return found


def scores_of(params: Tree, images: jax.Array) -> jax.Array:
    """Return the last layer's output for images of bytes."""
    x = images.astype(jnp.float32) / 255.0
    for weight, bias in params[:-1]:
        x = jax.nn.relu(x @ weight + bias)
    weight, bias = params[-1]
    return x @ weight + bias


def losses_of(params: Tree, images: jax.Array, labels: jax.Array) -> jax.Array:
    """Return the loss of each image."""
    log_y = jax.nn.log_softmax(scores_of(params, images))
    return -jnp.take_along_axis(log_y, labels[:, None].astype(jnp.int32), axis=1)[:, 0]


def main(inputs: str, out: str) -> None:
    """Train, evaluate and write."""
    arrays = {name: jnp.asarray(array) for name, array in np.load(inputs).items()}
    pixels, labels = arrays["train.images"], arrays["train.labels"]

    def mean_loss(params: Tree, batch: jax.Array) -> jax.Array:
        return losses_of(params, pixels[batch], labels[batch]).mean()

    @jax.jit
    @jax.vmap
    def evaluate(params: Tree) -> dict[str, tuple[jax.Array, jax.Array]]:
        found = {}
        for name in ("train", "validation", "test"):
            if f"{name}.images" in arrays:
                images, targets = arrays[f"{name}.images"], arrays[f"{name}.labels"]
                wrong = scores_of(params, images).argmax(axis=1) != targets
                found[name] = losses_of(params, images, targets).mean(), wrong.mean()
        return found

    rows = []
    for label, rate in RATES.items():
        update = OPTIMIZERS[label](rate)

        def step(carry: Tree, batch: jax.Array, update: Any = update) -> tuple[Tree, jax.Array]:
            params, slots, t = carry
            params, slots = update(params, jax.grad(mean_loss)(params, batch), slots, t)
            return (params, slots, t + 1.0), mean_loss(params, batch)

        @jax.jit
        @jax.vmap
        def train(
            start: jax.Array, batches: jax.Array, label: str = label, step: Any = step
        ) -> Tree:
            params = layers(start)
            (params, _, _), losses = lax.scan(
                step, (params, state(label, params), jnp.float32(1)), batches
            )
            return params, losses

        params, losses = train(arrays["starts"], arrays["batches"])
        evaluated = evaluate(params)
        for seed, of_seed in enumerate(np.asarray(losses, np.float64)):
            table = pd.DataFrame(
                {"label": label, "seed": seed, "iteration": range(len(of_seed)), "loss": of_seed}
            )
            for name, (loss, error) in evaluated.items():
                table[f"{name}_loss"], table[f"{name}_error"] = (
                    float(loss[seed]),
                    float(error[seed]),
                )
            rows.append(table)
    pd.concat(rows).to_parquet(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
