"""What a run shows while it goes on: bars in a terminal or a notebook, plain lines elsewhere."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
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

from optbench.display.blocks import titles
from optbench.display.notebook import bar, in_notebook
from optbench.display.screen import console, say
from optbench.records import BlockResult, BlockSplit, EvaluationRows, Lane, Record, TraceChunk
from optbench.runs.pipeline import Plan

MOST_BARS = 12
"""Up to so many blocks each has a bar; of more only those at work, beside one for all."""

REFRESHES_PER_SECOND = 4
"""Of the bars, per second; each takes about a hundredth of a second from the run."""

ROOM_FOR_ECHO = 4
"""Columns left free behind bars, where terminals echo Ctrl-C twice: ^C^C must not begin a line."""

SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def display(plan: Plan, *, quiet: bool) -> Iterator[Callable[[Record], None]]:
    """Yield the function that is to be called with every record of a run."""
    if quiet:
        yield lambda record: None
        return
    if in_notebook():
        with bar(plan) as observe:
            yield observe
        return
    screen = console(stderr=True)
    if not has_bars(screen):
        lines = Lines(plan)
        yield lines.observe
        lines.end()
        return
    bars = Bars(plan, screen)
    with bars.progress:
        yield bars.observe


def has_bars(screen: Console) -> bool:
    """Say whether a screen can show bars: a terminal that moves its cursor."""
    return screen.is_terminal and not screen.is_dumb_terminal


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


class _Narrower:
    """Shows something in less than the width of the screen, and leaves the cursor there."""

    def __init__(self, shown: RenderableType) -> None:
        self._shown = shown

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = max(1, options.max_width - ROOM_FOR_ECHO)
        yield from console.render(self._shown, options.update_width(width))


class _Headed(Progress):
    """Bars below a line of text."""

    head: Callable[[], str] | None = None

    @override
    def get_renderables(self) -> Iterable[RenderableType]:
        if self.head is not None:
            yield Text(self.head())
        for bars in super().get_renderables():
            yield _Narrower(bars)


class Bars:
    """One bar per block: iterations, iterations per second, time left, current loss.

    ``head`` tells what stands above them.
    """

    def __init__(self, plan: Plan, screen: Console, head: Callable[[], str] | None = None) -> None:
        self.progress = _Headed(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            _Speed(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[loss]}", justify="right", markup=False),
            console=screen,
            refresh_per_second=REFRESHES_PER_SECOND,
            transient=True,
            expand=True,
        )
        self.progress.head = head
        self._all_lanes = plan.lanes
        self._lanes: dict[int, Sequence[Lane]] = {
            block.number: block.lanes for block in plan.blocks
        }
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
        for number, name in titles(self._lanes).items():
            self._add(number, name)

    def _add(self, number: int, name: str) -> None:
        self._tasks[number] = self.progress.add_task(
            name, total=self._totals[number], loss="", start=False, visible=self._few
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
        del self._lanes[split.block]
        for number, lanes in split.parts:
            self._totals[number] = self._left[number] = self._totals[split.block]
            self._lanes[number] = [self._all_lanes[lane] for lane in lanes]
        names = titles(self._lanes)
        for number, _ in split.parts:
            self._add(number, names[number])
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


class Pace:
    """Says when a line may be printed again: whatever it is about, not before ten seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last = clock()

    def is_due(self) -> bool:
        """Say whether a line may be printed, which is then the last one."""
        now = self._clock()
        if now - self._last < SECONDS_BETWEEN_LINES:
            return False
        self._last = now
        return True


class Lines:
    """Plain lines: the start of a run, how far it is every ten seconds, its end."""

    def __init__(self, plan: Plan, clock: Callable[[], float] = time.monotonic) -> None:
        self._plan = plan
        self._lanes: dict[int, Sequence[Lane]] = {
            block.number: block.lanes for block in plan.blocks
        }
        self._titles = titles(self._lanes)
        self._totals = {block.number: block.planned_updates for block in plan.blocks}
        self._pace = Pace(clock)
        self._evaluates = _evaluates(plan)
        self._errors: dict[int, str] = {}
        self._begun = False
        self._ended = 0
        self._statuses: Counter[str] = Counter()

    def observe(self, record: Record) -> None:
        """Print a line where there is something to say, and it is time."""
        if not self._begun:
            self._begun = True
            self._say_what_runs()
        match record:
            case TraceChunk():
                if self._pace.is_due():
                    self._say_how_far(record)
            case EvaluationRows() if self._evaluates and record.split != "train":
                self._errors[record.block] = f", {current_error(record)}"
            case BlockResult():
                self._ended += 1
                self._statuses.update(lane.status for lane in record.lanes)
            case BlockSplit():
                self._split(record)

    def end(self) -> None:
        """Say what became of the lanes that have ended."""
        if self._statuses:
            counts = (f"{count:,} {status}" for status, count in sorted(self._statuses.items()))
            say(f"{self._plan.suite.name}: {', '.join(counts)}")

    def _say_what_runs(self) -> None:
        plan = self._plan
        counts = [(len(plan.lanes), "lane"), (len(plan.blocks), "block"), (plan.workers, "worker")]
        parts = [f"{count:,} {noun}{'' if count == 1 else 's'}" for count, noun in counts]
        say(f"{plan.suite.name}: {', '.join(parts)}")

    def _say_how_far(self, chunk: TraceChunk) -> None:
        total = self._totals[chunk.block]
        done = min(chunk.first_iteration + len(chunk.loss), total)
        loss = f"loss {current_loss(chunk)}{self._errors.get(chunk.block, '')}"
        blocks = len(self._lanes)
        ended = f" ({self._ended} of {blocks} blocks have ended)" if blocks > 1 else ""
        say(f"  {self._titles[chunk.block]}: iteration {done:,} of {total:,}, {loss}{ended}")

    def _split(self, split: BlockSplit) -> None:
        reason = split.message or "does not fit into memory"
        say(f"  {self._titles[split.block]}: {reason}, split in two")
        del self._lanes[split.block]
        for number, lanes in split.parts:
            self._lanes[number] = [self._plan.lanes[lane] for lane in lanes]
            self._totals[number] = self._totals[split.block]
        self._titles = titles(self._lanes)
