"""The learning rate of each optimizer over the updates, as its schedule made it."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from optbench.records import HYPERPARAMETER_PREFIX, RunTables
from optbench.report.configurations import configurations, describe, problem_title
from optbench.report.plots.axes import axis_limits, floor, mark_floor, spans_decades
from optbench.report.plots.options import PlotOptions
from optbench.report.plots.sheet import new_figure
from optbench.report.plots.signs import explain
from optbench.report.plots.style import display_name, literal, styles
from optbench.schedules import learning_rate_factors

SETTINGS = ("schedule", "warmup", "schedule_every", "schedule_decay", "schedule_floor")

MOST_POINTS = 2_000
"""Updates that a curve goes through, at most."""

LOG_DECADES = 2
"""Decades that learning rates span before their axis becomes logarithmic."""


def draw(tables: RunTables, problem: str, options: PlotOptions) -> Figure:
    """Draw the learning rate of the best configuration of each label, constant ones too."""
    table = configurations(tables)
    rows = table[(table["problem"] == problem) & table["best"]]
    iterations = int(describe(tables, problem)["iterations"])
    updates = np.unique(np.linspace(1, iterations, MOST_POINTS).round().astype(int))
    look = styles(zip(rows["label"], rows["optimizer"], strict=True), tables.shared)
    rates = [_rates(row, updates, iterations) for _, row in rows.iterrows()]
    positive = np.concatenate(rates)
    positive = positive[positive > 0]
    figure = new_figure(4.0)
    axes = figure.add_subplot()
    if options.log_axis(positive.size > 0 and spans_decades(positive, LOG_DECADES)):
        axes.set_yscale("log")
        axes.set_ylim(*axis_limits([positive], ceiling=np.inf, log=True))
    bottom = floor(axes)
    for label, curve in zip(rows["label"], rates, strict=True):
        style = look[str(label)]
        axes.plot(
            updates,
            np.maximum(curve, bottom),
            color=style.color,
            linestyle=style.linestyle,
            label=display_name(str(label)),
        )
    if (np.concatenate(rates) < bottom).any():
        mark_floor(axes)
    axes.set(xlabel="update", ylabel="learning rate")
    axes.set_title(literal(problem_title(tables, problem)))
    explain(figure)
    return figure


def _rates(row: "pd.Series[float]", updates: np.ndarray, iterations: int) -> np.ndarray:
    """Return a configuration's learning rate at some updates."""
    columns = {name: HYPERPARAMETER_PREFIX + name for name in SETTINGS}
    given = {
        name: row[column]
        for name, column in columns.items()
        if column in row.index and not pd.isna(row[column])
    }
    factors = learning_rate_factors(given, updates.tolist(), iterations)
    return np.asarray(row[HYPERPARAMETER_PREFIX + "lr"] * factors, dtype=np.float64)
