"""Arguments and options that several commands share, and how the shell completes them.

Every command loads this file, so what completes a word imports what it needs when the shell asks.
"""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Annotated

import typer

from optbench import __version__
from optbench.cli.output import want_tracebacks
from optbench.errors import UsageError, nearest
from optbench.store.places import DEFAULT_OUT as DEFAULT_OUT


def complete_suite(incomplete: str) -> list[str]:
    """Complete the name of a built-in suite."""
    from optbench.suite.format import builtin_suites

    return _beginning(incomplete, builtin_suites())


def complete_optimizer(incomplete: str) -> list[str]:
    """Complete the name of an optimizer."""
    from optbench.optimizers.registry import optimizer_names

    return _beginning(incomplete, optimizer_names())


def complete_problem(incomplete: str) -> list[str]:
    """Complete the name of a problem, built in or offered by a package; none is imported."""
    from optbench.problems.plugin import offered
    from optbench.problems.registry import PROBLEMS

    return _beginning(incomplete, dict.fromkeys([*PROBLEMS, *offered()]))


def complete_run(incomplete: str) -> list[str]:
    """Complete the name of a run or a study under results/, the latest first."""
    from optbench.store.find import LATEST, list_runs

    runs = (path.name for path in reversed(list_runs(DEFAULT_OUT)))
    return _beginning(incomplete, [LATEST, *runs])


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def check_choice(what: str, value: str, choices: Collection[str]) -> None:
    """Refuse a value that is none of the choices."""
    if value not in choices:
        raise UsageError(f"unknown {what} '{value}'; {nearest(value, choices)}")


def place(text: str | Path) -> Path:
    """Return a path; an empty one, as an unset variable of a shell leaves, is refused."""
    if not str(text):
        raise ValueError("it is empty; write . for this folder")
    return Path(text)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"optbench {__version__}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
]


def _debug(wanted: bool) -> None:
    if wanted:
        want_tracebacks(True)


Debug = Annotated[
    bool,
    typer.Option("--debug", callback=_debug, is_eager=True, help="Print tracebacks of errors."),
]

Runs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="RUN",
        help="A run: its directory, the name of one under --out, the beginning of that name, "
        "or 'latest'; a study means its final run. By default all runs of the latest invocation.",
        autocompletion=complete_run,
        show_default=False,
    ),
]

DataDir = Annotated[
    Path | None,
    typer.Option(metavar="DIR", parser=place, help="Folder to look for data sets in first."),
]

Workers = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, help="Worker threads; by default as many as cores."),
]

Out = Annotated[
    Path, typer.Option("--out", metavar="DIR", parser=place, help="The results directory.")
]
