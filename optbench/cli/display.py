"""What a run shows while it goes on: bars in a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text
from typing_extensions import override

from optbench.cli.output import console, say
from optbench.records import BlockResult, BlockSplit, EvaluationRows, Lane, Record, TraceChunk
from optbench.runs.pipeline import Plan

MOST_LABELS = 3
"""Labels of a block that are named; of more, the first two."""

MOST_BARS = 12
"""Up to so many blocks each has a bar; of more only those at work, beside one for all."""

REFRESHES_PER_SECOND = 4
"""Of the bars, per second; each takes about a hundredth of a second from the run."""

SECONDS_BETWEEN_LINES = 5.0


@contextmanager
def display(plan: Plan, *, quiet: bool) -> Iterator[Callable[[Record], None]]:
    """Yield the function that is to be called with every record of a run."""
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
    """Return the median of the last row of the lanes that ran; "diverged" where it is not finite.

    Lanes that diverge in the chunk count as infinitely bad.
    """
    ran = np.flatnonzero(chunk.rows)
    last = chunk.loss[chunk.rows[ran] - 1, ran]
    median = float(np.median(np.where(np.isfinite(last), last, np.inf)))
    return f"{median:.4g}" if np.isfinite(median) else "diverged"


def current_error(rows: EvaluationRows) -> str:
    """Return the medians over lanes of the loss and the zero-one error over a split."""
    text = f"{rows.split} loss {np.median(rows.loss):.4g}"
    error = float(np.median(rows.error))
    return text if np.isnan(error) else f"{text}, error {100 * error:.2f} %"


def _evaluates(plan: Plan) -> bool:
    """Say whether lanes are evaluated while they run, not only at their end."""
    rules = [setting.rules for setting in plan.suite.problems]
    return any(rule.evaluate_every is not None or rule.patience is not None for rule in rules)


def title(lanes: Sequence[Lane]) -> str:
    """Return the optimizer labels of a block's lanes, two if they are many, and their number."""
    labels = list(dict.fromkeys(lane.label for lane in lanes))
    if len(labels) > MOST_LABELS:
        labels = [", ".join(labels[:2]) + f" and {len(labels) - 2} more"]
    named = ", ".join(labels)
    return named if len(lanes) == 1 else f"{named} ×{len(lanes)}"


class _Headed(Progress):
    """Bars below a line of text."""

    head: Callable[[], str] | None = None

    @override
    def get_renderables(self) -> Iterable[RenderableType]:
        if self.head is not None:
            yield Text(self.head())
        yield from super().get_renderables()


class Bars:
    """One bar per block: iterations, iterations per second, time left, current loss.

    ``head`` tells what stands above them.
    """

    def __init__(self, plan: Plan, screen: Console, head: Callable[[], str] | None = None) -> None:
        self.progress = _Headed(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            _Speed(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[loss]}", justify="right"),
            console=screen,
            refresh_per_second=REFRESHES_PER_SECOND,
            transient=True,
            expand=True,
        )
        self.progress.head = head
        self._lanes = plan.lanes
        self._totals = {block.number: block.planned_updates for block in plan.blocks}
        self._left = dict(self._totals)
        self._few = len(plan.blocks) <= MOST_BARS
        self._tasks: dict[int, TaskID] = {}
        self._all: TaskID | None = None
        self._evaluates = _evaluates(plan)
        self._errors: dict[int, str] = {}
        self._begun: set[int] = set()
        if not self._few:
            name = f"{plan.suite.name}: {len(plan.blocks)} blocks"
            self._all = self.progress.add_task(name, total=sum(self._left.values()), loss="")
        for block in plan.blocks:
            self._add(block.number, block.lanes)

    def _add(self, number: int, lanes: Sequence[Lane]) -> None:
        self._tasks[number] = self.progress.add_task(
            title(lanes), total=self._totals[number], loss="", start=False, visible=self._few
        )

    def observe(self, record: Record) -> None:
        """Move the bars on."""
        match record:
            case TraceChunk():
                self._move(record)
            case EvaluationRows() if self._evaluates and record.split != "train":
                self._errors[record.block] = f"  {current_error(record)}"
            case BlockResult():
                self.progress.update(self._tasks[record.block], visible=self._few)
                self._count(record.block, self._left[record.block])
            case BlockSplit():
                self._split(record)

    def _move(self, chunk: TraceChunk) -> None:
        task = self._tasks[chunk.block]
        if chunk.block not in self._begun:
            self._begun.add(chunk.block)
            self.progress.start_task(task)
            self.progress.update(task, visible=True, advance=chunk.first_iteration)
            self._count(chunk.block, chunk.first_iteration)
        # The row after the last update is not an iteration.
        done = min(len(chunk.loss), self._left[chunk.block])
        shown = current_loss(chunk) + self._errors.get(chunk.block, "")
        self.progress.update(task, advance=done, loss=shown)
        self._count(chunk.block, done)

    def _split(self, split: BlockSplit) -> None:
        self.progress.update(self._tasks[split.block], visible=False)
        self._count(split.block, self._left[split.block])
        for number, lanes in split.parts:
            self._totals[number] = self._left[number] = self._totals[split.block]
            self._add(number, [self._lanes[lane] for lane in lanes])
        if self._all is not None:
            more = len(split.parts) * self._totals[split.block]
            total = self.progress.tasks[self._all].total or 0
            self.progress.update(self._all, total=total + more)

    def _count(self, block: int, iterations: int) -> None:
        """Move the bar of all blocks on; a block that ended early counts as a whole one."""
        self._left[block] -= iterations
        if self._all is not None:
            self.progress.update(self._all, advance=iterations)


class _Speed(ProgressColumn):
    """Iterations per second."""

    @override
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f} it/s" if speed else "", justify="right")


class Lines:
    """Plain lines: the start, the progress every few seconds, the end of each block."""

    def __init__(self, plan: Plan, clock: Callable[[], float] = time.monotonic) -> None:
        self._plan = plan
        self._lanes: dict[int, Sequence[Lane]] = {
            block.number: block.lanes for block in plan.blocks
        }
        self._totals = {block.number: block.planned_updates for block in plan.blocks}
        self._clock = clock
        self._last = clock()
        self._blocks = len(plan.blocks)
        self._evaluates = _evaluates(plan)
        self._begun = False
        self._ended = 0

    def observe(self, record: Record) -> None:
        """Print a line where there is something to say."""
        if not self._begun:
            self._begun = True
            self._say_what_runs()
        match record:
            case TraceChunk():
                self._progress(record)
            case EvaluationRows() if self._evaluates and record.split != "train":
                name = title(self._lanes[record.block])
                say(f"  {name}: iteration {record.iteration}, {current_error(record)}")
            case BlockResult():
                self._end(record)
            case BlockSplit():
                self._split(record)

    def _say_what_runs(self) -> None:
        plan = self._plan
        counts = [(len(plan.lanes), "lane"), (len(plan.blocks), "block"), (plan.workers, "worker")]
        parts = [f"{count} {noun}{'' if count == 1 else 's'}" for count, noun in counts]
        say(f"{plan.suite.name}: {', '.join(parts)}")

    def _progress(self, chunk: TraceChunk) -> None:
        now = self._clock()
        if now - self._last >= SECONDS_BETWEEN_LINES:
            self._last = now
            total = self._totals[chunk.block]
            done = min(chunk.first_iteration + len(chunk.loss), total)
            name = title(self._lanes[chunk.block])
            say(f"  {name}: iteration {done} of {total}, loss {current_loss(chunk)}")

    def _end(self, result: BlockResult) -> None:
        self._ended += 1
        if self._blocks <= MOST_BARS:
            statuses = ", ".join(sorted({lane.status for lane in result.lanes}))
            name = title(self._lanes[result.block])
            say(f"  {name}: {statuses} ({self._ended} of {self._blocks} blocks)")

    def _split(self, split: BlockSplit) -> None:
        self._blocks += len(split.parts) - 1
        for number, lanes in split.parts:
            self._lanes[number] = [self._plan.lanes[lane] for lane in lanes]
            self._totals[number] = self._totals[split.block]
        reason = split.message or "does not fit into memory"
        say(f"  {title(self._lanes[split.block])}: {reason}, split in two")
