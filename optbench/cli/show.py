"""``optbench show``: the summary of runs."""

from typing import Annotated

import pandas as pd
import typer

from optbench.cli.options import DEFAULT_OUT, Out, Runs
from optbench.cli.reports import Format, check_format, report
from optbench.report import tolerance as widths
from optbench.report.summaries import summary
from optbench.report.tables import sections as summary_sections
from optbench.store.find import find_runs
from optbench.store.reader import read_run


def show(
    runs: Runs = None,
    tolerance: Annotated[
        bool,
        typer.Option(
            "--tolerance",
            help="Show how exactly swept hyperparameters have to be set, instead of the summary.",
        ),
    ] = False,
    format_: Format = "table",
    out: Out = DEFAULT_OUT,
) -> None:
    """Show the summary of runs: the best configuration of each optimizer, over its seeds."""
    check_format(format_)
    tables, sections = (
        (widths.tolerance, widths.sections) if tolerance else (summary, summary_sections)
    )
    found = [tables(read_run(path)) for path in find_runs(runs or [], out)]
    rows = pd.concat(found, ignore_index=True)
    report(rows, sections(rows), format_)
