"""Schedule-free SGD and AdamW against optax's: where gradients are taken, and what is evaluated."""

from functools import cache, partial

import pytest

from optbench.optimizers.rules.schedule_free import ScheduleFreeAdamW, ScheduleFreeSGD
from tests.optimizers.driver import BOUNDS, largest_difference
from tests.optimizers.shaped import RECORDINGS

optax = pytest.importorskip("optax")
from tests.parity.optax_paths import optax_path, params_themselves  # needs optax

CASES = {
    ScheduleFreeSGD: [
        {},
        {"lr": 0.05},
        {"lr": 0.3, "momentum": 0.5, "weight_decay": 0.1},
        {"lr": 0.1, "momentum": 0.98, "weight_lr_power": 1.0},
    ],
    ScheduleFreeAdamW: [
        {},
        {"lr": 0.1},
        {"lr": 0.05, "beta1": 0.6, "beta2": 0.9, "weight_decay": 0.2},
        {"lr": 0.03, "eps": 0.01, "weight_lr_power": 0.0},
    ],
}


def sgd(given):
    return optax.contrib.schedule_free_sgd(
        given["lr"],
        b1=given["momentum"],
        weight_decay=given["weight_decay"],
        weight_lr_power=given["weight_lr_power"],
    )


def adamw(given):
    return optax.contrib.schedule_free_adamw(
        given["lr"],
        b1=given["beta1"],
        b2=given["beta2"],
        eps=given["eps"],
        weight_decay=given["weight_decay"],
        weight_lr_power=given["weight_lr_power"],
    )


MAKERS = {ScheduleFreeSGD: sgd, ScheduleFreeAdamW: adamw}


SEEN = {"y": params_themselves, "x": optax.contrib.schedule_free_eval_params}


@cache
def from_optax(optimizer, name: str, dtype: str, point: str) -> float:
    """Return the largest difference from what optax has at a point."""
    theirs = partial(optax_path, MAKERS[optimizer], seen=SEEN[point])
    return largest_difference(
        optimizer, CASES[optimizer], theirs, RECORDINGS[name], dtype, evaluated=point == "x"
    )


@pytest.mark.parametrize("point", SEEN)
@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("name", RECORDINGS)
@pytest.mark.parametrize("optimizer", CASES, ids=lambda each: each.name)
def test_the_path_is_that_of_optax(optimizer, name, dtype, point):
    assert from_optax(optimizer, name, dtype, point) < BOUNDS[dtype]
