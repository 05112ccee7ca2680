"""``optbench check``: fail where convergence got worse than a baseline's."""

from functools import partial
from typing import Annotated

import typer

from optbench.cli.baseline import Thresholds, warn_of_few_seeds
from optbench.cli.options import DEFAULT_OUT, DataDir, Out, Workers, check_choice, complete_run
from optbench.cli.output import say
from optbench.cli.verdicts import print_verdicts
from optbench.display.runs import display
from optbench.errors import OptbenchError, UsageError
from optbench.gate.baseline import load
from optbench.gate.check import check_baselines, exit_code, refresh
from optbench.gate.formats import error_annotation
from optbench.gate.verdict import ALWAYS, Kind

CHOSEN = [kind for kind in Kind if kind not in ALWAYS]
"""What a check can be told to look for alone."""

FORMATS = ("text", "json", "github", "junit")


def check(
    baselines: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="BASELINE",
            help="Names under OUT/baselines, or folders. By default all of them.",
            show_default=False,
        ),
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Compare this run instead of running the baseline's suite.",
            autocompletion=complete_run,
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CHECK",
            help=f"Look only for {', '.join(CHOSEN[:-1])} or {CHOSEN[-1]}; repeatable. Whether the "
            "baseline is whole and its lanes are there is always looked at.",
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Fail if a bit has changed in the same environment.")
    ] = False,
    fail_on_speed: Annotated[
        bool, typer.Option("--fail-on-speed", help="Fail if a step is much slower.")
    ] = False,
    threshold: Thresholds = None,
    format_: Annotated[
        str, typer.Option("--format", metavar="|".join(FORMATS), help="How to print the verdict.")
    ] = "text",
    update: Annotated[
        bool,
        typer.Option(
            "--update", help="Show what changes in the baseline, old → new, then refresh it."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --update: show what changes, write nothing.")
    ] = False,
    workers: Workers = None,
    data_dir: DataDir = None,
    out: Out = DEFAULT_OUT,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Show no progress and draw no figures.")
    ] = False,
) -> None:
    """Run baselines' suites again and fail where convergence got worse or lanes are others.

    It fails where final losses are worse by more than the threshold and by more than chance
    explains; settings, starts or batches are others; a loss of the first 50 differs by more than
    rounding; a lane is missing, failed or diverged; or the baseline itself was changed. Everything
    else is a warning or a notice.

    Exit codes: 0 no failure, 2 no check was possible, 3 a failure, 5 nothing to compare with.
    """
    check_choice("format", format_, FORMATS)
    if dry_run and not update:
        raise UsageError("--dry-run goes with --update; without it nothing is overwritten")
    try:
        checked = check_baselines(
            baselines or [],
            run=run,
            only=only or [],
            strict=strict,
            fail_on_speed=fail_on_speed,
            threshold=threshold or [],
            workers=workers,
            data_dir=data_dir,
            out=out,
            figures=not quiet,
            display=partial(display, quiet=quiet),
        )
    except OptbenchError as error:
        if format_ == "github":
            typer.echo(error_annotation(error))
        raise
    print_verdicts(checked, format_, update=update)
    if not update:
        raise typer.Exit(exit_code(checked))
    for one in checked:
        if dry_run:
            say(f"not refreshed: {one.baseline.path}")
            continue
        refresh(one, data_dir=data_dir)
        say(f"refreshed: {one.baseline.path}")
        warn_of_few_seeds(load(one.baseline.path))
