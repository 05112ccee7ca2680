"""Arguments and options that several commands share, and how the shell completes them."""

from pathlib import Path
from typing import Annotated

import typer

from optbench import __version__
from optbench.cli.output import want_tracebacks

DEFAULT_OUT = Path("results")


def complete_suite(incomplete: str) -> list[str]:
    """Return the built-in suites that start so."""
    from optbench.suite.format import builtin_suites

    return [name for name in builtin_suites() if name.startswith(incomplete)]


def complete_optimizer(incomplete: str) -> list[str]:
    """Return the optimizers that start so."""
    from optbench.optimizers.registry import optimizer_names

    return [name for name in optimizer_names() if name.startswith(incomplete)]


def complete_run(incomplete: str) -> list[str]:
    """Return the runs under results/ that start so, the latest first."""
    from optbench.store.find import LATEST, list_runs

    names = [LATEST, *(path.name for path in reversed(list_runs(DEFAULT_OUT)))]
    return [name for name in names if name.startswith(incomplete)]


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
        help="A run: its directory, the name of one under --out, an unambiguous prefix of that, "
        "or 'latest'. Without one: all runs of the latest invocation.",
        autocompletion=complete_run,
        show_default=False,
    ),
]

Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="The results directory.")]


def complete_problem(incomplete: str) -> list[str]:
    """Return the problems that start so: built in and offered by packages; none is imported."""
    from optbench.problems.plugin import offered
    from optbench.problems.registry import PROBLEMS

    names = dict.fromkeys([*PROBLEMS, *offered()])
    return [name for name in names if name.startswith(incomplete)]
