"""``optbench run --resume``: go on with a run that something ended."""

from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import typer

from optbench.cli.options import DEFAULT_OUT
from optbench.errors import SuiteError

if TYPE_CHECKING:
    from optbench.cli.execution import How

ALLOWED = {
    *("resume", "force", "workers", "checkpoint_every", "data_dir", "out"),
    *("quiet", "json", "debug", "version"),
}
"""Options of ``optbench run`` that may stand beside --resume: none changes what is computed."""


def check_alone(context: typer.Context) -> None:
    """Refuse options that would change a run that has begun.

    Raises
    ------
    SuiteError
        If one was given.
    """
    for parameter in context.command.params:
        name = str(parameter.name)
        source = context.get_parameter_source(name)
        if name not in ALLOWED and source is not None and source.name == "COMMANDLINE":
            given = parameter.opts[0] if parameter.opts[0].startswith("-") else "a suite"
            raise SuiteError(f"--resume goes on with a run as it began; leave {given} out")


def resume_run(run: str, how: "How", *, force: bool) -> int:
    """Go on with a run, report, and return the exit code."""
    from optbench import resume
    from optbench.cli.display import display
    from optbench.cli.execution import exit_code, settle
    from optbench.cli.report import print_end, print_json, print_outcome
    from optbench.device import get_device
    from optbench.flags import Flags
    from optbench.store.find import find_runs
    from optbench.store.reader import read_description
    from optbench.suitefile import read_suite

    (path,) = find_runs([run], how.out)
    device = get_device(device_name(read_description(path)))
    meta = resume.check_resumable(path, device, force=force)
    (suite,) = settle([read_suite(str(path / "run.json"))], Flags(), how)
    plan = resume.plan_rest(path, suite, device, how.workers)
    with display(plan, quiet=how.quiet) as observe:
        outcome = resume.resume(path, plan, device, observe, how.checkpoint_seconds)
    tables = print_outcome(outcome, how.out, quiet=how.quiet)
    if how.json:
        print_json([tables], str(meta["invocation_id"]))
    else:
        print_end([tables], how.out, quiet=how.quiet)
    return exit_code(outcome.status)


def device_name(meta: Mapping[str, object]) -> str:
    """Return what ``--device`` was when the run began."""
    device = meta.get("device")
    if not isinstance(device, dict) or device.get("kind") != "gpu":
        return "cpu"
    return f"gpu:{device.get('number', 0)}"


def how_to_go_on(run: Path, out: Path) -> str:
    """Return the command that goes on with a run."""
    option = "" if out == DEFAULT_OUT else f" --out {quote(str(out))}"
    return f"optbench run --resume {quote(run.name)}{option}"
