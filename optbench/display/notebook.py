"""A bar in a notebook, which goes when the run has ended."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from importlib import import_module
from typing import Any

from optbench.records import BlockResult, BlockSplit, Record, TraceChunk, Underway
from optbench.runs.pipeline import Plan

SECONDS_BETWEEN_UPDATES = 0.25
"""A notebook keeps up with a few updates a second."""


def in_notebook() -> bool:
    """Say whether the program is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell: Any = None if ipython is None else ipython.get_ipython()
    return hasattr(shell, "kernel")


@contextmanager
def bar(
    plan: Plan,
    head: Callable[[], str] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Callable[[Record], None]]:
    """Show one bar for all blocks of a plan; yield what is to be called with every record.

    Parameters
    ----------
    head
        Tells what stands beside the bar; by default what runs.
    clock
        Tells seconds.
    """
    view: Any = import_module("IPython.display")  # which a kernel has, and nobody else needs
    lanes = f"{len(plan.lanes):,} lane{'s' * (len(plan.lanes) != 1)}"
    shown = Bar(plan, head or (lambda: f"{plan.suite.name}: {lanes}"), clock)
    place = view.display(view.HTML(shown.html()), display_id=True)

    def observe(record: Record) -> None:
        if shown.observe(record):
            place.update(view.HTML(shown.html()))

    try:
        yield observe
    finally:
        place.update(view.HTML(""))


class Bar:
    """How much of a plan's steps is done, and how long the rest takes at the same pace."""

    def __init__(self, plan: Plan, head: Callable[[], str], clock: Callable[[], float]) -> None:
        self._head = head
        self._clock = clock
        self._began = self._last = clock()
        self._totals = {block.number: block.planned_updates for block in plan.blocks}
        self._left = {block.number: block.planned_updates for block in plan.blocks}
        self._lanes = {block.number: len(block.lanes) for block in plan.blocks}
        self._all = sum(self._left[number] * lanes for number, lanes in self._lanes.items())

    def observe(self, record: Record) -> bool:
        """Move the bar on; say whether it is time to show it."""
        match record:
            case TraceChunk() | Underway():
                left = max(0, self._totals[record.block] - record.next_iteration)
                self._left[record.block] = min(left, self._left[record.block])
            case BlockResult():
                self._left[record.block] = 0
            case BlockSplit():
                del self._left[record.block]
                for number, lanes in record.parts:
                    self._totals[number] = self._left[number] = self._totals[record.block]
                    self._lanes[number] = len(lanes)
        now = self._clock()
        if now - self._last < SECONDS_BETWEEN_UPDATES:
            return False
        self._last = now
        return True

    @property
    def done(self) -> float:
        """The share of all lanes' steps that is done, from 0 to 1."""
        left = sum(steps * self._lanes[number] for number, steps in self._left.items())
        return 1.0 - left / self._all if self._all else 1.0

    def html(self) -> str:
        """Return the bar as a notebook shows it, in its own colours."""
        done, seconds = self.done, self._clock() - self._began
        left = f", {seconds * (1 - done) / done:.0f} s left" if 0.0 < done < 1.0 else ""
        return (
            f'<progress max="1" value="{done:.3f}" style="width: 20em"></progress> '
            f"{escape(self._head())}, {100 * done:.0f} %{left}"
        )
