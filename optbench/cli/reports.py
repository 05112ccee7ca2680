"""What every command that reports has: ``--format``, ``--output``, and how a report is written."""

from collections.abc import Sequence
from os.path import lexists
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from optbench.cli.options import check_choice
from optbench.cli.output import console, tell
from optbench.errors import UsageError
from optbench.report.sections import Section, to_csv, to_json, to_latex, to_markdown, to_rich
from optbench.store.files import write_beside
from optbench.store.places import writing
from optbench.suite.values import seed_list

if TYPE_CHECKING:
    import pandas as pd

READ = {"md": to_markdown, "latex": to_latex}
COUNTED = {"csv": to_csv, "json": to_json}
FORMATS = ("table", *READ, *COUNTED)

Format = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="|".join(FORMATS),
        help="How to write it; csv and json hold unrounded values.",
    ),
]

Output = Annotated[
    Path | None,
    typer.Option(
        "-O",
        "--output",
        metavar="FILE",
        help="Write to a new file instead of stdout.",
        show_default=False,
    ),
]


Problems = Annotated[
    list[str] | None,
    typer.Option(
        "--problem", metavar="NAME", help="Only this problem; repeatable.", show_default=False
    ),
]

Reference = Annotated[
    str | None,
    typer.Option(
        metavar="LABEL",
        help="The optimizer to compare all others with; by default all pairs, or none of times.",
        show_default=False,
    ),
]

ChooseOn = Annotated[
    str | None,
    typer.Option(
        "--choose-on",
        metavar="SEEDS",
        help="Seeds that choose the best of a grid, such as 0-4; the others judge.",
        show_default=False,
    ),
]


def choosing_seeds(text: str | None) -> tuple[int, ...]:
    """Return the seeds that ``--choose-on`` names."""
    return () if text is None else seed_list(text)


def check_format(format_: str, output: Path | None = None) -> None:
    """Refuse a format that there is not, or a file that is there, before anything is read."""
    check_choice("format", format_, FORMATS)
    if output is not None and format_ == "table":
        raise UsageError("a table is for the terminal; give --format md, latex, csv or json")
    if output is not None and lexists(output):
        raise UsageError(f"'{output}' already exists; move it or choose another file")


def report(
    table: "pd.DataFrame", sections: Sequence[Section], format_: str, output: Path | None = None
) -> None:
    """Print a report, or write it to a file and print where that is."""
    if format_ == "table":
        console().print(to_rich(sections))
        return
    text = READ[format_](sections) if format_ in READ else COUNTED[format_](table)
    if output is None:
        tell(text, end="")
    else:
        with writing(output):
            output.parent.mkdir(parents=True, exist_ok=True)
        write_beside(output.resolve(), lambda beside: beside.write_text(text, encoding="utf-8"))
        tell(output)
