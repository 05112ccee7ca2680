"""``optbench report``: runs and studies as one HTML file."""

from pathlib import Path
from typing import Annotated

import typer

from optbench.cli.options import DEFAULT_OUT, Out, Runs, place
from optbench.cli.output import tell
from optbench.cli.reports import ChooseOn, Force, choosing_seeds
from optbench.report.page import write_page
from optbench.store.files import check_place
from optbench.store.find import find_entries


def report(
    runs: Runs = None,
    output: Annotated[
        Path,
        typer.Option(
            "-O", "--output", metavar="FILE.html", parser=place, help="The file to write."
        ),
    ] = Path("report.html"),
    title: Annotated[
        str | None,
        typer.Option(metavar="TITLE", help="What stands at the top.", show_default=False),
    ] = None,
    choose_on: ChooseOn = None,
    force: Force = False,
    out: Out = DEFAULT_OUT,
) -> None:
    """Write runs and studies into one HTML file: what won, how sure that is, and how to repeat it.

    It can be sent and read anywhere: it needs no network and no other file.
    """
    check_place(output, force=force)
    seeds = choosing_seeds(choose_on)
    write_page(find_entries(runs or [], out), output, title=title, choose_on=seeds, force=force)
    tell(output)
