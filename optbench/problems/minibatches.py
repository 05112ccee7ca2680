"""Problems whose loss is that of examples, taken batch by batch."""

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import override

from optbench.problems.base import Problem
from optbench.problems.batches import Batches

FULL = "full"
"""The batch size that takes all training examples: batch gradient descent."""


class MinibatchProblem(Problem):
    """A problem with training examples, of which every iteration takes a batch.

    Its options are ``batch_size``, ``record`` and, where the rule can be chosen, ``batches``.
    """

    kind = "network"

    def __init__(self, options: Mapping[str, Any], data_dir: Path | None = None) -> None:
        super().__init__(options, data_dir)
        self.rule: str = options.get("batches", "replacement")

    @property
    @abstractmethod
    def examples(self) -> int:
        """Number of training examples."""

    @property
    def batch_size(self) -> int:
        """Examples of a batch."""
        size = self.settings["batch_size"]
        return self.examples if size == FULL else int(size)

    @property
    def minibatch(self) -> bool:  # type: ignore[override]
        """Whether a batch leaves out some examples."""
        return self.batch_size < self.examples

    @property
    def batches(self) -> Batches:
        """Which examples make a batch; all of them in order where the batch is full."""
        rule = "in-order" if self.settings["batch_size"] == FULL else self.rule
        return Batches(rule, self.examples, self.batch_size)

    @property
    @override
    def iterations_per_epoch(self) -> int:
        return self.batches.per_epoch

    @property
    @override
    def record(self) -> str:
        return str(self.settings["record"])

    @override
    def draws(self, seed: int, block: int) -> dict[str, np.ndarray]:
        """Return indices of the batches, int64 (iterations, batch); none where these are full."""
        if self.settings["batch_size"] == FULL:
            return {}
        return {"indices": self.batches.indices(seed, block)}
