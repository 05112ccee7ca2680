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

from optbench.cluster import Cluster
from optbench.device.base import Device
from optbench.engine.executor import one_blas_thread
from optbench.engine.recorder import TraceRows
from optbench.engine.stepper import Stepper
from optbench.errors import ResultsError, SuiteError, argument
from optbench.records import (
    NUMERICS_VERSION,
    SCHEMA_VERSION,
    STEPS_TO_TARGET,
    Failure,
    Lane,
    RunTables,
    Status,
)
from optbench.report.configurations import RANKED_BY, ranked_lanes
from optbench.runs.invocation import Execution, ShowProgress
from optbench.runs.layout import lay_out
from optbench.runs.pipeline import (
    Plan,
    RunResult,
    new_invocation,
    plan_run,
    run_plan,
    working_directory,
)
from optbench.runs.resume import (
    check_environment,
    check_lanes,
    check_resumable,
    device_on,
    going_on,
    plan_rest,
    resume,
)
from optbench.runs.reuse import Reused, find_reusable
from optbench.store.environment import describe_environment
from optbench.store.journal import clear
from optbench.store.lock import locked
from optbench.store.pack import refuse_pack
from optbench.store.reader import read_description, read_run
from optbench.store.studies import (
    FINAL,
    new_study_directory,
    read_tune_as_written,
    write_trials,
    write_tune,
)
from optbench.store.thinning import ALL, kept_every
from optbench.store.writer import stop_paused
from optbench.suite.format import SuiteFile
from optbench.suite.resolve import Suite, resolve
from optbench.tuning import tpe
from optbench.tuning.outlook import (
    FINALISTS,
    SEARCH,
    Outlook,
    Share,
    first_plan,
    foresee,
    shares,
    steps_after,
)
from optbench.tuning.protocol import Entrant, Key, Protocol, TuneRequest
from optbench.tuning.rounds import final_suite, next_trials, search_suite
from optbench.tuning.samplers import Trial
from optbench.tuning.scores import (
    Outcome,
    Winner,
    best,
    culled_lanes,
    outcomes,
    over_both,
    recorded,
    trial_rows,
    winner,
)
from optbench.tuning.settling import settle
from optbench.tuning.targets import begun, with_steps
from optbench.tuning.written import read_protocol

PROBE_STEPS = 64
"""Steps of a block from which the seconds of a lane's step are taken."""

SEARCH_ROWS = 200
"""Rows of a lane's trace that the search keeps; only the final's are looked at one by one."""

FEWEST_JUDGING_SEEDS = 6
"""With fewer no verdict on two optimizers is possible at 5 %."""

Notice = Callable[[str], None]


@dataclass(frozen=True)
class Tuning(Execution, TuneRequest):
    """What :func:`optbench.tune` takes: a request, and how to carry it out.

    Lanes that diverged are reused with the others, and optimizers are timed alone in the final.
    """


@dataclass(frozen=True)
class Step:
    """What a study is about to run.

    Attributes
    ----------
    phase, run
        What the round is for, and the name of its run.
    trials
        How many each optimizer has.
    kept
        Whether the round has ended already, so that its run is read.
    best
        The score so far of each optimizer's best.
    metrics
        What that is the score by, on each problem.
    later
        Steps on each problem that come after the round.
    """

    phase: str
    run: str
    trials: Mapping[Key, int]
    kept: bool
    best: Mapping[Key, float]
    metrics: Mapping[str, str]
    later: Mapping[str, int]


@dataclass(frozen=True)
class StudyResult:
    """Where the results of a study are, how it ended, and what is wrong with it.

    Attributes
    ----------
    winners
        What was chosen; empty unless the search has ended.
    failures
        What lanes raised, by the name of the round.
    """

    path: Path
    status: Status
    protocol: Protocol
    winners: tuple[Winner, ...] = ()
    failures: Mapping[str, tuple[Failure, ...]] = field(default_factory=dict)

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
    device: Device,
    cluster: Cluster | None = None,
    notice: Notice = lambda message: None,
) -> tuple[Protocol, Plan]:
    """Return the protocol of a new study and the plan of its first round.

    Nothing is written, and what could not be run later is refused here.
    """
    every = kept_every(execution.kept)  # it refuses what is malformed
    if request.metric == STEPS_TO_TARGET and every > 1:
        raise SuiteError(
            f"{argument('trace', execution.trace)} with {argument('metric', STEPS_TO_TARGET)}: "
            "when a lane was at its "
            f"target takes all rows; leave out {argument('trace')}"
        )

    def measure(suite: Suite, unit: str) -> dict[Key, float]:
        of_step = step_seconds if unit == "s" else step_gradients
        return of_step(suite, device, execution.workers)

    protocol = settle(request, execution.data_folder, measure, notice)
    workers, data = execution.workers, execution.data_folder
    return protocol, first_plan(protocol, device, workers, data, cluster)


def outlook(
    request: TuneRequest,
    execution: Execution,
    notice: Notice = lambda message: None,
) -> Outlook:
    """Return what a study would take; nothing is written, and only a few steps are made."""
    with execution.opened(notice=notice, planning=True) as (device, cluster):
        protocol, plan = begin(request, execution, device, cluster, notice)
        return _foreseen(device, protocol, plan, execution)


def _foreseen(device: Device, protocol: Protocol, plan: Plan, execution: Execution) -> Outlook:
    reusing = _reusing_all(execution, _trace(execution, protocol))
    return foresee(protocol, plan, device, reusing.reusable)


def tune(
    request: TuneRequest,
    execution: Execution,
    notice: Notice = lambda message: None,
    progress: ShowProgress = lambda plan: nullcontext(lambda record: None),
    announce: Callable[[Step], None] = lambda step: None,
    expect: Callable[[Outlook], None] | None = None,
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
    expect
        Is told beforehand what the study takes, if anybody wants to know.

    Raises
    ------
    SuiteError
        For whatever ``optbench tune`` exits with code 2.
    """
    with execution.opened(notice=notice) as (device, cluster):
        protocol, plan = begin(request, execution, device, cluster, notice)
        if expect is not None:
            expect(_foreseen(device, protocol, plan, execution))
        path = new_study_directory(Path(execution.out), protocol.base.name)
        meta = {
            "started": _now(),
            "status": Status.RUNNING,
            "directory": working_directory(path),
            **_surroundings(device, protocol.sampler),
            **protocol.as_meta(),
            "trace": _trace(execution, protocol),
            "rounds": [],
            "winners": [],
        }
        with locked(path, notice):
            write_tune(path, meta)
            study = _Study(
                path, meta, protocol, device, cluster, execution, notice, progress, announce
            )
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

    ``force`` lets the environment be another than the study began in.

    Raises
    ------
    ResultsError
        If it has ended, or another process tunes it.
    """
    refuse_pack(path, "resume the study itself")
    with locked(path, notice):
        meta = read_tune_as_written(path)
        name = device_on(execution, meta)
        with execution.opened(name, notice) as (device, cluster):
            changed = _check_resumable(path, meta, device, force=force)
            protocol = read_protocol(meta, path, execution.data_folder)
            resumption = {
                "resumed": _now(),
                **(_surroundings(device, protocol.sampler) if changed else {}),
            }
            meta["resumes"] = [*meta.get("resumes", []), resumption]
            study = _Study(
                path,
                {**meta, "status": Status.RUNNING},
                protocol,
                device,
                cluster,
                execution,
                notice,
                progress,
                announce,
                force=force,
            )
            return study.carry_on()


def _surroundings(device: Device, sampler: str) -> dict[str, Any]:
    """Return what may change a study's numbers, or what it tries, beside its protocol."""
    return {
        "numerics_version": NUMERICS_VERSION,
        "device": device.describe(),
        "environment": describe_environment(),
        **({"optuna": tpe.optuna_version()} if sampler == "tpe" else {}),
    }


def _check_resumable(
    path: Path, meta: Mapping[str, Any], device: Device, *, force: bool
) -> list[str]:
    """Return what of the environment has changed; refuse a study that cannot go on.

    ``force`` lets the environment be another.
    """
    if meta["status"] not in (Status.RUNNING, Status.INTERRUPTED):
        raise ResultsError(f"'{path}' has ended ({meta['status']}): there is nothing to resume")
    if meta["schema_version"] < SCHEMA_VERSION:
        raise ResultsError(
            f"'{path}' was begun by an earlier optbench, whose summaries mean something else; "
            "begin it anew"
        )
    more = []
    if meta["sampler"] == "tpe" and meta.get("optuna") != tpe.optuna_version():
        more = [f"optuna: {meta.get('optuna')} then, {tpe.optuna_version()} now"]
    return check_environment(path, meta, device, more, force=force)


class _RoundInterruptedError(Exception):
    """A round was interrupted, or an interrupt came at its end; it is kept."""


@dataclass
class _Study:
    """A study while it is carried on, in a directory that this process has locked.

    ``paused`` is the run of the rung from which trials are to go on, and its suite.
    """

    path: Path
    meta: dict[str, Any]
    protocol: Protocol
    device: Device
    cluster: Cluster | None
    execution: Execution
    notice: Notice
    progress: ShowProgress
    announce: Callable[[Step], None]
    force: bool = False
    search: dict[Key, list[Outcome]] = field(default_factory=dict)
    finalists: dict[Key, list[Outcome]] = field(default_factory=dict)
    winners: dict[Key, Winner] = field(default_factory=dict)
    failures: dict[str, tuple[Failure, ...]] = field(default_factory=dict)
    rounds: list[dict[str, Any]] = field(default_factory=list)
    foreseen: tuple[Share, ...] = ()
    paused: tuple[Path, Suite] | None = None
    invocation: str = field(default_factory=new_invocation)

    def carry_on(self) -> StudyResult:
        """Run what has not been run."""
        self.foreseen = shares(self.protocol)
        self.meta = {key: value for key, value in self.meta.items() if key != "ended"}
        self._write(Status.RUNNING)
        try:
            self._search()
            self._try_finalists()
            self._choose()
            self._judge()
        except (_RoundInterruptedError, KeyboardInterrupt):
            self._write(Status.INTERRUPTED)
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
            self.failures,
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
        self.protocol = replace(self.protocol, goals=begun(self.protocol.goals, tables))
        tables = with_steps(tables, self.protocol.goals)
        if self.paused is not None:
            clear(self.paused[0])
        self.paused = (self.path / name, suite) if higher else None
        lanes = ranked_lanes(tables)
        survivors: dict[Key, list[Trial]] = {}
        culled: list[int] = []
        for entrant in entrants:
            key, metric = entrant.key, self.protocol.metrics[entrant.problem]
            found = outcomes(lanes, entrant, tried[key], metric, name)
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
            lanes = ranked_lanes(with_steps(tables, self.protocol.goals))
            for entrant in self.protocol.retried:
                key, metric = entrant.key, self.protocol.metrics[entrant.problem]
                self.finalists[key] = outcomes(lanes, entrant, tried[key], metric, FINALISTS)
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
        path = self.path / name
        kept = self._kept(path, suite)
        self.announce(
            Step(
                phase,
                name,
                counts,
                kept is not None,
                self._best(),
                self.protocol.metrics,
                self._later(phase, counts),
            )
        )
        result = kept or self._run(path, suite)
        if result.failures:
            self.failures[name] = result.failures
        if result.status is Status.INTERRUPTED or (result.cancelled and phase != FINAL):
            raise _RoundInterruptedError
        return read_run(path, None if self.protocol.goals and phase != FINAL else RANKED_BY)

    def _best(self) -> dict[Key, float]:
        """Return the best score of each optimizer, of its finalists where it has some."""
        return {
            key: best(self._finalists_of(key) or found, 1)[0].score
            for key, found in self.search.items()
        }

    def _later(self, phase: str, counts: Mapping[Key, int]) -> dict[str, int]:
        """Return the steps on each problem after a round with so many trials."""
        tried = {key: count + len(self.search.get(key, ())) for key, count in counts.items()}
        return steps_after(self.protocol, phase, tried, self.foreseen)

    def _kept(self, path: Path, suite: Suite) -> RunResult | None:
        """Return the result of a round that has ended, with the lanes that it would have now."""
        if not isfile(path / "run.json"):
            return None
        meta = read_description(path)
        if meta["status"] in (Status.RUNNING, Status.INTERRUPTED):
            return None
        check_lanes(path, lay_out(suite, self.device.kind))
        failures = tuple(
            Failure(each["message"], tuple(each["lanes"]), each["traceback"])
            for each in meta.get("failures", ())
        )
        return RunResult(path, Status(meta["status"]), failures)

    def _run(self, path: Path, suite: Suite) -> RunResult:
        """Begin a round, or go on with it."""
        time_alone = self.execution.time_alone and path.name == FINAL
        if isfile(path / "run.json"):
            check_resumable(path, self.device, force=self.force)
            rest = plan_rest(path, suite, self.device, self.execution.workers, self.cluster)
            plan = self._going_on(rest)
            with self.progress(plan) as observe:
                return resume(
                    path,
                    plan,
                    self.device,
                    observe,
                    self.execution.checkpoint_every,
                    self.notice,
                    time_alone=time_alone,
                )
        if path.exists():  # it was killed before anything was run
            shutil.rmtree(path)
        trace = ALL if path.name == FINAL else str(self.meta["trace"])
        execution = _reusing_all(self.execution, trace)
        halves = self.protocol.halving is not None and path.name not in (FINALISTS, FINAL)
        reusable = self._ended_earlier if halves else execution.reusable
        workers, cluster = execution.workers, self.cluster
        plan = self._going_on(plan_run(suite, self.device, workers, reusable, cluster))
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
                time_alone=time_alone,
                trace=trace,
            )

    def _going_on(self, plan: Plan) -> Plan:
        """Return a plan whose lanes go on where the rung before has paused them."""
        return plan if self.paused is None else going_on(plan, *self.paused, self.device)

    def _ended_earlier(self, lanes: Sequence[Lane]) -> list[Reused]:
        """Return which lanes of a rung have ended before an earlier one."""
        return find_reusable(self.path, lanes, diverged=True)

    def _write(self, status: Status) -> None:
        """Write tune.json and, once there are any, the trials.

        While rounds are read that were made before, what they gave stays as it is.
        """
        if len(self.rounds) < len(self.meta["rounds"]):
            write_tune(self.path, {**self.meta, "status": status})
            return
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
            "target": self.protocol.targets,
            "rounds": self.rounds,
            "winners": [_described(won) for won in self.winners.values()],
        }
        write_tune(self.path, meta)


def _reusing_all(execution: Execution, trace: str) -> Execution:
    """Let lanes that diverged be taken over where any are: to a trial they are worth as much."""
    diverged = execution.reuse or execution.reuse_diverged
    return replace(execution, reuse_diverged=diverged, trace=trace)


def _trace(execution: Execution, protocol: Protocol) -> str:
    """Return which rows the search keeps: by default about :data:`SEARCH_ROWS` of each lane."""
    if execution.trace is not None:
        return execution.trace
    if protocol.halving is not None or protocol.goals:
        return ALL  # lanes that go on take their rows along; any row may be the one at the target
    every = min(entrant.iterations for entrant in protocol.entrants) // SEARCH_ROWS
    return f"every:{every}" if every > 1 else ALL


def _described(won: Winner) -> dict[str, Any]:
    return {
        "problem": won.entrant.problem,
        "label": won.entrant.label,
        "trial": won.trial.number,
        "hyperparameters": {name: recorded(value) for name, value in won.trial.values.items()},
        "search_score": won.search_score,
        "finalist_score": won.finalist_score,
        "edge": won.edge,
    }


def step_seconds(suite: Suite, device: Device, workers: int | None) -> dict[Key, float]:
    """Return the seconds of a lane's step of each optimizer on each problem.

    Each is timed over :data:`PROBE_STEPS` steps of the block that a run of the suite would have.
    """

    def seconds(stepper: Stepper, rows: TraceRows) -> np.ndarray:
        gradient, update = stepper.take_seconds()
        both: np.ndarray = gradient + update
        return both

    return _of_steps(suite, device, workers, seconds)


def step_gradients(suite: Suite, device: Device, workers: int | None) -> dict[Key, float]:
    """Return the gradients of a lane's step of each optimizer on each problem, on average.

    They are counted in :data:`PROBE_STEPS` steps; it is 1 unless the rule evaluates the loss again.
    """

    def gradients(stepper: Stepper, rows: TraceRows) -> np.ndarray:
        steps, lanes = rows.loss.shape
        return np.full(lanes, steps) + (0 if rows.evaluations is None else rows.evaluations.sum(0))

    return _of_steps(suite, device, workers, gradients)


def _of_steps(
    suite: Suite,
    device: Device,
    workers: int | None,
    taken: Callable[[Stepper, TraceRows], np.ndarray],
) -> dict[Key, float]:
    """Return the median over lanes of what a step takes; ``taken`` says it of a few, (lanes,)."""
    found: dict[Key, list[float]] = {}
    plan = plan_run(suite, device, workers)
    with device.active(), one_blas_thread(), device.residents():
        for block in plan.blocks:
            stepper = Stepper(block, device)
            steps = min(PROBE_STEPS, block.iterations)
            each = taken(stepper, stepper.advance(0, steps)) / steps
            for lane, cost in zip(block.lanes, each.tolist(), strict=True):
                found.setdefault((lane.problem, lane.label), []).append(cost)
    return {key: float(np.median(costs)) for key, costs in found.items()}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
