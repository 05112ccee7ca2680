"""How the verdicts of ``optbench check`` are printed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from optbench.cli.output import console, tell
from optbench.errors import ExitCode, printable
from optbench.gate import formats
from optbench.report.sections import Column, Section
from optbench.report.terminal import to_rich

if TYPE_CHECKING:
    from optbench.gate.check import CheckedBaseline
    from optbench.gate.verdict import Group

COLORS = {"failure": "red", "warning": "yellow", "regression": "red", "improvement": "green"}

COLUMNS = (
    Column("problem", "name", gathers=True),
    Column("optimizer", "name"),
    Column("verdict", "word"),
    Column("change"),
    Column("between", spare=1),
    Column("detects", spare=2),
    Column("seeds", spare=5),
    Column("p", spare=6),
    Column("test error", spare=3),
    Column("to target", spare=4),
)
"""Columns of the table, of which those are shown in which a group has something."""


def print_verdicts(
    checked: "Sequence[CheckedBaseline]", format_: str, *, update: bool = False
) -> None:
    """Print verdicts to stdout, of a refresh what changes; ``github`` also writes a summary."""
    match format_:
        case "json":
            tell(formats.to_json(checked))
        case "github":
            for annotation in formats.annotations(checked, update=update):
                tell(annotation)
            formats.write_summary(checked, update=update)
        case "junit":
            tell(formats.to_junit(checked, update=update))
        case _:
            for one in checked:
                (_print_changes if update else _print_text)(one)


def _print_changes(checked: "CheckedBaseline") -> None:
    heading, *changes = formats.changed(checked)
    screen = console()
    screen.print(heading, style="bold", soft_wrap=True)
    for change in changes:
        screen.print(f"  {change}", soft_wrap=True)


def _print_text(checked: "CheckedBaseline") -> None:
    screen = console()
    verdict = checked.verdict
    style = "bold green" if verdict.exit_code == ExitCode.DONE else "bold red"
    screen.print(checked.heading, style=style, soft_wrap=True)
    for finding, remedy in formats.told(checked):
        text = f"  {finding.severity}: {formats.line(finding)}"
        screen.print(text, style=COLORS.get(finding.severity), soft_wrap=True)
        if remedy:
            screen.print(f"    → {remedy}", soft_wrap=True)
    if verdict.groups:
        screen.print(to_rich([_section(verdict.groups)]))
    for figure in checked.figures:
        screen.print(f"figure: {figure}", soft_wrap=True)


def _section(groups: "Sequence[Group]") -> Section:
    """Return a table of one row per group, and the notes of groups below it."""
    rows = formats.used_cells(groups)
    columns = [column for column in COLUMNS if column.heading in rows[0]]
    return Section(
        "",
        columns,
        [[row[column.heading] for column in columns] for row in rows],
        facts=[f"{', '.join(places)}: {note}" for note, places in _notes(groups).items()],
        colors={
            place: COLORS[group.verdict]
            for place, group in enumerate(groups)
            if group.verdict in COLORS
        },
    )


def _notes(groups: "Sequence[Group]") -> dict[str, list[str]]:
    """Return the groups of each note; a problem stands for all of its groups."""
    noted: dict[str, dict[str, list[str]]] = {}
    for group in groups:
        if group.note:
            places = noted.setdefault(group.note, {}).setdefault(group.problem, [])
            places.append(f"{printable(group.problem)} {formats.titled(group)}")
    sizes: dict[str, int] = {}
    for group in groups:
        sizes[group.problem] = sizes.get(group.problem, 0) + 1
    return {
        note: [
            place
            for problem, places in problems.items()
            for place in ([printable(problem)] if len(places) == sizes[problem] else places)
        ]
        for note, problems in noted.items()
    }
