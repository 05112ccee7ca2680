"""``optbench compare``: which optimizer is better, by how much, and is that sure."""

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
from optbench.errors import UsageError
from optbench.report.across import across
from optbench.report.compare import METRICS, Question
from optbench.report.compare import compare as compared
from optbench.report.joined import joined
from optbench.report.protocol import contestants
from optbench.report.verdicts import sections
from optbench.store.find import find_runs
from optbench.store.reader import read_run


def compare(
    runs: Runs = None,
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=f"What to compare: {', '.join(METRICS)}; by default what tables rank by.",
            show_default=False,
        ),
    ] = None,
    reference: Reference = None,
    problem: Problems = None,
    level: Annotated[
        float, typer.Option(metavar="SHARE", help="Probability of any false verdict.")
    ] = 0.05,
    margin: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Difference that does not matter: as 1% of a loss, or 0.1 points of an error.",
            show_default=False,
        ),
    ] = None,
    choose_on: ChooseOn = None,
    format_: Format = "table",
    output: Output = None,
    force: Force = False,
    out: Out = DEFAULT_OUT,
) -> None:
    """Compare the optimizers of runs: by how much each is better, and whether that is sure."""
    written_as = check_format(format_, output, force=force)
    question = Question(
        metric,
        reference,
        tuple(problem or ()),
        level,
        **_margins(margin),
        choose_on=choosing_seeds(choose_on),
    )
    tables = joined([contestants(read_run(path)) for path in find_runs(runs or [], out)])
    found = compared(tables, question)
    together = across(found.contests, level)
    report(found.pairs, sections(tables, found, together), written_as, output)


def _margins(text: str | None) -> dict[str, float]:
    """Return a margin, ``1%`` of losses or ``0.1`` points of errors, by its name."""
    if text is None:
        return {}
    number = text.removesuffix("%").strip()
    try:
        value = float(number)
    except ValueError:
        raise UsageError(f"--margin '{text}' is malformed; write 1% or, for errors, 0.1") from None
    return {"margin": value / 100.0} if text.endswith("%") else {"points": value}
