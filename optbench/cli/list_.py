"""``optbench list``: what optbench offers, with defaults and ranges, and the runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from optbench.cli import data
from optbench.cli.options import DEFAULT_OUT, Out
from optbench.cli.output import console, table
from optbench.device.gpu import list_gpus, why_no_gpu
from optbench.engine.executor import usable_cores
from optbench.errors import ResultsError, printable
from optbench.optimizers.modifiers import COMMON
from optbench.optimizers.presets import PRESETS
from optbench.optimizers.registry import OPTIMIZERS
from optbench.problems.registry import PROBLEMS, get_problem_class
from optbench.records import Status
from optbench.store.find import list_runs, list_unbegun
from optbench.store.reader import read_description
from optbench.store.studies import is_study, read_tune
from optbench.suite.format import SuiteFile, builtin_suites, read_suite

MOST_TITLES = 4
"""Up to so many problems or optimizers of a suite are named; more are only counted."""

app = typer.Typer(
    help="List suites, problems, optimizers, data sets, devices or runs.", no_args_is_help=True
)
app.command("datasets")(data.list_)


@app.command()
def suites() -> None:
    """List the built-in suites."""
    listed = table("suite", "problems", "optimizers", "iterations", "what it is")
    for name in builtin_suites():
        suite = read_suite(name)
        listed.add_row(
            name,
            _titles([entry.title for entry in suite.problem]),
            _titles([entry.title for entry in suite.optimizer]),
            _length(suite),
            suite.description,
        )
    console().print(listed)


def _titles(titles: list[str]) -> str:
    return ", ".join(titles) if len(titles) <= MOST_TITLES else f"{len(titles)} of them"


def _length(suite: SuiteFile) -> str:
    return f"{suite.epochs} epochs" if suite.epochs is not None else str(suite.iterations or "")


@app.command()
def problems(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]", help="A problem, to list its options.", show_default=False
        ),
    ] = None,
) -> None:
    """List the problems, or the options of one."""
    if name is None:
        listed = table("problem", "kind", "iterations", "what it is")
        for title, problem in PROBLEMS.items():
            listed.add_row(title, problem.kind, f"{problem.default_iterations}", problem.summary)
    else:
        listed = table("option", "default", "values", "meaning")
        for option in get_problem_class(name).options:
            listed.add_row(option.name, option.default_text, option.range, option.meaning)
    console().print(listed)


@app.command()
def optimizers() -> None:
    """List the optimizers with their hyperparameters, and the presets."""
    listed = table("optimizer", "default", "range", "meaning")
    for name, optimizer in OPTIMIZERS.items():
        listed.add_section()
        listed.add_row(name, "", "", optimizer.summary)
        for setting in optimizer.hyperparameters:
            listed.add_row(
                f"  {setting.name}", setting.default_text, setting.range, setting.meaning
            )
    console().print(_with_whole_names(listed))
    presets = table("preset", "rule", "settings", "what it is")
    for name, preset in PRESETS.items():
        settings = ", ".join(f"{key}={_value(value)}" for key, value in preset.settings.items())
        presets.add_row(name, preset.rule.name, settings, preset.summary)
    console().print(_with_whole_names(presets))
    shared = table("any optimizer", "values", "meaning")
    for common in COMMON.values():
        shared.add_row(common.name, common.range, common.meaning)
    console().print(shared)


def _with_whole_names(listed: Table) -> Table:
    """Keep the first two columns of a table whole where the terminal is narrow."""
    for column in listed.columns[:2]:
        column.no_wrap = True
    return listed


def _value(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


@app.command()
def devices() -> None:
    """List the devices, and say why the GPU cannot be used if it cannot."""
    listed = table("device", "usable", "memory", "what it is")
    listed.add_row("cpu", "yes", "", f"NumPy on {usable_cores()} cores")
    for gpu in list_gpus():
        memory = f"{gpu['memory_bytes'] / 2**30:.0f} GiB"
        listed.add_row(f"gpu:{gpu['number']}", "yes", memory, gpu["name"])
    reason = why_no_gpu()
    if reason is not None:
        listed.add_row("gpu", "no", "", reason)
    console().print(listed)


@app.command()
def runs(out: Out = DEFAULT_OUT) -> None:
    """List the runs and studies under a results directory, oldest first."""
    listed = table("run", "suite", "status", "started", "invocation")
    for path in list_runs(out):
        study = is_study(path)
        try:
            meta = read_tune(path) if study else read_description(path)
        except ResultsError as error:
            listed.add_row(printable(path.name), "", "damaged", "", str(error))
            continue
        started = str(meta["started"])[:19].replace("T", " ")
        name = meta["suite"]["name"]
        what = _study(meta, list_runs(path)) if study else meta["invocation_id"]
        listed.add_row(printable(path.name), name, meta["status"], started, what)
    for run in list_unbegun(out):
        started = run.started[:19].replace("T", " ")
        what = "ended before it began; optbench clean removes it"
        listed.add_row(printable(run.path.name), run.suite, Status.INTERRUPTED, started, what)
    console().print(listed)


def _study(meta: Mapping[str, Any], rounds: Sequence[Path]) -> str:
    """Say in a line what a study tries, and in which round it is."""
    trials = meta["budget"]["trials"].values()
    labels = dict.fromkeys(label for of_problem in trials for label in of_problem)
    counts = [count for of_problem in trials for count in of_problem.values()]
    least, most = min(counts, default=0), max(counts, default=0)
    count = f"{most}" if least == most else f"{least} to {most}"
    round_ = rounds[-1].name if rounds else "not begun"
    metrics = ", ".join(dict.fromkeys(meta["metric"].values()))
    return f"study: {count} trials each of {_titles([*labels])}, by {metrics}; {round_}"
