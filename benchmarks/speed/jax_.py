"""JAX: a whole training as one compiled ``scan``, of one lane or of many through ``vmap``."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Tree = Any
Update = Callable[[Tree, Tree, Tree, jax.Array], tuple[Tree, Tree]]
"""``update(params, grads, state, t)`` returns parameters and state."""


def _loss(params: Tree, x: jax.Array, t: jax.Array) -> jax.Array:
    for weight, bias in params[:-1]:
        x = jax.nn.relu(x @ weight + bias)
    weight, bias = params[-1]
    log_y = jax.nn.log_softmax(x @ weight + bias)
    return -jnp.mean(jnp.take_along_axis(log_y, t[:, None], axis=1))


def _map(function: Callable[..., Any], *trees: Tree) -> Tree:
    return jax.tree.map(function, *trees)


def _sgd(lr: float) -> Update:
    return lambda w, g, state, t: (_map(lambda w, g: w - lr * g, w, g), state)


def _momentum(lr: float) -> Update:
    def update(w: Tree, g: Tree, v: Tree, t: jax.Array) -> tuple[Tree, Tree]:
        v = _map(lambda v, g: 0.9 * v - lr * g, v, g)
        return _map(jnp.add, w, v), v

    return update


def _adagrad(lr: float) -> Update:
    def update(w: Tree, g: Tree, h: Tree, t: jax.Array) -> tuple[Tree, Tree]:
        h = _map(lambda h, g: h + g * g, h, g)
        return _map(lambda w, g, h: w - lr * g / (jnp.sqrt(h) + 1e-7), w, g, h), h

    return update


def _adam(lr: float) -> Update:
    def update(w: Tree, g: Tree, state: Tree, t: jax.Array) -> tuple[Tree, Tree]:
        m = _map(lambda m, g: m + 0.1 * (g - m), state[0], g)
        v = _map(lambda v, g: v + 0.001 * (g * g - v), state[1], g)
        lr_t = lr * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        return _map(lambda w, m, v: w - lr_t * m / (jnp.sqrt(v) + 1e-7), w, m, v), (m, v)

    return update


OPTIMIZERS = {"sgd": _sgd, "momentum": _momentum, "adagrad": _adagrad, "adam": _adam}
SLOTS = {"sgd": 0, "momentum": 1, "adagrad": 1, "adam": 2}


def state(optimizer: str, params: Tree) -> Tree:
    """Return the optimizer's arrays at the start."""
    zeros = [_map(jnp.zeros_like, params) for _ in range(SLOTS[optimizer])]
    return zeros[0] if len(zeros) == 1 else tuple(zeros)


def stacked(layers: list[list[tuple[np.ndarray, np.ndarray]]]) -> Tree:
    """Return the starts of lanes as float32 arrays with a leading axis; of one lane, without."""
    lanes = [_map(lambda each: jnp.asarray(each, jnp.float32), one) for one in layers]
    return lanes[0] if len(lanes) == 1 else _map(lambda *each: jnp.stack(each), *lanes)


def trainer(optimizer: str, lr: float, *, lanes: int) -> Callable[..., Any]:
    """Return a compiled ``train(params, state, batches, pixels, labels)``.

    It returns parameters, state and the losses before each update. Batches have the shape (steps,
    batch), or (steps, lanes, batch) for more than one lane.
    """
    update = OPTIMIZERS[optimizer](lr)

    def step(params: Tree, slots: Tree, batch: Tree, t: Tree, x: Tree, labels: Tree) -> Tree:
        loss, grads = jax.value_and_grad(_loss)(params, x[batch], labels[batch])
        return *update(params, grads, slots, t), loss

    every = step if lanes == 1 else jax.vmap(step, in_axes=(0, 0, 0, None, None, None))

    def train(params: Tree, slots: Tree, batches: Tree, pixels: Tree, labels: Tree) -> Tree:
        def body(carry: Tree, batch: jax.Array) -> tuple[Tree, jax.Array]:
            params, slots, t = carry
            params, slots, loss = every(params, slots, batch, t, pixels, labels)
            return (params, slots, t + 1.0), loss

        (params, slots, _), losses = lax.scan(body, (params, slots, jnp.float32(1)), batches)
        return params, slots, losses

    return jax.jit(train)
