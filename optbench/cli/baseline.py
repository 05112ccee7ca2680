"""``optbench baseline``: keep runs as references for ``optbench check``."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from optbench.cli.options import DEFAULT_OUT, Out, complete_run
from optbench.cli.output import console, say, table
from optbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from optbench.records import RunTables

app = typer.Typer(no_args_is_help=True, help="Keep runs as references for optbench check.")

Thresholds = Annotated[
    list[str] | None,
    typer.Option(
        "--threshold",
        metavar="[PROBLEM=]SHARE",
        help="Relative change of the loss from which it counts, as 0.05 or mnist-mlp=0.1. "
        "Repeatable.",
    ),
]


@app.callback()
def _baseline() -> None:
    """Keep runs as references for optbench check."""


@app.command()
def save(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="The run: its directory, the name of one under --out, the beginning of that name, "
            "or 'latest'.",
            autocompletion=complete_run,
        ),
    ],
    name: Annotated[
        str | None, typer.Option(metavar="N", help="What to call it; by default as the suite.")
    ] = None,
    threshold: Thresholds = None,
    data_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder to look for data sets in first.")
    ] = None,
    out: Out = DEFAULT_OUT,
) -> None:
    """Keep a run as a reference under OUT/baselines/NAME, small enough for git."""
    from optbench.gate.baseline import FOLDER, check_free
    from optbench.store.find import find_runs
    from optbench.store.reader import read_run

    (path,) = find_runs([run], out)
    tables = read_run(path)
    title = tables.meta["suite"]["name"] if name is None else name
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", title):
        raise UsageError(f"'{title}' names no folder; use letters, digits, '.', '_' and '-'")
    folder = out / FOLDER / title
    check_free(folder)
    keep(tables, folder, parse_thresholds(threshold or []), data_dir)
    size = sum(file.stat().st_size for file in folder.iterdir())
    say(f"{len(tables.lanes)} lanes, {size / 1024:.0f} KiB; compare with: optbench check {title}")
    typer.echo(folder)


@app.command("list")
def list_(out: Out = DEFAULT_OUT) -> None:
    """List the baselines under OUT/baselines."""
    from optbench.gate.baseline import find, load

    listed = table("baseline", "suite", "lanes", "saved", "optbench", "processor")
    for folder in find([], out):
        baseline = load(folder)
        made = baseline.meta["environment"]
        saved = str(baseline.meta.get("saved"))[:19].replace("T", " ")
        listed.add_row(
            folder.name,
            baseline.meta["suite"]["name"],
            f"{len(baseline.lanes)}",
            saved,
            str(made.get("optbench")),
            str(made.get("processor")),
        )
    console().print(listed)


def keep(
    tables: "RunTables",
    folder: Path,
    thresholds: "Mapping[str, float]",
    data_dir: Path | None,
    *,
    replace: bool = False,
) -> None:
    """Save a run as a baseline in a folder."""
    from optbench.device.choose import get_device
    from optbench.gate import save as baseline
    from optbench.gate.baseline import Content
    from optbench.gate.baseline import save as write
    from optbench.runs.resume import device_name
    from optbench.suite.format import parse_suite
    from optbench.suite.resolve import resolve

    baseline.check_savable(tables)
    plain = tables.meta["suite"]["resolved"]
    suite = resolve(parse_suite(plain, str(tables.path)), data_dir=data_dir)
    device = get_device(device_name(tables.meta))
    baseline.check_lanes(tables, suite, device)
    content = Content(
        baseline.description(tables, folder.name, thresholds),
        tables.lanes,
        baseline.thinned(tables.trace),
        baseline.tolerances(suite, device),
    )
    write(folder, content, replace=replace)


def parse_thresholds(given: list[str]) -> dict[str, float]:
    """Return thresholds by problem; the key ``""`` holds that of all others.

    >>> parse_thresholds(["0.1", "mnist-mlp=0.2"])
    {'': 0.1, 'mnist-mlp': 0.2}

    Raises
    ------
    UsageError
        If one is no positive number.
    """
    found = {}
    for text in given:
        problem, _, share = text.rpartition("=")
        try:
            value = float(share)
        except ValueError:
            value = -1.0
        if not 0.0 < value < float("inf"):
            raise UsageError(f"--threshold '{text}' is no positive share; write 0.05 for 5 %")
        found[problem] = value
    return found
