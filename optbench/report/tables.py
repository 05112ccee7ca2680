"""The summary of a run as it is read: one table per problem, rounded, with its notes.

All take the table that :func:`optbench.report.summaries.summary` returns, or several joined.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd

from optbench.records import Status
from optbench.report.configurations import CRITERIA
from optbench.report.sections import Column, Section
from optbench.report.statistics import band_name

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


def steps_text(value: Any) -> str:
    """Write a number of steps: a whole one as it is, a mean or a large one with few digits.

    >>> steps_text(32.0), steps_text(290.25), steps_text(12345.6), steps_text(None)
    ('32', '290.2', '12346', '-')
    """
    if pd.isna(value):
        return MISSING
    return f"{value:.0f}" if value == round(value) or value >= 1e4 else f"{value:.4g}"


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
    return _loss(row, "score") + (" outside" if row["outside"] else "")


def _loss(row: "pd.Series[Any]", name: str) -> str:
    """Write a loss, or the floor that it is next to or below."""
    floor = row["floor"]
    return f"≤ {_digits(floor, 2)}" if row[name] <= floor else number(row[name])


def _spread(row: "pd.Series[Any]") -> str:
    """Write the band of the score over seeds."""
    if row["seeds"] < 2 or pd.isna(row["score_low"]):
        return MISSING
    highest = row["score_high"]
    worst = str(Status.DIVERGED if row["seeds_diverged"] else Status.FAILED)
    return f"{_digits(row['score_low'], 3)}–{worst if pd.isna(highest) else _digits(highest, 3)}"


def _evaluated(rows: pd.DataFrame) -> bool:
    """Say whether rows are ranked by the loss over a whole split."""
    return bool((rows["criterion"] != "final_loss").any())


COLUMNS = (
    _Column("optimizer", lambda row: str(row["label"])),
    _Column(
        "best at", lambda row: MISSING if pd.isna(row["swept"]) else row["swept"], _has("swept")
    ),
    _Column(
        "tried",
        lambda row: str(row["configurations"]),
        lambda rows: bool((rows["configurations"] > 1).any()),
    ),
    _Column(lambda rows: CRITERIA[rows["criterion"].iloc[0]], _score),
    _Column(
        lambda rows: band_name(int(rows["seeds"].max())),
        _spread,
        lambda rows: bool((rows["seeds"] > 1).any()),
    ),
    _Column("final loss", lambda row: _loss(row, "final_loss"), _evaluated),
    _Column("best loss", lambda row: _loss(row, "best_loss"), lambda rows: not _evaluated(rows)),
    _Column("test error", lambda row: percent(row["test_error"]), _has("test_error")),
    _Column(
        "test loss",
        lambda row: number(row["test_loss"]),
        lambda rows: _has("test_loss")(rows) and not _has("test_error")(rows),
    ),
    _Column(
        "iterations",
        lambda row: MISSING if pd.isna(row["iterations"]) else f"{row['iterations']:.0f}",
        lambda rows: bool(rows["status"].isin([Status.STOPPED, Status.PAUSED]).any()),
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


def tuning(rows: pd.DataFrame) -> list[str]:
    """Say in a line who chose the hyperparameters."""
    swept = rows["configurations"] > 1
    if not swept.any():
        return ["hyperparameters as given, not tuned"]
    if not (rows["random"] & swept).any():
        return []
    return ["the best of those tried, chosen on these seeds: on others it may be worse"]


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
        if row["lanes_above"]:
            lanes = f"{row['lanes_above']} of {row['lanes']} lanes " if row["lanes"] > 1 else ""
            lines.append(f"{name}: {lanes}ended above the start")
        if row["lanes_outside"]:
            lanes = f"{row['lanes_outside']} of {row['lanes']} lanes " if row["lanes"] > 1 else ""
            lines.append(f"{name}: {lanes}ended outside the function's domain, which ranks last")
        if not pd.isna(row["edge"]):
            lines.append(f"{name}: {row['edge']}")
    return lines


def sections(summary: pd.DataFrame) -> list[Section]:
    """Return one table for each problem with its notes; each fits 80 columns."""
    found = []
    for title, rows in _problems(summary):
        columns = [column for column in COLUMNS if column.shown(rows)]
        headings = [column.heading(rows) for column in columns]
        if _evaluated(rows):  # these tables have the most columns
            headings = [fill(heading, 9, break_long_words=False) for heading in headings]
        found.append(
            Section(
                title,
                [
                    Column(heading, is_name=place == 0, is_text=column.title == "best at")
                    for place, (column, heading) in enumerate(zip(columns, headings, strict=True))
                ],
                [[column.cell(row) for column in columns] for _, row in rows.iterrows()],
                facts=averaging(rows) + tuning(rows),
                warnings=notes(rows),
                lost=frozenset(np.flatnonzero(rows["status"].isin(LOST)).tolist()),
            )
        )
    return found


def _problems(summary: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield title and rows of each problem of each run, in order."""
    for _, rows in summary.groupby(["run", "problem"], sort=False):
        fewest, most = rows["seeds"].min(), rows["seeds"].max()
        span = f"{most}" if fewest == most else f"{fewest} to {most}"
        seeds = f", median of {span} seeds" if most > 1 else ""
        yield f"{rows.iloc[0]['heading']}{seeds}", rows
