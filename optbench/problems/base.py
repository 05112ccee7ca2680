"""The contract of a problem: what is minimised.

A problem is a description with two sides. Its host side draws starts and random numbers from named
streams; its device side works on stacked arrays in whatever namespace ``xp`` it is handed. It keeps
no state between calls, so one object serves all lanes.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from optbench.arrays import Array, Buffer, Stacked, Tensor, Workspace
from optbench.settings import Setting

DTYPES = ("float32", "float64")

RECORDS = ("before", "after")

PROBED_SEEDS = range(8)
"""Seeds whose starts and draws tell whether a problem has anything random."""

Arrays = Mapping[str, Array]


class Losses(NamedTuple):
    """The loss of each lane, shape (lanes,): what is minimised, with the penalty in it.

    The penalty, its part that is regularisation, is None where nothing is regularised.
    """

    total: Array
    penalty: Array | None = None


@dataclass(frozen=True)
class Minimum:
    """A known minimum: where, if that is known, and the value there."""

    position: tuple[float, ...] | None
    value: float


class Problem(ABC):
    """What is minimised, for lanes that share it.

    Parameters
    ----------
    options
        All of the problem's options, checked.
    data_dir
        Where to look for data sets first, or None.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    kind: ClassVar[str]
    """``"function"`` or ``"network"``: what its parameters are, variables or weights."""
    default_iterations: ClassVar[int]
    options: ClassVar[tuple[Setting, ...]]
    minibatch: bool
    """Whether a trace row is the loss on a part of the data."""
    cpu_only: ClassVar[bool] = False
    """Whether it computes with NumPy alone."""
    least_block_bytes: ClassVar[int] = 0
    """What a block's arrays may take in any case, where calls cost more than caches save."""
    by_coordinate: ClassVar[bool] = False
    """Whether each parameter of all lanes is stored together, rather than each lane."""

    def __init__(self, options: Mapping[str, Any], data_dir: Path | None = None) -> None:
        self.settings = dict(options)
        self.data_dir = data_dir
        self.dtype: str = options["dtype"]

    @property
    @abstractmethod
    def record(self) -> str:
        """Which loss a trace row holds: ``"before"`` or ``"after"`` the update."""

    @property
    @abstractmethod
    def tensors(self) -> tuple[Tensor, ...]:
        """The parameters in the order in which they lie in a row."""

    @abstractmethod
    def definition(self) -> dict[str, Any]:
        """Return all that makes the problem what it is, as plain data; never arrays or seeds."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the definition as canonical JSON."""
        text = json.dumps(self.definition(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def parameters(self) -> int:
        """Number of parameters of one lane."""
        return sum(tensor.size for tensor in self.tensors)

    @property
    def buffers(self) -> tuple[Buffer, ...]:
        """What lanes carry from step to step beside parameters; none by default."""
        return ()

    @property
    def penalized(self) -> bool:
        """Whether the loss holds a penalty."""
        return False

    @property
    def work_values(self) -> int:
        """How many numbers a lane's work arrays hold in training; 0 where there are none."""
        return 0

    @property
    def iterations_per_epoch(self) -> int | None:
        """Iterations that go once through the training data; None where there are no data."""
        return None

    def describe(self) -> dict[str, Any]:
        """Return what figures and tables need to know, for run.json."""
        known: dict[str, Any] = {
            "kind": self.kind,
            "record": self.record,
            "dtype": self.dtype,
            "batch_size": None,
            "iterations_per_epoch": self.iterations_per_epoch,
        }
        if self.kind == "function":
            variables = [tensor.name for tensor in self.tensors]
            known |= {"variables": variables, "minima": [], "plot": None}  # nothing known to draw
        return known

    @cached_property
    def stochastic(self) -> bool:
        """Whether chance decides the loss of an iteration: by random batches, masks or noise.

        Seeds then draw other numbers in the first iterations. The same examples in another order
        are the same batch, and those of a batch that is full or in order are no matter of chance.
        """
        return _differ([_in_order(array) for array in self._drawn(seed)] for seed in PROBED_SEEDS)

    def is_random(self, seeds: Sequence[int] = ()) -> bool:
        """Say whether seeds make lanes differ: in their start, or in batches, masks or noise.

        Starts and the draws of the first iterations are compared; of fewer than two seeds, whether
        others would differ.
        """
        compared = seeds if len(seeds) > 1 else PROBED_SEEDS
        return _differ(map(self._drawn, compared)) or _differ(
            [self.start(seed), *self.start_buffers(seed).values()] for seed in compared
        )

    def _drawn(self, seed: int) -> list[np.ndarray]:
        draws = self.draws(seed, 0)
        return [np.asarray(draws[name]) for name in sorted(draws)]

    def prepare(self) -> tuple[str, ...]:
        """Find what the problem needs, fix what depends on it, and return notices for the user.

        Raise a UsageError if something is missing, damaged, or does not fit the options.
        """
        return ()

    # The host side.

    @abstractmethod
    def start(self, seed: int) -> np.ndarray:
        """Return the start for one seed: float64, shape (parameters,)."""

    def start_buffers(self, seed: int) -> dict[str, np.ndarray]:
        """Return the start of every buffer by name for one seed, in the shape of one lane."""
        return {
            buffer.name: np.full(buffer.shape, buffer.start, dtype=self.dtype)
            for buffer in self.buffers
        }

    def data(self) -> dict[str, np.ndarray]:
        """Return the arrays that stay on the device for the whole run."""
        return {}

    def draws(self, seed: int, block: int) -> dict[str, np.ndarray]:
        """Return the random numbers of one block of iterations, one row per iteration."""
        return {}

    # The device side.

    def batch(self, data: Arrays, draws: Arrays, *, work: Workspace) -> dict[str, Array]:
        """Return the batch of one iteration.

        ``draws`` holds that iteration's random numbers of each seed, (seeds, …); so do the arrays
        returned.
        """
        return {}

    @abstractmethod
    def loss_and_grad(
        self, params: Stacked, grads: Stacked, batch: Arrays, *, buffers: Arrays, work: Workspace
    ) -> Losses:
        """Return the loss of each lane, and write the gradients and new buffers in place.

        Arrays in ``batch`` have the shape (lanes, …), or (1, …) where all lanes share them;
        ``buffers`` are arrays (lanes, *shape) by name.
        """

    @abstractmethod
    def loss(self, params: Stacked, batch: Arrays, *, buffers: Arrays, work: Workspace) -> Losses:
        """Return the loss of each lane on a batch, as in training, and change nothing."""

    def split_sizes(self) -> dict[str, int]:
        """Return the examples of each split that :meth:`evaluate` takes."""
        return {}

    def evaluate(
        self, params: Stacked, data: Arrays, split: str, *, buffers: Arrays, work: Workspace
    ) -> tuple[Array, Array]:
        """Return the mean loss and the zero-one error of each lane over a whole split.

        The loss holds no penalty; the error is NaN where a problem has none.
        """
        raise AssertionError(f"{self.name} has no split '{split}'")


def _differ(drawn: Iterable[Sequence[np.ndarray]]) -> bool:
    """Say whether any of the arrays differ from the first ones; no more are made than it takes."""
    each = iter(drawn)
    first = next(each)
    return not all(
        len(others) == len(first) and all(map(np.array_equal, first, others)) for others in each
    )


def _in_order(drawn: np.ndarray) -> np.ndarray:
    """Return what was drawn, indices of each iteration in ascending order."""
    return np.sort(drawn) if drawn.ndim > 1 and drawn.dtype.kind in "iu" else drawn
