"""What every contender trains on: the suite's network, data, batches and learning rates."""

from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np

from optbench.problems.networks.catalogue import TEXTBOOK_SIZES
from optbench.rng import ITERATIONS_PER_BLOCK
from optbench.suite.format import parse_suite, read_suite
from optbench.suite.resolve import resolve

SIZES = (784, *TEXTBOOK_SIZES)
BATCH = 128


def flop_per_step() -> int:
    """Return the floating-point operations of a step's matrix products.

    Each product of (batch, fan_in) and (fan_in, fan_out) takes 2·batch·fan_in·fan_out; there is one
    forward, one for the gradient of the weights and, but for the first layer, one for the gradient
    of the input.

    >>> flop_per_step()
    63948800
    """
    layers = [2 * BATCH * fan_in * fan_out for fan_in, fan_out in pairwise(SIZES)]
    return 3 * sum(layers) - layers[0]


def learning_rates() -> dict[str, float]:
    """Return the learning rate of each optimizer of the suite mnist-mlp."""
    return {each.name: each.hyperparameters["lr"] for each in read_suite("mnist-mlp").optimizer}


class Workload:
    """The data set in memory, as a program written for it would hold it; batches and starts.

    Attributes
    ----------
    data
        Name of the data set.
    pixels
        float32, shape (examples, 784), in [0, 1].
    labels
        int64, shape (examples,).
    """

    def __init__(self) -> None:
        plain = {"name": "w", "problem": [{"name": "mnist-mlp"}], "optimizer": [{"name": "sgd"}]}
        self._problem = resolve(parse_suite(plain, "workload")).problems[0].problem
        arrays = self._problem.data()
        self.data: str = self._problem.settings["data"]
        scale = self._problem.definition()["data"]["pixel_scale"]
        self.pixels = arrays["train.images"].astype(np.float32) / np.float32(scale)
        self.labels = arrays["train.labels"].astype(np.int64)
        self.start = cache(self._problem.start)

    def save(self, file: Path, seeds: int, steps: int) -> None:
        """Write what a program needs: bytes and labels of all splits, starts and batches."""
        np.savez(
            file,
            **self._problem.data(),
            starts=np.stack([self.start(seed) for seed in range(seeds)]).astype(np.float32),
            batches=np.stack([self.batches(seed, steps) for seed in range(seeds)]),
        )

    def batches(self, seed: int, steps: int) -> np.ndarray:
        """Return the indices of a seed's first batches, int64 of shape (steps, batch)."""
        blocks = range(-(-steps // ITERATIONS_PER_BLOCK))
        drawn = [self._problem.draws(seed, block)["indices"] for block in blocks]
        return np.concatenate(drawn)[:steps]

    def weights(self, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return a seed's start layer by layer: weights (fan_in, fan_out), biases (fan_out,)."""
        row, layers, place = self.start(seed), [], 0
        for fan_in, fan_out in pairwise(SIZES):
            weight = row[place : place + fan_in * fan_out].reshape(fan_in, fan_out)
            place += fan_in * fan_out
            layers.append((weight.copy(), row[place : place + fan_out].copy()))
            place += fan_out
        return layers
