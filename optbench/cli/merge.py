"""``optbench merge``: several runs as one."""

from typing import Annotated

import typer

from optbench.cli.options import DEFAULT_OUT, Out, complete_run
from optbench.cli.output import say, tell
from optbench.runs.merge import merge as merge_runs


def merge(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN",
            help="Two runs or more: directories, packs, names under --out, or beginnings of names; "
            "a study means its final run.",
            autocompletion=complete_run,
            show_default=False,
        ),
    ],
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What to call the new run; by default as its runs, or merged.",
            show_default=False,
        ),
    ] = None,
    out: Out = DEFAULT_OUT,
) -> None:
    """Make one new run of runs that belong together, such as other seeds or optimizers.

    Problems, data, code and settings that they share have to be the same, else the places that
    differ are named. Nothing is trained, and the runs stay as they are.
    """
    tell(merge_runs(runs, out, name=name, notice=lambda message: say(f"note: {message}")))
