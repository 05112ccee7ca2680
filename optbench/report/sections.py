"""Tables that are read, with what stands below them: for the terminal, Markdown and LaTeX.

A table of a report is a list of :class:`Section`; here is all that writes them. For programs there
are CSV and JSON, which hold a DataFrame's columns and unrounded values.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from optbench.store.files import json_text

SPECIAL_IN_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "×": r"$\times$",
    "−": "$-$",
    "±": r"$\pm$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "∞": r"$\infty$",
    "µ": r"$\mu$",
    "–": "--",
}
"""What stands for characters that LaTeX takes otherwise, or that its fonts lack."""


@dataclass(frozen=True)
class Column:
    """A heading, and how the cells below it stand."""

    heading: str
    is_text: bool = False  # on the left, and folded where a line is too narrow
    is_name: bool = False  # of a row: emphasised, never folded


@dataclass(frozen=True)
class Section:
    """One table: its title, cells row by row, and what a reader must know beside them.

    ``facts`` say how numbers came about, ``warnings`` what they do not say. Rows that are ``lost``
    ended badly, ``bold`` ones are the best, or not told from the best.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    facts: Sequence[str] = ()
    warnings: Sequence[str] = ()
    lost: Collection[int] = field(default_factory=frozenset)
    bold: Collection[int] = field(default_factory=frozenset)


def to_rich(sections: Sequence[Section]) -> Group:
    """Return what a terminal shows."""
    frame: dict[str, Any] = {"box": box.SIMPLE_HEAD, "padding": (0, 1, 0, 0), "pad_edge": False}
    parts: list[Table | Text] = []
    for section in sections:
        table = Table(**frame)
        for column in section.columns:
            table.add_column(
                column.heading,
                justify="left" if column.is_text or column.is_name else "right",
                no_wrap=not (column.is_text or column.is_name),
                overflow="fold",
                style="bold" if column.is_name else None,
            )
        for place, row in enumerate(section.rows):
            style = "red" if place in section.lost else "bold" if place in section.bold else None
            table.add_row(*map(Text, row), style=style)
        parts += [Text(section.title, style="italic"), table]
        parts += [Text(f"  {line}", style="dim") for line in section.facts]
        parts += [Text(f"  {line}", style="yellow") for line in section.warnings]
    return Group(*parts)


def to_markdown(sections: Sequence[Section]) -> str:
    """Return each table under a heading, with its lines as a list."""
    parts = []
    for section in sections:
        headings = [" ".join(column.heading.split()) for column in section.columns]
        lines = [headings, ["---"] * len(headings)]
        for place, row in enumerate(section.rows):
            cells = map(_escaped, row)
            lines.append([f"**{cell}**" if place in section.bold else cell for cell in cells])
        parts += [
            f"### {section.title}",
            "\n".join(f"| {' | '.join(line)} |" for line in lines),
        ]
        if below := [*section.facts, *section.warnings]:
            parts.append("\n".join(f"- {_escaped(line)}" for line in below))
    return "\n\n".join(parts) + "\n"


def to_latex(sections: Sequence[Section]) -> str:
    r"""Return each table as a ``table`` with ``booktabs`` rules, its lines in the caption.

    The preamble needs ``\usepackage{booktabs}``.
    """
    parts = []
    for section in sections:
        kinds = "".join("l" if each.is_text or each.is_name else "r" for each in section.columns)
        headings = [" ".join(column.heading.split()) for column in section.columns]
        lines = [_latex_row(headings), r"\midrule"]
        for place, row in enumerate(section.rows):
            lines.append(_latex_row(row, bold=place in section.bold))
        said = ". ".join([section.title, *section.facts, *section.warnings])
        parts.append(
            "\n".join(
                (
                    r"\begin{table}",
                    rf"\caption{{{_latex(said)}.}}",
                    r"\centering",
                    rf"\begin{{tabular}}{{{kinds}}}",
                    r"\toprule",
                    *lines,
                    r"\bottomrule",
                    r"\end{tabular}",
                    r"\end{table}",
                )
            )
        )
    return "\n\n".join(parts) + "\n"


def _latex_row(cells: Sequence[str], *, bold: bool = False) -> str:
    written = map(_latex, cells)
    return " & ".join(rf"\textbf{{{cell}}}" if bold else cell for cell in written) + r" \\"


def _latex(text: str) -> str:
    return "".join(SPECIAL_IN_LATEX.get(character, character) for character in text)


def _escaped(text: str) -> str:
    """Return text that a Markdown table keeps in its cell."""
    return text.replace("|", "\\|")


def to_csv(table: pd.DataFrame) -> str:
    """Return a table as CSV, a missing value as an empty field."""
    return table.to_csv(index=False, lineterminator="\n")


def to_json(table: pd.DataFrame) -> str:
    """Return a table as a JSON array of objects, a missing value as null (RFC 8259)."""
    rows = table.astype(object).where(table.notna(), None)
    return json_text(rows.to_dict(orient="records")) + "\n"
