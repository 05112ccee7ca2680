"""Functions of two variables with noise in training, as DeepOBS has them.

For a batch of pairs (xᵢ, yᵢ) the loss is the mean of f(u, v) + u xᵢ + v yᵢ, so that it depends on
the batch by the two means of x and y alone; the noise tilts f by a plane. The data are 10,000 pairs
from ``RandomState(42)``: all x first, then all y, each N(0, 1), cast to float32. Batches of 128
(:class:`~optbench.problems.batches.Batches` with the rule ``shuffled``) drop the remainder of an
epoch, 78 iterations. The split ``test`` is f without noise.

Source: F. Schneider, L. Balles and P. Hennig, "DeepOBS: A Deep Learning Optimizer Benchmark Suite",
ICLR 2019, release 1.1.2: ``datasets/two_d.py`` and ``testproblems/two_d_*.py``.
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import override

from optbench.arrays import Array, Stacked, Workspace
from optbench.datasets.base import read_only
from optbench.problems.base import DTYPES, Arrays, Losses
from optbench.problems.batches import Batches
from optbench.problems.functions.base import START_SPREAD, PlanarFunction
from optbench.problems.functions.multimodal import Branin
from optbench.problems.functions.valleys import Beale, Rosenbrock
from optbench.settings import Option

PAIRS = 10_000
DATA_SEED = 42


@lru_cache(maxsize=1)
def pairs() -> np.ndarray:
    """Return the noise: float32, shape (10,000, 2), columns x and y.

    >>> pairs()[:2, 0].tolist()
    [0.49671414494514465, -0.13826429843902588]
    """
    generator = np.random.RandomState(DATA_SEED)
    columns = [generator.normal(0.0, 1.0, PAIRS) for _ in range(2)]
    return read_only(np.stack(columns, axis=1).astype(np.float32))


class Noisy(PlanarFunction):
    """A function of two variables, tilted by a random plane in every iteration of training.

    f and its minima, start and domain are those of the function that a subclass names first among
    its bases. A trace holds the noisy losses; ``test`` evaluations are f itself.
    """

    default_iterations = 100 * (PAIRS // 128)
    minibatch = True
    options = (
        Option("batch_size", 128, "pairs a minibatch", low=1),
        Option("dtype", "float32", "of parameters and arithmetic", choices=DTYPES),
        START_SPREAD,
    )

    def __init__(self, options: Mapping[str, Any], data_dir: Path | None = None) -> None:
        super().__init__(options, data_dir)
        self.batches = Batches("shuffled", PAIRS, options["batch_size"])

    @override
    def prepare(self) -> tuple[str, ...]:
        self.batches.check(self.name, "pairs")
        return super().prepare()

    @property
    @override
    def iterations_per_epoch(self) -> int:
        return self.batches.per_epoch

    @override
    def definition(self) -> dict[str, Any]:
        noise = {
            "term": "x*mean(noise_x) + y*mean(noise_y)",
            "generator": "numpy.random.RandomState",
            "seed": DATA_SEED,
            "pairs": PAIRS,
            "dtype": "float32",
        }
        return {
            **super().definition(),
            "noise": noise,
            "batch": {"rule": self.batches.rule, "size": self.batches.size},
            "streams": list(self.batches.streams),
        }

    @override
    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "batch_size": self.batches.size}

    def draws(self, seed: int, block: int) -> dict[str, np.ndarray]:
        """Return the mean noise of each iteration of a block: shape (iterations, 2)."""
        chosen = pairs()[self.batches.indices(seed, block)]
        return {"tilt": chosen.mean(axis=1, dtype=np.float64).astype(self.dtype)}

    def batch(self, data: Arrays, draws: Arrays, *, work: Workspace) -> dict[str, Array]:
        """Return the mean noise, (seeds, 2)."""
        return {"tilt": draws["tilt"]}

    @override
    def loss_and_grad(
        self, params: Stacked, grads: Stacked, batch: Arrays, *, buffers: Arrays, work: Workspace
    ) -> Losses:
        value = super().loss_and_grad(params, grads, batch, buffers=buffers, work=work).total
        tilt = batch["tilt"]
        for index in range(2):
            grads.rows[:, index] = grads.rows[:, index] + tilt[:, index]
        return Losses(value + _plane(params, tilt))

    @override
    def loss(self, params: Stacked, batch: Arrays, *, buffers: Arrays, work: Workspace) -> Losses:
        value = super().loss(params, batch, buffers=buffers, work=work).total
        return Losses(value + _plane(params, batch["tilt"]))

    def split_sizes(self) -> dict[str, int]:
        """Return the one split: f without noise, which is as good as one example."""
        return {"test": 1}

    def evaluate(
        self, params: Stacked, data: Arrays, split: str, *, buffers: Arrays, work: Workspace
    ) -> tuple[Array, Array]:
        """Return f of each lane without noise; there is no zero-one error, which is NaN."""
        value = super().loss(params, {}, buffers=buffers, work=work).total
        return value, work.xp.full(value.shape, float("nan"), dtype=value.dtype)


def _plane(params: Stacked, tilt: Array) -> Array:
    """Return u·x̄ + v·ȳ, shape (lanes,)."""
    return params.rows[:, 0] * tilt[:, 0] + params.rows[:, 1] * tilt[:, 1]


class NoisyBeale(Noisy, Beale):
    """Beale's function with noise; DeepOBS's ``two_d_beale``."""

    name = "noisy-beale"
    summary = "DeepOBS's noisy Beale function: f + u·x + v·y in training, f in testing"


class NoisyBranin(Noisy, Branin):
    """Branin's function with noise; DeepOBS's ``two_d_branin``."""

    name = "noisy-branin"
    summary = "DeepOBS's noisy Branin function: f + u·x + v·y in training, f in testing"


class NoisyRosenbrock(Noisy, Rosenbrock):
    """Rosenbrock's function with noise; DeepOBS's ``two_d_rosenbrock``."""

    name = "noisy-rosenbrock"
    summary = "DeepOBS's noisy Rosenbrock function: f + u·x + v·y in training, f in testing"


NOISY: tuple[type[Noisy], ...] = (NoisyBeale, NoisyBranin, NoisyRosenbrock)
