"""A block: lanes of one problem, stepped together; plain data."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from optbench.arrays import Array
from optbench.engine.stopping import Rules
from optbench.optimizers.base import Optimizer
from optbench.problems.base import Problem
from optbench.records import Lane


@dataclass(frozen=True)
class Begun:
    """How far a block had come before.

    Attributes
    ----------
    arrays
        Of its last checkpoint.
    loss
        Of all rows recorded before that, float64, shape (rows, lanes).
    """

    arrays: Mapping[str, np.ndarray] = field(repr=False)
    loss: np.ndarray = field(repr=False)


@dataclass(frozen=True)
class Block:
    """Lanes that share a problem and an update rule, stepped together; plain data.

    ``begun`` is where they go on from; None at their start.
    """

    number: int
    problem: Problem
    optimizer: Optimizer
    iterations: int
    lanes: tuple[Lane, ...]
    rules: Rules = field(default_factory=Rules)
    begun: Begun | None = None

    @property
    def seeds(self) -> tuple[int, ...]:
        """The distinct seeds, in the order in which lanes have them."""
        return tuple(dict.fromkeys(lane.seed for lane in self.lanes))

    @property
    def hyperparameters(self) -> dict[str, np.ndarray]:
        """Hyperparameters of all lanes: float64 of shape (1, lanes, 1) by name."""
        return {
            each.name: np.array(
                [each.number(lane.hyperparameters[each.name]) for lane in self.lanes]
            )[None, :, None]
            for each in self.optimizer.hyperparameters
        }


def halves(block: Block, numbers: Iterator[int]) -> tuple[Block, Block]:
    """Return two blocks, with new numbers, that hold the lanes of one."""
    middle = len(block.lanes) // 2
    first, second = (
        replace(block, number=next(numbers), lanes=lanes, begun=None)
        for lanes in (block.lanes[:middle], block.lanes[middle:])
    )
    return first, second


@dataclass(frozen=True)
class Rows:
    """Consecutive rows of the lanes that are left, as they come down from the device.

    Attributes
    ----------
    first
        Iteration of the first row.
    loss
        float64, shape (rows, lanes).
    finite
        Whether loss and parameters were finite at each row, shape (rows, lanes).
    position
        Parameters at each row, shape (rows, lanes, parameters), or None.
    penalty
        What of the loss is regularisation, shape (rows, lanes), or None.
    grad_norm
        Euclidean norm of the gradient, shape (rows, lanes), or None where no rule asks for it.
    """

    first: int
    loss: np.ndarray
    finite: np.ndarray
    position: np.ndarray | None = None
    penalty: np.ndarray | None = None
    grad_norm: np.ndarray | None = None


@dataclass(frozen=True)
class Held:
    """What lanes carry from step to step, one row a lane.

    Attributes
    ----------
    params, buffers
        Parameters and buffers as they stand.
    slots
        The optimizer's state by name.
    best
        Parameters and buffers of the smallest validation error; None before there is one.
    """

    params: Array
    buffers: Array
    slots: Mapping[str, Array]
    best: tuple[Array, Array] | None
