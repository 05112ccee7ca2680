"""The summary of a run as it is read: one table per problem, rounded, with its notes.

All take the table that :func:`optbench.report.summaries.summary` returns, or several joined.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from optbench.records import Status
from optbench.report.configurations import CRITERIA
from optbench.report.sections import Column, Kind, Section
from optbench.report.statistics import band_name

MISSING = "-"
"""What stands for a missing value."""

NOT_TUNED = "hyperparameters as given, not tuned"
"""Said of the lanes of a run; a study's final run is one whose lanes were tuned."""

LOST = (Status.DIVERGED, Status.FAILED)
"""Statuses of rows that the terminal shows in red."""

TIME_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))

WORTH_TIMING = {"batches": 0.1, "functions": 1.0}
"""Seconds that the median lane has to compute before the time of its steps means something."""


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
    scale, unit = _time_unit(seconds)
    return f"{_digits(seconds / scale, 3)} {unit}"


def _time_unit(seconds: float) -> tuple[float, str]:
    """Return the largest unit that a time has one of, in seconds, and its name."""
    return next((entry for entry in TIME_UNITS if seconds >= entry[0]), TIME_UNITS[-1])


@dataclass(frozen=True)
class _Column:
    """A column of the table that is read: its title, how a row's cell is written, and when.

    The title may depend on the rows of the problem; ``kind`` and ``spare`` are those of
    :class:`~optbench.report.sections.Column`.
    """

    title: str | Callable[[pd.DataFrame], str]
    cell: Callable[["pd.Series[Any]"], str]
    shown: Callable[[pd.DataFrame], bool] = lambda rows: True
    kind: Kind = "number"
    spare: int = 0

    def above(self, rows: pd.DataFrame) -> Column:
        """Return the column that stands above these rows."""
        title = self.title if isinstance(self.title, str) else self.title(rows)
        return Column(title, self.kind, self.spare)


def _has(name: str) -> Callable[[pd.DataFrame], bool]:
    """Return a rule that shows a column where some row has a value."""
    return lambda rows: bool(rows[name].notna().any())


def _score(row: "pd.Series[Any]") -> str:
    """Write what a row is ranked by, with where it ended, or else what became of the lanes."""
    if pd.isna(row["score"]):
        return MISSING if row["status"] in (Status.DONE, Status.STOPPED) else str(row["status"])
    if row["outside"]:
        return f"{_loss(row, 'score')} outside"
    return f"{_loss(row, 'score')} {_above(row)}".rstrip()


def _above(row: "pd.Series[Any]") -> str:
    """Say that a row ended above its start, where more than half of its seeds did."""
    return "above start" if 2 * row["seeds_above"] > row["seeds"] else ""


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


def _step(row: "pd.Series[Any]") -> str:
    """Write the time of a step, from the least to the most over seeds where that can be seen."""
    if pd.isna(row["step_seconds"]):
        return MISSING
    scale, unit = _time_unit(row["step_seconds"])
    low, high = (_digits(row[f"step_seconds_{end}"] / scale, 3) for end in ("low", "high"))
    return f"{low} {unit}" if low == high else f"{low}–{high} {unit}"


def _is_worth_timing(rows: pd.DataFrame) -> bool:
    """Say whether lanes computed for so long that the time of a step means something."""
    least = WORTH_TIMING["functions" if rows["record"].isna().all() else "batches"]
    return bool((rows["iterations"] * rows["step_seconds"]).dropna().median() >= least)


def _has_lower_losses(rows: pd.DataFrame) -> bool:
    """Say whether some lane had, as it is written, a lower loss than at its end."""
    return any(_loss(row, "best_loss") != _loss(row, "final_loss") for _, row in rows.iterrows())


def _evaluated(rows: pd.DataFrame) -> bool:
    """Say whether rows are ranked by the loss over a whole split."""
    return bool((rows["criterion"] != "final_loss").any())


COLUMNS = (
    _Column("optimizer", lambda row: str(row["label"]), kind="name"),
    _Column(
        "best at",
        lambda row: MISSING if pd.isna(row["swept"]) else row["swept"],
        _has("swept"),
        kind="list",
    ),
    _Column(
        "tried",
        lambda row: str(row["configurations"]),
        lambda rows: bool((rows["configurations"] > 1).any()),
        spare=3,
    ),
    _Column(lambda rows: CRITERIA[rows["criterion"].iloc[0]], _score),
    _Column(
        lambda rows: band_name(int(rows["seeds"].max())),
        _spread,
        lambda rows: bool((rows["seeds"] > 1).any()),
        spare=1,
    ),
    _Column("final loss", lambda row: _loss(row, "final_loss"), _evaluated, spare=5),
    _Column(
        "best loss",
        lambda row: _loss(row, "best_loss"),
        lambda rows: not _evaluated(rows) and _has_lower_losses(rows),
        spare=6,
    ),
    _Column("test error", lambda row: percent(row["test_error"]), _has("test_error"), spare=2),
    _Column(
        "test loss",
        lambda row: number(row["test_loss"]),
        lambda rows: _has("test_loss")(rows) and not _has("test_error")(rows),
        spare=2,
    ),
    _Column(
        "iterations",
        lambda row: MISSING if pd.isna(row["iterations"]) else f"{row['iterations']:.0f}",
        lambda rows: bool(rows["status"].isin([Status.STOPPED, Status.PAUSED]).any()),
        spare=4,
    ),
    _Column(
        "reused",
        lambda row: f"{row['lanes_reused']} of {row['lanes']}",
        lambda rows: bool((rows["lanes_reused"] > 0).any()),
        spare=8,
    ),
    _Column("a step", _step, _is_worth_timing, spare=7),
)


def measured(rows: pd.DataFrame) -> list[str]:
    """Say what the losses are, where they are not simply those of a function: a line for each.

    That is which batches final losses are means of, and whether those were seen before or after
    the updates that they led to.
    """
    criterion = CRITERIA[rows["criterion"].iloc[0]]
    lines = [f"{criterion}: over the whole split"] if _evaluated(rows) else []
    averaged = rows.loc[rows["final_loss"].notna(), "averaged_rows"]
    of_batches = bool(rows["record"].notna().any())
    if averaged.empty or (averaged.max() == 1 and not of_batches):
        return lines
    fewest, most = averaged.min(), averaged.max()
    span = f"{most}" if fewest == most else f"{fewest} to {most}"
    when = f"{rows['record'].iloc[0]} its update"
    if most == 1:
        return [*lines, f"final loss: that of the last batch, {when}"]
    what = f"batches' losses, each {when}" if of_batches else "rows"
    lower = not _evaluated(rows) and _has_lower_losses(rows)
    best = "; best loss: the lowest such mean" if lower else ""
    return [*lines, f"final loss: mean of the last {span} {what}{best}"]


def timing(rows: pd.DataFrame) -> list[str]:
    """Say in a line what the time of a step is, where it is shown."""
    if not _is_worth_timing(rows):
        return []
    over = ", least to most over seeds" if (rows["seeds"] > 1).any() else ""
    return [f"a step: a lane's share of its block's time{over}"]


def tuning(rows: pd.DataFrame) -> list[str]:
    """Say in a line who chose the hyperparameters."""
    swept = rows["configurations"] > 1
    if not swept.any():
        return [NOT_TUNED]
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
        if row["lanes_above"] and not row["lanes"] == row["seeds"] == row["seeds_above"]:
            lines.append(
                f"{name}: {row['lanes_above']} of {row['lanes']} lanes ended above the start"
            )
        if row["lanes_outside"]:
            lanes = f"{row['lanes_outside']} of {row['lanes']} lanes " if row["lanes"] > 1 else ""
            lines.append(f"{name}: {lanes}ended outside the function's domain, which ranks last")
        if not pd.isna(row["edge"]):
            lines.append(f"{name}: {row['edge']}")
    return lines


def sections(
    summary: pd.DataFrame, settings: Mapping[tuple[str, str], str] | None = None
) -> list[Section]:
    """Return one table for each problem of each run, with its notes; see :func:`titled`."""
    found = []
    for name, rows in titled(summary, settings or {}):
        fewest, most = rows["seeds"].min(), rows["seeds"].max()
        span = f"{most}" if fewest == most else f"{fewest} to {most}"
        title = f"{name}, median of {span} seeds" if most > 1 else name
        columns = [column for column in COLUMNS if column.shown(rows)]
        found.append(
            Section(
                title,
                [column.above(rows) for column in columns],
                [[column.cell(row) for column in columns] for _, row in rows.iterrows()],
                facts=measured(rows) + timing(rows) + tuning(rows),
                warnings=notes(rows),
                colors=dict.fromkeys(np.flatnonzero(rows["status"].isin(LOST)).tolist(), "red"),
            )
        )
    return found


def titled(
    rows: pd.DataFrame, settings: Mapping[tuple[str, str], str]
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield title and rows of each problem of each run, in order.

    A title names the run where there are several, with what ``settings`` has for run and problem.
    """
    several = rows["run"].nunique() > 1
    for (run, problem), own in rows.groupby(["run", "problem"], sort=False):
        heading = str(own["heading"].iloc[0])
        apart = settings.get((str(run), str(problem)), "")
        yield (", ".join(filter(None, (f"{run}: {heading}", apart))) if several else heading), own
