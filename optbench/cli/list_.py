"""``optbench list``: what there is, with defaults and ranges."""

from typing import TYPE_CHECKING

import typer

from optbench.cli import data
from optbench.cli.options import DEFAULT_OUT, Out

if TYPE_CHECKING:
    from rich.table import Table

app = typer.Typer(
    help="List suites, problems, optimizers, data sets, devices or runs.", no_args_is_help=True
)
app.command("datasets")(data.list_)


def _table(*headings: str, title: str | None = None) -> "Table":
    from rich import box
    from rich.table import Table

    return Table(*headings, title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)


def _print(table: "Table") -> None:
    from optbench.cli.output import console

    console().print(table)


@app.command()
def suites() -> None:
    """List the built-in suites."""
    from optbench.suitefile import builtin_suites, read_suite

    table = _table("suite", "problems", "optimizers", "iterations", "what it is")
    for name in builtin_suites():
        suite = read_suite(name)
        table.add_row(
            name,
            ", ".join(entry.title for entry in suite.problem),
            ", ".join(entry.title for entry in suite.optimizer),
            str(suite.iterations or ""),
            suite.description,
        )
    _print(table)


@app.command()
def problems() -> None:
    """List the problems with their options."""
    from optbench.problems import PROBLEMS

    table = _table("problem", "option", "default", "values", "meaning")
    for name, problem in PROBLEMS.items():
        table.add_section()
        table.add_row(name, "", "", "", problem.summary)
        for option in problem.options:
            table.add_row("", option.name, f"{option.default}", option.range, option.meaning)
    _print(table)


@app.command()
def optimizers() -> None:
    """List the optimizers with their hyperparameters."""
    from optbench.optimizers import OPTIMIZERS

    table = _table("optimizer", "hyperparameter", "default", "range", "meaning")
    for name, optimizer in OPTIMIZERS.items():
        table.add_section()
        table.add_row(name, "", "", "", optimizer.summary)
        for each in optimizer.hyperparameters:
            table.add_row("", each.name, f"{each.default:g}", each.range, each.meaning)
    _print(table)


@app.command()
def devices() -> None:
    """List the devices, and say why the GPU cannot be used if it cannot."""
    from optbench.device import why_no_gpu
    from optbench.executor import usable_cores

    table = _table("device", "usable", "what it is")
    table.add_row("cpu", "yes", f"NumPy on {usable_cores()} cores")
    reason = why_no_gpu()
    table.add_row("gpu", "yes" if reason is None else "no", reason or "CuPy on a CUDA device")
    _print(table)


@app.command()
def runs(out: Out = DEFAULT_OUT) -> None:
    """List the runs under a results directory, oldest first."""
    from optbench.errors import ResultsError
    from optbench.store.find import list_runs
    from optbench.store.reader import read_meta

    table = _table("run", "suite", "status", "started", "invocation")
    for path in list_runs(out):
        try:
            meta = read_meta(path)
        except ResultsError as error:
            table.add_row(path.name, "", "damaged", "", str(error))
            continue
        started = str(meta["started"])[:19].replace("T", " ")
        name = meta["suite"]["name"]
        table.add_row(path.name, name, meta["status"], started, meta["invocation_id"])
    _print(table)
