"""``optbench pack``: a run or a study as one file."""

from pathlib import Path
from typing import Annotated

import typer

from optbench.cli.options import DEFAULT_OUT, Out, complete_run, place
from optbench.cli.output import tell
from optbench.cli.reports import Force
from optbench.store.find import find_entries
from optbench.store.pack import pack as write_pack


def pack(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN|STUDY",
            help="A run or a study: its directory, its name, the beginning of it, or latest.",
            autocompletion=complete_run,
            show_default=False,
        ),
    ],
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE.zip", parser=place, help="The file to write.", show_default=False
        ),
    ],
    force: Force = False,
    out: Out = DEFAULT_OUT,
) -> None:
    """Write a run or a study into one file, which other commands take in place of a run.

    It holds suite, tables, environment and code of plug-ins, and no figures. The same run gives the
    same bytes.
    """
    (path,) = find_entries([run], out)
    write_pack(path, file, force=force)
    tell(file)
