"""The summary of a run as text: for the terminal, and as Markdown, CSV and JSON.

All take the table that :func:`optbench.report.summaries.summary` returns, or several joined.
CSV and JSON hold exactly its columns and unrounded values; the terminal and Markdown show one table
per problem, rounded, and below it what a reader must know about it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from textwrap import fill
from typing import Any

import pandas as pd
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from optbench.records import Status
from optbench.report.configurations import CRITERIA
from optbench.store.files import json_text

MISSING = "-"
"""What stands for a missing value."""

LOST = (Status.DIVERGED, Status.FAILED)
"""Statuses of rows that the terminal shows in red."""

TIME_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))


def number(value: Any) -> str:
    """Write a number with four significant digits, trailing zeros included.

    >>> number(0.123456), number(1.5e-9), number(2.0), number(3590.4), number(None)
    ('0.1235', '1.500e-09', '2.000', '3590', '-')
    """
    return MISSING if pd.isna(value) else _digits(value, 4)


def _digits(value: float, digits: int) -> str:
    return f"{value:#.{digits}g}".rstrip(".")


def percent(value: Any) -> str:
    """Write a fraction in percent.

    >>> percent(0.0312), percent(None)
    ('3.12 %', '-')
    """
    return MISSING if pd.isna(value) else f"{100 * value:.2f} %"


def duration(seconds: Any) -> str:
    """Write a time with three significant digits, in the unit that suits it.

    >>> duration(0.00321), duration(4.2e-05), duration(1.5e-07), duration(2.0)
    ('3.21 ms', '42.0 µs', '150 ns', '2.00 s')
    """
    if pd.isna(seconds):
        return MISSING
    scale, unit = next((entry for entry in TIME_UNITS if seconds >= entry[0]), TIME_UNITS[-1])
    return f"{_digits(seconds / scale, 3)} {unit}"


@dataclass(frozen=True)
class _Column:
    """A column of the table that is read: its title, how a row's cell is written, and when.

    The title may depend on the rows of the problem.
    """

    title: str | Callable[[pd.DataFrame], str]
    cell: Callable[["pd.Series[Any]"], str]
    shown: Callable[[pd.DataFrame], bool] = lambda rows: True

    def heading(self, rows: pd.DataFrame) -> str:
        """Return the title above these rows."""
        return self.title if isinstance(self.title, str) else self.title(rows)


def _has(name: str) -> Callable[[pd.DataFrame], bool]:
    """Return a rule that shows a column where some row has a value."""
    return lambda rows: bool(rows[name].notna().any())


def _score(row: "pd.Series[Any]") -> str:
    """Write what a row is ranked by, or where that is missing, what became of the lanes."""
    if pd.isna(row["score"]):
        return MISSING if row["status"] in (Status.DONE, Status.STOPPED) else str(row["status"])
    return number(row["score"]) + (" outside" if row["outside"] else "")


def _spread(row: "pd.Series[Any]") -> str:
    """Write the smallest and the largest score of the seeds."""
    if row["seeds"] < 2 or pd.isna(row["score_min"]):
        return MISSING
    highest = row["score_max"]
    worst = str(Status.DIVERGED if row["seeds_diverged"] else Status.FAILED)
    return f"{_digits(row['score_min'], 3)}–{worst if pd.isna(highest) else _digits(highest, 3)}"


def _evaluated(rows: pd.DataFrame) -> bool:
    """Say whether rows are ranked by the loss over a whole split."""
    return bool((rows["criterion"] != "final_loss").any())


COLUMNS = (
    _Column("optimizer", lambda row: str(row["label"])),
    _Column(
        "best at", lambda row: MISSING if pd.isna(row["swept"]) else row["swept"], _has("swept")
    ),
    _Column(lambda rows: CRITERIA[rows["criterion"].iloc[0]], _score),
    _Column("over seeds", _spread, lambda rows: bool((rows["seeds"] > 1).any())),
    _Column("final loss", lambda row: number(row["final_loss"]), _evaluated),
    _Column("best loss", lambda row: number(row["best_loss"]), lambda rows: not _evaluated(rows)),
    _Column("test error", lambda row: percent(row["test_error"]), _has("test_error")),
    _Column(
        "test loss",
        lambda row: number(row["test_loss"]),
        lambda rows: _has("test_loss")(rows) and not _has("test_error")(rows),
    ),
    _Column(
        "iterations",
        lambda row: MISSING if pd.isna(row["iterations"]) else f"{row['iterations']:.0f}",
        lambda rows: bool((rows["status"] == Status.STOPPED).any()),
    ),
    _Column(
        "reused",
        lambda row: f"{row['lanes_reused']} of {row['lanes']}",
        lambda rows: bool((rows["lanes_reused"] > 0).any()),
    ),
    _Column("step time", lambda row: duration(row["step_seconds"])),
)


def averaging(rows: pd.DataFrame) -> list[str]:
    """Say in a line, where there are batches, which of them the final losses are means of."""
    averaged = rows.loc[rows["final_loss"].notna(), "averaged_rows"]
    fewest, most = averaged.min(), averaged.max()
    if averaged.empty or (most == 1 and not _evaluated(rows)):
        return []
    if most == 1:
        return ["final loss: that of the last batch"]
    span = f"{most}" if fewest == most else f"{fewest} to {most}"
    best = "" if _evaluated(rows) else "; best loss: the lowest such mean"
    return [f"final loss: mean of the last {span} batches{best}"]


def notes(summary: pd.DataFrame) -> list[str]:
    """Return one line for each thing that the numbers alone do not say, such as divergence.

    The problem is named where there are several.
    """
    several = summary["problem"].nunique() > 1
    lines = []
    for _, row in summary.iterrows():
        name = f"{row['problem']}, {row['label']}" if several else str(row["label"])
        for column, word in (("lanes_diverged", "diverged"), ("lanes_failed", "failed")):
            # Of a single lane the table says it already.
            if row[column] and row["lanes"] > 1:
                lines.append(f"{name}: {row[column]} of {row['lanes']} lanes {word}")
        if row["lanes_outside"]:
            lanes = f"{row['lanes_outside']} of {row['lanes']} lanes " if row["lanes"] > 1 else ""
            lines.append(f"{name}: {lanes}ended outside the function's domain, which ranks last")
        if not pd.isna(row["edge"]):
            lines.append(f"{name}: {row['edge']}")
    return lines


def to_rich(summary: pd.DataFrame) -> Group:
    """Return what a terminal shows: one table per problem with its notes; fits 80 columns."""
    frame: dict[str, Any] = {"box": box.SIMPLE_HEAD, "padding": (0, 1, 0, 0), "pad_edge": False}
    parts: list[Table | Text] = []
    for title, rows in _sections(summary):
        table = Table(title=Text(title), title_justify="left", **frame)
        columns = [column for column in COLUMNS if column.shown(rows)]
        headings = [column.heading(rows) for column in columns]
        if _evaluated(rows):  # these tables have the most columns
            headings = [fill(heading, 9, break_long_words=False) for heading in headings]
        for position, (column, heading) in enumerate(zip(columns, headings, strict=True)):
            text_like = column.title in ("optimizer", "best at")
            table.add_column(
                heading,
                justify="left" if text_like else "right",
                no_wrap=not text_like,
                overflow="fold",
                style="bold" if position == 0 else None,
            )
        for _, row in rows.iterrows():
            cells = [Text(column.cell(row)) for column in columns]
            table.add_row(*cells, style="red" if row["status"] in LOST else None)
        parts.append(table)
        parts += [Text(f"  {line}", style="dim") for line in averaging(rows)]
        parts += [Text(f"  {line}", style="yellow") for line in notes(rows)]
    return Group(*parts)


def to_markdown(summary: pd.DataFrame) -> str:
    """Return one Markdown table per problem, under a heading and with its notes as a list."""
    parts = []
    for title, rows in _sections(summary):
        columns = [column for column in COLUMNS if column.shown(rows)]
        lines = [[column.heading(rows) for column in columns], ["---"] * len(columns)]
        lines += [[column.cell(row) for column in columns] for _, row in rows.iterrows()]
        table = "\n".join(f"| {' | '.join(map(_escaped, line))} |" for line in lines)
        parts += [f"### {title}", table]
        if lines_below := averaging(rows) + notes(rows):
            parts.append("\n".join(f"- {_escaped(line)}" for line in lines_below))
    return "\n\n".join(parts) + "\n"


def to_csv(summary: pd.DataFrame) -> str:
    """Return the summary as CSV, a missing value as an empty field."""
    return summary.to_csv(index=False, lineterminator="\n")


def to_json(summary: pd.DataFrame) -> str:
    """Return the summary as a JSON array of objects, a missing value as null (RFC 8259)."""
    rows = summary.astype(object).where(summary.notna(), None)
    return json_text(rows.to_dict(orient="records")) + "\n"


def _sections(summary: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield title and rows of each problem of each run, in order."""
    for _, rows in summary.groupby(["run", "problem"], sort=False):
        fewest, most = rows["seeds"].min(), rows["seeds"].max()
        span = f"{most}" if fewest == most else f"{fewest} to {most}"
        seeds = f", median of {span} seeds" if most > 1 else ""
        yield f"{rows.iloc[0]['heading']}{seeds}", rows


def _escaped(text: str) -> str:
    """Return text that a Markdown table keeps in its cell."""
    return text.replace("|", "\\|")
