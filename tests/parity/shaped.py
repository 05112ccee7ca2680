"""Rules that look at tensors against optax's, and Muon against PyTorch's with its AdamW.

PyTorch's Muon orthogonalises in bfloat16; here it keeps the precision of the parameters. optax's
Prodigy always corrects the bias.
"""

from functools import cache, partial
from unittest.mock import patch

import numpy as np
import pytest

from optbench.optimizers.rules.lamb import LAMB
from optbench.optimizers.rules.lars import LARS
from optbench.optimizers.rules.muon import Muon
from optbench.optimizers.rules.prodigy import Prodigy
from optbench.optimizers.rules.schedule_free import ScheduleFreeAdamW, ScheduleFreeSGD
from tests.optimizers.driver import largest_difference
from tests.optimizers.shaped import RECORD, RECORDINGS, following
from tests.reference import papers

torch = pytest.importorskip("torch")
optax = pytest.importorskip("optax")
from tests.parity.optax_paths import optax_path, params_themselves  # needs optax

BY_TENSOR = {
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


BY_TENSOR_MAKERS = {LARS: lars, LAMB: lamb}


@cache
def layerwise(optimizer, name: str, dtype: str) -> float:
    """Return the largest difference of LARS or LAMB from optax's paths."""
    theirs = partial(optax_path, BY_TENSOR_MAKERS[optimizer])
    return largest_difference(optimizer, BY_TENSOR[optimizer], theirs, RECORDINGS[name], dtype)


# Muon

HIDDEN = {"quadratic": ["b.weight"], "network": ["W2", "W3"]}

MUON = [
    {},
    {"lr": 0.1, "adam_ratio": 0.3},
    {"lr": 0.05, "weight_decay": 0.3, "momentum": 0.6, "beta1": 0.5, "beta2": 0.9},
    {"nesterov": 0.0, "ns_eps": 3.0, "eps": 1e-3},
]

WITHOUT_LOOKING_AHEAD = [
    {"nesterov": 0.0, "ns_eps": 0.0, "eps": 1e-30, **given}
    for given in ({}, {"lr": 0.1}, {"weight_decay": 0.3, "beta2": 0.999}, {"momentum": 0.5})
]


def torch_muon_path(given, recording, dtype, *, hidden):
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
def muon_from_pytorch(name: str, dtype: str) -> float:
    """Return the largest difference from PyTorch's paths, in the precision of the parameters."""
    theirs = partial(torch_muon_path, hidden=HIDDEN[name])
    with patch.object(torch.Tensor, "bfloat16", torch.Tensor.clone):
        return largest_difference(Muon, MUON, theirs, RECORDINGS[name], dtype)


def muon_from_half_precision(name: str) -> float:
    """Return the largest difference from what PyTorch has as it is."""
    theirs = partial(torch_muon_path, hidden=HIDDEN[name])
    return largest_difference(Muon, MUON[:1], theirs, RECORDINGS[name], "float32")


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
def muon_from_optax(name: str, dtype: str) -> float:
    """Return the largest difference from optax's paths, without looking ahead."""
    recording = RECORDINGS[name]
    names = [tensor.name for tensor in recording.tensors]
    theirs = partial(optax_path, partial(optax_muon, hidden=HIDDEN[name], names=names))
    return largest_difference(Muon, WITHOUT_LOOKING_AHEAD, theirs, recording, dtype)


# Schedule-free: where gradients are taken, and what is evaluated

SCHEDULE_FREE = {
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


def schedule_free_sgd(given):
    return optax.contrib.schedule_free_sgd(
        given["lr"],
        b1=given["momentum"],
        weight_decay=given["weight_decay"],
        weight_lr_power=given["weight_lr_power"],
    )


def schedule_free_adamw(given):
    return optax.contrib.schedule_free_adamw(
        given["lr"],
        b1=given["beta1"],
        b2=given["beta2"],
        eps=given["eps"],
        weight_decay=given["weight_decay"],
        weight_lr_power=given["weight_lr_power"],
    )


SCHEDULE_FREE_MAKERS = {
    ScheduleFreeSGD: schedule_free_sgd,
    ScheduleFreeAdamW: schedule_free_adamw,
}
SEEN = {"y": params_themselves, "x": optax.contrib.schedule_free_eval_params}


@cache
def schedule_free(optimizer, name: str, dtype: str) -> float:
    """Return the largest difference from what optax has at either point."""
    return max(
        largest_difference(
            optimizer,
            SCHEDULE_FREE[optimizer],
            partial(optax_path, SCHEDULE_FREE_MAKERS[optimizer], seen=seen),
            RECORDINGS[name],
            dtype,
            evaluated=point == "x",
        )
        for point, seen in SEEN.items()
    )


# Prodigy

PRODIGY = [
    {"bias_correction": 1.0, **given}
    for given in (
        {},
        {"lr": 0.5, "d_coef": 2.0},
        {"d0": 1e-3, "weight_decay": 0.1, "beta1": 0.5, "beta2": 0.99},
        {"d0": 1e-2, "eps": 1e-3, "safeguard_warmup": 1.0},
    )
]


def optax_prodigy(given, *, safe):
    return optax.contrib.prodigy(
        given["lr"],
        (given["beta1"], given["beta2"]),
        eps=given["eps"],
        estim_lr0=given["d0"],
        estim_lr_coef=given["d_coef"],
        weight_decay=given["weight_decay"],
        safeguard_warmup=safe,
    )


PRODIGY_MAKERS = {safe: partial(optax_prodigy, safe=safe) for safe in (False, True)}


def prodigy_path(given, recording, dtype):
    return optax_path(PRODIGY_MAKERS[bool(given["safeguard_warmup"])], given, recording, dtype)


@cache
def prodigy(name: str, dtype: str) -> float:
    """Return the largest difference from optax's paths.

    Each along its own path: an estimate of a distance runs away on gradients that never change.
    """
    return max(
        largest_difference(
            Prodigy,
            [given],
            prodigy_path,
            RECORD[name](following(papers.Prodigy, Prodigy, given)),
            dtype,
        )
        for given in PRODIGY
    )
