"""Prodigy against optax's, which always corrects the bias."""

from functools import cache, partial

import pytest

from optbench.optimizers.rules.prodigy import Prodigy
from tests.optimizers.driver import BOUNDS, largest_difference
from tests.optimizers.shaped import RECORD, following
from tests.reference import papers

optax = pytest.importorskip("optax")
from tests.parity.optax_paths import optax_path  # needs optax

CASES = [
    {"bias_correction": 1.0, **given}
    for given in (
        {},
        {"lr": 0.5, "d_coef": 2.0},
        {"d0": 1e-3, "weight_decay": 0.1, "beta1": 0.5, "beta2": 0.99},
        {"d0": 1e-2, "eps": 1e-3, "safeguard_warmup": 1.0},
    )
]


def prodigy(given, *, safe):
    return optax.contrib.prodigy(
        given["lr"],
        (given["beta1"], given["beta2"]),
        eps=given["eps"],
        estim_lr0=given["d0"],
        estim_lr_coef=given["d_coef"],
        weight_decay=given["weight_decay"],
        safeguard_warmup=safe,
    )


MAKERS = {safe: partial(prodigy, safe=safe) for safe in (False, True)}


def theirs(given, recording, dtype):
    return optax_path(MAKERS[bool(given["safeguard_warmup"])], given, recording, dtype)


@cache
def from_optax(name: str, dtype: str) -> float:
    """Return the largest difference from optax's paths.

    Each along its own path: an estimate of a distance runs away on gradients that never change.
    """
    return max(
        largest_difference(
            Prodigy,
            [given],
            theirs,
            RECORD[name](following(papers.Prodigy, Prodigy, given)),
            dtype,
        )
        for given in CASES
    )


@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("name", RECORD)
def test_the_path_is_that_of_optax(name, dtype):
    assert from_optax(name, dtype) < BOUNDS[dtype]
