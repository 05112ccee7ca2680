"""``optbench target``: how many steps or seconds optimizers need to a target."""

from typing import Annotated

import typer

from optbench.cli.options import DEFAULT_OUT, Out, Runs
from optbench.cli.reports import (
    ChooseOn,
    Force,
    Format,
    Output,
    Problems,
    Reference,
    check_format,
    choosing_seeds,
    report,
)
from optbench.report.aims import EXAMPLES
from optbench.report.arrivals import sections
from optbench.report.races import UNITS, Question
from optbench.report.targets import reach
from optbench.report.watched import WATCHABLE
from optbench.store.find import find_runs
from optbench.store.reader import read_run

Targets = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        metavar="[PROBLEM=]RULE",
        help=f"What to reach, on one problem or on all: {EXAMPLES}. By default best:5%: "
        "5 % above the best. Repeatable.",
        show_default=False,
    ),
]

On = Annotated[
    str | None,
    typer.Option(
        "--on",
        metavar="NAME",
        help=f"What to watch: {', '.join(WATCHABLE)}; by default the loss of the trace, of "
        "minibatches the mean over the rows of the final loss.",
        show_default=False,
    ),
]


def target(
    runs: Runs = None,
    targets: Targets = None,
    on: On = None,
    reference: Reference = None,
    problem: Problems = None,
    choose_on: ChooseOn = None,
    unit: Annotated[
        str,
        typer.Option(
            "--in",
            metavar="|".join(UNITS),
            help="What to count; seconds need optbench run --time-alone, or lanes in equal blocks.",
        ),
    ] = UNITS[0],
    profile: Annotated[
        bool,
        typer.Option(
            "--profile", help="Put the problems together: performance profiles and their scores."
        ),
    ] = False,
    algoperf: Annotated[
        bool,
        typer.Option("--algoperf", help="The same, with the score that AlgoPerf's code gives."),
    ] = False,
    rungs: Annotated[
        int | None,
        typer.Option(
            "--targets",
            metavar="N",
            help="The same, with the share of N targets reached, from the start to the best.",
            show_default=False,
        ),
    ] = None,
    format_: Format = "table",
    output: Output = None,
    force: Force = False,
    out: Out = DEFAULT_OUT,
) -> None:
    """Show how many steps, or seconds, optimizers need to a target, and how many get there."""
    written_as = check_format(format_, output, force=force)
    question = Question(
        targets=tuple(targets or ()),
        on=on,
        reference=reference,
        problems=tuple(problem or ()),
        choose_on=choosing_seeds(choose_on),
        unit=unit,
        profile=profile,
        algoperf=algoperf,
        rungs=rungs,
    )
    answer = reach([read_run(path) for path in find_runs(runs or [], out)], question)
    report(answer.table, sections(answer), written_as, output)
