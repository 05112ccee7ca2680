"""Muon against PyTorch's, with its AdamW for the rest, and against optax's where both agree.

PyTorch orthogonalises in bfloat16; here it keeps the precision of the parameters.
"""

from functools import cache, partial
from unittest.mock import patch

import numpy as np
import pytest

from optbench.optimizers.rules.muon import Muon
from tests.optimizers.driver import BOUNDS, largest_difference
from tests.optimizers.shaped import RECORDINGS

torch = pytest.importorskip("torch")
optax = pytest.importorskip("optax")
from tests.parity.optax_paths import optax_path  # needs optax

HIDDEN = {"quadratic": ["b.weight"], "network": ["W2", "W3"]}

CASES = [
    {},
    {"lr": 0.1, "adam_ratio": 0.3},
    {"lr": 0.05, "weight_decay": 0.3, "momentum": 0.6, "beta1": 0.5, "beta2": 0.9},
    {"nesterov": 0.0, "ns_eps": 3.0, "eps": 1e-3},
]

WITHOUT_LOOKING_AHEAD = [
    {"nesterov": 0.0, "ns_eps": 0.0, "eps": 1e-30, **given}
    for given in ({}, {"lr": 0.1}, {"weight_decay": 0.3, "beta2": 0.999}, {"momentum": 0.5})
]


def torch_path(given, recording, dtype, *, hidden):
    params = {
        name: torch.tensor(each.T if name in hidden else each, dtype=getattr(torch, dtype))
        for name, each in recording.split(recording.start).items()
    }
    muon = torch.optim.Muon(
        [params[name] for name in hidden],
        lr=given["lr"],
        weight_decay=given["weight_decay"],
        momentum=given["momentum"],
        nesterov=bool(given["nesterov"]),
        eps=given["ns_eps"],
    )
    adamw = torch.optim.AdamW(
        [each for name, each in params.items() if name not in hidden],
        lr=given["lr"] * given["adam_ratio"],
        betas=(given["beta1"], given["beta2"]),
        eps=given["eps"],
        weight_decay=given["weight_decay"],
    )
    path = []
    for row in recording.gradients:
        for name, gradient in recording.split(row).items():
            turned = gradient.T if name in hidden else gradient
            params[name].grad = torch.tensor(turned, dtype=params[name].dtype)
        muon.step()
        adamw.step()
        rows = [(each.T if name in hidden else each).ravel() for name, each in params.items()]
        path.append(np.concatenate([each.numpy() for each in rows]))
    return np.array(path)


@cache
def from_pytorch(name: str, dtype: str) -> float:
    """Return the largest difference from PyTorch's paths, in the precision of the parameters."""
    theirs = partial(torch_path, hidden=HIDDEN[name])
    with patch.object(torch.Tensor, "bfloat16", torch.Tensor.clone):
        return largest_difference(Muon, CASES, theirs, RECORDINGS[name], dtype)


@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("name", RECORDINGS)
def test_the_path_is_that_of_pytorch(name, dtype):
    assert from_pytorch(name, dtype) < BOUNDS[dtype]


@pytest.mark.parametrize("name", RECORDINGS)
def test_half_precision_of_pytorch_stays_near(name):
    theirs = partial(torch_path, hidden=HIDDEN[name])
    assert largest_difference(Muon, CASES[:1], theirs, RECORDINGS[name], "float32") < 0.05


def optax_muon(given, *, hidden, names):
    dimensions = optax.contrib.MuonDimensionNumbers()
    return optax.contrib.muon(
        given["lr"],
        beta=given["momentum"],
        eps=given["eps"],
        weight_decay=given["weight_decay"],
        nesterov=False,
        adam_b1=given["beta1"],
        adam_b2=given["beta2"],
        adam_weight_decay=given["weight_decay"],
        adam_learning_rate=given["lr"] * given["adam_ratio"],
        muon_weight_dimension_numbers={
            name: dimensions if name in hidden else None for name in names
        },
    )


@cache
def from_optax(name: str, dtype: str) -> float:
    """Return the largest difference from optax's paths, without looking ahead."""
    recording = RECORDINGS[name]
    names = [tensor.name for tensor in recording.tensors]
    theirs = partial(optax_path, partial(optax_muon, hidden=HIDDEN[name], names=names))
    return largest_difference(Muon, WITHOUT_LOOKING_AHEAD, theirs, recording, dtype)


@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("name", RECORDINGS)
def test_without_looking_ahead_the_path_is_that_of_optax(name, dtype):
    assert from_optax(name, dtype) < BOUNDS[dtype]
