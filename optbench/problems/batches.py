"""Which examples make the minibatch of an iteration."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from optbench import rng
from optbench.errors import SuiteError

RULES = ("replacement", "shuffled", "shuffled-once", "in-order")


@dataclass(frozen=True)
class Batches:
    """A rule that chooses which examples make the batch, of ``size``, of each iteration of a seed.

    ``replacement`` draws every index uniformly from all examples, as the textbook does.
    ``shuffled`` goes through the examples in a new order every epoch, ``shuffled-once`` in the
    same shuffled order, ``in-order`` in that of the data set; these three drop the remainder of
    an epoch that fills no batch.
    """

    rule: str
    examples: int
    size: int

    def check(self, owner: str, noun: str) -> None:
        """Refuse a batch larger than the data; it says of the owner how many of the noun it has."""
        if self.size > self.examples:
            raise SuiteError(
                f"batch_size = {self.size} is larger than the data; "
                f"{owner} has {self.examples} {noun}"
            )

    @property
    def per_epoch(self) -> int:
        """Whole batches that the examples make."""
        return self.examples // self.size

    @property
    def streams(self) -> tuple[str, ...]:
        """The random streams that it draws from."""
        return {"replacement": ("batches",), "in-order": ()}.get(self.rule, ("shuffle",))

    def indices(self, seed: int, block: int) -> np.ndarray:
        """Return the indices of a block's batches: int64, shape (iterations, size)."""
        if self.rule == "replacement":
            shape = (rng.ITERATIONS_PER_BLOCK, self.size)
            return rng.stream(seed, "batches", block).integers(self.examples, size=shape)
        first = block * rng.ITERATIONS_PER_BLOCK
        iterations = range(first, first + rng.ITERATIONS_PER_BLOCK)
        return np.stack([self._batch(seed, *divmod(k, self.per_epoch)) for k in iterations])

    def _batch(self, seed: int, epoch: int, number: int) -> np.ndarray:
        examples = slice(number * self.size, (number + 1) * self.size)
        if self.rule == "in-order":
            return np.arange(examples.start, examples.stop)
        order = _order(seed, epoch if self.rule == "shuffled" else 0, self.examples)
        return order[examples]


@lru_cache(maxsize=64)
def _order(seed: int, epoch: int, examples: int) -> np.ndarray:
    """Return the order of an epoch; kept for a while, since blocks of iterations cut epochs."""
    return rng.stream(seed, "shuffle", epoch).permutation(examples)
