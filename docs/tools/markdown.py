"""Tables and other marks of Markdown, written and read back."""

import re
from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; bars within cells are escaped."""
    lines = [head, ["---"] * len(head), *rows]
    assert {len(line) for line in lines} == {len(head)}
    cells = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def rows_of(text: str) -> list[dict[str, str]]:
    """Return the rows of all tables of a page, by the words of their heads."""
    found, head = [], None
    for line in text.splitlines():
        if not line.startswith("|"):
            head = None
            continue
        cells = [each.replace("\\|", "|").strip() for each in re.split(r"(?<!\\)\|", line)[1:-1]]
        if head is None:
            head = cells
        elif set(cells) != {"---"}:
            found.append(dict(zip(head, cells, strict=True)))
    return found


def code(text: str) -> str:
    """Return a name in the font of code."""
    return f"`{text}`"


def plain(text: str) -> str:
    """Return a text in which Markdown sees no marks."""
    return re.sub(r"([*_`<])", r"\\\1", text)


def linked(text: str) -> str:
    """Return a source with arXiv's numbers as links, and names of libraries' functions as code."""
    arxiv = r"[\g<0>](https://arxiv.org/abs/\1)"
    text = re.sub(r"arXiv:(\d+\.\d+)", arxiv, plain(text))
    return re.sub(r"(?:torch|optax)\.[\w.]+\w", r"`\g<0>`", text)


def unlinked(cell: str) -> str:
    """Return the name in a cell.

    >>> unlinked("[`adam`][adaptive]"), unlinked("`adam-torch`"), unlinked("")
    ('adam', 'adam-torch', '')
    """
    return re.sub(r"^\[(.*)\]\[.*\]$", r"\1", cell).strip("`")
