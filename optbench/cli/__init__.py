"""The command line: a typer app, one command per file.

Starting loads none of the commands: their names and first lines stand in a table here, and
``optbench COMMAND`` imports the file of that command alone, with all that it needs.
"""

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from errno import ENOMEM, ENOSPC
from importlib import import_module
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group
from typing_extensions import override

from optbench.cli import usage
from optbench.cli.help import arranged
from optbench.cli.options import Debug, Version
from optbench.cli.output import debug, say, want_tracebacks
from optbench.cli.streams import LACKS_SPACE, complaint, guarded
from optbench.errors import ExitCode, OptbenchError
from optbench.plugins import Source, blame, new_code_cache
from optbench.plugins.cache import CodeCache

PANELS = {
    "Train": {
        "run": ("run:run", "Train optimizers side by side and keep every iteration's loss."),
        "tune": (
            "tune:tune",
            "Tune optimizers alike, and judge the winners on seeds that chose nothing.",
        ),
    },
    "Look at results": {
        "show": (
            "show:show",
            "Show the summary of runs: the best configuration of each optimizer, over its seeds.",
        ),
        "compare": (
            "compare:compare",
            "Compare the optimizers of runs: by how much each is better, and whether that is sure.",
        ),
        "target": (
            "target:target",
            "Show how many steps, or seconds, optimizers need to a target, and how many get there.",
        ),
        "plot": ("plot:plot", "Draw figures of runs and print the paths of the files."),
        "report": (
            "report:report",
            "Write runs and studies into one HTML file: what won, how sure that is, and how to "
            "repeat it.",
        ),
        "export": (
            "export:export",
            "Write a table of runs as CSV, JSON or Parquet, or lanes for an experiment tracker.",
        ),
        "merge": (
            "merge:merge",
            "Make one new run of runs that belong together, such as other seeds or optimizers.",
        ),
        "pack": (
            "pack:pack",
            "Write a run or a study into one file, which other commands take in place of a run.",
        ),
    },
    "Notice regressions": {
        "baseline": ("baseline:app", "Keep runs as references for optbench check."),
        "check": (
            "check:check",
            "Run baselines' suites again and fail where convergence got worse or lanes are others.",
        ),
    },
    "Look up and tidy up": {
        "list": (
            "list_:app",
            "List suites, problems, optimizers, data sets, devices, a cluster's workers, or runs.",
        ),
        "data": ("data:app", "List, fetch and verify data sets."),
        "clean": (
            "clean:clean",
            "Delete runs, after listing them and asking; print the paths of those deleted.",
        ),
    },
    "Bring your own": {
        "new": ("new:app", "Write a file to start from."),
        "verify": ("verify:app", "Check what optbench computes on this machine."),
    },
}
"""Of each command: ``module:name`` of its function or app, and the first line of its help."""

COMMANDS = {name: command for panel in PANELS.values() for name, command in panel.items()}


STARVED = ("failed to map segment", "cannot allocate memory", "can't start new thread")
"""What the loader of libraries, and Python, say where memory is lacking."""


def load_command(name: str) -> Any:
    """Import a command and return it as click has it.

    Its module may say in ``PANELS`` which options its help shows together.
    """
    file, attribute = COMMANDS[name][0].split(":")
    module = import_module(f"optbench.cli.{file}")
    target = getattr(module, attribute)
    if isinstance(target, typer.Typer):
        return arranged(get_group(target), {})
    single = typer.Typer(add_completion=False)
    single.command(name)(target)
    return arranged(get_command(single), getattr(module, "PANELS", {}))


class LazyGroup(TyperGroup):
    """A group whose commands are names and first lines until one of them is called."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        arranged(self, {})

    @override
    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        if name is not None:
            command = load_command(name)
            if ctx.obj is not None:
                ctx.obj()
        return name, command, rest

    @override
    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Abort from None  # typer's own answer to it depends on its version


app = typer.Typer(
    cls=LazyGroup,
    help="Benchmark first-order optimizers: run a suite, then plot it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _panel, _commands in PANELS.items():
    for _name, (_, _line) in _commands.items():
        app.command(_name, help=_line, rich_help_panel=_panel)(lambda: None)


@app.callback()
def _options(version: Version = False, debug_: Debug = False) -> None:
    pass


def main(loaded: Callable[[], object] | None = None) -> NoReturn:
    """Run the command line and exit with one of :class:`optbench.errors.ExitCode`.

    ``loaded`` is called once the command's own code is there, before it does anything.
    """
    os.environ["MPLBACKEND"] = "agg"  # figures go to files; a backend that is none would raise
    with guarded():
        code = invoke(loaded)
        lost = complaint()
        if lost is not None:
            say(f"error: {lost}")
            code = code or ExitCode.USAGE
    if code == ExitCode.INTERRUPTED:  # a worker may be in the midst of a chunk that nobody needs
        if packs := sys.modules.get("optbench.store.pack"):
            packs.remove_unfolded()
        os._exit(code)
    sys.exit(code)


def invoke(loaded: Callable[[], object] | None = None) -> int:
    """Run the command line and return the exit code; what a user can mend is told in one line."""
    want_tracebacks(False)
    with new_code_cache() as foreign:
        return _call(foreign, loaded)


def _call(foreign: CodeCache, loaded: Callable[[], object] | None) -> int:
    """Run the command line and return its exit code; ``foreign`` is the users' own code."""
    try:
        code: Any = app(prog_name="optbench", standalone_mode=False, obj=loaded)
        return code if isinstance(code, int) else ExitCode.DONE
    except OptbenchError as error:
        debug(traceback.format_exc())
        return _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):  # the first, where no command was called yet
        return _fail("interrupted", ExitCode.INTERRUPTED)
    except BaseException as error:
        message = _complaint(error, foreign.sources)
        if message is None:
            raise
        return _fail(message, ExitCode.USAGE)


def _complaint(error: BaseException, foreign: Sequence[Source]) -> str | None:
    """Say in one line what a user can mend; None where the fault is optbench's.

    ``foreign`` says where the user's own code lies that was loaded.
    """
    if _is_starved(error):
        return "not enough memory to load libraries and start threads; raise its limit (ulimit -v)"
    if isinstance(error, MemoryError):
        what = str(error) or "an array does not fit"
        return f"not enough memory: {what}; make the problem smaller"
    if isinstance(error, OSError) and error.errno == ENOSPC:
        return LACKS_SPACE
    said = usage.complaint(error, COMMANDS)
    if said is not None:
        return said
    if not foreign:
        return None
    said = blame(error, foreign)
    if said is not None:
        debug(traceback.format_exc())
    return said


def _is_starved(error: BaseException) -> bool:
    """Say whether a library could not be loaded, or a thread not started, for lack of memory."""
    if isinstance(error, OSError):
        return error.errno == ENOMEM
    said = str(error) if isinstance(error, ImportError | RuntimeError) else ""
    return any(words in said for words in STARVED)


def _fail(message: str, code: ExitCode) -> int:
    if code == ExitCode.INTERRUPTED and sys.stderr.isatty():
        sys.stderr.write("\r")  # the terminal has echoed ^C
    say(f"error: {message}")
    return code
