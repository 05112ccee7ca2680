"""``optbench show``: the summary of runs, and what studies found."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from optbench.cli.options import DEFAULT_OUT, Out, Runs, check_choice
from optbench.cli.output import say
from optbench.cli.reports import Format, check_format, report
from optbench.cli.studies import mean_studies, named_studies
from optbench.errors import ExitCode, UsageError
from optbench.inference.best_of import Estimator
from optbench.report import budgets as curves
from optbench.report import studies as found_by
from optbench.report import tolerance as widths
from optbench.report.joined import settings_apart
from optbench.report.protocol import adaptive
from optbench.report.summaries import summary
from optbench.report.tables import sections as summary_sections
from optbench.store.find import LATEST, find_entries, find_runs
from optbench.store.reader import read_description, read_run
from optbench.store.studies import run_name


def show(
    runs: Runs = None,
    tolerance: Annotated[
        bool,
        typer.Option(
            "--tolerance",
            help="Show how exactly swept hyperparameters have to be set, instead of the summary.",
        ),
    ] = False,
    budget: Annotated[
        bool,
        typer.Option(
            "--budget",
            help="Of a study, by default the latest: show what fewer trials would have found.",
        ),
    ] = False,
    estimator: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(curves.ESTIMATORS),
            help="Of the expected best: u without replacement, the default, or v with it.",
            show_default=False,
        ),
    ] = None,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow",
            help="Of a run or a study that goes on: first show how far it is, until it ends.",
        ),
    ] = False,
    format_: Format = "table",
    out: Out = DEFAULT_OUT,
) -> None:
    """Show the summary of runs: the best configuration of each optimizer, over its seeds.

    Of a study it shows what each optimizer's search chose, judged on seeds that chose nothing.
    """
    check_format(format_)
    if estimator is not None:
        check_choice("estimator", estimator, curves.ESTIMATORS)
        if not budget:
            raise UsageError("--estimator goes with --budget")
    if budget and tolerance:
        raise UsageError("--budget and --tolerance are two tables; give one of them")
    if follow:
        runs = [_followed(runs or (LATEST,), out)]
    if budget:
        _show_budgets(runs or (), estimator, format_, out)
    elif not tolerance and mean_studies(runs or (), out):
        rows = pd.concat(map(found_by.results, named_studies(runs or (), out)), ignore_index=True)
        report(rows, found_by.sections(rows), format_)
    else:
        tables, sections = (
            (widths.tolerance, widths.sections) if tolerance else (summary, summary_sections)
        )
        paths = find_runs(runs or [], out)
        rows = pd.concat([tables(read_run(path)) for path in paths], ignore_index=True)
        apart = settings_apart({run_name(path): read_description(path) for path in paths})
        report(rows, sections(rows, apart), format_)


def _followed(arguments: Sequence[str], out: Path) -> str:
    """Show how far a run or a study is until it ends, and return its path."""
    from optbench.display.follow import follow

    found = find_entries(arguments, out)
    if len(found) > 1:
        raise UsageError(f"--follow is for one run at a time, and these are {len(found)}")
    try:
        follow(found[0])
    except KeyboardInterrupt:
        say("it goes on; look again with the same command")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    return str(found[0])


def _show_budgets(arguments: Sequence[str], estimator: str | None, format_: str, out: Path) -> None:
    """Show the curves of studies, or where one of them has none, their best so far."""
    found = named_studies(arguments, out)
    if estimator is None and any(map(adaptive, found)):
        rows = pd.concat(map(curves.incumbents, found), ignore_index=True)
        report(rows, curves.incumbent_sections(rows), format_)
        return
    chosen: Estimator = "v" if estimator == "v" else "u"
    rows = pd.concat([curves.budgets(study, chosen) for study in found], ignore_index=True)
    report(rows, curves.sections(rows), format_)
