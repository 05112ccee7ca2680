"""A block: lanes of one problem, stepped together; plain data."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from optbench.engine.stopping import Rules
from optbench.optimizers.base import Optimizer
from optbench.problems.base import Problem
from optbench.records import Lane


@dataclass(frozen=True)
class Progress:
    """How far an earlier run of a block got.

    ``arrays`` are those of its last checkpoint, ``loss`` all rows recorded before that: float64,
    shape (rows, lanes).
    """

    arrays: Mapping[str, np.ndarray] = field(repr=False)
    loss: np.ndarray = field(repr=False)


@dataclass(frozen=True)
class Block:
    """Lanes that share a problem and an optimizer, stepped together; plain data.

    ``progress`` is where they go on from; None at their start.
    """

    number: int
    problem: Problem
    optimizer: Optimizer
    iterations: int
    lanes: tuple[Lane, ...]
    rules: Rules = field(default_factory=Rules)
    progress: Progress | None = None

    @property
    def runs_users_code(self) -> bool:
        """Whether its problem or its optimizer is somebody's own code."""
        return is_users(self.problem) or is_users(self.optimizer)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The distinct seeds, in the order in which lanes have them."""
        return tuple(dict.fromkeys(lane.seed for lane in self.lanes))

    @property
    def configurations(self) -> list[Mapping[str, float | str]]:
        """All hyperparameters of each lane."""
        return [lane.hyperparameters for lane in self.lanes]


def is_users(part: Problem | Optimizer) -> bool:
    """Say whether a problem or an optimizer is somebody's own code."""
    plugin = getattr(part, "plugin", None)
    return plugin is not None and plugin.is_users


def halves(block: Block, numbers: Iterator[int]) -> tuple[Block, Block]:
    """Return two blocks, with new numbers, that hold the lanes of one."""
    middle = len(block.lanes) // 2
    first, second = (
        replace(block, number=next(numbers), lanes=lanes, progress=None)
        for lanes in (block.lanes[:middle], block.lanes[middle:])
    )
    return first, second
