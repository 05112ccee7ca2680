"""Tables as a terminal shows them: as many columns as it has room for, and every name whole.

What one types, such as the name of a run, stands on one line. Where a table is too wide, headings
fold at words; then a first column that ``gathers`` stands above its rows; then columns that can be
spared are left out, and a line below says which. A name is broken only where it has no room even
then.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import zip_longest

from rich.cells import cell_len, chop_cells
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from optbench.errors import printable
from optbench.report.sections import Column, Kind, Section

GAP = 2
"""Blanks between two columns."""

LEAST = 16
"""Width that prose has at least, and a name that is broken."""

BETWEEN_PARTS = re.compile(r"(?<=,) (?![^\[(]*[\])])")
"""The blank after a comma, where no bracket is open."""

WORD = re.compile(r"^ *\S+|\S+")


class Tables:
    """Sections, laid out for the width that they are printed at."""

    def __init__(self, sections: Sequence[Section]) -> None:
        self._sections = sections

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield one text a line."""
        for place, section in enumerate(self._sections):
            if place:
                yield Text()
            yield from _lines(section, options.max_width)


def to_rich(sections: Sequence[Section]) -> Tables:
    """Return what a terminal shows."""
    return Tables(sections)


def _lines(section: Section, width: int) -> Iterator[Text]:
    """Yield the title, the table between blank lines, and what stands below it."""
    for line in _broken(section.title, "prose", width) if section.title else ():
        yield Text(line, style="italic")
    yield Text()
    section = _gathered(section, width)
    columns = _measured(section)
    shown = _fitted(columns, width)
    yield from _table(section, shown, _widths(shown, width), width)
    yield Text()
    left_out = [each.column.named for each in columns if each not in shown]
    also = [f"a wider screen also shows: {', '.join(left_out)}"] if left_out else []
    facts = filter(None, (_without(fact, left_out) for fact in section.facts))
    for text, style in (
        *((text, "dim") for text in (*facts, *also)),
        *((text, "yellow") for text in section.warnings),
    ):
        for line in _broken(text, "prose", width - GAP):
            yield Text(f"  {line}", style=style)


def _without(fact: str, left_out: Sequence[str]) -> str:
    """Return a fact without the clauses that explain columns which are left out.

    >>> _without("RMST: a mean; ERT: a ratio", ["ERT"]), _without("ERT: a ratio", ["ERT"])
    ('RMST: a mean', '')
    """
    clauses = fact.split("; ")
    return "; ".join(each for each in clauses if each.partition(": ")[0] not in left_out)


class _Measured:
    """A column with the room that it needs.

    Attributes
    ----------
    place
        Where it is in the section.
    whole
        The width at which nothing folds.
    """

    def __init__(self, place: int, column: Column, cells: Sequence[str]) -> None:
        self.place = place
        self.column = column
        lines = [printable(line) for cell in cells for line in cell.split("\n")]
        pieces = {cell_len(piece) for line in lines for piece in _pieces(line, column.kind)}
        longest = max(map(cell_len, lines), default=0)
        self.whole = max(longest, *map(cell_len, column.heading.split("\n")))
        self._pieces = sorted(pieces)
        self._least = max(
            min(LEAST, longest) if column.kind == "prose" else 0,
            *map(cell_len, _pieces(column.heading.replace("\n", " "), "prose")),
        )

    @property
    def need(self) -> int:
        """The width without which a heading's word, or what is not broken, would be broken."""
        return max([self._least, *self._pieces[-1:]])

    @property
    def can_give_way(self) -> bool:
        """Whether anything in it may be broken at last."""
        return self.column.kind != "number" and bool(self._pieces)

    def give_way(self) -> None:
        """Let the longest piece be broken, in no less than :data:`LEAST` columns."""
        self._least = max(self._least, min(LEAST, self._pieces.pop()))


def _pieces(line: str, kind: Kind) -> list[str]:
    """Return the parts of a line that are not broken.

    >>> _pieces("lr=0.1, betas=[0.9, 0.99], eps=0", "list")
    ['lr=0.1,', 'betas=[0.9, 0.99],', 'eps=0']
    """
    match kind:
        case "list":
            return BETWEEN_PARTS.split(line)
        case "prose":
            return WORD.findall(line)
    return [line]


def _measured(section: Section) -> list[_Measured]:
    rows = [row for row in section.rows if len(row) > 1]
    return [
        _Measured(place, column, [row[place] for row in rows])
        for place, column in enumerate(section.columns)
    ]


def _room(columns: Sequence[_Measured]) -> int:
    """Return the width that columns need, with the blank before the first."""
    return 1 + sum(each.need for each in columns) + GAP * (len(columns) - 1)


def _fitted(columns: Sequence[_Measured], width: int) -> list[_Measured]:
    """Return the columns that are shown; where none can be spared any more, names give way."""
    while True:
        shown = list(columns)
        while _room(shown) > width and any(each.column.spare for each in shown):
            shown.remove(max(shown, key=lambda each: each.column.spare))
        yielding = [each for each in shown if each.can_give_way]
        if _room(shown) <= width or not yielding:
            return shown
        max(yielding, key=lambda each: each.need).give_way()


def _widths(columns: Sequence[_Measured], width: int) -> list[int]:
    """Share out the room that is left: to those first for which little is enough.

    A heading that would fold all the same takes none.
    """
    left = max(0, width - _room(columns))
    found = {}
    for each in sorted(columns, key=lambda each: each.whole - each.need):
        more = min(left, each.whole - each.need)
        if each.column.kind in ("number", "word") and each.need + more < each.whole:
            more = 0
        found[each.place] = each.need + more
        left -= more
    return [found[each.place] for each in columns]


def _gathered(section: Section, width: int) -> Section:
    """Return a section whose first column, where it gathers and is in the way, is above its rows.

    Each of its values is then a row of one cell.
    """
    first, *others = section.columns
    if not first.gathers or _room(_measured(section)) <= width:
        return section
    rows: list[Sequence[str]] = []
    places: list[int] = []
    last: str | None = None
    for above, *cells in section.rows:
        if above != last:
            rows.append([above])
        last = above
        places.append(len(rows))
        rows.append([f"  {cells[0]}", *cells[1:]])
    heading = f"{first.heading}\n  {others[0].heading}"
    return replace(
        section,
        columns=[replace(others[0], heading=heading), *others[1:]],
        rows=rows,
        bold=frozenset(places[place] for place in section.bold),
        colors={places[place]: color for place, color in section.colors.items()},
    )


def _table(
    section: Section, shown: Sequence[_Measured], widths: Sequence[int], width: int
) -> Iterator[Text]:
    columns = [each.column for each in shown]
    headings = [
        _broken(column.heading, "prose", room) for column, room in zip(columns, widths, strict=True)
    ]
    height = max(map(len, headings))
    yield from _row(
        [[""] * (height - len(each)) + each for each in headings], columns, widths, "bold"
    )
    yield Text(" " + "─" * (sum(widths) + GAP * (len(widths) - 1)))
    for place, row in enumerate(section.rows):
        color = section.colors.get(place, "")
        if len(row) == 1:
            yield from [Text()] * (place > 0)
            for line in _broken(row[0], "name", width - 1):
                yield Text(f" {line}", style=f"bold {color}")
            continue
        cells = [
            _broken(row[each.place], each.column.kind, room)
            for each, room in zip(shown, widths, strict=True)
        ]
        style = color or ("bold" if place in section.bold else "")
        yield from _row(cells, columns, widths, style)


def _row(
    cells: Sequence[Sequence[str]], columns: Sequence[Column], widths: Sequence[int], style: str
) -> Iterator[Text]:
    """Yield the lines of a row, the cells of which have lines of their own."""
    for parts in zip_longest(*cells, fillvalue=""):
        line = Text(style=style)
        for part, column, width in zip(parts, columns, widths, strict=True):
            blank = " " * (width - cell_len(part))
            text = blank + part if column.kind == "number" else part + blank
            line.append(" " * (GAP if line else 1))
            line.append(text, style="bold" if column.kind == "name" else None)
        line.rstrip()
        yield line


def _broken(text: str, kind: Kind, width: int) -> list[str]:
    """Return the lines of a text in a column, none of them wider.

    >>> _broken("lr=0.001, momentum=0.9", "list", 14)
    ['lr=0.001,', 'momentum=0.9']
    >>> _broken("said in a few words", "prose", 9)
    ['said in a', 'few words']
    """
    lines = []
    for paragraph in text.split("\n"):
        lines.append("")
        for piece in _pieces(printable(paragraph), kind):
            joined = f"{lines[-1]} {piece}" if lines[-1] else piece
            if cell_len(joined) <= width:
                lines[-1] = joined
            else:
                if not lines[-1]:
                    lines.pop()
                at_words = kind != "prose" and " " in piece
                lines += _broken(piece, "prose", width) if at_words else chop_cells(piece, width)
    return lines
