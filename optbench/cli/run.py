"""``optbench run``: train optimizers side by side."""

from collections.abc import Callable, Iterable
from functools import partial
from json import dumps, loads
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import typer

from optbench.cli import display
from optbench.cli.options import (
    DEFAULT_OUT,
    DataDir,
    Debug,
    Out,
    Version,
    Workers,
    complete_optimizer,
    complete_problem,
    complete_suite,
)
from optbench.cli.output import console, debug, say, table, tell
from optbench.errors import ExitCode, SuiteError
from optbench.records import Failure, RunTables, Status
from optbench.report.configurations import RANKED_BY
from optbench.report.sections import to_json, to_rich
from optbench.report.summaries import summary
from optbench.report.tables import duration, sections
from optbench.runs.estimate import data_bytes, estimate_plan
from optbench.runs.invocation import Execution, Invocation, plan_runs, run_all
from optbench.runs.pipeline import CHECKPOINT_SECONDS, RunResult
from optbench.runs.resume import resume_run
from optbench.store.reader import read_run
from optbench.store.studies import run_name
from optbench.store.thinning import ALL
from optbench.suite.flags import parse_count, parse_grid, parse_set, parse_starts, parse_stops

BESIDE_RESUME = {
    *("resume", "force", "workers", "checkpoint_every", "data_dir", "out"),
    *("quiet", "json", "debug", "version", "time_alone"),
}
"""Options that may stand beside --resume: none changes what is computed."""


def run(
    context: typer.Context,
    suites: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SUITE|FILE.toml",
            help="Built-in suites, TOML files, or the run.json of a run to repeat. "
            "Without one: anisotropic and mnist-mlp.",
            autocompletion=complete_suite,
            show_default=False,
        ),
    ] = None,
    optimizer: Annotated[
        list[str] | None,
        typer.Option(
            "-o",
            "--optimizer",
            metavar="NAME",
            help="Run only this entry of the suite, by label, else by name; one that the suite "
            "doesn't have is added with its defaults. Repeatable.",
            autocompletion=complete_optimizer,
        ),
    ] = None,
    problem: Annotated[
        list[str] | None,
        typer.Option(
            "--problem",
            metavar="NAME|FILE.py:NAME",
            help="Run on this problem, built in or yours, instead of the suite's. Repeatable.",
            autocompletion=complete_problem,
        ),
    ] = None,
    function: Annotated[
        str | None,
        typer.Option(
            "--function",
            metavar="EXPRESSION",
            help="Minimise a function of your own, as 'x**2/20 + y**2', with --start.",
        ),
    ] = None,
    start: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VARIABLE=VALUE",
            help="Where the function's variables start: x=-7,y=2, or a vector: 'x=[1, 2, 3]'.",
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="TARGET.KEY=VALUE",
            help="Set a hyperparameter: adam.lr=0.01; '*' means all optimizers. Repeatable.",
        ),
    ] = None,
    grid: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TARGET.KEY=VALUES",
            help="Sweep a hyperparameter: adam.lr=1e-4:1e-1:13 (log-spaced) or adam.lr=1e-3,1e-2. "
            "Repeatable; several multiply.",
        ),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(metavar="N", help="Number of seeds: 0 to N − 1.")
    ] = None,
    seed: Annotated[str | None, typer.Option(metavar="LIST", help="These seeds: 0-4,7.")] = None,
    iterations: Annotated[
        int | None, typer.Option(metavar="N", help="Updates to make, instead of the suite's.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(metavar="N", help="The same, as passes over the data.")
    ] = None,
    batch_size: Annotated[
        str | None, typer.Option(metavar="N|full", help="Examples in a minibatch; full: all.")
    ] = None,
    evaluate_every: Annotated[
        str | None, typer.Option(metavar="N|'N epochs'", help="How often to evaluate all splits.")
    ] = None,
    stop: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Stop lanes early: loss=0.01, grad_norm=1e-6, patience=5000. Repeatable.",
        ),
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(metavar="float32|float64", help="Of parameters and arithmetic.")
    ] = None,
    device: Annotated[
        str,
        typer.Option(
            metavar="cpu|gpu|gpu:N|auto", help="Where to run; auto: on a GPU if one works."
        ),
    ] = "cpu",
    data: Annotated[
        str | None,
        typer.Option(metavar="NAME|auto", help="Data set; auto: mnist if it can be found."),
    ] = None,
    start_spread: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Start each seed but 0 of a function elsewhere: by normal numbers times this "
            "share of the domain's width, such as 0.05.",
        ),
    ] = None,
    data_dir: DataDir = None,
    workers: Workers = None,
    out: Out = DEFAULT_OUT,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the run, instead of the suite's.")
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print only where the results are.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
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
    force: Annotated[
        bool, typer.Option("--force", help="With --resume: even if the environment has changed.")
    ] = False,
    checkpoint_every: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.0, help="Time between checkpoints.")
    ] = CHECKPOINT_SECONDS,
    time_alone: Annotated[
        bool,
        typer.Option(
            "--time-alone",
            help="At the end, time a step of each optimizer alone, for optbench target "
            "--in seconds.",
        ),
    ] = False,
    trace: Annotated[
        str,
        typer.Option(
            metavar="all|every:N|none",
            help="Rows of the trace to keep: all, every N-th and each lane's last, or the first "
            "and the last. Summaries are of all rows.",
        ),
    ] = ALL,
    debug: Debug = False,
    version: Version = False,
) -> None:
    """Train optimizers side by side and keep every iteration's loss."""
    progress = partial(display.display, quiet=quiet or json)
    notice = (lambda message: None) if quiet and not json else _note
    if resume is not None:
        _check_alone(context)
        execution = Execution(
            workers=workers,
            data_dir=data_dir,
            out=out,
            checkpoint_every=checkpoint_every,
            time_alone=time_alone,
        )
        resumed = resume_run(resume, execution, notice, progress, force=force)
        raise typer.Exit(_report([resumed], out, quiet=quiet, json=json))
    if force:
        raise SuiteError("--force belongs to --resume; give both")
    if seeds is not None and seed is not None:
        raise SuiteError("--seeds and --seed exclude each other; give one of them")
    invocation = Invocation(
        suites or (),
        problem=problem or (),
        function=function,
        start=parse_starts(start or ()),
        optimizers=optimizer or (),
        set=[parse_set(text) for text in set_ or ()],
        grid=[parse_grid(text) for text in grid or ()],
        seeds=seeds if seed is None else seed,
        iterations=iterations,
        epochs=epochs,
        batch_size=parse_count(batch_size),
        evaluate_every=parse_count(evaluate_every),
        stop=parse_stops(stop or ()),
        dtype=dtype,
        data=data,
        start_spread=start_spread,
        name=name,
        device=device,
        workers=workers,
        data_dir=data_dir,
        out=out,
        reuse=reuse,
        reuse_diverged=reuse_diverged,
        checkpoint_every=checkpoint_every,
        time_alone=time_alone,
        trace=trace,
    )
    if dry_run:
        _print_plans(invocation, notice)
    else:
        results = run_all(invocation, notice, progress)
        raise typer.Exit(_report(results, out, quiet=quiet, json=json))


def _note(message: str) -> None:
    say(f"note: {message}")


def _check_alone(context: typer.Context) -> None:
    """Refuse options that would change a run that has begun."""
    for parameter in context.command.params:
        name = str(parameter.name)
        source = context.get_parameter_source(name)
        if name not in BESIDE_RESUME and source is not None and source.name == "COMMANDLINE":
            option = parameter.opts[0] if parameter.opts[0].startswith("-") else "a suite"
            raise SuiteError(f"--resume continues a run as it began; leave {option} out")


def _print_plans(invocation: Invocation, notice: Callable[[str], None]) -> None:
    """Print what the runs would take."""
    device, plans = plan_runs(invocation, notice)
    for plan in plans:
        listed = table(
            *("problem", "optimizers", "lanes", "iterations", "blocks", "largest block", "time")
        )
        estimates = estimate_plan(plan, device)
        for estimate in estimates:
            numbers = (
                estimate.optimizers,
                estimate.lanes,
                estimate.iterations,
                estimate.blocks,
            )
            lanes = f"{estimate.block_lanes:,} lane{'' if estimate.block_lanes == 1 else 's'}"
            listed.add_row(
                estimate.problem,
                *(f"{number:,}" for number in numbers),
                f"{lanes}, {_memory(estimate.block_bytes)}",
                duration(estimate.seconds),
            )
        for column in listed.columns[1:]:
            column.justify = "right"
        console().print(listed)
        at_work = plan.workers * max((estimate.block_bytes for estimate in estimates), default=0)
        seconds = sum(estimate.seconds for estimate in estimates) / plan.workers
        kind = "worker process" if plan.processes else "worker"
        plural = "es" if plan.processes else "s"
        workers = f"{plan.workers} {kind}{'' if plan.workers == 1 else plural}"
        tell(
            f"{plan.suite.name}: {len(plan.lanes):,} lanes in {len(plan.blocks):,} blocks on "
            f"{workers} ({device.kind}), about {duration(seconds)}, {_memory(at_work)} of work "
            f"arrays and {_memory(data_bytes(plan))} of data; nothing was run"
        )


def _memory(count: int) -> str:
    """Write a number of bytes.

    >>> _memory(512), _memory(10 * 2**20)
    ('512 B', '10.0 MiB')
    """
    if count < 1024:
        return f"{count} B"
    exponent = min(3, (count.bit_length() - 1) // 10)
    return f"{count / 1024**exponent:.1f} {('KiB', 'MiB', 'GiB')[exponent - 1]}"


def _report(results: Iterable[RunResult], out: Path, *, quiet: bool, json: bool) -> int:
    """Print each run's table when it has ended, at last where they are; return the exit code."""
    codes: list[int] = []
    finished: list[RunTables] = []
    for result in results:
        codes.append(_exit_code(result.status))
        if codes[-1] == ExitCode.INTERRUPTED and not (quiet or json):
            command = f"optbench run --resume {quote(run_name(result.path))}{_out_option(out)}"
            say(f"interrupted: what was done is kept; go on with: {command}")
        tables = read_run(result.path, RANKED_BY)
        finished.append(tables)
        for failure in result.failures:
            say(_failure(failure, tables))
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
        say(f"plot them with: optbench plot{_out_option(out)}")
    return max(codes)


def _exit_code(status: Status) -> int:
    """Return the exit code of a run that ended so."""
    ends = {Status.DONE: ExitCode.DONE, Status.INTERRUPTED: ExitCode.INTERRUPTED}
    return ends.get(status, ExitCode.LANES_FAILED)


def _out_option(out: Path) -> str:
    """Return what makes another command look for runs in the same folder."""
    return "" if out == DEFAULT_OUT else f" --out {quote(str(out))}"


def _failure(failure: Failure, tables: RunTables) -> str:
    """Say in one line which lanes raised something."""
    where = f"(the traceback is in {tables.path}/run.json)"
    if not failure.lanes:
        return (
            f"note: a block of lanes raised what none of them raises alone: {failure.message}; "
            f"they were run in smaller blocks {where}"
        )
    lanes = tables.lanes.set_index("lane").loc[list(failure.lanes)]
    titles = (lanes["label"] + " on " + lanes["problem"]).tolist()
    seeds = ", ".join(str(seed) for seed in dict.fromkeys(lanes["seed"].tolist()))
    which = ", ".join(dict.fromkeys(titles))
    count = "" if len(lanes) == 1 else f", {len(lanes)} lanes"
    return f"error: {which} (seed {seeds}{count}) failed: {failure.message} {where}"
