"""``optbench check``: fail where convergence got worse than a baseline's."""

from functools import partial
from typing import Annotated

import typer

from optbench.cli.baseline import Thresholds
from optbench.cli.display import display
from optbench.cli.options import DEFAULT_OUT, DataDir, Out, Workers, check_choice, complete_run
from optbench.cli.output import say
from optbench.cli.verdicts import print_verdicts
from optbench.errors import OptbenchError
from optbench.gate.check import check_baselines, exit_code, refresh
from optbench.gate.formats import error_annotation

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
        bool, typer.Option("--update", help="Show what has changed, then refresh the baseline.")
    ] = False,
    workers: Workers = None,
    data_dir: DataDir = None,
    out: Out = DEFAULT_OUT,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Show no progress and draw no figures.")
    ] = False,
) -> None:
    """Run baselines' suites again and fail where convergence got worse.

    Exit codes: 0 no worse, 2 no check was possible, 3 worse or another failure, 5 nothing to
    compare with.
    """
    check_choice("format", format_, FORMATS)
    try:
        checked = check_baselines(
            baselines or [],
            run=run,
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
    print_verdicts(checked, format_)
    if not update:
        raise typer.Exit(exit_code(checked))
    for one in checked:
        refresh(one, data_dir=data_dir)
        say(f"refreshed: {one.baseline.path}")
