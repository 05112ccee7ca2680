"""How verdicts of ``optbench check`` are printed as text, and where other formats begin."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import typer

from optbench.cli.output import console, table
from optbench.errors import ExitCode
from optbench.gate.formats import NOTE, Judged, line, titled, used_cells

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from optbench.gate.verdict import Group

COLORS = {"failure": "red", "warning": "yellow", "regression": "red", "improvement": "green"}


SPARED = ("p", "seeds", "to target", "test error")
"""Columns that a narrow screen does without, the first ones first."""


ANY_WIDTH = 10_000
"""Columns in which every table fits."""


def print_verdicts(judged: Sequence[Judged], format_: str) -> None:
    """Print verdicts to stdout; ``github`` also writes the job's summary."""
    from optbench.gate import formats

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
