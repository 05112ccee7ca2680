"""``optbench show``: the summary of runs."""

import pandas as pd

from optbench.cli.options import DEFAULT_OUT, Out, Runs
from optbench.cli.reports import Format, check_format, report
from optbench.report.summaries import summary
from optbench.report.tables import sections
from optbench.store.find import find_runs
from optbench.store.reader import read_run


def show(runs: Runs = None, format_: Format = "table", out: Out = DEFAULT_OUT) -> None:
    """Show the summary of runs: the best configuration of each optimizer, over its seeds."""
    check_format(format_)
    summaries = [summary(read_run(path)) for path in find_runs(runs or [], out)]
    rows = pd.concat(summaries, ignore_index=True)
    report(rows, sections(rows), format_)
