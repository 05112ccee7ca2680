"""What a run shows while it goes on: bars in a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from optbench.cli.output import console, say
from optbench.records import BlockResult, Record, TraceChunk

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from optbench.lanes import Block
    from optbench.pipeline import Plan

MOST_BARS = 12
"""Blocks from which on only those at work have a bar, beside one for all."""

SECONDS_BETWEEN_LINES = 5.0


@contextmanager
def display(plan: "Plan", *, quiet: bool) -> Iterator[Callable[[Record], None]]:
    """Yield what is to see every record of a run."""
    if quiet:
        yield lambda record: None
        return
    screen = console(stderr=True)
    if not screen.is_terminal or screen.is_dumb_terminal:
        yield Lines(plan).observe
        return
    bars = Bars(plan, screen)
    with bars.progress:
        yield bars.observe


def current_loss(chunk: TraceChunk) -> str:
    """Return the median over lanes of the last row; "diverged" once none is left.

    Lanes that have diverged before the chunk's end count as infinitely bad.
    """
    import numpy as np

    last = np.where(chunk.rows == len(chunk.loss), chunk.loss[-1], np.inf)
    median = float(np.median(np.where(np.isfinite(last), last, np.inf)))
    return f"{median:.4g}" if np.isfinite(median) else "diverged"


def title(block: "Block") -> str:
    """Return the optimizer labels of a block and its number of lanes."""
    labels = ", ".join(dict.fromkeys(lane.label for lane in block.lanes))
    lanes = len(block.lanes)
    return labels if lanes == 1 else f"{labels} ×{lanes}"


class Bars:
    """A bar a block: iterations, iterations a second, time left, current loss."""

    def __init__(self, plan: "Plan", screen: Any) -> None:
        self.progress = _progress(screen)
        self._left = {block.number: block.iterations for block in plan.blocks}
        self._few = len(plan.blocks) <= MOST_BARS
        self._tasks: dict[int, TaskID] = {}
        self._all: TaskID | None = None
        if not self._few:
            name = f"{plan.suite.name}: {len(plan.blocks)} blocks"
            self._all = self.progress.add_task(name, total=sum(self._left.values()), loss="")
        for block in plan.blocks:
            self._tasks[block.number] = self.progress.add_task(
                title(block), total=block.iterations, loss="", start=False, visible=self._few
            )

    def observe(self, record: Record) -> None:
        """Move the bars on."""
        if isinstance(record, TraceChunk):
            task = self._tasks[record.block]
            if record.first_iteration == 0:
                self.progress.start_task(task)
                self.progress.update(task, visible=True)
            # The row after the last update is no iteration.
            done = min(len(record.loss), self._left[record.block])
            self.progress.update(task, advance=done, loss=current_loss(record))
            self._count(record.block, done)
        elif isinstance(record, BlockResult):
            self.progress.update(self._tasks[record.block], visible=self._few)
            self._count(record.block, self._left[record.block])

    def _count(self, block: int, done: int) -> None:
        """Take iterations of a block off those that are left; a block may end before its last."""
        self._left[block] -= done
        if self._all is not None:
            self.progress.update(self._all, advance=done)


def _progress(screen: Any) -> "Progress":
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Speed(ProgressColumn):
        """Iterations a second."""

        def render(self, task: Any) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:,.0f} it/s" if speed else "", justify="right")

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        Speed(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[loss]}", justify="right"),
        console=screen,
        transient=True,
        expand=True,
    )


class Lines:
    """Plain lines: the start, how far it has come every few seconds, the end of each block."""

    def __init__(self, plan: "Plan", clock: Callable[[], float] = time.monotonic) -> None:
        self._plan = plan
        self._blocks = {block.number: block for block in plan.blocks}
        self._clock = clock
        self._last = clock()
        self._begun = False
        self._ended = 0

    def observe(self, record: Record) -> None:
        """Print a line where there is something to say."""
        if not self._begun:
            self._begun = True
            self._say_what_runs()
        now = self._clock()
        if isinstance(record, TraceChunk) and now - self._last >= SECONDS_BETWEEN_LINES:
            self._last = now
            block = self._blocks[record.block]
            done = min(record.first_iteration + len(record.loss), block.iterations)
            say(
                f"  {title(block)}: iteration {done} of {block.iterations}, "
                f"loss {current_loss(record)}"
            )
        elif isinstance(record, BlockResult) and len(self._blocks) <= MOST_BARS:
            self._ended += 1
            statuses = ", ".join(sorted({lane.status for lane in record.lanes}))
            name = title(self._blocks[record.block])
            say(f"  {name}: {statuses} ({self._ended} of {len(self._blocks)} blocks)")

    def _say_what_runs(self) -> None:
        plan = self._plan
        counts = [(len(plan.lanes), "lane"), (len(plan.blocks), "block"), (plan.workers, "worker")]
        parts = [f"{count} {noun}{'' if count == 1 else 's'}" for count, noun in counts]
        say(f"{plan.suite.name}: {', '.join(parts)}")
