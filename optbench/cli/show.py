"""``optbench show``: the summary of runs."""

from typing import Annotated

import typer

from optbench.cli.options import DEFAULT_OUT, Out, Runs
from optbench.errors import UsageError, nearest

FORMATS = ("table", "md", "csv", "json")


def show(
    runs: Runs = None,
    format_: Annotated[
        str, typer.Option("--format", metavar="|".join(FORMATS), help="How to print it.")
    ] = "table",
    out: Out = DEFAULT_OUT,
) -> None:
    """Show the summary of runs: a row an optimizer, its best configuration over its seeds."""
    if format_ not in FORMATS:
        raise UsageError(f"unknown format '{format_}'; {nearest(format_, FORMATS)}")
    import pandas as pd

    from optbench.cli.output import console
    from optbench.report import tables as texts
    from optbench.report.summaries import summary
    from optbench.store.find import find_runs
    from optbench.store.reader import read_run

    found = pd.concat(
        [summary(read_run(path)) for path in find_runs(runs or [], out)], ignore_index=True
    )
    match format_:
        case "md":
            typer.echo(texts.to_markdown(found), nl=False)
        case "csv":
            typer.echo(texts.to_csv(found), nl=False)
        case "json":
            typer.echo(texts.to_json(found), nl=False)
        case _:
            console().print(texts.to_rich(found))
