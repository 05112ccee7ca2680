"""Checks baselines: runs their suites again, or takes a run that is there, and compares."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TypeAlias

from optbench.device.choose import get_device
from optbench.errors import ExitCode, UsageError, argument, printable
from optbench.gate.baseline import (
    FOLDER,
    Baseline,
    Thresholds,
    check_described,
    check_problems,
    find,
    load,
    of_problems,
    parse_thresholds,
    titles,
)
from optbench.gate.changes import Change, changes_of
from optbench.gate.compare import compare
from optbench.gate.integrity import integrity_findings
from optbench.gate.origin import file_of, origin_findings
from optbench.gate.remedies import remedy
from optbench.gate.save import check_whole, save_tables
from optbench.gate.verdict import (
    LOSS_THRESHOLD,
    Finding,
    Gate,
    Kind,
    Severity,
    Verdict,
    kinds_of,
    worst_first,
)
from optbench.records import Record, RunTables, Status
from optbench.runs.pipeline import Plan, new_invocation, plan_run, run_plan
from optbench.runs.resume import device_name
from optbench.store.find import find_runs
from optbench.store.reader import read_run
from optbench.suite.format import parse_suite
from optbench.suite.resolve import resolve

MOST_FIGURES = 12

Display: TypeAlias = Callable[[Plan], AbstractContextManager[Callable[[Record], None]]]
"""Called with the plan of a run; while the run goes on, what it yields sees every record."""


@dataclass(frozen=True)
class CheckedBaseline:
    """A baseline, the run that was compared with it, what was found, and figures of what failed.

    ``thresholds`` are those that were applied, by problem; ``""`` holds that of all others.
    ``left_out`` are the kinds of findings that nobody looked for. ``was_there`` says whether the
    run was there before the check.
    """

    baseline: Baseline
    run: RunTables
    verdict: Verdict
    thresholds: Mapping[str, float]
    left_out: tuple[Kind, ...] = ()
    figures: tuple[Path, ...] = ()
    was_there: bool = False

    @property
    def name(self) -> str:
        """The baseline's name."""
        return self.baseline.path.name

    @property
    def heading(self) -> str:
        """The verdict in one line."""
        left_out = f"; not checked: {', '.join(self.left_out)}" if self.left_out else ""
        if self.verdict.exit_code == ExitCode.NOTHING_TO_COMPARE:
            return printable(
                f"{self.name}: no lane of {self.run.path} is in the baseline{left_out}"
            )
        result = "FAILED" if self.verdict.failed else "passed"
        counts = [_count(self.verdict.matched, "lane") + " compared"]
        for severity in Severity:
            number = sum(finding.severity == severity for finding in self.verdict.findings)
            counts += [_count(number, severity)] if number else []
        return printable(f"{self.name}: {result}, {', '.join(counts)}{self._thresholds}{left_out}")

    @property
    def _thresholds(self) -> str:
        """The thresholds that were applied, unless they are the default."""
        if set(self.thresholds.values()) <= {LOSS_THRESHOLD} or Kind.QUALITY in self.left_out:
            return ""
        shares = [
            f"{100.0 * share:g} %" + (f" for {problem}" if problem else "")
            for problem, share in self.thresholds.items()
        ]
        return f"; threshold {', '.join(shares)}"

    @property
    def changes(self) -> list[Change]:
        """What the baseline would hold in another way if the run took its place."""
        return changes_of(self.baseline, self.run, self.kept_thresholds)

    @property
    def kept_thresholds(self) -> dict[str, float]:
        """Those thresholds that mean all problems of the run, or one of them."""
        return of_problems(self.thresholds, titles(self.run.meta))

    def remedy(self, finding: Finding) -> str:
        """Return what to do about a failure, in one sentence; nothing for other findings."""
        if finding.severity != Severity.FAILURE:
            return ""
        return printable(remedy(finding.kind, self._update, shlex.quote(str(self.run.path))))

    @property
    def _update(self) -> str:
        """The command that puts the run in the place of the baseline."""
        folder = self.baseline.path
        place = self.name if folder.parent == Path("results") / FOLDER else str(folder)
        run = ("--run", str(self.run.path)) if self.was_there else ()
        return shlex.join(["optbench", "check", place, *run, "--update"])


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def exit_code(checked: Sequence[CheckedBaseline]) -> ExitCode:
    """Return the exit code of several checks: a failure outweighs nothing to compare."""
    codes = {one.verdict.exit_code for one in checked}
    worst_first = (ExitCode.CHECK_FAILED, ExitCode.NOTHING_TO_COMPARE)
    return next((code for code in worst_first if code in codes), ExitCode.DONE)


def no_display(plan: Plan) -> AbstractContextManager[Callable[[Record], None]]:
    """Show nothing of a run."""
    return nullcontext(lambda record: None)


def check_baselines(
    baselines: str | PathLike[str] | Sequence[str | PathLike[str]] = (),
    *,
    run: str | PathLike[str] | None = None,
    only: str | Sequence[str] = (),
    strict: bool = False,
    fail_on_speed: bool = False,
    threshold: Thresholds = (),
    update: bool = False,
    workers: int | None = None,
    data_dir: str | PathLike[str] | None = None,
    out: str | PathLike[str] = "results",
    figures: bool = True,
    display: Display = no_display,
) -> list[CheckedBaseline]:
    """Run the suites of baselines again and compare; what ``optbench check`` does.

    Whether convergence got worse is said by ``checked.verdict.failed``, in detail by
    ``checked.verdict.findings`` and ``checked.verdict.groups``.

    Parameters
    ----------
    baselines
        Names under ``out/baselines``, or folders; without any, all baselines there.
    run
        A run to compare instead of running the baseline's suite: its directory, its name under
        ``out``, the beginning of that name, or ``latest``.
    only
        Kinds of findings to look for: "settings", "numerics", "quality" or "speed"; by default
        all. "baseline" and "presence" are always looked for.
    strict
        Whether a changed bit fails in the environment that the baseline was made in.
    fail_on_speed
        Whether a much slower step fails.
    threshold
        Relative change of the loss from which it counts, in place of those kept with the baseline:
        0.05, or by problem as ``{"mnist-mlp": 0.1}``.
    update
        Whether the runs take the place of the baselines after the comparison.
    workers
        Worker threads; by default as many as cores.
    data_dir
        Folder to look for data sets in first.
    out
        The results directory.
    figures
        Whether baseline and run are drawn where a group of lanes failed.
    display
        What watches the runs.

    Raises
    ------
    NothingToCompareError
        If a baseline cannot be found.
    UsageError
        For whatever else ``optbench check`` would exit with code 2.
    KeyboardInterrupt
        After an interrupt; what was done has been written.
    """
    given = parse_thresholds(threshold)
    asked = Gate(strict=strict, fail_on_speed=fail_on_speed, kinds=kinds_of(only))
    names = [baselines] if isinstance(baselines, str | PathLike) else baselines
    loaded = [load(folder) for folder in find([str(name) for name in names], Path(out))]
    if run is not None and len(loaded) > 1:
        known = ", ".join(baseline.path.name for baseline in loaded)
        raise UsageError(
            f"{argument('run')} is compared with a single baseline; name one of {known}"
        )
    there = None if run is None else read_run(find_runs([str(run)], Path(out))[0])
    if there is not None:
        check_whole(there)
    sides: list[Baseline | RunTables] = [*loaded, *([there] if there else [])]
    check_problems(
        given, list(dict.fromkeys(title for side in sides for title in titles(side.meta)))
    )
    data_folder = None if data_dir is None else Path(data_dir)
    checked = []
    for baseline in loaded:
        tables = there or read_run(_run_again(baseline, Path(out), data_folder, workers, display))
        check_described(tables.lanes, tables.meta, tables.path / "run.json")
        thresholds = of_problems(
            {**baseline.meta.get("thresholds", {}), **given},
            [*titles(baseline.meta), *titles(tables.meta)],
        )
        gate = replace(
            asked,
            threshold=thresholds.get("", LOSS_THRESHOLD),
            thresholds={problem: share for problem, share in thresholds.items() if problem},
        )
        verdict = compare(baseline, tables, gate)
        findings = [*integrity_findings(baseline), *verdict.findings]
        if there is None:
            findings += origin_findings(baseline)
        verdict = replace(verdict, findings=worst_first(findings))
        drawn = _draw_failed(baseline, tables, verdict) if figures else ()
        checked.append(
            CheckedBaseline(
                baseline,
                tables,
                verdict,
                thresholds,
                left_out=gate.left_out,
                figures=drawn,
                was_there=there is not None,
            )
        )
    if update:
        for one in checked:
            refresh(one, data_dir=data_folder)
    return checked


def _run_again(
    baseline: Baseline, out: Path, data_dir: Path | None, workers: int | None, display: Display
) -> Path:
    """Run a baseline's suite and return the run's directory."""
    file = parse_suite(baseline.meta["suite"]["given"], f"baseline '{baseline.path.name}'")
    device = get_device(device_name(baseline.meta))
    suite = replace(resolve(file, data_dir=data_dir), file=file_of(baseline))
    plan = plan_run(suite, device, workers)
    with display(plan) as observe:
        result = run_plan(plan, device, out, new_invocation(), observe)
    if result.status is Status.INTERRUPTED:
        raise KeyboardInterrupt
    return result.path


def _draw_failed(baseline: Baseline, tables: RunTables, verdict: Verdict) -> tuple[Path, ...]:
    """Draw baseline and run for each problem and label that failed, the worst ones first."""
    failed = dict.fromkeys(
        (finding.problem, finding.label)
        for finding in verdict.findings
        if finding.severity == Severity.FAILURE and finding.problem and finding.label
    )
    if not failed:
        return ()
    from optbench.gate.figure import draw_beside  # matplotlib takes its time to load
    from optbench.report.plots.files import write_figure
    from optbench.store.files import file_name

    paths = []
    for problem, label in list(failed)[:MOST_FIGURES]:
        figure = draw_beside(baseline, tables, problem, label)
        if figure is not None:
            name = file_name(f"check-{problem}-{label}")
            paths.append(tables.path / "plots" / f"{name}.png")
            write_figure(figure, paths[-1])
    return tuple(paths)


def refresh(checked: CheckedBaseline, *, data_dir: Path | None = None) -> None:
    """Put the run of a check in the place of its baseline; the thresholds of its problems stay."""
    run, folder = checked.run, checked.baseline.path
    suites = [side.meta["suite"]["name"] for side in (checked.baseline, run)]
    if suites[0] != suites[1]:
        raise UsageError(
            f"'{run.path}' is a run of suite '{suites[1]}', and baseline '{checked.name}' is of "
            f"'{suites[0]}'; to keep it as well, use: optbench baseline save"
        )
    save_tables(run, folder, checked.kept_thresholds, data_dir=data_dir, replace=True)
