"""What figures of shares, one curve for each label over all problems of a run, have in common."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from optbench.records import RunTables
from optbench.report.overall import shared_labels
from optbench.report.plots.axes import crowd_inches
from optbench.report.plots.options import PlotOptions
from optbench.report.plots.sheet import Sheet, new_figure
from optbench.report.plots.style import Style, literal, styles
from optbench.report.races import Question, Race, races_of

HEIGHT = 4.8
"""Height of a figure in inches, unless there is a crowd."""


def races_and_looks(
    tables: RunTables, options: PlotOptions
) -> tuple[list[Race], dict[str, Style], list[str]]:
    """Return the problems, the looks of the labels that all of them have, and who is left out."""
    question = Question(options.targets, options.on, choose_on=options.choose_on)
    races, left_out = races_of(tables, question)
    labels = shared_labels(races)
    entries = {each.label: each.optimizer for race in races for each in race.entrants}
    look = styles(((label, entries[label]) for label in labels), tables.shared)
    return races, {label: look[label] for label in labels}, left_out


def share_axes(labels: int, title: str) -> tuple[Sheet, Axes]:
    """Return a figure with axes for shares from 0 to 1, with room for the names of labels."""
    figure = new_figure(HEIGHT, crowd_inches(labels))
    axes = figure.add_subplot()
    axes.set_ylim(-0.03, 1.03)
    axes.grid(alpha=0.25)
    axes.set_title(literal(title))
    return figure, axes


def draw_steps(axes: Axes, x: np.ndarray, shares: np.ndarray, label: str, look: Style) -> None:
    """Draw a share that keeps its value up to the next x."""
    axes.step(
        x,
        shares,
        where="post",
        color=look.color,
        linestyle=look.linestyle,
        linewidth=1.6,
        label=label,
    )


def where(races: Sequence[object], only: str) -> str:
    """Say of how many problems a figure is, or of which one."""
    return f"{len(races)} problems" if len(races) > 1 else only
