"""The command line: a typer app, one command a file.

Imports at the top of these files are light; commands import what they need when they are called, so
that ``optbench --help`` starts fast.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from errno import ENOSPC
from io import TextIOWrapper
from typing import Any, NoReturn

import typer

from optbench.cli import baseline, check, clean, data, export, list_, new, plot, run, show, verify
from optbench.cli.options import Debug, Version
from optbench.cli.output import debug, want_tracebacks
from optbench.errors import ExitCode, OptbenchError
from optbench.plugins import Source, blame, new_code_cache
from optbench.plugins.cache import CodeCache

app = typer.Typer(
    help="Benchmark first-order optimizers: run a suite, then plot it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run.run)
app.command("plot")(plot.plot)
app.command("show")(show.show)
app.command("export")(export.export)
app.command("clean")(clean.clean)
app.add_typer(list_.app, name="list")
app.add_typer(data.app, name="data")
app.add_typer(verify.app, name="verify")
app.add_typer(new.app, name="new")
app.add_typer(baseline.app, name="baseline")
app.command("check")(check.check)


@app.callback()
def _options(
    version: Version = False,
    debug_: Debug = False,
) -> None:
    """Benchmark first-order optimizers: run a suite, then plot it."""


def main() -> NoReturn:
    """Run the command line and exit with one of :class:`optbench.errors.ExitCode`."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr: not all speak UTF-8
    code = _main()
    if code == ExitCode.INTERRUPTED:  # a worker may be in the midst of a chunk that nobody needs
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _main() -> int:
    want_tracebacks(False)
    with new_code_cache() as foreign:
        return _call(foreign)


def _call(foreign: CodeCache) -> int:
    """Run the command line and return its exit code; ``foreign`` is the users' own code."""
    try:
        code: Any = app(prog_name="optbench", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else ExitCode.DONE
    except OptbenchError as error:
        debug(traceback.format_exc())
        return _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", ExitCode.INTERRUPTED)
    except BrokenPipeError:  # whoever read the output has seen enough
        _discard_output()
        return ExitCode.DONE
    except BaseException as error:
        said = _complaint(error, foreign.sources)
        if said is None:
            raise
        return _fail(said, ExitCode.USAGE)


def _complaint(error: BaseException, foreign: Sequence[Source]) -> str | None:
    """Say in one line what a user can mend; None where the fault is optbench's.

    ``foreign`` is where users' own code lies that was loaded.
    """
    if isinstance(error, MemoryError):
        what = str(error) or "an array does not fit"
        return f"memory does not suffice: {what}; make the problem smaller"
    if isinstance(error, OSError) and error.errno == ENOSPC:
        _discard_output()
        return "no space is left where the output goes; free some"
    # Typer reports wrong usage by exceptions of the click that it uses, its own copy or the
    # package; both tell a user what is wrong by this method.
    message = getattr(error, "format_message", None)
    if message is not None:
        return _one_line(message())
    if not foreign:
        return None
    said = blame(error, foreign)
    if said is not None:
        debug(traceback.format_exc())
    return said


def _discard_output() -> None:
    """Let what stdout still holds go nowhere: Python would try to write it again at its end."""
    if isinstance(sys.stdout, TextIOWrapper):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _one_line(message: str) -> str:
    text = " ".join(message.split()) or "no command given"
    return f"{text[0].lower()}{text[1:].rstrip('.')} (see: optbench --help)"


def _fail(message: str, code: ExitCode) -> int:
    typer.echo(f"error: {message}", err=True)
    return code
