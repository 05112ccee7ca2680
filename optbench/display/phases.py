"""What a study shows: what it is going to do, and each of its phases while it goes on."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isnan

from optbench.display.crew import Crew
from optbench.display.notebook import bar, in_notebook
from optbench.display.runs import Bars, Pace, beside, has_bars
from optbench.display.screen import console, say
from optbench.records import BlockResult, BlockSplit, Record, TraceChunk, Underway
from optbench.report.budgets import score
from optbench.report.protocol import metric_name
from optbench.report.sections import Column, Section
from optbench.report.terminal import to_rich
from optbench.runs.pipeline import Plan
from optbench.store.studies import FINAL
from optbench.tuning.outlook import FINALISTS, SEARCH, Outlook, Share
from optbench.tuning.protocol import OWN_SPACES, Key
from optbench.tuning.study import Step

TRUSTED_AFTER = 10.0
"""Seconds of a run from which on its own pace counts, and no longer the estimate before it."""


def roughly(seconds: float) -> str:
    """Write a time as one plans with it.

    >>> roughly(0.3), roughly(42.4), roughly(312.0), roughly(9000.0), roughly(400000.0)
    ('1 s', '42 s', '5 min', '2.5 h', '111 h')
    """
    if seconds < 99.5:
        return f"{max(1.0, seconds):.0f} s"
    if seconds < 99.5 * 60:
        return f"{seconds / 60:.0f} min"
    hours = seconds / 3600
    return f"{hours:.1f} h" if hours < 9.95 else f"{hours:.0f} h"


def expected(outlook: Outlook) -> list[Section]:
    """Return what a study is going to do: a table of what is searched for each problem."""
    protocol = outlook.protocol
    problems = list(dict.fromkeys(entrant.problem for entrant in protocol.entrants))
    return [_expected(outlook, problem) for problem in problems]


def _expected(outlook: Outlook, problem: str) -> Section:
    protocol = outlook.protocol
    entrants = [each for each in protocol.entrants if each.problem == problem]
    done: dict[str, list[Share]] = {each.label: [] for each in entrants}
    for share in outlook.shares:
        if share.problem == problem:
            done[share.label].append(share)
    rows = [
        [
            entrant.label,
            "\n".join(f"{name} {space}" for name, space in entrant.spaces.items()),
            f"{entrant.trials:,}",
            f"{sum(share.lanes for share in done[entrant.label]):,}",
            f"{sum(share.steps for share in done[entrant.label]):,}",
        ]
        for entrant in entrants
    ]
    metric = metric_name(protocol.metrics[problem])
    if problem in protocol.goals:
        metric += f" {protocol.goals[problem].rule}"
    plans = {each.label: _plan_of(done[each.label]) for each in entrants}
    sources = {
        each.label: f"spaces of {each.source}"
        if each.source == OWN_SPACES
        else f"spaces {protocol.spaces}, after {each.source}"
        for each in entrants
    }
    specific = [each.label for each in entrants if each.specific]
    return Section(
        f"{problem}: {protocol.sampler}, {protocol.budget} for each optimizer, by {metric}",
        [
            Column("optimizer", "name"),
            Column("searched", "word"),
            Column("trials"),
            Column("lanes", spare=2),
            Column("steps", spare=1),
        ],
        rows,
        facts=[*_grouped(plans), *_grouped(sources)],
        warnings=[f"{', '.join(specific)}: problem-specific spaces"] if specific else [],
    )


def _plan_of(shares: Sequence[Share]) -> str:
    """Say what an optimizer does on a problem, phase by phase."""
    words = {SEARCH: "{} trials", FINALISTS: "{} finalists", FINAL: "the winner"}
    parts = []
    for share in shares:
        what = words[share.phase].format(share.trials)
        if share.phase == FINAL and share.trials > 1:
            what += " and the defaults"
        parts.append(f"{what} × {share.seeds} seeds" if share.seeds > 1 else what)
    return ", then ".join(parts)


def _grouped(texts: Mapping[str, str]) -> list[str]:
    """Return texts with the labels that they are of, each text once."""
    labels: dict[str, list[str]] = {}
    for label, text in texts.items():
        labels.setdefault(text, []).append(label)
    return [f"{', '.join(those)}: {text}" for text, those in labels.items()]


def in_all(outlook: Outlook) -> str:
    """Say how many lanes a study has, and how long it takes."""
    lanes = sum(share.lanes for share in outlook.shares)
    steps = sum(share.steps for share in outlook.shares)
    reused = sum(outlook.reused.values())
    taken = f", {reused:,} of them taken over" if reused else ""
    workers = f"{outlook.workers} worker{'s' * (outlook.workers != 1)}"
    return (
        f"in all {lanes:,} lanes{taken}, {steps:,} steps: about {roughly(outlook.seconds)} on "
        f"{workers}, less if lanes diverge"
    )


class TimeLeft:
    """How long a study still takes: the steps that are left, at the pace of those made.

    Parameters
    ----------
    costs
        Seconds of a lane's step on each problem, all workers computing; where there are none, the
        pace is unknown until some steps have been made.
    clock
        Tells seconds.
    """

    def __init__(self, costs: Mapping[str, float], clock: Callable[[], float]) -> None:
        self._costs = costs
        self._clock = clock
        self._later = self._worked = self._seconds = 0.0
        self._last: float | None = None
        self._blocks: dict[int, _Block] = {}

    def begin(self, plan: Plan, later: Mapping[str, int]) -> None:
        """Begin a round, after which so many steps on each problem come."""
        self._later = sum(steps * self._cost(problem) for problem, steps in later.items())
        self._last = None
        self._blocks = {
            block.number: _Block(self._cost(block.lanes[0].problem), block.iterations).whole(
                len(block.lanes)
            )
            for block in plan.blocks
        }

    def observe(self, record: Record) -> None:
        """Count what has been done; a round's time begins with its first record."""
        now = self._clock()
        began, self._last = self._last, now
        self._seconds += 0.0 if began is None else now - began
        match record:
            case TraceChunk():
                block = self._blocks[record.block]
                going_on = int((record.rows == len(record.loss)).sum())
                made = record.first_iteration + len(record.loss)
                block.left = block.cost * going_on * max(0, block.iterations - made)
                self._worked += 0.0 if began is None else block.cost * float(record.rows.sum())
            case Underway():
                block = self._blocks[record.block]
                left = block.cost * block.lanes * max(0, block.iterations - record.next_iteration)
                if not isnan(record.last_loss):  # else it has only begun
                    self._worked += 0.0 if began is None else max(0.0, block.left - left)
                block.left = min(block.left, left)
            case BlockResult():
                self._blocks[record.block].left = 0.0
            case BlockSplit():
                block = self._blocks.pop(record.block)
                for number_, lanes in record.parts:
                    self._blocks[number_] = block.whole(len(lanes))

    def seconds(self) -> float | None:
        """Return the time left, or None before there is a pace."""
        left = self._later + sum(block.left for block in self._blocks.values())
        if self._seconds >= TRUSTED_AFTER and self._worked:
            return left * self._seconds / self._worked
        return left if self._costs else None

    def _cost(self, problem: str) -> float:
        return self._costs.get(problem, 1.0)


@dataclass
class _Block:
    """A block's step of one lane, its iterations, and what is left of it, in seconds."""

    cost: float
    iterations: int
    lanes: int = 0
    left: float = 0.0

    def whole(self, lanes: int) -> "_Block":
        """Return a block of so many lanes that has not begun."""
        return _Block(self.cost, self.iterations, lanes, self.cost * self.iterations * lanes)


class Phases:
    """Shows a study: a line for each round, its bars, the best so far, the time left in all.

    Where no terminal shows bars, rounds of a phase after its first are not announced, and every
    ten seconds a line says how far the study is.
    """

    def __init__(self, *, quiet: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._quiet = quiet
        self._talks = not quiet and not in_notebook()  # there the bar says enough
        self._clock = clock
        self._pace = Pace(clock)
        self._time = TimeLeft({}, clock)
        self._step: Step | None = None
        self._lanes = self._ended = 0
        self._crew: Crew | None = None

    def expect(self, outlook: Outlook) -> None:
        """Show what a study is going to do, and how long that takes."""
        costs = outlook.step_seconds
        shared = {problem: seconds / outlook.workers for problem, seconds in costs.items()}
        self._time = TimeLeft(shared, self._clock)
        if self._talks:
            console(stderr=True).print(to_rich(expected(outlook)))
            say(in_all(outlook))

    def announce(self, step: Step) -> None:
        """Show what is best so far, and which round is next."""
        before, self._step = self._step, step
        goes_on = before is not None and before.phase == step.phase
        if not self._talks or (goes_on and not has_bars(console(stderr=True))):
            return
        for line in best_so_far(step.best, step.metrics):
            say(f"  {line}")
        count = sum(step.trials.values())
        noun = ("winner" if step.phase == FINAL else "trial") + "s" * (count != 1)
        what = f"{count:,} {noun}{' again' * (step.phase == FINALISTS)}"
        say(f"{step.phase}: {what}{', run already' if step.kept else ''}")

    @contextmanager
    def show(self, plan: Plan) -> Iterator[Callable[[Record], None]]:
        """Yield the function that is to be called with every record of a round."""
        if self._quiet or self._step is None:
            yield lambda record: None
            return
        self._lanes = len(plan.lanes)
        self._ended = self._lanes - sum(len(block.lanes) for block in plan.blocks)
        self._time.begin(plan, self._step.later)
        self._crew = None if plan.cluster is None else Crew(plan.blocks, plan.cluster)
        if in_notebook():
            with bar(plan, self._head) as shown:
                yield lambda record: self._observe(record, shown)
            return
        screen = console(stderr=True)
        if not has_bars(screen):
            yield lambda record: self._observe(record, self._say_how_far)
            return
        bars = Bars(plan, screen, self._head)
        with bars.progress:
            yield lambda record: self._observe(record, bars.observe)

    def _observe(self, record: Record, shown: Callable[[Record], None]) -> None:
        self._time.observe(record)
        if isinstance(record, BlockResult):
            self._ended += len(record.lanes)
        beside(self._crew, shown)(record)

    def _say_how_far(self, record: Record) -> None:
        if self._pace.is_due():
            crew = "" if self._crew is None else f" ({self._crew.line()})"
            say(f"  {self._state()}{crew}")

    def _head(self) -> str:
        """Say what stands above the bars."""
        return self._state() if self._crew is None else f"{self._state()}\n{self._crew.head()}"

    def _state(self) -> str:
        """Say how much of the round is done; a trial counts by the share of its lanes."""
        assert self._step is not None
        phase, trials = self._step.phase, sum(self._step.trials.values())
        count = (
            f"{self._ended:,} of {self._lanes:,} lanes"
            if phase == FINAL
            else f"{trials * self._ended // self._lanes:,} of {trials:,} trials"
        )
        left = self._time.seconds()
        return f"{phase}: {count}" + ("" if left is None else f", {roughly(left)} left in all")


def best_so_far(best: Mapping[Key, float], metrics: Mapping[str, str]) -> list[str]:
    """Return a line for each problem with the best score of each optimizer."""
    lines: dict[str, list[str]] = {}
    for (problem, label), value in best.items():
        lines.setdefault(problem, []).append(f"{label} {score(value, metrics[problem])}")
    return [f"best so far on {problem}: {', '.join(each)}" for problem, each in lines.items()]
