"""A block: lanes of one problem, stepped together; plain data."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate, pairwise

import numpy as np

from optbench.engine.stopping import Rules
from optbench.optimizers.base import Optimizer
from optbench.problems.base import Problem
from optbench.records import Lane


@dataclass(frozen=True)
class Group:
    """Lanes of a block that one rule updates: consecutive rows, given the same settings."""

    optimizer: Optimizer
    lanes: tuple[Lane, ...]

    @property
    def configurations(self) -> list[Mapping[str, float | str]]:
        """All hyperparameters of each lane."""
        return [lane.hyperparameters for lane in self.lanes]


@dataclass(frozen=True)
class Block:
    """Lanes of one problem, stepped together, each group of them by its own rule; plain data.

    ``progress`` holds the arrays of the checkpoint that they go on from; None at their start.
    """

    number: int
    problem: Problem
    iterations: int
    groups: tuple[Group, ...]
    rules: Rules = field(default_factory=Rules)
    progress: Mapping[str, np.ndarray] | None = field(default=None, repr=False)

    @cached_property
    def lanes(self) -> tuple[Lane, ...]:
        """All lanes, in the order of their rows."""
        return tuple(lane for group in self.groups for lane in group.lanes)

    @property
    def planned_updates(self) -> int:
        """Updates of a lane that nothing ends: up to a pause, else all."""
        return self.iterations if self.rules.pause_at is None else self.rules.pause_at

    @property
    def runs_users_code(self) -> bool:
        """Whether its problem or one of its optimizers is somebody's own code."""
        return is_users(self.problem) or any(is_users(group.optimizer) for group in self.groups)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The distinct seeds, in the order in which lanes have them."""
        return tuple(dict.fromkeys(lane.seed for lane in self.lanes))

    @property
    def slices(self) -> tuple[slice, ...]:
        """The rows of each group."""
        ends = list(accumulate((len(group.lanes) for group in self.groups), initial=0))
        return tuple(slice(start, end) for start, end in pairwise(ends))

    def subset(self, indices: Iterable[int]) -> "Block":
        """Return a block, at its start, of the lanes at some increasing indices."""
        chosen = set(indices)
        places = iter(range(len(self.lanes)))
        groups = (
            replace(group, lanes=tuple(lane for lane in group.lanes if next(places) in chosen))
            for group in self.groups
        )
        return replace(self, groups=tuple(group for group in groups if group.lanes), progress=None)


def is_users(part: Problem | Optimizer) -> bool:
    """Say whether a problem or an optimizer is somebody's own code."""
    plugin = getattr(part, "plugin", None)
    return plugin is not None and plugin.is_users


def halves(block: Block, numbers: Iterator[int]) -> tuple[Block, Block]:
    """Return two blocks, with new numbers, that hold the lanes of one.

    It is cut between two groups if it has several: where code raises, it is mostly one rule's.
    """
    lanes = len(block.lanes)
    cuts = [rows.stop for rows in block.slices[:-1]] or [lanes // 2]
    middle = min(cuts, key=lambda cut: abs(2 * cut - lanes))
    first, second = (
        replace(block.subset(part), number=next(numbers))
        for part in (range(middle), range(middle, lanes))
    )
    return first, second
