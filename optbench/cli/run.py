"""``optbench run``: train optimizers side by side."""

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
from optbench.cli.running import How, check_alone, plan_all, resume_run, run_all
from optbench.errors import SuiteError

if TYPE_CHECKING:
    from optbench.suite.format import SuiteFile


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
    reuse: Annotated[
        bool,
        typer.Option(
            "--reuse", help="Take over lanes that earlier runs under --out have finished."
        ),
    ] = False,
    reuse_diverged: Annotated[
        bool, typer.Option("--reuse-diverged", help="The same, and lanes that diverged as well.")
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
    from optbench.runs.pipeline import CHECKPOINT_SECONDS
    from optbench.suite.flags import Flags

    seconds = CHECKPOINT_SECONDS if checkpoint_every is None else checkpoint_every
    how = How(
        *(device, workers, data_dir, out, quiet or json, json, seconds, reuse, reuse_diverged)
    )
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
        plan_all(written, flags, how)
    else:
        raise typer.Exit(run_all(written, flags, how))


def _number(text: str | None) -> int | str | None:
    """Return a whole number where a text is one; what else may stand there is checked later."""
    try:
        return None if text is None else int(text)
    except ValueError:
        return text


def _written(
    names: list[str],
    problems: list[str],
    optimizers: list[str],
    function: str | None,
    starts: list[str],
) -> "list[SuiteFile]":
    """Return the suites that were asked for, before any flag changes them."""
    from optbench.suite.format import parse_suite, read_suite
    from optbench.suite.resolve import DEFAULT_SUITES
    from optbench.suite.shorthand import function_suite, suite_of_problems, with_problems

    if function is not None:
        if names or problems:
            raise SuiteError("--function is a suite of its own; leave suites and --problem out")
        return [parse_suite(function_suite(function, starts), "--function")]
    if starts:
        raise SuiteError("--start belongs to --function; give both")
    if problems and not names:
        return [suite_of_problems(problems, optimizers)]
    return [with_problems(read_suite(name), problems) for name in names or DEFAULT_SUITES]
