"""The steps that each lane needed to the target of a problem, label by label."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from optbench.inference.times import Times, summarise
from optbench.records import RunTables
from optbench.report.arrivals import budget_text, goal, seeds_text, time_text, unit_of
from optbench.report.configurations import problem_title
from optbench.report.plots.axes import plain_numbers
from optbench.report.plots.options import PlotOptions
from optbench.report.plots.sheet import caption, new_figure
from optbench.report.plots.style import (
    FAINT,
    SMALL_CROSS,
    Style,
    display_name,
    literal,
    styles,
)
from optbench.report.races import Question, Race, races_of

ROW_INCHES, FRAME_INCHES = 0.42, 1.6
"""Height of a label's row, and of what stands above and below all, in text of usual size."""

SPREAD = 0.26
"""How far the seeds of a label lie above and below the middle of its row, in rows."""

ROOM, NARROWEST = 1.08, 3.0
"""Factors: room beside the first dot and the budget, and what the axis spans at least."""

FIRST = 1.0
"""Where a lane that was at the target at once is shown on a logarithmic axis."""


def draw(tables: RunTables, problem: str, options: PlotOptions) -> Figure:
    """Draw a dot for each seed, and the median of each label with its interval.

    Lanes that missed the target are crosses where the budget ends. The label with the smallest mean
    time, a miss counting as the budget, is at the top.
    """
    question = Question(
        options.targets, options.on, problems=(problem,), choose_on=options.choose_on
    )
    ((race,), _) = races_of(tables, question)
    known = [summarise(times, race.budget) for times in race.times]
    order = sorted(range(len(known)), key=lambda place: known[place].rmst)
    look = styles(((each.label, each.optimizer) for each in race.entrants), tables.shared)
    figure = new_figure(0.0, FRAME_INCHES + ROW_INCHES * len(order))
    axes = figure.add_subplot()
    axes.set_xscale("log")
    for row, place in enumerate(order):
        entrant, times = race.entrants[place], race.times[place]
        _draw_label(axes, row, times, known[place], race, look[entrant.label])
    names = [display_name(race.entrants[place].label) for place in order]
    chosen = [literal(race.entrants[place].chosen) for place in order]
    axes.set_yticks(
        range(len(order)),
        ["\n".join(filter(None, pair)) for pair in zip(names, chosen, strict=True)],
    )
    reached = [times[np.isfinite(times)] for times in race.times]
    lowest = max(min((each.min() for each in reached if each.size), default=np.inf), FIRST)
    axes.set_xlim(min(lowest / ROOM, race.budget / NARROWEST), race.budget * ROOM)
    axes.set_ylim(len(order) - 0.45, -0.55)
    axes.axvline(race.budget, color="grey", linewidth=0.8, linestyle=":")
    axes.grid(axis="x", alpha=0.25)
    axes.tick_params(axis="y", length=0)
    plain_numbers(axes.xaxis)
    axes.set_title(literal(problem_title(tables, problem)))
    axes.set_xlabel(literal(f"steps to {goal(race)}"))
    caption(figure, _caption(race, known))
    return figure


def _draw_label(
    axes: Axes, row: int, times: np.ndarray, known: Times, race: Race, style: Style
) -> None:
    places = row + (np.linspace(-SPREAD, SPREAD, len(times)) if len(times) > 1 else np.zeros(1))
    there = np.isfinite(times)
    shown = np.maximum(np.minimum(times, race.budget), FIRST)
    dots: dict[str, Any] = {"marker": "o", "markersize": 4.5, "linestyle": "none", "alpha": 0.75}
    axes.plot(shown[there], places[there], color=style.color, **dots)
    if not there.all():
        axes.plot(shown[~there], places[~there], color=style.color, clip_on=False, **SMALL_CROSS)
    if np.isfinite(known.median_low):
        ends = np.clip([known.median_low, known.median_high], FIRST, race.budget)
        axes.fill_betweenx(
            [row - 0.36, row + 0.36], *ends, color=style.color, alpha=FAINT, linewidth=0
        )
    if np.isfinite(known.median) and len(times) > 1:
        middle = max(known.median, FIRST)
        axes.plot([middle] * 2, [row - 0.36, row + 0.36], color=style.color, linewidth=2.2)
    missed = int((~there).sum())
    said = f"{missed} of {len(times)} missed" if missed and len(times) > 1 else ""
    said = "missed" if missed and len(times) == 1 else said
    rmst = f"RMST {time_text(known.rmst, unit_of([race]))}" if known.rmst < race.budget else ""
    axes.text(
        1.015,
        row,
        "\n".join(filter(None, [rmst, said])),
        transform=axes.get_yaxis_transform(),
        color=style.color,
        fontsize="small",
        verticalalignment="center",
    )


def _caption(race: Race, known: Sequence[Times]) -> list[str]:
    """Say what the target is, and what is drawn."""
    counts = [len(times) for times in race.times]
    parts = [f"{seeds_text(counts)}, at most {budget_text(race)}"]
    if max(counts) > 1:
        has_interval = any(not np.isnan(each.median_low) for each in known)
        band = "band: its 95 % interval" if has_interval else "no interval below 6 seeds"
        parts.append(f"bar: median, {band}")
    if any(not np.isfinite(times).all() for times in race.times):
        parts.append("×: missed")
    if any((times < FIRST).any() for times in race.times):
        parts.append("0 is shown at 1")
    return [f"target: {race.target.says}", "; ".join(parts)]
