"""What the best of k trials is, label by label: what any smaller budget would have found."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from optbench.records import StudyTables
from optbench.report.budgets import INDEPENDENT, budgets, incumbents, no_curves, score
from optbench.report.plots.axes import (
    End,
    crowd_inches,
    floor,
    mark_floor,
    name_beside,
    plain_numbers,
    score_axis,
)
from optbench.report.plots.options import PlotOptions
from optbench.report.plots.sheet import new_figure
from optbench.report.plots.signs import (
    SMALL_EDGE,
    in_words,
    mark_beyond,
    mark_edges,
    reached,
)
from optbench.report.plots.style import FAINT, Style, display_name, literal, styles
from optbench.report.protocol import adaptive, metric, metric_name, protocol, title

HEIGHT = 4.8
"""Height of a figure in inches, unless there is a crowd."""

MOST_BANDS = 5
"""Labels up to which each has its band; of more it is that of the best alone."""


def draw(study: StudyTables, problem: str, options: PlotOptions) -> Figure:
    """Draw the median best of k trials, with its band for all k at once where it has one.

    Where trials are not exchangeable it is the best score of the first k. A dotted line is what the
    hyperparameters that come with an optimizer reach in the final run.
    """
    why = adaptive(study)
    table = incumbents(study) if why else budgets(study)
    rows = table[table["problem"] == problem]
    of = "incumbent" if why else "median"
    curves = {str(label): own for label, own in rows.groupby("label", sort=False)}
    look = styles(zip(rows["label"], rows["optimizer"], strict=True))
    figure = new_figure(HEIGHT, crowd_inches(len(curves)))
    axes = figure.add_subplot()
    axes.set_xscale("log")
    axes.set_xlim(1.0, float(max(2, rows["trials"].max())))
    score_axis(axes, [rows[of].to_numpy(), rows["default"].to_numpy()], options)
    shown = rows[rows["k"] == rows["trials"]].sort_values(of, kind="stable")
    banded = list(curves) if len(curves) <= MOST_BANDS else [str(shown["label"].iloc[0])]
    for label, own in curves.items():
        _draw_default(axes, own, look[label])
        _draw_curve(axes, own, of, look[label], band=label in banded)
    if (rows[of] < floor(axes)).any():
        mark_floor(axes)
    plain_numbers(axes.xaxis)
    axes.grid(alpha=0.25)
    axes.set_xlabel("trials")
    axes.set_ylabel(f"best {metric_name(metric(study, problem))} on tuning seeds")
    _add_steps(axes, shown)
    axes.set_title(literal(title(study, problem)))
    says = [*_says(rows, why), *in_words(figure)]
    ends = _ends(axes, shown, of, look)
    name_beside(figure, axes, ends, [protocol(study, problem), "; ".join(says)])
    return figure


def _draw_curve(axes: Axes, rows: pd.DataFrame, of: str, style: Style, *, band: bool) -> None:
    """Draw a label's curve; where its band has no lower end, it is drawn down to the best score."""
    k, lowest = rows["k"], floor(axes)
    if band and "high" in rows and rows["high"].notna().any():
        low = rows["low"].where(np.isfinite(rows["low"]), rows["median"].min())
        ends = [reached(axes, np.maximum(end, lowest)) for end in (low, rows["high"])]
        axes.fill_between(k, ends[0], ends[1], color=style.color, alpha=FAINT, linewidth=0)
        mark_edges(axes, [(k.to_numpy(), end) for end in ends], style.color, SMALL_EDGE)
    values = reached(axes, np.maximum(rows[of].to_numpy(), lowest))
    mark_edges(axes, [(k.to_numpy(), values)], style.color)
    axes.plot(
        k,
        values,
        color=style.color,
        linestyle=style.linestyle,
        linewidth=1.8,
        drawstyle="steps-post" if of == "incumbent" else "default",
    )


def _draw_default(axes: Axes, rows: pd.DataFrame, style: Style) -> None:
    default = float(rows["default"].iloc[0])
    if np.isfinite(default):
        height = max(default, floor(axes))
        axes.axhline(height, color=style.color, linestyle=":", linewidth=1.2)
        mark_beyond(axes, np.array(axes.get_xlim()[:1]), np.array([height]), style.color)


def _ends(axes: Axes, rows: pd.DataFrame, of: str, look: dict[str, Style]) -> list[End]:
    """Return the names of the curves with their scores."""
    low, high = axes.get_ylim()
    ends = []
    for _, row in rows.iterrows():
        value = float(row[of])
        name = f"{display_name(row['label'])}  {score(value, str(row['metric']))}"
        y = float(np.clip(value, max(low, floor(axes)), high))
        ends.append(End(name, look[str(row["label"])].color, float(row["k"]), y))
    return ends


def _add_steps(axes: Axes, ends: pd.DataFrame) -> None:
    """Write above the axes how many steps the trials make, the mean of all labels."""
    each = float((ends["steps"] / ends["k"]).mean())
    if not each:  # all diverged before the first update
        return
    above = axes.twiny()
    above.set_xscale("log")
    low, high = axes.get_xlim()
    above.set_xlim(each * low, each * high)
    plain_numbers(above.xaxis)
    above.set_xlabel("steps, mean of all trials")


def _says(rows: pd.DataFrame, why: str | None) -> Iterator[str]:
    """Say what curves, bands and lines are."""
    first = rows.iloc[0]
    if why:
        yield no_curves(why)
    elif first["sampler"] == INDEPENDENT:
        whose = "" if rows["label"].nunique() <= MOST_BANDS else " of the best label"
        yield f"median best of so many trials, band{whose}: 95 % for all numbers of trials at once"
        unbounded = rows.loc[np.isneginf(rows["low"]), "k"].min()  # there is always one
        yield f"from {unbounded} trials on it is open below and cut at the best score"
    else:
        yield f"median best of so many random ones of the {first['sampler']} points, no bands"
    if np.isfinite(rows["default"]).any():
        yield "dotted: default, on evaluation seeds"
    lost = rows.loc[np.isposinf(rows["default"]), "label"].unique()
    if len(lost):
        yield f"default diverged: {', '.join(lost)}"
