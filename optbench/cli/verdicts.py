"""How the verdicts of ``optbench check`` are printed."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from optbench.cli.output import console, table, tell
from optbench.errors import ExitCode, printable
from optbench.gate import formats

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from optbench.gate.check import CheckedBaseline
    from optbench.gate.verdict import Group

COLORS = {"failure": "red", "warning": "yellow", "regression": "red", "improvement": "green"}

SPARED = ("p", "seeds", "to target", "test error")
"""Columns that a narrow screen does without, the first ones first."""

ANY_WIDTH = 10_000
"""Columns in which every table fits."""


def print_verdicts(checked: "Sequence[CheckedBaseline]", format_: str) -> None:
    """Print verdicts to stdout; ``github`` also writes the job's summary."""
    match format_:
        case "json":
            tell(formats.to_json(checked))
        case "github":
            for annotation in formats.annotations(checked):
                tell(annotation)
            formats.write_summary(checked)
        case "junit":
            tell(formats.to_junit(checked))
        case _:
            for one in checked:
                _print_text(one)


def _print_text(checked: "CheckedBaseline") -> None:
    screen = console()
    verdict = checked.verdict
    style = "bold green" if verdict.exit_code == ExitCode.DONE else "bold red"
    screen.print(checked.heading, style=style, soft_wrap=True)
    for finding in verdict.findings:
        text = f"  {finding.severity}: {formats.line(finding)}"
        screen.print(text, style=COLORS.get(finding.severity), soft_wrap=True)
    if verdict.groups:
        _print_groups(verdict.groups, screen)
    for figure in checked.figures:
        screen.print(f"figure: {figure}", soft_wrap=True)


def _print_groups(groups: "Sequence[Group]", screen: "Console") -> None:
    """Print one row per group, as wide as the screen is, and the notes of groups below it."""
    rows = formats.used_cells(groups)
    names = [name for name in rows[0] if name != formats.NOTE]
    left_out = []
    unbounded = screen.options.update(width=ANY_WIDTH)
    for spared in filter(tuple(names).__contains__, SPARED):
        if screen.measure(_table(groups, rows, names), options=unbounded).maximum <= screen.width:
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
