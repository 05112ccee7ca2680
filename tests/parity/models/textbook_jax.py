"""The textbook's network, as ``mnist-mlp`` has it for seed 0, written with JAX."""

import jax
import jax.numpy as jnp

import optbench
from optbench import datasets
from optbench.problems.registry import make_problem

LAYERS = 5


def init(key):
    ours, _ = make_problem("mnist-mlp", {"data": "mnist-5k"})
    params, row, offset = {}, ours.start(0), 0
    for tensor in ours.tensors:
        params[tensor.name] = jnp.asarray(row[offset : offset + tensor.size].reshape(tensor.shape))
        offset += tensor.size
    return params


def scores(params, x):
    for number in range(1, LAYERS + 1):
        x = x @ params[f"dense{number}.weight"] + params[f"dense{number}.bias"]
        x = jax.nn.relu(x) if number < LAYERS else x
    return x


def loss(params, batch, key):
    """Report what mnist-mlp reports, with 1e-7 in the logarithm, and descend what it descends."""
    x, labels = batch
    logs = jax.nn.log_softmax(scores(params, x))
    descended = -jnp.take_along_axis(logs, labels[:, None], -1)[:, 0]
    reported = -jnp.log(jnp.exp(-descended) + 1e-7)
    return descended + jax.lax.stop_gradient(reported - descended)


def error(params, batch):
    return scores(params, batch[0]).argmax(-1) != batch[1]


def problem(batch_size: int = 128, record: str = "after"):
    splits = datasets.load("mnist-5k").splits
    data = {name: (each.images / 255.0, each.labels.astype(int)) for name, each in splits.items()}
    return optbench.jax.Task(init=init, loss=loss, data=data, metrics={"error": error})
