"""The share of all targets that each label has reached, by the steps that it has made."""

import numpy as np
from matplotlib.figure import Figure

from optbench.inference.profiles import ecdf, ecdf_area
from optbench.records import RunTables
from optbench.report.arrivals import budgets_text, left_out_text, races_seeds
from optbench.report.overall import RUNGS, ladders
from optbench.report.plots.axes import End, name_beside, plain_numbers
from optbench.report.plots.options import PlotOptions
from optbench.report.plots.shares import draw_steps, races_and_looks, share_axes, where
from optbench.report.plots.style import CROSS, display_name

END = CROSS | {"markersize": 6, "markeredgewidth": 1.6}
"""Where a budget ends."""


def draw(tables: RunTables, problem: str, options: PlotOptions) -> Figure:
    """Draw the share of problems, targets and seeds that each label has reached.

    The targets of a problem lie between its start and the best label's end. A cross is where the
    budget of a problem ends; at the right is the area under the curve. ``problem`` has no say: all
    count, each as much as any other.
    """
    races, looks, left_out = races_and_looks(tables, options)
    climbs, without = ladders(races, list(looks), RUNGS)
    title = f"{RUNGS} targets on {where(climbs, races[0].problem)}"
    figure, axes = share_axes(len(looks), title)
    axes.set_xscale("log")
    budgets = sorted({budget for _, budget in climbs})
    ends = []
    for label, look in looks.items():
        found = [times[label] for times, _ in climbs]
        reached = np.concatenate([each[np.isfinite(each)] for each in found])
        steps = np.unique(np.concatenate([[1.0], np.maximum(reached, 1.0), budgets]))
        shares = np.mean([ecdf(each, steps) for each in found], axis=0)
        draw_steps(axes, steps, shares, label, look)
        at_ends = shares[np.searchsorted(steps, budgets)]
        axes.plot(budgets, at_ends, color=look.color, clip_on=False, **END)
        area = float(np.mean([ecdf_area(times[label], budget) for times, budget in climbs]))
        name = f"{display_name(label)}  {area:.2f}"
        ends.append((area, End(name, look.color, budgets[-1], shares[-1], look.linestyle)))
    axes.set_xlim(1.0, budgets[-1])
    plain_numbers(axes.xaxis)
    axes.set_xlabel("steps")
    axes.set_ylabel("share of targets reached")
    name_beside(
        figure,
        axes,
        [end for _, end in sorted(ends, key=lambda pair: pair[0])],
        [
            "targets from the start to where the best label ends, chosen from these runs; "
            f"{races_seeds(races)}, at most {budgets_text(races)} (×)",
            f"number: area under the curve; no intervals{left_out_text([*left_out, *without])}",
        ],
    )
    return figure
