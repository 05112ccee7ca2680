"""Schedule-free and Prodigy against their authors' packages, schedulefree and prodigyopt."""

from functools import cache, partial

import numpy as np
import pytest

from optbench.optimizers.rules.prodigy import Prodigy
from optbench.optimizers.rules.schedule_free import ScheduleFreeAdamW, ScheduleFreeSGD
from tests.optimizers.driver import largest_difference
from tests.optimizers.shaped import RECORD, RECORDINGS, following
from tests.reference import papers

torch = pytest.importorskip("torch")

SCHEDULE_FREE = {
    ScheduleFreeSGD: [
        {},
        {"lr": 0.05, "r": 2.0},
        {"lr": 0.3, "momentum": 0.5, "weight_decay": 0.1},
        {"lr": 0.1, "momentum": 0.98, "weight_lr_power": 1.0},
    ],
    ScheduleFreeAdamW: [
        {},
        {"lr": 0.1, "r": 2.0},
        {"lr": 0.05, "beta1": 0.6, "beta2": 0.9, "weight_decay": 0.2},
        {"lr": 0.03, "eps": 0.01, "weight_lr_power": 0.0},
    ],
}

# With decay the package rounds w twice an update, ours once. In single precision at d0 = 1e-3 that
# shows in w₀ − w, and takes paths 2e-5 apart.
PRODIGY = [
    {},
    {"lr": 0.5, "d_coef": 2.0},
    {"d0": 1e-1, "weight_decay": 0.1, "beta1": 0.5, "beta2": 0.99},
    {"d0": 1e-2, "eps": 1e-3, "safeguard_warmup": 1.0, "bias_correction": 1.0},
]


def schedule_free_path(given, recording, dtype, *, evaluated):
    package = pytest.importorskip("schedulefree")
    same = {key: given[key] for key in ("lr", "weight_decay", "r", "weight_lr_power")}
    if "momentum" in given:
        make = partial(package.SGDScheduleFree, momentum=given["momentum"], **same)
    else:
        betas = (given["beta1"], given["beta2"])
        make = partial(package.AdamWScheduleFree, betas=betas, eps=given["eps"], **same)
    return torch_path(make, recording, dtype, evaluated=evaluated)


def prodigy_path(given, recording, dtype):
    make = partial(
        pytest.importorskip("prodigyopt").Prodigy,
        lr=given["lr"],
        betas=(given["beta1"], given["beta2"]),
        eps=given["eps"],
        weight_decay=given["weight_decay"],
        d0=given["d0"],
        d_coef=given["d_coef"],
        use_bias_correction=bool(given["bias_correction"]),
        safeguard_warmup=bool(given["safeguard_warmup"]),
    )
    return torch_path(make, recording, dtype, evaluated=False)


def torch_path(make, recording, dtype, *, evaluated):
    kind = getattr(torch, dtype)
    tensors = recording.split(recording.start)
    params = {name: torch.tensor(each, dtype=kind) for name, each in tensors.items()}
    optimizer = make(list(params.values()))
    if hasattr(optimizer, "train"):
        optimizer.train()
    path = []
    for row in recording.gradients:
        for name, gradient in recording.split(row).items():
            params[name].grad = torch.tensor(gradient, dtype=kind)
        optimizer.step()
        if evaluated:
            optimizer.eval()
        path.append(np.concatenate([each.numpy().copy().ravel() for each in params.values()]))
        if evaluated:
            optimizer.train()
    return np.array(path)


@cache
def from_schedulefree(optimizer, name: str, dtype: str) -> float:
    """Return the largest difference from what the authors' package has, at both points."""
    return max(
        largest_difference(
            optimizer,
            SCHEDULE_FREE[optimizer],
            partial(schedule_free_path, evaluated=evaluated),
            RECORDINGS[name],
            dtype,
            evaluated=evaluated,
        )
        for evaluated in (False, True)
    )


@cache
def from_prodigyopt(name: str, dtype: str) -> float:
    """Return the largest difference from the paths of the authors' package."""
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
