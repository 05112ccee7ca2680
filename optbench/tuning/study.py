"""A study: the rounds of a protocol, one after another, and what is written beside them.

Every round is a run, and what follows from it a pure function of its tables. So a study is carried
on as it is begun: rounds that have ended are read, one that was interrupted goes on from its
checkpoints, and the rest is run.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from os.path import isfile
from pathlib import Path
from typing import Any

import numpy as np

from optbench.device.base import Device
from optbench.device.choose import get_device
from optbench.engine.executor import one_blas_thread
from optbench.engine.stepper import Stepper
from optbench.errors import ResultsError
from optbench.records import Failure, Lane, RunTables, Status
from optbench.report.configurations import RANKED_BY
from optbench.runs.invocation import Execution, ShowProgress
from optbench.runs.layout import lay_out
from optbench.runs.pipeline import Plan, RunResult, new_invocation, plan_run, run_plan
from optbench.runs.resume import check_resumable, device_name, going_on, plan_rest, resume
from optbench.runs.reuse import Reused, find_reusable
from optbench.store.environment import describe_environment
from optbench.store.journal import clear
from optbench.store.lock import locked
from optbench.store.reader import read_description, read_run
from optbench.store.studies import (
    FINAL,
    is_study,
    new_study_directory,
    read_tune,
    write_trials,
    write_tune,
)
from optbench.store.writer import stop_paused
from optbench.suite.format import SuiteFile
from optbench.suite.resolve import Suite, resolve
from optbench.suite.values import plain_value
from optbench.tuning import tpe
from optbench.tuning.protocol import Entrant, Key, Protocol, TuneRequest, read_protocol, settle
from optbench.tuning.rounds import final_suite, next_trials, search_suite
from optbench.tuning.samplers import Trial
from optbench.tuning.scores import (
    Outcome,
    Winner,
    best,
    culled_lanes,
    outcomes,
    over_both,
    trial_rows,
    winner,
)

SEARCH, FINALISTS = "search", "finalists"

PROBE_STEPS = 64
"""Steps of a block from which the seconds of a lane's step are taken."""

FEWEST_JUDGING_SEEDS = 6
"""With fewer no verdict on two optimizers is possible at 5 %."""

Notice = Callable[[str], None]


@dataclass(frozen=True)
class Step:
    """What a study is about to run.

    ``trials`` is how many each optimizer has, and ``best`` the smallest score of each so far.
    """

    phase: str
    run: str
    trials: Mapping[Key, int]
    best: Mapping[Key, float] = field(default_factory=dict)


@dataclass(frozen=True)
class StudyResult:
    """Where the results of a study are, how it ended, and what is wrong with it.

    Attributes
    ----------
    winners
        What was chosen; empty unless the search has ended.
    failures
        What lanes raised, in all rounds.
    """

    path: Path
    status: Status
    protocol: Protocol
    winners: tuple[Winner, ...] = ()
    failures: tuple[Failure, ...] = ()

    @property
    def hopeless(self) -> list[Entrant]:
        """The entrants without one trial that has a finite score."""
        return [each.entrant for each in self.winners if not np.isfinite(each.search_score)]

    @property
    def doubts(self) -> list[str]:
        """What ``--strict`` refuses, each in a line."""
        at_edge = [
            f"{each.entrant.label} on {each.entrant.problem}: {each.edge}"
            for each in self.winners
            if each.edge is not None
        ]
        few = len(self.protocol.evaluation_seeds) < FEWEST_JUDGING_SEEDS
        random = any(entrant.random for entrant in self.protocol.entrants)
        return at_edge + [f"fewer than {FEWEST_JUDGING_SEEDS} evaluation seeds"] * (few and random)


def begin(
    request: TuneRequest,
    execution: Execution,
    notice: Notice = lambda message: None,
) -> "tuple[Device, Protocol]":
    """Return the device and the protocol of a new study; nothing is written."""
    device = get_device(execution.device)

    def measure(suite: Suite) -> dict[Key, float]:
        return step_seconds(suite, device, execution.workers)

    return device, settle(request, execution.data_folder, measure, notice)


def tune(
    request: TuneRequest,
    execution: Execution,
    notice: Notice = lambda message: None,
    progress: ShowProgress = lambda plan: nullcontext(lambda record: None),
    announce: Callable[[Step], None] = lambda step: None,
) -> StudyResult:
    """Make a study.

    Parameters
    ----------
    request
        What is asked for.
    execution
        How runs are made.
    notice
        Gets what the user should know.
    progress
        What shows each run, as of :func:`optbench.runs.invocation.run_all`.
    announce
        Is told what is run next.

    Raises
    ------
    SuiteError
        For whatever ``optbench tune`` exits with code 2.
    """
    device, protocol = begin(request, execution, notice)
    path = new_study_directory(Path(execution.out), protocol.base.name)
    meta = {
        "started": _now(),
        "status": Status.RUNNING,
        "device": device.describe(),
        "environment": describe_environment(),
        **({"optuna": tpe.optuna_version()} if protocol.sampler == "tpe" else {}),
        **protocol.as_meta(),
        "rounds": [],
        "winners": [],
    }
    with locked(path, notice):
        write_tune(path, meta)
        study = _Study(path, meta, protocol, device, execution, notice, progress, announce)
        return study.carry_on()


def resume_study(
    path: Path,
    execution: Execution,
    notice: Notice = lambda message: None,
    progress: ShowProgress = lambda plan: nullcontext(lambda record: None),
    announce: Callable[[Step], None] = lambda step: None,
    *,
    force: bool = False,
) -> StudyResult:
    """Go on with a study that was interrupted or killed; see :func:`tune`.

    Raises
    ------
    ResultsError
        If it has ended, or another process tunes it.
    """
    with locked(path, notice):
        meta = read_tune(path)
        if meta["status"] not in (Status.RUNNING, Status.INTERRUPTED):
            raise ResultsError(f"'{path}' has ended ({meta['status']}): there is nothing to resume")
        protocol = read_protocol(meta, execution.data_folder)
        device = get_device(device_name(meta))
        study = _Study(
            path,
            {**meta, "status": Status.RUNNING},
            protocol,
            device,
            execution,
            notice,
            progress,
            announce,
            force=force,
        )
        return study.carry_on()


class _RoundInterruptedError(Exception):
    """A round was interrupted, and is kept."""


@dataclass
class _Study:
    """A study while it is carried on, in a directory that this process has locked.

    ``paused`` is the run of the rung from which trials are to go on, and its suite.
    """

    path: Path
    meta: dict[str, Any]
    protocol: Protocol
    device: Device
    execution: Execution
    notice: Notice
    progress: ShowProgress
    announce: Callable[[Step], None]
    force: bool = False
    search: dict[Key, list[Outcome]] = field(default_factory=dict)
    finalists: dict[Key, list[Outcome]] = field(default_factory=dict)
    winners: dict[Key, Winner] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    rounds: list[dict[str, Any]] = field(default_factory=list)
    paused: tuple[Path, Suite] | None = None
    invocation: str = field(default_factory=new_invocation)

    def carry_on(self) -> StudyResult:
        """Run what has not been run."""
        self.meta = {key: value for key, value in self.meta.items() if key != "ended"}
        self._write(Status.RUNNING)
        try:
            self._search()
            self._try_finalists()
            self._choose()
            self._judge()
        except (_RoundInterruptedError, KeyboardInterrupt) as stop:
            self._write(Status.INTERRUPTED)
            if isinstance(stop, KeyboardInterrupt):
                raise
            return self._result(Status.INTERRUPTED)
        status = Status.FAILED if self.failures else Status.DONE
        self._write(status)
        return self._result(status)

    def _result(self, status: Status) -> StudyResult:
        return StudyResult(
            self.path,
            status,
            self.protocol,
            tuple(self.winners.values()),
            tuple(self.failures),
        )

    def _search(self) -> None:
        while tried := next_trials(self.protocol, self._scores()):
            for rung in count():
                tried = self._climb(rung, tried)
                if not tried:
                    break

    def _climb(self, rung: int, tried: Mapping[Key, Sequence[Trial]]) -> dict[Key, list[Trial]]:
        """Take trials to a rung, the only one without halving; return those that go on."""
        entrants = [entrant for entrant in self.protocol.entrants if entrant.key in tried]
        plans = {entrant.key: self.protocol.rungs(entrant) for entrant in entrants}
        higher = {key: plan for key, plan in plans.items() if rung + 1 < len(plan)}
        pauses = {problem: plan[rung][0] for (problem, _), plan in higher.items()}
        name = f"{SEARCH}-{len(self.rounds):03d}"
        suite = self._resolved(
            search_suite(self.protocol, name, tried, self.protocol.tuning_seeds, pauses)
        )
        tables = self._round(SEARCH, name, suite, tried)
        if self.paused is not None:
            clear(self.paused[0])
        self.paused = (self.path / name, suite) if higher else None
        lanes = tables.lanes.sort_values("lane")
        survivors: dict[Key, list[Trial]] = {}
        culled: list[int] = []
        for entrant in entrants:
            key, metric = entrant.key, self.protocol.metrics[entrant.problem]
            found = outcomes(tables, entrant, tried[key], metric, name)
            if key in higher:
                kept = {each.trial.number for each in best(found, higher[key][rung + 1][1])}
                survivors[key] = [trial for trial in tried[key] if trial.number in kept]
                culled += culled_lanes(lanes, entrant, tried[key], survivors[key])
                found = [
                    each
                    if each.trial.number in kept
                    else replace(each, culled_at=higher[key][rung][0])
                    for each in found
                ]
            told = {each.trial.number: each for each in (*self.search.get(key, ()), *found)}
            self.search[key] = list(told.values())
        if culled:
            with locked(self.path / name, self.notice):
                workers = int(lanes["workers"].iloc[0])
                stop_paused(self.path / name, lay_out(suite, self.device.kind), culled, workers)
        self._write(Status.RUNNING)
        return survivors

    def _try_finalists(self) -> None:
        tried = {
            entrant.key: [
                each.trial for each in best(self.search[entrant.key], self.protocol.finalists)
            ]
            for entrant in self.protocol.retried
        }
        if tried:
            suite = search_suite(self.protocol, FINALISTS, tried, self.protocol.finalist_seeds)
            tables = self._round(FINALISTS, FINALISTS, self._resolved(suite), tried)
            for entrant in self.protocol.retried:
                key, metric = entrant.key, self.protocol.metrics[entrant.problem]
                self.finalists[key] = outcomes(tables, entrant, tried[key], metric, FINALISTS)
            self._write(Status.RUNNING)

    def _choose(self) -> None:
        for entrant in self.protocol.entrants:
            found = self._finalists_of(entrant.key)
            self.winners[entrant.key] = winner(entrant, self.search[entrant.key], found)
        self._write(Status.RUNNING)

    def _judge(self) -> None:
        chosen = {key: won.trial for key, won in self.winners.items()}
        suite = self._resolved(final_suite(self.protocol, chosen))
        self._round(FINAL, FINAL, suite, {key: [trial] for key, trial in chosen.items()})

    def _scores(self) -> dict[Key, list[tuple[Trial, float]]]:
        return {
            key: [(each.trial, each.score) for each in found] for key, found in self.search.items()
        }

    def _finalists_of(self, key: Key) -> list[Outcome]:
        return over_both(self.search[key], self.finalists.get(key, []))

    def _resolved(self, suite: SuiteFile) -> Suite:
        return resolve(suite, data_dir=self.execution.data_folder)

    def _round(
        self, phase: str, name: str, suite: Suite, tried: Mapping[Key, Sequence[Trial]]
    ) -> RunTables:
        """Return the tables of a round, which is run unless it has ended."""
        counts = {key: len(trials) for key, trials in tried.items()}
        self.rounds.append({"phase": phase, "run": name, "trials": sum(counts.values())})
        best_so_far = {key: min(each.score for each in found) for key, found in self.search.items()}
        self.announce(Step(phase, name, counts, best_so_far))
        path = self.path / name
        halves = phase == SEARCH and self.protocol.halving is not None
        reusable = self._ended_earlier if halves else self._reusable
        result = self._kept(path) or self._run(path, suite, reusable)
        self.failures += result.failures
        if result.status is Status.INTERRUPTED:
            raise _RoundInterruptedError
        return read_run(path, RANKED_BY)

    def _kept(self, path: Path) -> RunResult | None:
        """Return the result of a round that has ended."""
        if not isfile(path / "run.json"):
            return None
        meta = read_description(path)
        if meta["status"] in (Status.RUNNING, Status.INTERRUPTED):
            return None
        failures = tuple(
            Failure(each["message"], tuple(each["lanes"]), each["traceback"])
            for each in meta.get("failures", ())
        )
        return RunResult(path, Status(meta["status"]), failures)

    def _run(
        self, path: Path, suite: Suite, reusable: Callable[[Sequence[Lane]], Sequence[Reused]]
    ) -> RunResult:
        """Begin a round, or go on with it."""
        if isfile(path / "run.json"):
            check_resumable(path, self.device, force=self.force)
            plan = self._going_on(plan_rest(path, suite, self.device, self.execution.workers))
            with self.progress(plan) as observe:
                return resume(
                    path, plan, self.device, observe, self.execution.checkpoint_every, self.notice
                )
        if path.exists():  # it was killed before anything was run
            shutil.rmtree(path)
        plan = self._going_on(plan_run(suite, self.device, self.execution.workers, reusable))
        with self.progress(plan) as observe:
            return run_plan(
                plan,
                self.device,
                self.path,
                self.invocation,
                observe,
                self.execution.checkpoint_every,
                self.notice,
                directory=path.name,
            )

    def _going_on(self, plan: Plan) -> Plan:
        """Return a plan whose lanes go on where the rung before has paused them."""
        return plan if self.paused is None else going_on(plan, *self.paused, self.device)

    def _ended_earlier(self, lanes: Sequence[Lane]) -> list[Reused]:
        """Return which lanes of a rung have ended before an earlier one."""
        return find_reusable(self.path, lanes, diverged=True)

    def _reusable(self, lanes: Sequence[Lane]) -> list[Reused]:
        """Return which lanes earlier runs and rounds of studies have finished."""
        if not self.execution.reuse:
            return []
        out = Path(self.execution.out)
        left, found = list(lanes), []
        studies = sorted(path for path in out.iterdir() if is_study(path) and path != self.path)
        for folder in (out, *reversed(studies)):
            part = find_reusable(folder, left, diverged=True)
            taken = {number for reused in part for number in reused.lanes}
            left = [lane for lane in left if lane.number not in taken]
            found += part
        return found

    def _write(self, status: Status) -> None:
        """Write tune.json and, once there are any, the trials."""
        ended = status not in (Status.RUNNING, Status.INTERRUPTED)
        entrants = self.protocol.entrants
        if self.search:
            finalists = {key: self._finalists_of(key) for key in self.finalists}
            phases = {SEARCH: self.search, FINALISTS: self.finalists}
            write_trials(self.path, trial_rows(entrants, phases, self.winners, finalists))
        meta = {
            **self.meta,
            "status": status,
            **({"ended": _now()} if ended else {}),
            "rounds": self.rounds,
            "winners": [_described(won) for won in self.winners.values()],
        }
        write_tune(self.path, meta)


def _described(won: Winner) -> dict[str, Any]:
    values = plain_value(won.trial.values)
    return {
        "problem": won.entrant.problem,
        "label": won.entrant.label,
        "trial": won.trial.number,
        "hyperparameters": {
            name: str(value) if isinstance(value, list | bool) else value
            for name, value in values.items()
        },
        "search_score": won.search_score,
        "finalist_score": won.finalist_score,
        "edge": won.edge,
    }


def step_seconds(suite: Suite, device: Device, workers: int | None) -> dict[Key, float]:
    """Return the seconds of a lane's step of each optimizer on each problem.

    Each is timed over :data:`PROBE_STEPS` steps of the block that a run of the suite would have.
    """
    found: dict[Key, list[float]] = {}
    plan = plan_run(suite, device, workers)
    with device.active(), one_blas_thread(), device.residents():
        for block in plan.blocks:
            stepper = Stepper(block, device)
            steps = min(PROBE_STEPS, block.iterations)
            stepper.advance(0, steps)
            gradient, update = stepper.take_seconds()
            for lane, seconds in zip(block.lanes, (gradient + update) / steps, strict=True):
                found.setdefault((lane.problem, lane.label), []).append(float(seconds))
    return {key: float(np.median(seconds)) for key, seconds in found.items()}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
