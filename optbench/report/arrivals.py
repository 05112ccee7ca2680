"""The times to a target as they are read: a table for each problem, and one of all together."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from math import inf, isnan
from typing import Any

import pandas as pd

from optbench.report.configurations import bad_endings, problem_title
from optbench.report.overall import RATIOS
from optbench.report.races import Race
from optbench.report.sections import Column, Section
from optbench.report.tables import MISSING, TIME_UNITS, duration, steps_text
from optbench.report.targets import FASTER, Answer
from optbench.report.watched import at_most

NARROW = 20
"""Seeds below which the interval of the RMST is too narrow; see docs/statistics.md."""

Row = dict[str, Any]

Cells = tuple[Column, Callable[[Row], str]]
"""A column, and how a row's cell is written."""


def sections(answer: Answer) -> list[Section]:
    """Return the tables of an answer."""
    found = []
    for race in answer.races:
        rows = answer.labels[answer.labels["problem"] == race.problem]
        found.append(_race(answer, race, rows))
        if rows["reference"].notna().any():
            found.append(_against(answer, race, rows[rows["reference"].notna()]))
    if answer.overall is not None:
        found.append(_overall(answer, answer.overall))
    found[-1] = replace(found[-1], warnings=[*found[-1].warnings, *answer.notes])
    return found


def goal(race: Race) -> str:
    """Write what is to be reached, as ``loss ≤ 0.01``."""
    return at_most(race.watched.on, race.target.value)


def unit_of(races: Sequence[Race]) -> tuple[float, str]:
    """Return the unit that times are written in, as steps or seconds, and its name."""
    if races[0].unit == "steps":
        return 1.0, "steps"
    budget = max(race.budget for race in races)
    return next((unit for unit in TIME_UNITS if budget >= unit[0]), TIME_UNITS[-1])


def time_text(value: float, unit: tuple[float, str]) -> str:
    """Write a time in a unit: whole steps as they are, all else with three or four digits.

    The unit is one of which the budget has some, so that two decimals tell times below one apart,
    and intervals of them fit a terminal.

    >>> steps, ms = (1.0, "steps"), (1e-3, "ms")
    >>> time_text(32.0, steps), time_text(290.25, steps), time_text(0.0032, ms)
    ('32', '290.2', '3.20')
    >>> time_text(0.000768, ms)
    '0.77'
    """
    scaled = value / unit[0]
    if unit[1] != "steps":
        return f"{scaled:#.3g}".rstrip(".") if scaled >= 1.0 else f"{scaled:.2f}"
    return steps_text(scaled)


def budget_text(race: Race) -> str:
    """Write what every lane could use."""
    return budgets_text([race])


def budgets_text(races: Sequence[Race]) -> str:
    """Write what every lane could use on any of some problems."""
    unit = unit_of(races)
    ends = (act(race.budget for race in races) for act in (min, max))
    return f"{' to '.join(dict.fromkeys(time_text(end, unit) for end in ends))} {unit[1]}"


def aims_text(races: Sequence[Race]) -> str:
    """Write which targets several problems have, and that they were chosen from the runs shown."""
    aims = dict.fromkeys(race.target.aim for race in races)
    here = ", chosen from these runs" if any(race.target.chosen_here for race in races) else ""
    return f"target{'s' * (len(aims) > 1)} {', '.join(aims)}{here}"


def left_out_text(notes: Sequence[str]) -> str:
    """Write how many problems are left out, for the end of a line."""
    return f"; left out: {len(notes)} problem{'s' * (len(notes) > 1)}" if notes else ""


def races_seeds(races: Sequence[Race]) -> str:
    """Write how many seeds several problems have."""
    return seeds_text([len(times) for race in races for times in race.times])


def seeds_text(counts: Sequence[int]) -> str:
    """Write how many seeds labels have.

    >>> seeds_text([5, 5]), seeds_text([1]), seeds_text([1, 5])
    ('5 seeds', '1 seed', '1 to 5 seeds')
    """
    low, high = min(counts), max(counts)
    return f"{low if low == high else f'{low} to {high}'} seed{'s' * (high > 1)}"


def _table(cells: Sequence[Cells], rows: pd.DataFrame) -> tuple[list[Column], list[list[str]]]:
    """Return the columns in which any row has a value, and what they hold."""
    records: list[Row] = rows.to_dict(orient="records")  # type: ignore[assignment]
    columns = [(column, [write(row) for row in records]) for column, write in cells]
    kept = [pair for pair in columns if any(cell != MISSING for cell in pair[1])]
    return [column for column, _ in kept], [
        list(row) for row in zip(*(c for _, c in kept), strict=True)
    ]


def _chosen(configuration: Any) -> str:
    """Write the configuration that was chosen of a label's grid, of which others have none."""
    return configuration if isinstance(configuration, str) else MISSING


def _race(answer: Answer, race: Race, rows: pd.DataFrame) -> Section:
    """Return the table of a problem."""
    several = bool((rows["seeds"] > 1).any())
    unit = unit_of([race])
    cells: list[Cells] = [
        (Column("optimizer", "name"), lambda row: row["label"]),
        (Column("at", "list"), lambda row: _chosen(row["configuration"])),
    ]
    if several:
        cells += [
            (Column("there"), lambda row: f"{row['reached']} of {row['seeds']}"),
            (
                Column("95 %", spare=4, called="95 % of there"),
                lambda row: _span(row, "success", lambda share: f"{100 * share:.0f}"),
            ),
        ]
    else:
        cells.append((Column(unit[1]), lambda row: _time(row["median"], row, unit)))
    cells += [
        (Column("RMST"), lambda row: _time(row["rmst"], row, unit)),
        (Column("95 %", spare=1, called="95 % of RMST"), lambda row: _times(row, "rmst", unit)),
    ]
    if several:
        cells += [
            (Column("median", spare=2), lambda row: _time(row["median"], row, unit)),
            (
                Column("95 %", spare=3, called="95 % of the median"),
                lambda row: _times(row, "median", unit),
            ),
            (
                Column("ERT", spare=5),
                lambda row: "∞" if row["ert"] == inf else time_text(row["ert"], unit),
            ),
        ]
    cells.append((Column("a step", spare=6), lambda row: duration(row["step_seconds"])))
    columns, written = _table(cells, rows)
    title = problem_title(answer.tables, race.problem)
    seeds = f", {seeds_text(rows['seeds'].tolist())}" if several else ""
    return Section(
        f"{title}: {unit[1]} to {goal(race)}{seeds}",
        columns,
        written,
        facts=list(_facts(answer, race, rows, several=several)),
        warnings=list(_warnings(answer, race)),
        colors={place: "red" for place, reached in enumerate(rows["reached"]) if not reached},
        bold=_fastest(rows),
    )


def _fastest(rows: pd.DataFrame) -> set[int]:
    """Return the places of the labels with the smallest RMST, unless nobody was there."""
    is_best = (rows["rmst"] == rows["rmst"].min()) & (rows["reached"] > 0)
    return {place for place, best in enumerate(is_best) if best}


def _facts(answer: Answer, race: Race, rows: pd.DataFrame, *, several: bool) -> Iterator[str]:
    """Say how the numbers came about."""
    yield f"target: {race.target.says}"
    watched = race.watched
    if watched.window > 1:
        yield f"loss: mean of {watched.window} rows, as the final loss is"
    if watched.evaluations:
        yield f"seen at {watched.evaluations} evaluations"
    if race.unit == "seconds":
        yield "a step: timed alone" if race.alone else "a step: a lane's share of its block's time"
    if rows["configuration"].notna().any():
        if rows.loc[rows["configuration"].notna(), "success_low"].notna().any():
            seeds = answer.question.choose_on
            named = f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
            yield f"at: the best of the grid on {named}, which speak for nobody here"
        else:
            yield "at: the best of the grid, where nothing is random"
    if several:
        unit = unit_of([race])[1]
        yield f"RMST: mean, misses counted as {budget_text(race)}; ERT: all {unit} / lanes there"
        yield "95 % of there: Clopper–Pearson, in %; 95 % of the median: order statistics"
        narrow = f", too narrow below {NARROW}" if rows["seeds"].max() < NARROW else ""
        yield f"95 % of RMST: bootstrap over seeds{narrow}"
    else:
        yield f"RMST: a miss counted as {budget_text(race)}"


def _warnings(answer: Answer, race: Race) -> Iterator[str]:
    """Say what the numbers alone do not."""
    watched = race.watched
    for entrant, paths in zip(watched.entrants, watched.paths, strict=True):
        if ended := bad_endings(answer.tables.lanes, entrant.lanes):
            yield f"{entrant.label}: {ended}"
        if outside := sum(path.outside for path in paths):
            lanes = f"{outside} of {len(paths)} " if len(paths) > 1 else ""
            yield f"{entrant.label}: {lanes}ended outside the function's domain, which is a miss"
    if watched.evaluations == 1:
        yield "evaluated once, at the end: run with --evaluate-every to see when lanes get there"
    if watched.start <= race.target.value:
        yield "the target is not below the start"


def _against(answer: Answer, race: Race, rows: pd.DataFrame) -> Section:
    """Return how much faster than the reference the labels of a problem are."""
    reference = answer.question.reference
    cells: list[Cells] = [
        (Column("optimizer", "name"), lambda row: row["label"]),
        (Column("speed-up"), lambda row: _ratio(row["speedup"])),
        (Column("seed by seed", spare=2), lambda row: _ratio(row["ratio"])),
        (Column("95 %", spare=3), lambda row: _span(row, "ratio", lambda ratio: f"{ratio:.3g}")),
        (
            Column("p", spare=1),
            lambda row: MISSING if isnan(row["p_adjusted"]) else f"{row['p_adjusted']:.2g}",
        ),
        (Column(f"than {reference} it is", "prose"), lambda row: row["says"]),
    ]
    columns, written = _table(cells, rows)
    family = int((answer.labels["pairs"] > 0).sum())
    adjusted = f"; p by Holm over {family} rows" if family > 1 else ""
    return Section(
        f"{problem_title(answer.tables, race.problem)}: speed-up over {reference}",
        columns,
        written,
        facts=[
            "speed-up: ratio of RMST; seed by seed: geometric mean of ratios of times",
            f"95 % and p of the latter, by sign flips{adjusted}",
        ],
        bold={place for place, verdict in enumerate(rows["verdict"]) if verdict == FASTER},
    )


def _overall(answer: Answer, rows: pd.DataFrame) -> Section:
    """Return what the problems say together."""
    cells: list[Cells] = [
        (Column("optimizer", "name"), lambda row: row["label"]),
        (Column("score"), lambda row: f"{row['score']:.3f}"),
        (Column("95 %", spare=1), lambda row: _span(row, "score", lambda score: f"{score:.3f}")),
    ]
    for ratio in RATIOS:
        heading = "fastest" if ratio == 1.0 else f"≤ {ratio:g}×"
        cells.append((Column(heading, spare=4), _within(f"within_{ratio:g}")))
    for name, heading in (("algoperf", "AlgoPerf"), ("area", "targets")):
        if name in rows:
            cells.append((Column(heading, spare=2), _three_digits(name)))
    columns, written = _table(cells, rows)
    problems = len(answer.races)
    facts = [
        "score: area under the performance profile from 1 to 4 times the fastest time;",
        "it depends on who was entered",
    ]
    if "algoperf" in rows:
        facts.append("AlgoPerf: the score by its code's rules, variants with their base problems")
    if "area" in rows:
        facts.append(
            f"targets: area under the share of {answer.question.rungs} targets reached, log steps"
        )
    return Section(
        f"{problems} problem{'s' * (problems > 1)} together",
        columns,
        written,
        facts=facts,
        bold={place for place, score in enumerate(rows["score"]) if score == rows["score"].max()},
    )


def _within(name: str) -> Callable[[Row], str]:
    return lambda row: f"{round(row[name] * row['problems'])} of {row['problems']}"


def _three_digits(name: str) -> Callable[[Row], str]:
    return lambda row: f"{row[name]:.3f}"


def _ratio(value: float) -> str:
    return MISSING if isnan(value) else f"{value:.3g}"


def _time(value: float, row: Row, unit: tuple[float, str]) -> str:
    """Write a time; one beyond the budget as such."""
    return time_text(value, unit) if value < inf else f"> {time_text(row['budget'], unit)}"


def _times(row: Row, name: str, unit: tuple[float, str]) -> str:
    """Write an interval of times."""
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    if isnan(low):
        return MISSING
    ends = [_time(end, row, unit).replace("> ", ">") for end in (low, high)]
    return "–".join(ends) if low < inf else ends[0]


def _span(row: Row, name: str, write: Callable[[float], str]) -> str:
    """Write an interval of other numbers."""
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return MISSING if isnan(low) else f"{write(low)}–{write(high)}"
