"""``optbench run``: train optimizers side by side."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from json import dumps, loads
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import typer

from optbench.cli.detach import Detached, check_detachable, go_on_detached, is_detached
from optbench.cli.options import DEFAULT_OUT, DataDir, Debug, Out, Version, Workers, complete_suite
from optbench.cli.output import console, debug, say, tell
from optbench.cli.request import (
    WHAT_TO_RUN,
    BatchSize,
    CheckpointEvery,
    ClusterRecords,
    Data,
    Detach,
    Domain,
    Dtype,
    Epochs,
    EvaluateEvery,
    Force,
    Function,
    Grid,
    Iterations,
    Json,
    KnownMinimum,
    Name,
    OnCluster,
    OnDevice,
    OnProblems,
    Optimizers,
    Quiet,
    Seed,
    Seeds,
    Set,
    Start,
    StartSpread,
    Stop,
    TimeAlone,
    Trace,
    Trust,
    asked,
    check_alone,
    cluster_option,
    failed,
    out_option,
)
from optbench.cluster import SHARED
from optbench.device.base import Device
from optbench.display.runs import display
from optbench.errors import ExitCode, SuiteError
from optbench.records import RunTables, Status
from optbench.report.configurations import RANKED_BY
from optbench.report.sections import Column, Section, to_json
from optbench.report.summaries import summary
from optbench.report.tables import duration, sections
from optbench.report.terminal import to_rich
from optbench.runs.estimate import Estimate, data_bytes, estimate_plan
from optbench.runs.invocation import Execution, Invocation, ShowProgress, plan_runs, run_all
from optbench.runs.pipeline import CHECKPOINT_SECONDS, Plan, RunResult
from optbench.runs.resume import resume_run
from optbench.store.reader import read_run
from optbench.store.studies import run_name

PANELS = {
    **WHAT_TO_RUN,
    "Output": ("out", "name", "quiet", "json", "dry_run", "trace"),
    "Machine": ("device", "workers", "data_dir"),
    "Cluster": ("cluster", "cluster_records", "detach"),
    "Resume and reuse": (
        *("resume", "force", "trust", "reuse", "reuse_diverged", "checkpoint_every"),
    ),
}
"""Options that the help shows together."""

BESIDE_RESUME = {
    *("resume", "force", "workers", "checkpoint_every", "data_dir", "out"),
    *("quiet", "json", "debug", "version", "time_alone", "trust"),
    *("cluster", "cluster_records", "detach"),
}
"""Options that may stand beside --resume: none changes what is computed."""


def run(
    context: typer.Context,
    suites: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SUITE|FILE.toml",
            help="Built-in suites, TOML files, or the run.json or pack of a run to repeat. "
            "Without one: anisotropic and mnist-mlp.",
            autocompletion=complete_suite,
            show_default=False,
        ),
    ] = None,
    optimizer: Optimizers = None,
    problem: OnProblems = None,
    function: Function = None,
    start: Start = None,
    domain: Domain = None,
    minimum: KnownMinimum = None,
    set_: Set = None,
    grid: Grid = None,
    seeds: Seeds = None,
    seed: Seed = None,
    iterations: Iterations = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    evaluate_every: EvaluateEvery = None,
    stop: Stop = None,
    dtype: Dtype = None,
    device: OnDevice = "cpu",
    data: Data = None,
    start_spread: StartSpread = None,
    data_dir: DataDir = None,
    workers: Workers = None,
    out: Out = DEFAULT_OUT,
    name: Name = None,
    quiet: Quiet = False,
    json: Json = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print lanes, blocks, memory and time; run nothing.")
    ] = False,
    reuse: Annotated[
        bool,
        typer.Option(
            "--reuse", help="Take over lanes that earlier runs under --out have finished."
        ),
    ] = False,
    reuse_diverged: Annotated[
        bool, typer.Option("--reuse-diverged", help="The same, and also lanes that diverged.")
    ] = False,
    resume: Annotated[
        str | None, typer.Option(metavar="RUN", help="Resume a run that was interrupted or killed.")
    ] = None,
    force: Force = False,
    checkpoint_every: CheckpointEvery = CHECKPOINT_SECONDS,
    time_alone: TimeAlone = False,
    trace: Trace = None,
    trust: Trust = False,
    cluster: OnCluster = None,
    cluster_records: ClusterRecords = SHARED,
    detach: Detach = False,
    debug: Debug = False,
    version: Version = False,
) -> None:
    """Train optimizers side by side and keep every iteration's loss."""
    progress: ShowProgress = partial(display, quiet=quiet or json)
    if detach:
        check_detachable(cluster, dry_run=dry_run, json=json)
        if not is_detached():
            raise typer.Exit(go_on_detached(out, quiet=quiet))
        progress = Detached().telling(progress)
    notice = (lambda message: None) if quiet and not json else _note
    if resume is not None:
        check_alone(context, BESIDE_RESUME, "run")
        execution = Execution(
            workers=workers,
            data_dir=data_dir,
            out=out,
            checkpoint_every=checkpoint_every,
            time_alone=time_alone,
            cluster=cluster,
            cluster_records=cluster_records,
            force=force,
        )
        resumed = resume_run(resume, execution, notice, progress, force=force, trust=trust)
        raise typer.Exit(_report([resumed], out, cluster=cluster, quiet=quiet, json=json))
    if force and cluster is None:
        raise SuiteError("--force belongs to --resume or --cluster; give one of them")
    invocation = Invocation(
        suites or (),
        **asked(context),
        device=device,
        workers=workers,
        data_dir=data_dir,
        out=out,
        reuse=reuse,
        reuse_diverged=reuse_diverged,
        checkpoint_every=checkpoint_every,
        time_alone=time_alone,
        trace=trace,
        trust=trust,
        cluster=cluster,
        cluster_records=cluster_records,
        force=force,
    )
    if dry_run:
        _print_plans(invocation, notice)
    else:
        results = run_all(invocation, notice, progress)
        raise typer.Exit(_report(results, out, cluster=cluster, quiet=quiet, json=json))


def _note(message: str) -> None:
    say(f"note: {message}")


def _print_plans(invocation: Invocation, notice: Callable[[str], None]) -> None:
    """Print what the runs would take."""
    with plan_runs(invocation, notice) as (device, plans):
        for plan in plans:
            _print_plan(plan, device)


def _print_plan(plan: Plan, device: Device) -> None:
    """Print what a run would take."""
    estimates = estimate_plan(plan, device)
    console().print(to_rich([_expected(estimates)]))
    at_work = plan.workers * max((estimate.block_bytes for estimate in estimates), default=0)
    seconds = sum(estimate.seconds for estimate in estimates) / plan.workers
    kind = "worker process" if plan.processes else "worker"
    where = device.kind if plan.cluster is None else plan.cluster.place.text
    plural = "es" if plan.processes else "s"
    workers = f"{plan.workers} {kind}{'' if plan.workers == 1 else plural}"
    tell(
        f"{plan.suite.name}: {len(plan.lanes):,} lanes in {len(plan.blocks):,} blocks on "
        f"{workers} ({where}), about {duration(seconds)}, {_memory(at_work)} of work "
        f"arrays and {_memory(data_bytes(plan))} of data; nothing was run"
    )


def _expected(estimates: Sequence[Estimate]) -> Section:
    """Return the table of what a run would take, a row for each problem."""
    columns = [
        Column("problem", "name"),
        Column("optimizers", spare=3),
        Column("lanes"),
        Column("iterations", spare=1),
        Column("blocks", spare=2),
        Column("largest block", spare=4),
        Column("time"),
    ]
    rows = []
    for each in estimates:
        numbers = (each.optimizers, each.lanes, each.iterations, each.blocks)
        lanes = f"{each.block_lanes:,} lane{'' if each.block_lanes == 1 else 's'}"
        block = f"{lanes}, {_memory(each.block_bytes)}"
        counts = (f"{number:,}" for number in numbers)
        rows.append([each.problem, *counts, block, duration(each.seconds)])
    return Section("", columns, rows)


def _memory(count: int) -> str:
    """Write a number of bytes.

    >>> _memory(512), _memory(10 * 2**20)
    ('512 B', '10.0 MiB')
    """
    if count < 1024:
        return f"{count} B"
    exponent = min(3, (count.bit_length() - 1) // 10)
    return f"{count / 1024**exponent:.1f} {('KiB', 'MiB', 'GiB')[exponent - 1]}"


def _report(
    results: Iterable[RunResult], out: Path, *, cluster: str | None, quiet: bool, json: bool
) -> int:
    """Print each run's table when it has ended, at last where they are; return the exit code."""
    codes: list[int] = []
    finished: list[RunTables] = []
    for result in results:
        codes.append(_exit_code(result.status))
        if codes[-1] == ExitCode.INTERRUPTED and not (quiet or json):
            name = quote(run_name(result.path))
            command = f"optbench run --resume {name}{out_option(out)}{cluster_option(cluster)}"
            say(f"interrupted: what was done is kept; go on with: {command}")
        tables = read_run(result.path, RANKED_BY)
        finished.append(tables)
        for failure in result.failures:
            say(failed(failure, tables))
            debug(failure.traceback)
        if not (quiet or json):
            console().print(to_rich(sections(summary(tables))))
    if json:
        runs: list[dict[str, Any]] = [
            {
                "path": str(tables.path),
                "suite": tables.meta["suite"]["name"],
                "status": tables.meta["status"],
                "summary": loads(to_json(summary(tables))),
            }
            for tables in finished
        ]
        whole = {"invocation_id": finished[0].meta["invocation_id"], "runs": runs}
        tell(dumps(whole, indent=2, ensure_ascii=False))
        return max(codes)
    for tables in finished:
        tell(tables.path if quiet else f"results: {tables.path}")
    if not quiet:
        say(f"plot them with: optbench plot{out_option(out)}")
    return max(codes)


def _exit_code(status: Status) -> int:
    """Return the exit code of a run that ended so."""
    ends = {Status.DONE: ExitCode.DONE, Status.INTERRUPTED: ExitCode.INTERRUPTED}
    return ends.get(status, ExitCode.LANES_FAILED)
