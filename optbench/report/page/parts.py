"""What a page is made of: parts of a problem, each a table, a figure or lines of text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

import pandas as pd

from optbench.report.sections import Section


@dataclass(frozen=True)
class Table:
    """A table as it is read, and its unrounded values for programs.

    ``marks`` are colours of squares before the rows, as CSS has them.
    """

    form: ClassVar[str] = "table"

    section: Section
    values: pd.DataFrame
    name: str  # of the file that its values make
    marks: Sequence[str | None] = ()


@dataclass(frozen=True)
class Drawing:
    """A figure: SVG, what stands below it, and what a script can make of it."""

    form: ClassVar[str] = "drawing"

    kind: str
    svg: str
    notes: Sequence[str] = ()
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Lines:
    """Lines of text, for instance why there is no table."""

    form: ClassVar[str] = "lines"

    lines: Sequence[str]


Part: TypeAlias = Table | Drawing | Lines


@dataclass(frozen=True)
class Chapter:
    """A problem, or all of them together: parts under a heading, each group under its own."""

    heading: str
    name: str  # in addresses within the page
    groups: Sequence[tuple[str, Sequence[Part]]]
