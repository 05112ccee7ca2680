"""``optbench check``: fail where convergence has become worse than a baseline's."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from optbench.cli.baseline import Thresholds, keep, parse_thresholds
from optbench.cli.options import DEFAULT_OUT, Out, complete_run
from optbench.cli.output import say
from optbench.errors import ExitCode, UsageError, nearest

if TYPE_CHECKING:
    from optbench.gate.baseline import Baseline
    from optbench.gate.formats import Judged
    from optbench.gate.verdict import Gate, Verdict
    from optbench.records import RunTables

MOST_FIGURES = 12

FORMATS = ("text", "json", "github", "junit")


@dataclass(frozen=True)
class _How:
    """How to run what is checked."""

    out: Path
    data_dir: Path | None
    workers: int | None
    quiet: bool


def check(
    baselines: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="BASELINE",
            help="Names under OUT/baselines, or folders. Without one: all of them.",
            show_default=False,
        ),
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Compare this run instead of running the baseline's suite.",
            autocompletion=complete_run,
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="A changed bit in the same environment fails.")
    ] = False,
    fail_on_speed: Annotated[
        bool, typer.Option("--fail-on-speed", help="A much slower step fails.")
    ] = False,
    threshold: Thresholds = None,
    format_: Annotated[
        str, typer.Option("--format", metavar="|".join(FORMATS), help="How to print the verdict.")
    ] = "text",
    update: Annotated[
        bool, typer.Option("--update", help="Show what has changed, then refresh the baseline.")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Worker threads; by default as many as cores."),
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder to look for data sets in first.")
    ] = None,
    out: Out = DEFAULT_OUT,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Show no progress and draw no figures.")
    ] = False,
) -> None:
    """Run baselines' suites anew and fail where convergence got worse.

    Exit codes: 0 no worse, 3 worse or another thing that fails, 5 nothing to compare with.
    """
    from optbench.cli.verdicts import print_verdicts
    from optbench.gate.baseline import find, load
    from optbench.gate.verdict import LOSS_THRESHOLD, Gate

    if format_ not in FORMATS:
        raise UsageError(f"unknown format '{format_}'; {nearest(format_, FORMATS)}")
    given = parse_thresholds(threshold or [])
    found = [load(folder) for folder in find(baselines or [], out)]
    if run is not None and len(found) > 1:
        names = ", ".join(each.path.name for each in found)
        raise UsageError(f"--run is compared with one baseline; name one of {names}")
    how = _How(out, data_dir, workers, quiet)
    judged = []
    for baseline in found:
        thresholds = {**baseline.meta.get("thresholds", {}), **given}
        gate = Gate(
            strict=strict,
            fail_on_speed=fail_on_speed,
            threshold=thresholds.get("", LOSS_THRESHOLD),
            thresholds={key: each for key, each in thresholds.items() if key},
        )
        judged.append(_judge(baseline, run, gate, how))
    print_verdicts(judged, format_)
    if update:
        for each in judged:
            _refresh(each, given, how)
        raise typer.Exit(ExitCode.DONE)
    raise typer.Exit(_worst([each.verdict.exit_code for each in judged]))


def _worst(codes: list[ExitCode]) -> ExitCode:
    """Return the code of all: what fails counts more than what could not be compared."""
    for code in (ExitCode.CHECK_FAILED, ExitCode.NOTHING_TO_COMPARE):
        if code in codes:
            return code
    return ExitCode.DONE


def _judge(baseline: "Baseline", run: str | None, gate: "Gate", how: _How) -> "Judged":
    """Compare a baseline with a run that is there, or that is made now."""
    from optbench.gate.compare import compare
    from optbench.gate.formats import Judged
    from optbench.store.find import find_runs
    from optbench.store.reader import read_run

    path = _run_anew(baseline, how) if run is None else find_runs([run], how.out)[0]
    tables = read_run(path)
    verdict = compare(baseline, tables, gate)
    figures = () if how.quiet else _draw(baseline, tables, _failing(verdict))
    return Judged(baseline, tables, verdict, figures)


def _run_anew(baseline: "Baseline", how: _How) -> Path:
    from optbench.cli.display import display
    from optbench.device.choose import get_device
    from optbench.records import Status
    from optbench.runs.pipeline import new_invocation, plan_run, run_plan
    from optbench.runs.resume import device_name
    from optbench.suite.format import parse_suite
    from optbench.suite.resolve import resolve

    file = parse_suite(baseline.meta["suite"]["given"], f"baseline '{baseline.path.name}'")
    suite = resolve(file, data_dir=how.data_dir)
    device = get_device(device_name(baseline.meta))
    plan = plan_run(suite, device, how.workers)
    with display(plan, quiet=how.quiet) as observe:
        outcome = run_plan(plan, device, how.out, new_invocation(), observe)
    if outcome.status is Status.INTERRUPTED:
        raise KeyboardInterrupt
    return outcome.path


def _failing(verdict: "Verdict") -> tuple[tuple[str, str], ...]:
    """Return problem and label of what failed, worst first."""
    pairs = [
        (each.problem, each.label)
        for each in verdict.findings
        if each.severity == "failure" and each.problem and each.label
    ]
    return tuple(dict.fromkeys(pairs))[:MOST_FIGURES]


def _draw(
    baseline: "Baseline", tables: "RunTables", groups: "tuple[tuple[str, str], ...]"
) -> tuple[Path, ...]:
    """Draw baseline and run for groups (problem, label) that failed."""
    if not groups:
        return ()
    from optbench.gate.figure import draw_beside
    from optbench.report.plots.files import write_figure

    paths = []
    for problem, label in groups:
        figure = draw_beside(baseline, tables, problem, label)
        if figure is not None:
            name = re.sub(r"[^A-Za-z0-9._-]+", "-", f"check-{problem}-{label}")
            paths.append(tables.path / "plots" / f"{name}.png")
            write_figure(figure, paths[-1])
    return tuple(paths)


def _refresh(judged: "Judged", given: dict[str, float], how: _How) -> None:
    folder = judged.baseline.path
    thresholds = {**judged.baseline.meta.get("thresholds", {}), **given}
    keep(judged.run, folder, thresholds, how.data_dir, replace=True)
    say(f"refreshed: {folder}")
