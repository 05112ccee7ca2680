"""DeepOBS's stochastic quadratic, whose curvatures are distributed like a deep network's."""

from collections.abc import Mapping
from functools import lru_cache
from math import pi
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import override

from optbench.arrays import Array, Stacked, Tensor, Workspace
from optbench.datasets.base import read_only
from optbench.problems.base import DTYPES, RECORDS, Arrays, Losses, Problem
from optbench.problems.batches import Batches
from optbench.settings import Option

DIMENSIONS = 100
FLAT = 90
"""Directions of small curvature, uniform in (0, 1); the others are uniform in (30, 60)."""

POINTS = 1_000
NOISE = 0.6
"""Standard deviation of the points' coordinates."""

HESSIAN_SEED, TRAIN_SEED, TEST_SEED = 42, 42, 43
TEST_POINTS = 896
"""The first seven batches of 128 test points; DeepOBS drops the rest."""


class QuadraticDeep(Problem):
    """A quadratic in 100 dimensions, whose minimum every training point would have elsewhere.

    ::

        f(θ) = mean over the points x of ½ (θ − x)ᵀ Q (θ − x)
             = ½ (θ − x̄)ᵀ Q (θ − x̄) + mean of ½ (x − x̄)ᵀ Q (x − x̄)
        ∇f(θ) = Q (θ − x̄)

    with x̄ the mean of a minibatch's points. Q has 90 eigenvalues in (0, 1) and 10 in (30, 60),
    turned by a random rotation. Start (1, …, 1). Q and the points are the same for every seed; the
    seed orders the training points once, and every epoch takes them in that order.

    Evaluations: ``test`` are the first 896 test points, ``train`` all 1,000 training points, where
    DeepOBS takes the 896 that the seed's order puts into batches. There is no zero-one error.

    Source: F. Schneider, L. Balles and P. Hennig, "DeepOBS: a deep learning optimizer benchmark
    suite", ICLR 2019, and its code, version 1.1.2 (``quadratic_deep``); the spectrum follows
    P. Chaudhari et al., "Entropy-SGD", ICLR 2017.
    """

    name = "quadratic-deep"
    summary = "DeepOBS's stochastic quadratic in 100 dimensions, minibatches of 128"
    kind = "function"
    default_iterations = 100 * (POINTS // 128)
    minibatch = True
    options = (
        Option("batch_size", 128, "points a minibatch", low=1),
        Option("dtype", "float32", "of parameters and arithmetic", choices=DTYPES),
        Option("record", "before", "loss before or after the update", choices=RECORDS),
    )

    def __init__(self, options: Mapping[str, Any], data_dir: Path | None = None) -> None:
        super().__init__(options, data_dir)
        self.batches = Batches("shuffled-once", POINTS, options["batch_size"])

    @override
    def prepare(self) -> tuple[str, ...]:
        self.batches.check(self.name, "training points")
        return ()

    @property
    @override
    def record(self) -> str:
        return str(self.settings["record"])

    @property
    @override
    def tensors(self) -> tuple[Tensor, ...]:
        return (Tensor("theta", (DIMENSIONS,)),)

    @property
    def work_values(self) -> int:
        """A minibatch's points, their deviations from the mean and the product with Q."""
        return 3 * self.batches.size * DIMENSIONS

    @property
    @override
    def iterations_per_epoch(self) -> int:
        return self.batches.per_epoch

    @override
    def describe(self) -> dict[str, Any]:
        own = {"parameters": self.parameters, "batch_size": self.batches.size}
        return {**super().describe(), **own}

    @override
    def definition(self) -> dict[str, Any]:
        return {
            "kind": "network",  # part of the fingerprint, which has always said so
            "name": self.name,
            "formula": "mean of (theta - x)' Q (theta - x) / 2",
            "hessian": {
                "dimensions": DIMENSIONS,
                "eigenvalues": [[FLAT, 0.0, 1.0], [DIMENSIONS - FLAT, 30.0, 60.0]],
                "rotation": "Diaconis and Shahshahani's subgroup algorithm",
                "random_state": HESSIAN_SEED,
            },
            "data": {
                "noise": NOISE,
                "random_states": {"train": TRAIN_SEED, "test": TEST_SEED},
                "splits": self.split_sizes(),
            },
            "start": 1.0,
            "batch": {"rule": self.batches.rule, "size": self.batches.size},
            "record": self.record,
            "dtype": self.dtype,
            "streams": list(self.batches.streams),
        }

    def start(self, seed: int) -> np.ndarray:
        """Return (1, …, 1)."""
        return np.ones(DIMENSIONS)

    def data(self) -> dict[str, np.ndarray]:
        """Return training points, Q, and mean and spread of the points of each split."""
        arrays = {
            "points": points(TRAIN_SEED).astype(self.dtype),
            "hessian": hessian(self.dtype)[None],
        }
        for split, size in self.split_sizes().items():
            chosen = points(TRAIN_SEED if split == "train" else TEST_SEED)[:size]
            mean = chosen.astype(np.float64).mean(axis=0)
            deviation = chosen - mean
            spread = 0.5 * ((deviation @ hessian("float64")) * deviation).sum(axis=1).mean()
            arrays[f"{split}.mean"] = mean[None].astype(self.dtype)
            arrays[f"{split}.spread"] = np.array([spread], dtype=self.dtype)
        return arrays

    @override
    def draws(self, seed: int, block: int) -> dict[str, np.ndarray]:
        return {"indices": self.batches.indices(seed, block)}

    def batch(self, data: Arrays, draws: Arrays, *, work: Workspace) -> dict[str, Array]:
        """Return mean (seeds, 100) and spread (seeds,) of a minibatch's points, and Q for all."""
        xp, indices = work.xp, draws["indices"]
        work.begin("batch")
        gathered = work.gather(data["points"], xp.reshape(indices, (-1,)))
        chosen = xp.reshape(gathered, (*indices.shape, DIMENSIONS))
        mean = xp.mean(chosen, axis=1)
        deviation = work.take(chosen.shape, chosen.dtype)
        work.into(deviation, xp.subtract, chosen, mean[:, None, :])
        product = work.take(chosen.shape, chosen.dtype)
        work.into(product, xp.matmul, deviation, data["hessian"])
        work.into(product, xp.multiply, product, deviation)
        total = xp.sum(xp.reshape(product, (indices.shape[0], -1)), axis=-1)
        spread = total * (0.5 / indices.shape[1])
        return {"mean": mean, "spread": spread, "hessian": data["hessian"]}

    @override
    def loss_and_grad(
        self, params: Stacked, grads: Stacked, batch: Arrays, *, buffers: Arrays, work: Workspace
    ) -> Losses:
        loss, grads.rows[...] = self._at(params, batch, work)
        return Losses(loss)

    @override
    def loss(self, params: Stacked, batch: Arrays, *, buffers: Arrays, work: Workspace) -> Losses:
        return Losses(self._at(params, batch, work)[0])

    @override
    def split_sizes(self) -> dict[str, int]:
        return {"train": POINTS, "test": TEST_POINTS}

    def evaluate(
        self, params: Stacked, data: Arrays, split: str, *, buffers: Arrays, work: Workspace
    ) -> tuple[Array, Array]:
        """Return the mean over a split's points, and NaN, both float64."""
        xp = work.xp
        whole = {name: data[f"{split}.{name}"] for name in ("mean", "spread")}
        loss, _ = self._at(params, {**whole, "hessian": data["hessian"]}, work)
        lanes = params.rows.shape[0]
        return xp.astype(loss, xp.float64), xp.full((lanes,), xp.nan, dtype=xp.float64)

    def _at(self, params: Stacked, given: Arrays, work: Workspace) -> tuple[Array, Array]:
        """Return loss (lanes,) and gradient (lanes, 100) from the mean and spread of points."""
        xp = work.xp
        offset = params.rows - given["mean"]
        gradient = xp.matmul(offset[:, None, :], given["hessian"])[:, 0, :]
        return 0.5 * xp.sum(offset * gradient, axis=-1) + given["spread"], gradient


@lru_cache(maxsize=2)
def points(seed: int) -> np.ndarray:
    """Return 1,000 points of N(0, 0.36·I): float32, shape (1000, 100), read-only."""
    drawn = np.random.RandomState(seed).normal(0.0, NOISE, (POINTS, DIMENSIONS))
    return read_only(drawn.astype(np.float32))


@lru_cache(maxsize=2)
def hessian(dtype: str) -> np.ndarray:
    """Return Q = Rᵀ diag(eigenvalues) R: shape (100, 100), read-only."""
    random = np.random.RandomState(HESSIAN_SEED)
    flat = random.uniform(0.0, 1.0, FLAT)
    steep = random.uniform(30.0, 60.0, DIMENSIONS - FLAT)
    turned = rotation(DIMENSIONS, random)
    return read_only((turned.T * np.concatenate([flat, steep]) @ turned).astype(dtype))


def rotation(dimensions: int, random: np.random.RandomState) -> np.ndarray:
    """Return a rotation drawn from the Haar measure: float64, shape (dimensions, dimensions).

    A random rotation of the plane is taken to one more dimension at a time: it is put beside a 1,
    and a reflection takes the new axis to a random direction.

    Source: P. Diaconis and M. Shahshahani, "The subgroup algorithm for generating uniform random
    variables", Probability in the Engineering and Informational Sciences 1, 1987.
    """
    angle = 2.0 * pi * random.uniform()
    cosine, sine = np.cos(angle), np.sin(angle)
    turned = np.array([[cosine, sine], [-sine, cosine]])
    for size in range(3, dimensions + 1):
        direction = random.normal(size=(size, 1))
        normal = -direction / np.linalg.norm(direction)
        normal[0] += 1.0
        normal /= np.linalg.norm(normal)
        larger = np.eye(size)
        larger[1:, 1:] = turned
        turned = larger - 2.0 * normal @ (normal.T @ larger)
    return -turned
