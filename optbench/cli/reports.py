"""What every command that reports has: ``--format``, ``--output``, and how a report is written."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from optbench.cli.options import check_choice, place
from optbench.cli.output import console, tell
from optbench.errors import UsageError
from optbench.report.formats import format_of
from optbench.report.sections import Section, to_csv, to_json, to_latex, to_markdown
from optbench.report.terminal import to_rich
from optbench.store.files import check_place, write_output
from optbench.suite.values import seed_list

if TYPE_CHECKING:
    import pandas as pd

READ = {"md": to_markdown, "latex": to_latex}
COUNTED = {"csv": to_csv, "json": to_json}
FORMATS = ("table", *READ, *COUNTED)
SUFFIXES = {"tex" if name == "latex" else name: name for name in (*READ, *COUNTED)}

Format = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="|".join(FORMATS),
        help="How to write it; csv and json hold unrounded values. A file's suffix says it, too.",
    ),
]

Output = Annotated[
    Path | None,
    typer.Option(
        "-O",
        "--output",
        metavar="FILE",
        parser=place,
        help="Write to a new file instead of stdout.",
        show_default=False,
    ),
]

Force = Annotated[bool, typer.Option("--force", help="Overwrite FILE.")]

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


def check_format(format_: str, output: Path | None = None, *, force: bool = False) -> str:
    """Refuse what cannot be written, before anything is read, and return the format.

    Where only tables for the terminal are asked for, the suffix of a file says its format.
    """
    check_choice("format", format_, FORMATS)
    check_force(output, force=force)
    if output is None:
        return format_
    written_as = format_of(output, None if format_ == "table" else format_, SUFFIXES)
    check_place(output, force=force)
    return written_as


def check_force(output: Path | None, *, force: bool) -> None:
    """Refuse ``--force`` where there is no file that it could overwrite."""
    if force and output is None:
        raise UsageError("--force belongs to --output; give both")


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
        write_output(output, lambda beside: beside.write_text(text, encoding="utf-8"))
        tell(output)
