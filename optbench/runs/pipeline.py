"""From a suite to a plan, and from a plan to a directory of results."""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os.path import isfile, relpath
from pathlib import Path
from typing import Any
from uuid import uuid4

from optbench import rng
from optbench.cluster import Cluster
from optbench.device.base import Device
from optbench.engine.block import Block
from optbench.engine.executor import execute, useful_workers, worker_count
from optbench.errors import DeviceError, ResultsError, argument, printable
from optbench.problems.base import Problem
from optbench.problems.functions.base import SURFACE_POINTS, Function
from optbench.records import (
    NUMERICS_VERSION,
    PENALTY,
    POSITION_NAMES,
    Failure,
    Lane,
    Record,
    Status,
)
from optbench.runs.alone import alone_seconds
from optbench.runs.kept import keep_code
from optbench.runs.layout import block_seconds, lane_bytes, lay_out, plan_blocks
from optbench.runs.reuse import Reused
from optbench.runs.taken_up import TakenUp
from optbench.store.environment import calibration_seconds, describe_environment
from optbench.store.lock import locked
from optbench.store.places import make_folder
from optbench.store.reader import read_run
from optbench.store.studies import run_name
from optbench.store.thinning import ALL
from optbench.store.writer import RunWriter, new_run_directory
from optbench.suite.resolve import Suite
from optbench.suite.travel import pack

CHECKPOINT_SECONDS = 30.0
"""Time from one checkpoint of a block to the next."""

PROCESSES_AFTER = 10.0
"""Seconds that each worker is expected to compute from which on it is a process, not a thread.
Starting one and loading the data there takes about a second; threads lose up to a fifth to waiting
for the interpreter's lock."""

NETWORK_BYTES = 512 * 2**20
"""Address space that BLAS, threads and the files of results take while a network is trained; where
it is lacking they end the process."""


@dataclass(frozen=True)
class Plan:
    """A suite made ready to run.

    Blocks are what is to be run; of a run that is resumed, only what has not ended. Those made by
    splitting are numbered from ``first_new``, by default from the one after all of these. Lanes
    that an earlier run has finished become a block of the number beside them; what an earlier run
    recorded of lanes that it has paused is copied before they go on. Workers are threads, or
    ``processes``, or those of a ``cluster``.
    """

    suite: Suite
    lanes: tuple[Lane, ...]
    blocks: tuple[Block, ...]
    workers: int
    first_new: int | None = None
    reused: tuple[tuple[int, Reused], ...] = ()
    taken_up: tuple[TakenUp, ...] = ()
    processes: bool = False
    cluster: Cluster | None = None

    @property
    def writes_elsewhere(self) -> bool:
        """Whether blocks are written where they run."""
        return self.cluster is not None and self.cluster.writes


@dataclass(frozen=True)
class RunResult:
    """Where the results of a run are, how it ended, and what lanes raised.

    It has ``failed`` if a lane raised, and ``diverged`` if all lanes did. It may have ended before
    an interrupt was heard, which ``cancelled`` tells: nothing more is to be run then.
    """

    path: Path
    status: Status
    failures: tuple[Failure, ...] = ()
    cancelled: bool = False


def new_invocation() -> str:
    """Return an id for the runs of one invocation."""
    return uuid4().hex[:12]


def plan_run(
    suite: Suite,
    device: Device,
    workers: int | None = None,
    reusable: Callable[[Sequence[Lane]], Sequence[Reused]] = lambda lanes: (),
    cluster: Cluster | None = None,
) -> Plan:
    """Lay out the lanes of a suite and plan its blocks.

    ``workers`` is the number of worker threads, by default as many as suit the device and never
    more than have work; on a ``cluster``, whose device that is, it has its own. ``reusable`` says
    which lanes need not be run again.
    """
    _check_device(suite, device)
    lanes = lay_out(suite, device.kind)
    reused = reusable(lanes)
    finished = {number for part in reused for number in part.lanes}
    rest = [lane for lane in lanes if lane.number not in finished]
    if cluster is not None:
        check_that_code_travels(suite)
    blocks = planned_blocks(suite, rest, device, workers, cluster) if rest else ()
    numbered = tuple(enumerate(reused, start=len(blocks)))
    first_new = len(blocks) + len(reused)
    return Plan(
        suite,
        lanes,
        blocks,
        first_new=first_new,
        reused=numbered,
        **staffed(blocks, device, workers, cluster),
    )


def check_that_code_travels(suite: Suite) -> None:
    """Refuse a suite with code that workers of a cluster cannot have."""
    for resolved in suite.problems:
        pack([resolved.problem, *(entry.optimizer for entry in resolved.optimizers)])


def planned_blocks(
    suite: Suite,
    lanes: Sequence[Lane],
    device: Device,
    workers: int | None,
    cluster: Cluster | None,
) -> tuple[Block, ...]:
    """Return the blocks of some lanes of a suite."""
    if cluster is not None:
        sharing = max(1, cluster.workers)  # of a scheduler that waits for its workers
    else:
        # On a GPU lanes are the same to the bit for one plan only: workers have no say in it.
        sharing = 1 if device.kind == "gpu" else worker_count(device, workers)
    by_time = cluster is not None and device.kind == "cpu"
    return plan_blocks(suite, lanes, device.block_bytes, workers=sharing, by_time=by_time)


def staffed(
    blocks: Sequence[Block], device: Device, workers: int | None, cluster: Cluster | None
) -> dict[str, Any]:
    """Return who is to run blocks, as a :class:`Plan` takes it."""
    if cluster is not None:
        return {"workers": max(1, min(len(blocks), cluster.workers)), "cluster": cluster}
    useful = useful_workers(blocks, worker_count(device, workers))
    return {"workers": useful, "processes": in_processes(blocks, device, useful)}


def in_processes(blocks: Sequence[Block], device: Device, workers: int) -> bool:
    """Say whether each worker is to be a process: where several take long enough to repay that."""
    seconds = _seconds([block for block in blocks if not block.runs_users_code])
    return device.kind == "cpu" and workers > 1 and seconds / workers >= PROCESSES_AFTER


def _seconds(blocks: Sequence[Block]) -> float:
    """Return about how long one worker takes for some blocks."""
    return sum(block_seconds(block) for block in blocks)


def _check_device(suite: Suite, device: Device) -> None:
    """Refuse a device that a problem cannot use, or that has too little memory for one lane."""
    memory, spare = device.memory_bytes, device.spare_bytes
    for resolved in suite.problems:
        if resolved.problem.cpu_only and device.kind != "cpu":
            raise DeviceError(
                f"{resolved.label} is stacked NumPy code and runs on the CPU only; use "
                + argument("device", "cpu")
            )
        if spare is not None and spare < NETWORK_BYTES and resolved.problem.kind == "network":
            raise DeviceError(
                f"{resolved.label}: a network takes about {NETWORK_BYTES >> 20} MiB, and the limit "
                f"on this process leaves {spare >> 20} MiB; raise it (ulimit -v)"
            )
        for entry in resolved.optimizers:
            needed = lane_bytes(resolved.problem, entry.optimizer)
            if memory is not None and needed > memory:
                raise DeviceError(
                    f"{resolved.label}: one lane of {entry.label} takes {needed / 2**30:,.0f} GiB, "
                    f"and the device has {memory / 2**30:,.0f} GiB; make layers or batches smaller"
                )


def run_plan(
    plan: Plan,
    device: Device,
    out: Path,
    invocation: str,
    observe: Callable[[Record], None] = lambda record: None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    notice: Callable[[str], object] = lambda message: None,
    *,
    directory: str | None = None,
    trace: str = ALL,
    time_alone: bool = False,
) -> RunResult:
    """Run a plan; ``observe`` sees every record once it is on disk.

    ``directory`` is the name of the run's directory in ``out``, as the rounds of a study have one;
    by default it is a new one. ``trace`` says which rows are kept, as
    :func:`optbench.store.thinning.kept_every` takes it. ``notice`` gets what the user should know
    of the place where the run is written; ``time_alone`` has each label timed alone at the end
    (:mod:`optbench.runs.alone`). The first interrupt (Ctrl-C) lets running chunks end and keeps
    what was done; the second stops at once.

    Raises
    ------
    ResultsError
        If the directory holds a run; one that was killed before it had a run.json is begun anew.
    """
    path = new_run_directory(out, plan.suite.name) if directory is None else out / directory
    make_folder(path)
    with locked(path, notice):
        if isfile(path / "run.json"):
            raise ResultsError(f"'{path}' holds a run already; resume it or choose another name")
        meta = {
            "invocation_id": invocation,
            "directory": working_directory(path),
            "trace": trace,
            **_describe(plan, device),
            **keep_code(path, plan.suite, notice),
        }
        extra = extra_columns(plan.suite)
        writer = RunWriter(
            path,
            meta,
            plan.lanes,
            workers=plan.workers,
            extra=extra,
            elsewhere=plan.writes_elsewhere,
        )
        write_surfaces(writer, plan.suite)
        return carry_out(plan, device, writer, observe, checkpoint_seconds, time_alone=time_alone)


def carry_out(
    plan: Plan,
    device: Device,
    writer: RunWriter,
    observe: Callable[[Record], None],
    checkpoint_seconds: float,
    *,
    time_alone: bool = False,
) -> RunResult:
    """Run the blocks of a plan into a run's directory that this process has locked."""
    with interrupts() as cancelled:
        try:
            for number, reused in plan.reused:
                for record in reused.records(number):
                    writer.add(record)
            for taken_up in plan.taken_up:
                for record in taken_up.records():
                    writer.add(record)
            for record in _records(plan, device, writer, cancelled, checkpoint_seconds):
                for written in writer.add(record):
                    observe(written)
            if plan.cluster is not None:
                writer.describe(cluster=plan.cluster.describe())
            if Status.INTERRUPTED not in writer.statuses:  # else the run that resumes it does so
                grow_surfaces(writer, plan.suite)
                if time_alone:
                    for timed in alone_seconds(plan.suite, plan.lanes, device, cancelled.is_set):
                        writer.set_alone_seconds(*timed)
        except KeyboardInterrupt:
            writer.finish(Status.INTERRUPTED)
            raise
        statuses = set(writer.statuses)
        status = Status.DIVERGED if statuses == {Status.DIVERGED} else Status.DONE
        for worse in (Status.FAILED, Status.INTERRUPTED):
            status = worse if worse in statuses else status
        writer.finish(status)
        return RunResult(writer.path, status, writer.failures, cancelled.is_set())


def _records(
    plan: Plan,
    device: Device,
    writer: RunWriter,
    cancelled: threading.Event,
    checkpoint_seconds: float,
) -> Iterator[Record]:
    """Run the blocks of a plan, here or on its cluster."""
    if plan.cluster is None:
        return execute(
            plan.blocks,
            device,
            plan.workers,
            cancelled,
            checkpoint_seconds,
            plan.first_new,
            processes=plan.processes,
        )
    return plan.cluster.execute(
        sorted(plan.blocks, key=block_seconds, reverse=True),  # so that workers end together
        writer.path,
        cancelled,
        checkpoint_seconds,
        len(plan.blocks) if plan.first_new is None else plan.first_new,
        every=writer.every,
        extra=writer.extra,
        long=_seconds(plan.blocks) / plan.workers >= PROCESSES_AFTER,
    )


def working_directory(run: Path, folder: Path | None = None) -> str:
    """Return where relative paths of a suite begin, as seen from the run's directory.

    By default they begin in the working directory.
    """
    here = (folder or Path.cwd()).resolve()
    try:
        return Path(relpath(here, run.resolve())).as_posix()
    except ValueError:  # on another drive
        return str(here)


@contextmanager
def interrupts() -> Iterator[threading.Event]:
    """Yield an event that the first interrupt sets; the second raises KeyboardInterrupt.

    Only the main thread gets signals; in any other the event is never set.
    """
    cancelled = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield cancelled
        return

    def handle(signum: int, frame: object) -> None:
        if cancelled.is_set():
            raise KeyboardInterrupt
        cancelled.set()

    previous = signal.signal(signal.SIGINT, handle)
    try:
        yield cancelled
    finally:
        signal.signal(signal.SIGINT, previous)


def extra_columns(suite: Suite) -> tuple[str, ...]:
    """Return the columns of positions and penalty that the run's trace needs."""
    problems = [resolved.problem for resolved in suite.problems]
    sizes = [problem.parameters for problem in problems]
    axes = max((size for size in sizes if size <= len(POSITION_NAMES)), default=0)
    penalty = (PENALTY,) if any(problem.penalized for problem in problems) else ()
    return POSITION_NAMES[:axes] + penalty


def write_surfaces(writer: RunWriter, suite: Suite) -> None:
    """Write each function of one or two variables on the grid of its plot domain."""
    for label, function in _functions(suite):
        surface = function.surface()
        if surface is not None:
            writer.add_surface(label, surface)


def grow_surfaces(writer: RunWriter, suite: Suite) -> None:
    """Write those anew whose domain was guessed, and does not hold where their best lanes ended."""
    growing = [
        (label, function)
        for label, function in _functions(suite)
        if len(function.variables) in SURFACE_POINTS and any(function.guessed)
    ]
    if not growing:
        return
    # They load pandas, which other runs need not wait for.
    from optbench.report.configurations import RANKED_BY, configurations
    from optbench.report.domain import grown_domain

    tables = read_run(writer.path, RANKED_BY)
    table = configurations(tables)
    for label, function in growing:
        best = table.loc[table["best"] & (table["problem"] == label), "lane_numbers"]
        domain = grown_domain(tables, label, [numbers[0] for numbers in best])
        if domain is None:
            continue
        try:
            surface = function.surface(domain)
        except Exception:  # a plug-in may raise anything where no lane has been; the guess stays
            continue
        if surface is not None:
            writer.add_surface(label, surface)
            writer.set_domain(label, domain)


def _functions(suite: Suite) -> Iterator[tuple[str, Function]]:
    """Yield the functions of a suite with their titles."""
    for resolved in suite.problems:
        if isinstance(resolved.problem, Function):
            yield resolved.label, resolved.problem


def _describe(plan: Plan, device: Device) -> dict[str, Any]:
    """Return what run.json holds of suite, problems, block plan and environment."""
    suite = plan.suite
    return {
        "suite": {
            "name": suite.name,
            **({} if suite.file is None else {"file": printable(str(suite.file))}),
            "written": suite.written,
            "given": suite.given,
            "resolved": suite.resolved,
        },
        "seeds": list(suite.seeds),
        "problems": [
            {
                "problem": resolved.label,
                "name": resolved.problem.name,
                **resolved.problem.describe(),
                "random": resolved.random,
                "stochastic": resolved.problem.stochastic,
                "iterations": resolved.iterations,
                "fingerprint": resolved.problem.fingerprint,
                **({} if resolved.variant_of is None else {"variant_of": resolved.variant_of}),
                "definition": resolved.problem.definition(),
                "stream_digests": {
                    str(seed): _stream_digest(resolved.problem, seed)
                    for seed in dict.fromkeys(
                        lane.seed for lane in plan.lanes if lane.problem == resolved.label
                    )
                },
            }
            for resolved in suite.problems
        ],
        "optimizers": _describe_optimizers(suite),
        "blocks": [
            *(
                {"block": block.number, "lanes": [lane.number for lane in block.lanes]}
                for block in plan.blocks
            ),
            *(
                {"block": number, "lanes": list(part.lanes), "reused_from": run_name(part.run)}
                for number, part in plan.reused
            ),
        ],
        "workers": plan.workers,
        "processes": plan.processes,
        **({} if plan.cluster is None else {"cluster": plan.cluster.describe()}),
        "numerics_version": NUMERICS_VERSION,
        "device": device.describe(),
        "environment": describe_environment(),
        "calibration_seconds": calibration_seconds(),
    }


def _describe_optimizers(suite: Suite) -> list[dict[str, Any]]:
    """Return each entry's rule, and where the code is if it is a plug-in's."""
    entries = {entry.label: entry for resolved in suite.problems for entry in resolved.optimizers}
    described = []
    for label, entry in entries.items():
        identity, plugin = entry.optimizer.identity(), entry.optimizer.plugin
        source = identity["source"] if plugin is None else plugin.source.describe()
        described.append(
            {
                "label": label,
                "name": entry.name,
                "rule": identity["name"],
                "random": entry.optimizer.random,
                "source": source,
            }
        )
    return described


def _stream_digest(problem: Problem, seed: int) -> str:
    """Return a digest of a seed's start and first batches, so that a changed stream is seen."""
    draws = problem.draws(seed, 0)
    return rng.digest(problem.start(seed), *(draws[name] for name in sorted(draws)))
