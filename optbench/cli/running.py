"""From suites and flags to runs and reports: what ``optbench run`` does."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from optbench.errors import ExitCode, SuiteError
from optbench.runs.resume import device_name

if TYPE_CHECKING:
    from optbench.device.base import Device
    from optbench.records import Lane, RunTables, Status
    from optbench.runs.pipeline import RunResult
    from optbench.runs.reuse import Reused
    from optbench.suite.flags import Flags
    from optbench.suite.format import SuiteFile
    from optbench.suite.resolve import Suite


@dataclass(frozen=True)
class How:
    """How to run, which is no part of any suite."""

    device: str
    workers: int | None
    data_dir: Path | None
    out: Path
    quiet: bool
    json: bool
    checkpoint_seconds: float
    reuse: bool = False
    reuse_diverged: bool = False


def plan_all(written: "list[SuiteFile]", flags: "Flags", how: How) -> None:
    """Print what the suites would take."""
    from optbench.cli.report import print_plan
    from optbench.device.choose import get_device
    from optbench.runs.pipeline import plan_run

    device = get_device(how.device)
    for suite in settle(written, flags, how):
        print_plan(plan_run(suite, device, how.workers, _reusable(how)), device)


def run_all(written: "list[SuiteFile]", flags: "Flags", how: How) -> int:
    """Settle all suites before the first one runs, run them, report, and return the exit code."""
    from optbench.cli.report import print_end, print_json, print_result
    from optbench.device.choose import get_device
    from optbench.records import Status
    from optbench.runs.pipeline import new_invocation

    device = get_device(how.device)
    suites = settle(written, flags, how)
    invocation = new_invocation()
    codes: list[int] = []
    finished: list[RunTables] = []
    for suite in suites:
        outcome = _run_one(suite, device, invocation, how)
        codes.append(exit_code(outcome.status))
        finished.append(print_result(outcome, how.out, quiet=how.quiet))
        if outcome.status is Status.INTERRUPTED:
            break
    if how.json:
        print_json(finished, invocation)
    else:
        print_end(finished, how.out, quiet=how.quiet)
    return max(codes)


def settle(written: "list[SuiteFile]", flags: "Flags", how: How) -> "list[Suite]":
    """Change and resolve the suites; everything that is wrong with them is found here."""
    from optbench.cli.output import say
    from optbench.suite.flags import apply_flags
    from optbench.suite.resolve import resolve

    changed, notices = apply_flags(written, flags)
    suites = [
        resolve(file, written=before.as_written(), data_dir=how.data_dir)
        for file, before in zip(changed, written, strict=True)
    ]
    notices += [notice for suite in suites for notice in suite.notices]
    for notice in dict.fromkeys(notices):
        if not how.quiet or how.json:
            say(f"note: {notice}")
    return suites


def _run_one(suite: "Suite", device: "Device", invocation: str, how: How) -> "RunResult":
    from optbench.cli.display import display
    from optbench.runs.pipeline import plan_run, run_plan

    plan = plan_run(suite, device, how.workers, _reusable(how))
    with display(plan, quiet=how.quiet) as observe:
        return run_plan(plan, device, how.out, invocation, observe, how.checkpoint_seconds)


def exit_code(status: "Status") -> int:
    """Return the exit code of a run that ended so."""
    from optbench.records import Status

    if status is Status.INTERRUPTED:
        return ExitCode.INTERRUPTED
    return ExitCode.DONE if status is Status.DONE else ExitCode.LANES_FAILED


def _reusable(how: How) -> "Callable[[Sequence[Lane]], list[Reused]]":
    """Return what finds lanes that earlier runs have finished."""
    from optbench.runs.reuse import find_reusable

    if not (how.reuse or how.reuse_diverged):
        return lambda lanes: []
    return lambda lanes: find_reusable(how.out, lanes, diverged=how.reuse_diverged)


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
    from optbench.cli.display import display
    from optbench.cli.report import print_end, print_json, print_result
    from optbench.cli.running import exit_code, settle
    from optbench.device.choose import get_device
    from optbench.run import resume
    from optbench.store.find import find_runs
    from optbench.store.reader import read_description
    from optbench.suite.flags import Flags
    from optbench.suite.format import read_suite

    (path,) = find_runs([run], how.out)
    device = get_device(device_name(read_description(path)))
    meta = resume.check_resumable(path, device, force=force)
    (suite,) = settle([read_suite(str(path / "run.json"))], Flags(), how)
    plan = resume.plan_rest(path, suite, device, how.workers)
    with display(plan, quiet=how.quiet) as observe:
        outcome = resume.resume(path, plan, device, observe, how.checkpoint_seconds)
    tables = print_result(outcome, how.out, quiet=how.quiet)
    if how.json:
        print_json([tables], str(meta["invocation_id"]))
    else:
        print_end([tables], how.out, quiet=how.quiet)
    return exit_code(outcome.status)
