"""What a run shows while it goes on: bars in a terminal or a notebook, plain lines elsewhere."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import isfinite, isnan

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
from rich.table import Column
from rich.text import Text
from typing_extensions import override

from optbench.display.blocks import titles
from optbench.display.crew import LONGEST_WORKER, Crew, short
from optbench.display.notebook import bar, in_notebook
from optbench.display.screen import console, say
from optbench.display.shown import Shown, begins
from optbench.records import (
    BlockResult,
    BlockSplit,
    EvaluationRows,
    Lane,
    Record,
    TraceChunk,
    Underway,
)
from optbench.runs.pipeline import Plan

MOST_BARS = 12
"""Up to so many blocks each has a bar; of more only those at work, beside one for all."""

REFRESHES_PER_SECOND = 4
"""Of the bars, per second; each takes about a hundredth of a second from the run."""

ROOM_FOR_ECHO = 4
"""Columns left free behind bars, where terminals echo Ctrl-C twice: ^C^C must not begin a line."""

ROOM_FOR_NUMBERS = 36
"""Columns that a bar takes beside the names and its two numbers of iterations, at least."""

WIDE = 100
"""Columns of a screen from which on names of workers are shown at length."""

SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def display(plan: Plan, *, quiet: bool) -> Iterator[Callable[[Record], None]]:
    """Yield the function that is to be called with every record of a run."""
    if quiet:
        yield lambda record: None
        return
    crew = None if plan.cluster is None else Crew(plan.blocks, plan.cluster)
    head = None if crew is None else crew.head
    if in_notebook():
        with bar(plan, head) as observe:
            yield beside(crew, observe)
        return
    screen = console(stderr=True)
    if not has_bars(screen):
        lines = Lines(plan, crew=crew)
        yield beside(crew, lines.observe)
        lines.end()
        return
    bars = Bars(plan, screen, head)
    with bars.progress:
        yield beside(crew, bars.observe)


def beside(crew: Crew | None, observe: Callable[[Record], None]) -> Callable[[Record], None]:
    """Return what shows records to a crew first, if there is one."""
    if crew is None:
        return observe

    def both(record: Record) -> None:
        crew.observe(record)
        observe(record)

    return both


def has_bars(screen: Console) -> bool:
    """Say whether a screen can show bars: a terminal that moves its cursor."""
    return screen.is_terminal and not screen.is_dumb_terminal


def current_loss(loss: float) -> str:
    """Write a median loss; "diverged" where it is not finite.

    >>> current_loss(0.25), current_loss(float("inf"))
    ('0.25', 'diverged')
    """
    return f"{loss:.4g}" if isfinite(loss) else "diverged"


def current_error(rows: EvaluationRows) -> str:
    """Return the medians over lanes of the loss and the zero-one error over a split."""
    text = f"{rows.split} loss {np.median(rows.loss):.4g}"
    error = float(np.median(rows.error))
    return text if np.isnan(error) else f"{text}, error {100 * error:.2f} %"


def _evaluates(plan: Shown) -> bool:
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

    def __init__(self, plan: Shown, screen: Console, head: Callable[[], str] | None = None) -> None:
        self._most, self._room = LONGEST_WORKER, screen.width
        self._title = Column(no_wrap=True)
        self.progress = _Headed(
            *self._names(plan, screen.width),
            BarColumn(bar_width=None),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            _Speed(table_column=Column(no_wrap=True)),
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
            self._all = self.progress.add_task(
                name, total=sum(self._left.values()), loss="", worker=""
            )
        for number, name in titles(self._lanes).items():
            self._add(number, name)

    def _names(self, plan: Shown, width: int) -> list[ProgressColumn]:
        """Return the columns with the names of blocks and, on a cluster, of their workers.

        There they leave the others the room that these need.
        """
        if plan.cluster is None:
            return [TextColumn("{task.description}", markup=False)]
        self._most = LONGEST_WORKER if width >= WIDE else LONGEST_WORKER // 2
        total = max((block.planned_updates for block in plan.blocks), default=0)
        self._room = width - ROOM_FOR_NUMBERS - 2 * len(str(total))
        self._title.max_width = self._room
        return [
            TextColumn("{task.description}", markup=False, table_column=self._title),
            TextColumn("{task.fields[worker]}", markup=False),
        ]

    def _name_worker(self, block: int, worker: str) -> None:
        name = short(worker, self._most)
        self._title.max_width = max(
            self._most, min(self._title.max_width or 0, self._room - len(name))
        )
        self.progress.update(self._tasks[block], worker=name)

    def _add(self, number: int, name: str) -> None:
        self._tasks[number] = self.progress.add_task(
            name,
            total=self._totals[number],
            loss="",
            worker="",
            start=False,
            visible=self._few,
        )

    def observe(self, record: Record) -> None:
        """Move the bars on."""
        match record:
            case TraceChunk() | Underway():
                self._move(record)
            case EvaluationRows() if self._evaluates and record.split != "train":
                self._errors[record.block] = f"  {current_error(record)}"
            case BlockResult():
                self.progress.update(self._tasks[record.block], visible=self._few, worker="")
                self._count(record.block, self._left[record.block])
            case BlockSplit():
                self._split(record)

    def _move(self, record: TraceChunk | Underway) -> None:
        block, task = record.block, self._tasks[record.block]
        if block not in self._begun:
            self._begun.add(block)
            self.progress.start_task(task)
            self.progress.update(task, visible=True)
        self._reach(block, begins(record))
        self._reach(block, record.next_iteration)
        if isinstance(record, Underway):
            self._name_worker(block, record.worker)
        if not isnan(record.last_loss):
            shown = current_loss(record.last_loss) + self._errors.get(block, "")
            self.progress.update(task, loss=shown)

    def _reach(self, block: int, iteration: int) -> None:
        """Move a bar on to an iteration, unless the block has been there before."""
        # The row after the last update is not an iteration.
        done = min(iteration, self._totals[block]) - self._totals[block] + self._left[block]
        if done > 0:
            self.progress.update(self._tasks[block], advance=done)
            self._count(block, done)

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
    """Plain lines: the start of a run, how far it is every ten seconds, its end.

    On a cluster they tell of its ``crew``.
    """

    def __init__(
        self,
        plan: Shown,
        clock: Callable[[], float] = time.monotonic,
        crew: Crew | None = None,
    ) -> None:
        self._crew = crew
        self._plan = plan
        self._lanes: dict[int, Sequence[Lane]] = {
            block.number: block.lanes for block in plan.blocks
        }
        self._titles = titles(self._lanes)
        self._totals = {block.number: block.planned_updates for block in plan.blocks}
        self._reached = dict.fromkeys(self._totals, 0)
        self._workers: dict[int, str] = {}
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
            case TraceChunk() | Underway():
                self._reach(record)
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
        where = "" if plan.cluster is None else f" on {plan.cluster.where}"
        say(f"{plan.suite.name}: {', '.join(parts)}{where}")

    def _reach(self, record: TraceChunk | Underway) -> None:
        done = min(record.next_iteration, self._totals[record.block])
        self._reached[record.block] = max(self._reached[record.block], done)
        if isinstance(record, Underway) and record.worker:
            self._workers[record.block] = f" on {short(record.worker)}"

    def _say_how_far(self, record: TraceChunk | Underway) -> None:
        block = record.block
        title = f"{self._titles[block]}{self._workers.get(block, '')}"
        done = f"iteration {self._reached[block]:,} of {self._totals[block]:,}"
        loss = "" if isnan(record.last_loss) else f", loss {current_loss(record.last_loss)}"
        say(f"  {title}: {done}{loss}{self._errors.get(block, '')}{self._whole()}")

    def _whole(self) -> str:
        """Say how far the run is in all."""
        if self._crew is not None:
            return f" ({self._crew.line()})"
        blocks = len(self._lanes)
        return f" ({self._ended} of {blocks} blocks have ended)" if blocks > 1 else ""

    def _split(self, split: BlockSplit) -> None:
        reason = split.message or "does not fit into memory"
        say(f"  {self._titles[split.block]}: {reason}, split in two")
        del self._lanes[split.block]
        for number, lanes in split.parts:
            self._lanes[number] = [self._plan.lanes[lane] for lane in lanes]
            self._totals[number] = self._totals[split.block]
            self._reached[number] = 0
        self._titles = titles(self._lanes)
