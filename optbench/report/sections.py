"""Tables that are read, with what stands below them, and how Markdown, LaTeX and HTML write them.

A table is a :class:`Section`, wherever it is shown; :mod:`optbench.report.terminal` lays it out
for a screen. For programs there are CSV and JSON, which hold a DataFrame's columns and unrounded
values.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Literal

from optbench.store.files import json_text

if TYPE_CHECKING:
    import pandas as pd

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


Kind = Literal["number", "name", "word", "list", "prose"]
"""What a column holds. Numbers stand on the right, all else on the left. Names, which are
emphasised, numbers and words are not broken; lists break after commas, prose between words."""


@dataclass(frozen=True)
class Column:
    """A heading, and how the cells below it stand.

    A narrow screen leaves out columns with a ``spare``, the highest first. ``called`` is what it
    then says of one whose heading would not do. A first column that ``gathers`` may stand above its
    rows, each of its values once.
    """

    heading: str
    kind: Kind = "number"
    spare: int = 0
    called: str = ""
    gathers: bool = False

    @property
    def named(self) -> str:
        """What a line calls it."""
        return self.called or self.heading


@dataclass(frozen=True)
class Section:
    """One table: its title, cells row by row, and what a reader must know beside them.

    ``facts`` say how numbers came about, ``warnings`` what they do not say. A clause of a fact that
    begins with what a line calls a column, and a colon, is left out with that column. ``bold`` rows
    are the best, or not told from the best; ``colors`` are those of rows that say good or bad. A
    row of one cell is a heading of those below it.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    facts: Sequence[str] = ()
    warnings: Sequence[str] = ()
    colors: Mapping[int, str] = field(default_factory=dict)
    bold: Collection[int] = field(default_factory=frozenset)


def to_markdown(sections: Sequence[Section]) -> str:
    """Return each table under a heading, with its lines as a list."""
    parts = []
    for section in sections:
        headings = [column.heading for column in section.columns]
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
        kinds = "".join("r" if each.kind == "number" else "l" for each in section.columns)
        lines = [_latex_row([each.heading for each in section.columns]), r"\midrule"]
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


def to_html(section: Section, marks: Sequence[str | None] = ()) -> str:
    """Return a table as HTML in the colours of the page around it.

    ``marks`` are the colours of squares in front of the rows, as CSS has them.
    """
    title = escape(section.title)
    lines = [f"<caption {_css('text-align: left; caption-side: top')}>{title}</caption>"]
    aligned = [
        f"text-align: {'right' if column.kind == 'number' else 'left'}"
        for column in section.columns
    ]
    headings = zip(section.columns, aligned, strict=True)
    cells = [f"<th {_css(where)}>{escape(column.heading)}</th>" for column, where in headings]
    lines.append(f"<tr>{''.join(cells)}</tr>")
    for place, row in enumerate(section.rows):
        if len(row) == 1:
            across = f'colspan="{len(section.columns)}" {_css("text-align: left")}'
            lines.append(f"<tr><th {across}>{escape(row[0])}</th></tr>")
            continue
        mark = marks[place] if place < len(marks) else None
        square = f"<span {_css(f'color: {mark}')}>&#9632;</span> " if mark else ""
        color = section.colors.get(place)
        look = "; font-weight: bold" if place in section.bold else ""
        look += f"; color: {color}" if color else ""
        cells = [
            f"<td {_css(where + look)}>{before}{escape(cell)}</td>"
            for before, where, cell in zip(
                [square] + [""] * (len(row) - 1), aligned, row, strict=True
            )
        ]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    below = [*section.facts, *section.warnings]
    notes = [f"<div {_css('font-size: smaller')}>{escape(line)}</div>" for line in below]
    return "\n".join(["<table>", *lines, "</table>", *notes])


def _css(style: str) -> str:
    return f'style="{style}"'


def to_csv(table: "pd.DataFrame") -> str:
    """Return a table as CSV, a missing value as an empty field."""
    return table.to_csv(index=False, lineterminator="\n")


def to_json(table: "pd.DataFrame") -> str:
    """Return a table as a JSON array of objects, a missing value as null (RFC 8259)."""
    rows = table.astype(object).where(table.notna(), None)
    return json_text(rows.to_dict(orient="records")) + "\n"
