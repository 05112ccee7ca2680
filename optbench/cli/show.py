"""``optbench show``: the summary of runs."""

from typing import Annotated

import pandas as pd
import typer

from optbench.cli.options import DEFAULT_OUT, Out, Runs, check_choice
from optbench.cli.output import console, tell
from optbench.report.summaries import summary
from optbench.report.tables import to_csv, to_json, to_markdown, to_rich
from optbench.store.find import find_runs
from optbench.store.reader import read_run

WRITERS = {"md": to_markdown, "csv": to_csv, "json": to_json}
FORMATS = ("table", *WRITERS)


def show(
    runs: Runs = None,
    format_: Annotated[
        str, typer.Option("--format", metavar="|".join(FORMATS), help="How to print it.")
    ] = "table",
    out: Out = DEFAULT_OUT,
) -> None:
    """Show the summary of runs: the best configuration of each optimizer, over its seeds."""
    check_choice("format", format_, FORMATS)
    summaries = [summary(read_run(path)) for path in find_runs(runs or [], out)]
    rows = pd.concat(summaries, ignore_index=True)
    if format_ == "table":
        console().print(to_rich(rows))
    else:
        tell(WRITERS[format_](rows), end="")
