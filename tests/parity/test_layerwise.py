"""LARS and LAMB against optax's."""

from functools import cache, partial

import pytest

from optbench.optimizers.rules.lamb import LAMB
from optbench.optimizers.rules.lars import LARS
from tests.optimizers.driver import BOUNDS, largest_difference
from tests.optimizers.shaped import RECORDINGS

optax = pytest.importorskip("optax")
from tests.parity.optax_paths import optax_path  # needs optax

CASES = {
    LARS: [
        {},
        {"lr": 20.0, "trust": 0.01},
        {"lr": 5.0, "weight_decay": 0.1, "momentum": 0.5},
        {"lr": 3.0, "eps": 0.3, "momentum": 0.0},
    ],
    LAMB: [
        {},
        {"lr": 0.05},
        {"lr": 0.02, "weight_decay": 0.3, "beta1": 0.5, "beta2": 0.9},
        {"eps": 0.01},
    ],
}


def lars(given):
    return optax.lars(
        given["lr"],
        given["weight_decay"],
        trust_coefficient=given["trust"],
        eps=given["eps"],
        momentum=given["momentum"],
    )


def lamb(given):
    return optax.lamb(
        given["lr"],
        given["beta1"],
        given["beta2"],
        given["eps"],
        weight_decay=given["weight_decay"],
    )


MAKERS = {LARS: lars, LAMB: lamb}


@cache
def from_optax(optimizer, name: str, dtype: str) -> float:
    """Return the largest difference from optax's paths."""
    theirs = partial(optax_path, MAKERS[optimizer])
    return largest_difference(optimizer, CASES[optimizer], theirs, RECORDINGS[name], dtype)


@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("name", RECORDINGS)
@pytest.mark.parametrize("optimizer", CASES, ids=lambda each: each.name)
def test_the_path_is_that_of_optax(optimizer, name, dtype):
    assert from_optax(optimizer, name, dtype) < BOUNDS[dtype]
