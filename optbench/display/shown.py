"""What displays need to know of a run: a plan has it, and so have the files of a run."""

from collections.abc import Sequence
from typing import Any, Protocol

from optbench.cluster import Cluster
from optbench.records import Lane, TraceChunk, Underway


class ShownSuite(Protocol):
    """What is shown of a suite."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def problems(self) -> Sequence[Any]:
        """Its problems, whose ``rules`` say whether lanes are evaluated while they run."""


class ShownBlock(Protocol):
    """What is shown of a block."""

    @property
    def number(self) -> int:
        """Its number."""

    @property
    def lanes(self) -> Sequence[Lane]:
        """Its lanes."""

    @property
    def planned_updates(self) -> int:
        """Updates of a lane that nothing ends."""


class Shown(Protocol):
    """What is shown of a plan."""

    @property
    def suite(self) -> ShownSuite:
        """What it is of."""

    @property
    def lanes(self) -> Sequence[Lane]:
        """All lanes, by number."""

    @property
    def blocks(self) -> Sequence[ShownBlock]:
        """What runs."""

    @property
    def workers(self) -> int:
        """How many blocks run at a time."""

    @property
    def cluster(self) -> Cluster | None:
        """Where they run, if not here."""


def begins(record: TraceChunk | Underway) -> int:
    """Return how far a block was at least before what a record tells of."""
    return record.first_iteration if isinstance(record, TraceChunk) else record.next_iteration
