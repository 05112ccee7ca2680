"""How verdicts of ``optbench check`` are printed as text, and where other formats begin."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from optbench.cli.output import console, table
from optbench.errors import ExitCode

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from optbench.checks.verdict import Finding, Group, Verdict
    from optbench.records import RunTables
    from optbench.reference import Baseline

SEVERITIES = ("failure", "warning", "notice")

COLORS = {"failure": "red", "warning": "yellow", "regression": "red", "improvement": "green"}

SPARED = ("p", "seeds", "to target", "test error")
"""Columns that a narrow screen does without, the first ones first."""

NOTE = "note"

ANY_WIDTH = 10_000
"""Columns in which every table fits."""


@dataclass(frozen=True)
class Judged:
    """A baseline, the run that was compared with it, what was found, and figures of that."""

    baseline: "Baseline"
    run: "RunTables"
    verdict: "Verdict"
    figures: tuple[Path, ...]

    @property
    def name(self) -> str:
        """The baseline's name."""
        return self.baseline.path.name

    @property
    def heading(self) -> str:
        """The verdict in a line."""
        verdict = self.verdict
        if verdict.exit_code == ExitCode.NOTHING_TO_COMPARE:
            return f"{self.name}: no lane of {self.run.path} is one of the baseline's"
        result = "FAILED" if verdict.failed else "passed"
        counts = [_count(verdict.matched, "lane") + " compared"]
        for severity in SEVERITIES:
            found = sum(each.severity == severity for each in verdict.findings)
            counts += [_count(found, severity)] if found else []
        return f"{self.name}: {result}, {', '.join(counts)}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def print_verdicts(judged: Sequence[Judged], format_: str) -> None:
    """Print verdicts to stdout; ``github`` also writes the job's summary."""
    from optbench.cli import verdict_formats as formats

    match format_:
        case "json":
            typer.echo(formats.to_json(judged))
        case "github":
            for line in formats.annotations(judged):
                typer.echo(line)
            formats.write_summary(judged)
        case "junit":
            typer.echo(formats.to_junit(judged))
        case _:
            for each in judged:
                _print_text(each)


def _print_text(judged: Judged) -> None:
    screen = console()
    failed = judged.verdict.exit_code != ExitCode.DONE
    screen.print(judged.heading, style="bold red" if failed else "bold green", soft_wrap=True)
    for finding in judged.verdict.findings:
        style = COLORS.get(finding.severity)
        screen.print(f"  {finding.severity}: {line(finding)}", style=style, soft_wrap=True)
    if judged.verdict.groups:
        _print_groups(judged.verdict.groups, screen)
    for figure in judged.figures:
        screen.print(f"figure: {figure}", soft_wrap=True)


def _print_groups(groups: "Sequence[Group]", screen: "Console") -> None:
    """Print a row a group as wide as the screen is, and the notes of groups under it."""
    rows = used_cells(groups)
    names = [name for name in rows[0] if name != NOTE]
    left_out = []
    unbounded = screen.options.update(width=ANY_WIDTH)
    for spared in filter(tuple(names).__contains__, SPARED):
        made = _table(groups, rows, names)
        if screen.measure(made, options=unbounded).maximum <= screen.width:
            break
        names.remove(spared)
        left_out.append(spared)
    screen.print(_table(groups, rows, names))
    for note, places in _notes(groups).items():
        screen.print(f"{', '.join(places)}: {note}", soft_wrap=True)
    if left_out:
        screen.print(f"a wider screen also shows: {', '.join(left_out)}", style="dim")


def _table(
    groups: "Sequence[Group]", rows: Sequence[Mapping[str, str]], names: Sequence[str]
) -> "Table":
    listed = table(*names)
    for group, row in zip(groups, rows, strict=True):
        listed.add_row(*(row[name] for name in names), style=COLORS.get(group.verdict))
    return listed


def _notes(groups: "Sequence[Group]") -> dict[str, list[str]]:
    """Return the groups of each note; a problem stands for all of its groups."""
    noted: dict[str, dict[str, list[str]]] = {}
    for group in groups:
        if group.note:
            places = noted.setdefault(group.note, {}).setdefault(group.problem, [])
            places.append(f"{group.problem} {titled(group)}")
    sizes: dict[str, int] = {}
    for group in groups:
        sizes[group.problem] = sizes.get(group.problem, 0) + 1
    return {
        note: [
            place
            for problem, places in problems.items()
            for place in ([problem] if len(places) == sizes[problem] else places)
        ]
        for note, problems in noted.items()
    }


def line(finding: "Finding") -> str:
    """Return what a finding is about, where it was found, and its message."""
    where = f"{finding.where}: " if finding.where else ""
    return f"{finding.kind}: {where}{finding.message}"


def titled(what: "Finding | Group") -> str:
    """Return the label of something, with what tells its configuration from others."""
    return f"{what.label} ({what.setting})" if what.setting else what.label


def used_cells(groups: "Sequence[Group]") -> list[dict[str, str]]:
    """Return the texts of each group by column, without columns that are empty for all."""
    rows = [_cells(group) for group in groups]
    names = [name for name in rows[0] if any(row[name] for row in rows)]
    return [{name: row[name] for name in names} for row in rows]


def _cells(group: "Group") -> dict[str, str]:
    return {
        "problem": group.problem,
        "optimizer": titled(group),
        "verdict": str(group.verdict),
        "change": share(group.effect),
        "between": _between(group),
        "detects": share(group.detectable),
        "seeds": str(group.seeds),
        "p": "" if group.p is None or not group.effect else f"{group.p:.2g}",
        "test error": _then_now(_percent(group.test_error_then), _percent(group.test_error_now)),
        "to target": _then_now(_text(group.reached_then), _text(group.reached_now)),
        NOTE: group.note,
    }


def share(value: float | None) -> str:
    """Write a relative change to three digits; what is less than 0.005 % is rounding.

    >>> share(0.213), share(-0.05), share(3e-16), share(12.5), share(None)
    ('+21.3 %', '-5 %', '0 %', '13.5 ×', '')
    """
    if value is None:
        return ""
    if abs(value) < 5e-5:
        return "0 %"
    return f"{1.0 + value:.3g} ×" if value >= 9.995 else f"{100.0 * value:+.3g} %"


def _between(group: "Group") -> str:
    """Write an interval; none where it is a point."""
    ends = share(group.low), share(group.high)
    return "" if ends[0] == ends[1] else f"{ends[0].removesuffix(' %')} to {ends[1]}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100.0 * value:.2f} %"


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _then_now(then: str, now: str) -> str:
    return then if then == now else f"{then or '?'} → {now or '?'}"
