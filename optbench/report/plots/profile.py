"""Performance profiles: how often each label is nearly the fastest, over all problems of a run."""

import numpy as np
from matplotlib.figure import Figure

from optbench.inference.profiles import profile, profile_interval, score
from optbench.records import RunTables
from optbench.report.arrivals import aims_text, budgets_text, left_out_text, races_seeds
from optbench.report.plots.axes import End, caption, height_inches, name_beside
from optbench.report.plots.options import PlotOptions
from optbench.report.plots.style import FAINT, display_name, literal, new_figure, styles
from optbench.report.targets import (
    Question,
    lane_times,
    median_times,
    races_of,
    shared_labels,
)

HEIGHT = 4.8
"""Height of the figure in inches, unless there is a crowd."""

LARGEST = 4.0
"""The largest ratio to the fastest time that is drawn."""

POINTS = 121
"""Ratios at which bands are computed, evenly spaced."""


def draw(tables: RunTables, problem: str, options: PlotOptions) -> Figure:
    """Draw the share of problems that each label solves in τ times the fastest label's time.

    Bands are the intervals of the bootstrap over seeds; at the right is the score, the area under
    the profile. ``problem`` has no say: a profile is of all problems.
    """
    question = Question(options.targets, options.on, choose_on=options.choose_on)
    races, left_out = races_of(tables, question)
    labels = shared_labels(races)
    look = styles(
        (entrant.label, entrant.optimizer)
        for race in races
        for entrant in race.entrants
        if entrant.label in labels
    )
    t = median_times(races, labels)
    with np.errstate(invalid="ignore"):
        ratios = t / t.min(axis=0)
    ratios = ratios[np.isfinite(ratios) & (ratios <= LARGEST)]
    taus = np.unique(np.concatenate([ratios, np.linspace(1.0, LARGEST, POINTS)]))
    shares = profile(t, taus)
    figure = new_figure(height_inches(len(labels), HEIGHT))
    axes = figure.add_subplot()
    lanes = lane_times(races, labels)
    has_band = lanes is not None and lanes.shape[1] > 1
    if lanes is not None and has_band:
        low, high = profile_interval(lanes, taus)
    for place, label in enumerate(labels):
        color = look[label].color
        if has_band:
            axes.fill_between(
                taus, low[:, place], high[:, place], step="post", color=color, alpha=FAINT, lw=0
            )
        axes.step(taus, shares[:, place], where="post", color=color, linewidth=1.6, label=label)
    axes.set_xlim(1.0, LARGEST)
    axes.set_ylim(-0.03, 1.03)
    axes.grid(alpha=0.25)
    axes.set_xlabel("time to the target / time of the fastest")
    axes.set_ylabel("share of problems")
    where = f"{len(races)} problems" if len(races) > 1 else races[0].problem
    axes.set_title(literal(f"performance profile, {where}"))
    scores = score(t, LARGEST)
    name_beside(
        figure,
        axes,
        [
            End(
                f"{display_name(label)}  {scores[place]:.2f}",
                look[label].color,
                LARGEST,
                shares[-1, place],
            )
            for place, label in enumerate(labels)
        ],
    )
    band = "bands: 95 %, bootstrap over seeds, can be far too narrow"
    caption(
        figure,
        [
            f"{aims_text(races)}; {races_seeds(races)}, at most {budgets_text(races)}",
            f"number: area from 1 to {LARGEST:g}, depends on who was entered; "
            f"{band if has_band else 'no intervals'}{left_out_text(left_out)}",
        ],
    )
    return figure
