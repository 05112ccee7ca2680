"""``optbench data``: list, fetch and verify data sets."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from optbench import datasets
from optbench.cli.output import console, say, tell
from optbench.datasets import Verification
from optbench.datasets.download import Progress
from optbench.datasets.files import ENDINGS
from optbench.errors import DataError
from optbench.report.sections import Column, Section
from optbench.report.terminal import to_rich

SPLITS = ("train", "validation", "test")

app = typer.Typer(no_args_is_help=True, help="List, fetch and verify data sets.")


def complete_dataset(incomplete: str) -> list[str]:
    """Complete the name of a data set."""
    return [name for name in datasets.names() if name.startswith(incomplete)]


DataDir = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Folder that holds the files, directly or in a subfolder with the data set's name. "
        "By default OPTBENCH_DATA_DIR, or the user's cache.",
        show_default=False,
    ),
]


@app.command("list")
def list_(data_dir: DataDir = None) -> None:
    """Show the data sets, their sizes and where they are."""
    sizes = [Column(split, spare=1) for split in SPLITS]
    rows = []
    for name in datasets.names():
        splits = datasets.info(name).splits
        counts = [f"{splits[split]:,}" if split in splits else "" for split in SPLITS]
        rows.append([name, *counts, _where(name, data_dir)])
    rows.append(["FILE", *([""] * len(SPLITS)), f"your own: {', '.join(ENDINGS)} or IDX"])
    columns = [Column("data set", "name"), *sizes, Column("where", "word")]
    console().print(to_rich([Section("", columns, rows)]))


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(autocompletion=complete_dataset)],
    mirror: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL",
            help="Folder with the gzipped IDX files, tried before the known ones. Repeatable.",
            show_default=False,
        ),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder to put it into, in a subfolder with the data set's name. By default the "
            "user's cache.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Download a data set, verify it and print the folder where it is."""
    mirrors = (*(mirror or ()), *datasets.info(name).mirrors)
    with progress_bars() as progress:
        folder = datasets.fetch(name, mirrors=mirrors, cache=data_dir, progress=progress)
    tell(folder)


@app.command()
def verify(
    name: Annotated[str | None, typer.Argument(autocompletion=complete_dataset)] = None,
    data_dir: DataDir = None,
) -> None:
    """Read a data set's files again and compare them with their SHA-256; by default all data sets.

    Without a name and a folder, data sets that cannot be found are only mentioned.
    """
    names = datasets.names() if name is None else (name,)
    absent = [
        dataset
        for dataset in names
        if name is None and data_dir is None and datasets.find(dataset) is None
    ]
    reports = [datasets.verify(dataset, data_dir) for dataset in names if dataset not in absent]
    _print_reports(reports)
    for dataset in absent:
        say(f"{dataset} cannot be found; get it with: {_where(dataset, None)}")
    problems = [problem for report in reports for problem in report.problems]
    if problems:
        more = f" (and {len(problems) - 1} more, see the table)" if len(problems) > 1 else ""
        raise DataError(f"{problems[0]}{more}")


def _where(name: str, data_dir: Path | None) -> str:
    info, place = datasets.info(name), datasets.find(name, data_dir)
    if info.mirrors:
        return f"optbench data fetch {name}" if place is None else str(place)
    if info.package is None:
        return "part of optbench"
    return f"pip install {info.package}" if place is None else f"part of {info.package}"


def _print_reports(reports: list[Verification]) -> None:
    columns = [
        Column("data set", "name"),
        Column("file", "word"),
        Column("sha256", "word", spare=1),
        Column("result", "prose"),
    ]
    rows = [
        [report.name, check.name, (check.sha256 or "")[:16], check.problem or "good"]
        for report in reports
        for check in report.checks
    ]
    console().print(to_rich([Section("", columns, rows)]))


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """Show one bar per file on stderr where that is a terminal, else nothing."""
    screen = console(stderr=True)
    if not screen.is_terminal:
        yield lambda file, received_bytes, total_bytes: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    bars: dict[str, TaskID] = {}
    with Bars(*columns, TimeRemainingColumn(), console=screen) as display:

        def show(file: str, received_bytes: int, total_bytes: int | None) -> None:
            if file not in bars:
                bars[file] = display.add_task(file)
            display.update(bars[file], completed=received_bytes, total=total_bytes)

        yield show
