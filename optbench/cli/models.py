"""What ``optbench new problem --torch`` and ``--jax`` write: a model, its loss and its data."""

TORCH = '''\
"""A PyTorch model as a problem for optbench."""

import torch
from torch import nn
from torch.nn import functional

import optbench


class Net(nn.Module):
    """A network that tells on which of two rings a point lies."""

    def __init__(self, width):
        super().__init__()
        self.hidden = nn.Linear(2, width)
        self.drop = nn.Dropout(0.1)  # a seed's masks are the same for every optimizer
        self.out = nn.Linear(width, 2)

    def forward(self, x):
        """Return a score for each ring."""
        return self.out(self.drop(torch.tanh(self.hidden(x))))


def points(examples, generator):
    """Return points, and on which ring each lies."""
    labels = torch.randint(2, (examples,), generator=generator)
    angles = 2 * torch.pi * torch.rand(examples, generator=generator)
    where = torch.stack([angles.cos(), angles.sin()], dim=1) * (1.0 + labels[:, None])
    return where + 0.3 * torch.randn(examples, 2, generator=generator), labels


def loss(model, batch):
    """Return the mean loss of a batch, in the structure of the data."""
    x, labels = batch
    return functional.cross_entropy(model(x), labels)


def error(model, batch):
    """Return which examples are wrong."""
    x, labels = batch
    return model(x).argmax(dim=1) != labels


def rings(width: int = 16, batch_size: int = 32):
    """Two rings of points, told apart by a small network."""  # arguments become options
    generator = torch.Generator().manual_seed(0)
    sizes = {"train": 500, "validation": 200, "test": 200}
    return optbench.torch.Task(
        model=lambda: Net(width),  # called once a seed, which decides its initialisation
        loss=loss,
        data={split: points(examples, generator) for split, examples in sizes.items()},
        metrics={"error": error},
    )
'''

JAX = '''\
"""A JAX model as a problem for optbench."""

import jax
import jax.numpy as jnp
import numpy as np

import optbench


def points(examples, generator):
    """Return points, and on which ring each lies."""
    labels = generator.integers(2, size=examples)
    angles = 2 * np.pi * generator.random(examples)
    where = np.stack([np.cos(angles), np.sin(angles)], axis=1) * (1.0 + labels[:, None])
    return where + 0.3 * generator.standard_normal((examples, 2)), labels


def scores(params, x, key):
    """Return a score for each ring; without a key nothing is dropped."""
    hidden = jnp.tanh(x @ params["w1"] + params["b1"])
    if key is not None:
        hidden = hidden * jax.random.bernoulli(key, 0.9, hidden.shape) / 0.9
    return hidden @ params["w2"] + params["b2"]


def loss(params, batch, key):
    """Return the loss of each example of a batch, in the structure of the data."""
    x, labels = batch
    logs = jax.nn.log_softmax(scores(params, x, key))
    return -jnp.take_along_axis(logs, labels[:, None], axis=1)[:, 0]


def error(params, batch):
    """Return which examples are wrong."""
    x, labels = batch
    return scores(params, x, None).argmax(axis=1) != labels


def rings(width: int = 16, batch_size: int = 32):
    """Two rings of points, told apart by a small network."""  # arguments become options

    def init(key):  # called once a seed, which decides the key
        first, second = jax.random.split(key)
        return {
            "w1": jax.random.normal(first, (2, width)) / 2**0.5,
            "b1": jnp.zeros(width),
            "w2": jax.random.normal(second, (width, 2)) / width**0.5,
            "b2": jnp.zeros(2),
        }

    generator = np.random.default_rng(0)
    sizes = {"train": 500, "validation": 200, "test": 200}
    return optbench.jax.Task(
        init=init,
        loss=loss,
        data={split: points(examples, generator) for split, examples in sizes.items()},
        metrics={"error": error},
    )
'''

TEST = '''\
"""Tests of a model for optbench; python -m pytest runs them."""

from pathlib import Path

import optbench

FILE = Path(__file__).with_name(FILE_NAME)
RINGS = f"LIBRARY:{FILE}:rings"


def test_lanes_share_nothing_and_the_gradient_is_that_of_the_loss():
    """Run the checks of optbench verify problem."""
    assert [check for check in optbench.check_problem(RINGS) if not check.passed] == []


def test_it_is_learnt(tmp_path):
    """Train it for a while from two seeds."""
    adam = {"name": "adam", "lr": 0.05}
    results = optbench.run(problem=RINGS, optimizers=[adam], seeds=2, iterations=200, out=tmp_path)
    last = results.evaluation.query("split == 'validation'").groupby("lane").tail(1)
    assert (last.error < 0.25).all()
'''


def test(library: str) -> str:
    """Return the test of a file that is written with a library."""
    return TEST.replace("LIBRARY", library)
