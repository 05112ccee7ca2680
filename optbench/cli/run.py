"""``optbench run``: train optimizers side by side."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from optbench.cli.options import (
    DEFAULT_OUT,
    Debug,
    Out,
    Version,
    complete_optimizer,
    complete_problem,
    complete_suite,
)
from optbench.cli.resume import check_alone, resume_run
from optbench.errors import ExitCode, SuiteError

if TYPE_CHECKING:
    from optbench.device import Device
    from optbench.flags import Flags
    from optbench.pipeline import Outcome
    from optbench.records import RunTables, Status
    from optbench.suite import Suite
    from optbench.suitefile import SuiteFile


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
            help="Only this entry of the suite, by label, else by name; one that the suite "
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
            help="Where the function starts: x=-7,y=2, or a vector: 'x=[1, 2, 3]'.",
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="TARGET.KEY=VALUE",
            help="Set a hyperparameter, as adam.lr=0.01; '*' means all. Repeatable.",
        ),
    ] = None,
    grid: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TARGET.KEY=VALUES",
            help="Sweep one, as adam.lr=1e-4:1e-1:13 (log-spaced) or adam.lr=1e-3,1e-2. "
            "Repeatable; several multiply.",
        ),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(metavar="N", help="Number of seeds: 0 to N − 1.")
    ] = None,
    seed: Annotated[str | None, typer.Option(metavar="LIST", help="These seeds: 3,7,11.")] = None,
    iterations: Annotated[
        int | None, typer.Option(metavar="N", help="Updates to make, instead of the suite's.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(metavar="N", help="The same, counted in passes over the data.")
    ] = None,
    batch_size: Annotated[
        str | None, typer.Option(metavar="N|full", help="Examples in a minibatch; full: all.")
    ] = None,
    evaluate_every: Annotated[
        str | None,
        typer.Option(metavar="N|'N epochs'", help="Evaluate all splits every so often."),
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
        typer.Option(metavar="cpu|gpu|gpu:N|auto", help="What computes; auto: a GPU if one works."),
    ] = "cpu",
    data: Annotated[
        str | None,
        typer.Option(metavar="NAME|auto", help="Data set; auto: mnist if it is there."),
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder to look for data sets in first.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Worker threads; by default as many as cores."),
    ] = None,
    out: Out = DEFAULT_OUT,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the run, instead of the suite's.")
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print only where the results are.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print lanes, blocks, memory and time; run nothing."),
    ] = False,
    resume: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="Go on with a run that was interrupted or killed."),
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="With --resume: go on although the environment has changed."),
    ] = False,
    checkpoint_every: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=0.0, help="Time between checkpoints, by default 30."),
    ] = None,
    debug: Debug = False,
    version: Version = False,
) -> None:
    """Train optimizers side by side and keep every iteration's loss."""
    from optbench.flags import Flags
    from optbench.pipeline import CHECKPOINT_SECONDS

    seconds = CHECKPOINT_SECONDS if checkpoint_every is None else checkpoint_every
    how = How(device, workers, data_dir, out, quiet or json, json, seconds)
    if resume is not None:
        check_alone(context)
        raise typer.Exit(resume_run(resume, how, force=force))
    if force:
        raise SuiteError("--force belongs to --resume; give both")
    if seeds is not None and seed is not None:
        raise SuiteError("--seeds and --seed exclude each other; give one of them")
    flags = Flags(
        optimizers=tuple(optimizer or ()),
        sets=tuple(set_ or ()),
        grids=tuple(grid or ()),
        seeds=seeds if seed is None else seed,
        iterations=iterations,
        epochs=epochs,
        batch_size=_number(batch_size),
        evaluate_every=_number(evaluate_every),
        stops=tuple(stop or ()),
        dtype=dtype,
        data=data,
        name=name,
    )
    written = _written(suites or [], problem or [], optimizer or [], function, start or [])
    if dry_run:
        _plan_all(written, flags, how)
    else:
        raise typer.Exit(_run_all(written, flags, how))


def _number(text: str | None) -> int | str | None:
    """Return a whole number where a text is one; what else may stand there is checked later."""
    try:
        return None if text is None else int(text)
    except ValueError:
        return text


@dataclass(frozen=True)
class How:
    """How to run, which is no part of any suite."""

    device: str
    workers: int | None
    data_dir: Path | None
    out: Path
    quiet: bool
    json: bool
    checkpoint_seconds: float


def _written(
    names: list[str],
    problems: list[str],
    optimizers: list[str],
    function: str | None,
    starts: list[str],
) -> "list[SuiteFile]":
    """Return the suites that were asked for, before any flag changes them."""
    from optbench.cli.function_options import function_suite
    from optbench.cli.problem_options import suite_of_problems, with_problems
    from optbench.suite import DEFAULT_SUITES
    from optbench.suitefile import parse_suite, read_suite

    if function is not None:
        if names or problems:
            raise SuiteError("--function is a suite of its own; leave suites and --problem out")
        return [parse_suite(function_suite(function, starts), "--function")]
    if starts:
        raise SuiteError("--start belongs to --function; give both")
    if problems and not names:
        return [suite_of_problems(problems, optimizers)]
    return [with_problems(read_suite(name), problems) for name in names or DEFAULT_SUITES]


def _plan_all(written: "list[SuiteFile]", flags: "Flags", how: How) -> None:
    """Print what the suites would take."""
    from optbench.cli.report import print_plan
    from optbench.device import get_device
    from optbench.pipeline import prepare

    device = get_device(how.device)
    for suite in settle(written, flags, how):
        print_plan(prepare(suite, device, how.workers), device)


def _run_all(written: "list[SuiteFile]", flags: "Flags", how: How) -> int:
    """Settle all suites before the first one runs, run them, report, and return the exit code."""
    from optbench.cli.report import print_end, print_json, print_outcome
    from optbench.device import get_device
    from optbench.pipeline import new_invocation
    from optbench.records import Status

    device = get_device(how.device)
    suites = settle(written, flags, how)
    invocation = new_invocation()
    codes: list[int] = []
    finished: list[RunTables] = []
    for suite in suites:
        outcome = _run_one(suite, device, invocation, how)
        codes.append(exit_code(outcome.status))
        finished.append(print_outcome(outcome, how.out, quiet=how.quiet))
        if outcome.status is Status.INTERRUPTED:
            break
    if how.json:
        print_json(finished, invocation)
    else:
        print_end(finished, how.out, quiet=how.quiet)
    return max(codes)


def settle(written: "list[SuiteFile]", flags: "Flags", how: How) -> "list[Suite]":
    """Change and resolve the suites; everything that is wrong with them is found here."""
    from optbench.cli.output import say
    from optbench.flags import apply_flags
    from optbench.suite import resolve

    changed, notices = apply_flags(written, flags)
    suites = [
        resolve(file, written=before.as_written(), data_dir=how.data_dir)
        for file, before in zip(changed, written, strict=True)
    ]
    notices += [notice for suite in suites for notice in suite.notices]
    for notice in dict.fromkeys(notices):
        if not how.quiet or how.json:
            say(f"note: {notice}")
    return suites


def _run_one(suite: "Suite", device: "Device", invocation: str, how: How) -> "Outcome":
    from optbench.cli.display import display
    from optbench.pipeline import prepare, run_plan

    plan = prepare(suite, device, how.workers)
    with display(plan, quiet=how.quiet) as observe:
        return run_plan(plan, device, how.out, invocation, observe, how.checkpoint_seconds)


def exit_code(status: "Status") -> int:
    """Return the exit code of a run that ended so."""
    from optbench.records import Status

    if status is Status.INTERRUPTED:
        return ExitCode.INTERRUPTED
    return ExitCode.DONE if status is Status.DONE else ExitCode.LANES_FAILED
