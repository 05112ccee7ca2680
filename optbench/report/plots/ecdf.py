"""The share of all targets that each label has reached, by the steps that it has made."""

import numpy as np
from matplotlib.figure import Figure

from optbench.inference.profiles import ecdf, ecdf_area
from optbench.records import RunTables
from optbench.report.arrivals import budgets_text, left_out_text, races_seeds
from optbench.report.plots.axes import End, caption, height_inches, name_beside, plain_numbers
from optbench.report.plots.options import PlotOptions
from optbench.report.plots.style import CROSS, display_name, literal, new_figure, styles
from optbench.report.targets import RUNGS, Question, ladders, races_of, shared_labels

HEIGHT = 4.8
"""Height of the figure in inches, unless there is a crowd."""

END = CROSS | {"markersize": 6, "markeredgewidth": 1.6}
"""Where a budget ends."""


def draw(tables: RunTables, problem: str, options: PlotOptions) -> Figure:
    """Draw the share of problems, targets and seeds that each label has reached.

    The targets of a problem lie between its start and the best label's end. A cross is where the
    budget of a problem ends; at the right is the area under the curve. ``problem`` has no say: all
    count, each as much as any other.
    """
    question = Question(options.targets, options.on, choose_on=options.choose_on)
    races, left_out = races_of(tables, question)
    labels = shared_labels(races)
    climbs, without = ladders(races, labels, RUNGS)
    look = styles(
        (entrant.label, entrant.optimizer)
        for race in races
        for entrant in race.entrants
        if entrant.label in labels
    )
    budgets = sorted({budget for _, budget in climbs})
    figure = new_figure(height_inches(len(labels), HEIGHT))
    axes = figure.add_subplot()
    axes.set_xscale("log")
    ends = []
    for label in labels:
        found = [times[label] for times, _ in climbs]
        finite = np.concatenate([each[np.isfinite(each)] for each in found])
        steps = np.unique(np.concatenate([[1.0], np.maximum(finite, 1.0), budgets]))
        shares = np.mean([ecdf(each, steps) for each in found], axis=0)
        color = look[label].color
        axes.step(steps, shares, where="post", color=color, linewidth=1.6, label=label)
        at = np.searchsorted(steps, budgets)
        axes.plot(budgets, shares[at], color=color, clip_on=False, **END)
        area = float(np.mean([ecdf_area(times[label], budget) for times, budget in climbs]))
        ends.append(End(f"{display_name(label)}  {area:.2f}", color, budgets[-1], shares[-1]))
    axes.set_xlim(1.0, budgets[-1])
    axes.set_ylim(-0.03, 1.03)
    axes.grid(alpha=0.25)
    plain_numbers(axes.xaxis)
    axes.set_xlabel("steps")
    axes.set_ylabel("share of targets reached")
    where = f"each of {len(climbs)} problems" if len(climbs) > 1 else races[0].problem
    axes.set_title(literal(f"{RUNGS} targets on {where}"))
    name_beside(figure, axes, ends)
    caption(
        figure,
        [
            "targets from the start to where the best label ends, chosen from these runs; "
            f"{races_seeds(races)}, at most {budgets_text(races)} (×)",
            f"number: area under the curve; no intervals{left_out_text([*left_out, *without])}",
        ],
    )
    return figure
