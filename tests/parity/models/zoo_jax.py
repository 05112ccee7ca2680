"""Small JAX models on made-up data, one of each kind that lanes could meet in."""

import jax
import jax.numpy as jnp
import numpy as np

import optbench

CLASSES, MOMENTUM = 3, 0.9


def init(key):
    first, last = jax.random.split(key)
    return {
        "first": {"w": 0.5 * jax.random.normal(first, (6, 8)), "b": jnp.zeros(8)},
        "last": {"w": 0.5 * jax.random.normal(last, (8, CLASSES)), "b": jnp.zeros(CLASSES)},
    }


def dense(params, x):
    return x @ params["w"] + params["b"]


def cross_entropy(scores, labels):
    return -jnp.take_along_axis(jax.nn.log_softmax(scores), labels[:, None], -1).mean()


def mlp(params, batch, key):
    return cross_entropy(
        dense(params["last"], jnp.tanh(dense(params["first"], batch[0]))), batch[1]
    )


def dropout(params, batch, key):
    hidden = jnp.tanh(dense(params["first"], batch[0]))
    if key is not None:
        hidden = hidden * jax.random.bernoulli(key, 0.5, hidden.shape) / 0.5
    return cross_entropy(dense(params["last"], hidden), batch[1])


def norm(params, batch, key, state):
    """Normalise by the batch, or by running means in an evaluation."""
    hidden = dense(params["first"], batch[0])
    if key is not None:
        mean = hidden.mean(0)
        state = {"steps": state["steps"] + 1, "mean": MOMENTUM * state["mean"] + 0.1 * mean}
    else:
        mean = state["mean"]
    return cross_entropy(dense(params["last"], jnp.tanh(hidden - mean)), batch[1]), state


def branching(params, batch, key):
    loss = mlp(params, batch, key)
    return loss if loss < 1.0 else 0.5 * loss


LOSSES = {"mlp": mlp, "dropout": dropout, "norm": norm, "branching": branching}


def problem(kind: str = "mlp", batch_size: int = 8):
    """A small model on made-up data."""
    draw = np.random.default_rng(5)
    data = {
        split: (draw.standard_normal((examples, 6)), draw.integers(CLASSES, size=examples))
        for split, examples in (("train", 40), ("validation", 12))
    }
    state = {"steps": 0, "mean": jnp.zeros(8)} if kind == "norm" else None
    return optbench.jax.Task(
        init=init,
        loss=LOSSES[kind],
        state=None if state is None else lambda key: state,
        data=data,
    )
