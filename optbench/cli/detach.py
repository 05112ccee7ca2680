"""``--detach``: the command goes on in a process of its own, and this one returns.

The process is given the same command line, and in an environment variable the number of a pipe.
Into that it writes the run's directory once a worker has the first block, or while the run waits
for its first worker. Until then all that it says goes into a file without a name, which is shown
here if it ends before; from then on it goes into ``client.log`` in the run's directory.
"""

import os
import signal
import sys
import tempfile
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from shlex import quote
from types import FrameType

from optbench.cli.output import say, tell
from optbench.cli.request import out_option
from optbench.errors import ExitCode, UsageError
from optbench.runs.invocation import Observe, ShowProgress
from optbench.runs.pipeline import Plan
from optbench.store.studies import is_study, run_name

LOG = "client.log"

PIPE = "OPTBENCH_DETACHED"
"""Environment variable with the number of the pipe, in the process that goes on."""


def check_detachable(cluster: str | None, *, dry_run: bool, json: bool) -> None:
    """Refuse ``--detach`` where it makes no sense.

    Raises
    ------
    UsageError
        If nothing runs elsewhere, or what the command prints at its end is wanted here.
    """
    if cluster is None:
        raise UsageError("--detach goes with --cluster; give both, or leave --detach out")
    for option, given in (("--dry-run", dry_run), ("--json", json)):
        if given:
            raise UsageError(
                f"--detach returns before {option} has anything to print; leave one out"
            )
    if sys.platform == "win32":
        raise UsageError("--detach needs a POSIX system; leave it out")


def is_detached() -> bool:
    """Say whether this is the process that goes on."""
    return PIPE in os.environ


class Detached:
    """What the process that goes on does beside the command: it says where the run is."""

    def __init__(self) -> None:
        self._pipe: int | None = int(os.environ.pop(PIPE))  # it is not for those started here
        os.set_inheritable(self._pipe, False)
        signal.signal(signal.SIGTERM, _interrupt)

    def telling(self, show: ShowProgress) -> ShowProgress:
        """Return what shows a run, and has its directory told once it has begun."""

        def shown(plan: Plan) -> AbstractContextManager[Observe]:
            if plan.cluster is not None:
                plan.cluster.begun = self._tell
            return show(plan)

        return shown

    def _tell(self, run: Path) -> None:
        """Hand over: write into the run's directory from now on, and let the first process go."""
        if self._pipe is None:
            return
        pipe, self._pipe = self._pipe, None
        whole = run.parent if is_study(run.parent) else run
        with suppress(OSError):  # the run goes on whatever becomes of its log
            _log_into(whole / LOG)
        with suppress(OSError), open(pipe, "wb") as opened:  # nobody may wait for it any more
            opened.write(os.fsencode(whole))


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Take SIGTERM for an interrupt: blocks end with a checkpoint."""
    signal.raise_signal(signal.SIGINT)


def _log_into(file: Path) -> None:
    """Let standard output and errors go on in a file, behind what it and they already hold."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    log = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(log, os.pread(1, os.fstat(1).st_size, 0))
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)


def go_on_detached(out: Path, *, quiet: bool) -> int:
    """Have a process of its own do what the command line asks for; return the exit code.

    That is 0 once the run has begun, and that of the process if it ends before.
    """
    if sys.platform == "win32":
        raise AssertionError("it is refused there")
    with tempfile.TemporaryFile() as log:
        reading, writing = os.pipe()
        with open(reading, "rb") as pipe:
            try:
                process = _start(log.fileno(), writing)
            finally:
                os.close(writing)
            try:
                path = pipe.read()
            except KeyboardInterrupt:
                os.kill(process, signal.SIGINT)
                path = pipe.read()
        if path:
            _say_where(Path(os.fsdecode(path)), process, out, quiet=quiet)
            return ExitCode.DONE
        _, status = os.waitpid(process, 0)
        log.seek(0)
        sys.stderr.write(log.read().decode(errors="replace"))
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code


def _start(log: int, pipe: int) -> int:
    """Start the process in a session of its own, and return its id."""
    ours = sys.path[0] in ("", os.getcwd())  # else a module there is not to be taken for another
    command = [sys.executable, *([] if ours else ["-P"]), "-m", "optbench", *sys.argv[1:]]
    os.set_inheritable(pipe, True)
    return os.posix_spawn(
        sys.executable,
        command,
        {**os.environ, PIPE: str(pipe)},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, log, 1),
            (os.POSIX_SPAWN_DUP2, log, 2),
        ],
        setsid=True,
        setsigmask=[],
        setsigdef=[signal.SIGINT, signal.SIGTERM],  # shells ignore interrupts in the background
    )


def _say_where(path: Path, process: int, out: Path, *, quiet: bool) -> None:
    """Print where the run is and how it is looked at and stopped."""
    tell(path if quiet else f"results: {path}")
    if not quiet:
        say(f"it goes on in process {process}; stop it with: kill -INT {process}")
        say(f"look at it with: optbench show {quote(run_name(path))} --follow{out_option(out)}")
