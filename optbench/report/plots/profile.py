"""Performance profiles: how often each label is nearly the fastest, over all problems of a run."""

import numpy as np
from matplotlib.figure import Figure

from optbench.inference.profiles import profile, profile_interval, score
from optbench.records import RunTables
from optbench.report.arrivals import aims_text, budgets_text, left_out_text, races_seeds
from optbench.report.overall import lane_times, median_times
from optbench.report.plots.axes import End, name_beside
from optbench.report.plots.options import PlotOptions
from optbench.report.plots.shares import draw_steps, races_and_looks, share_axes, where
from optbench.report.plots.style import FAINT, display_name

LARGEST = 4.0
"""The largest ratio to the fastest time that is drawn."""

POINTS = 121
"""Ratios at which bands are computed, evenly spaced."""


def draw(tables: RunTables, problem: str, options: PlotOptions) -> Figure:
    """Draw the share of problems that each label solves in τ times the fastest label's time.

    Bands are the intervals of the bootstrap over seeds; at the right is the score, the area under
    the profile. ``problem`` has no say: a profile is of all problems.
    """
    races, looks, left_out = races_and_looks(tables, options)
    labels = list(looks)
    t = median_times(races, labels)
    taus = _taus(t)
    shares, scores = profile(t, taus), score(t, LARGEST)
    title = f"performance profile, {where(races, races[0].problem)}"
    figure, axes = share_axes(len(labels), title)
    lanes = lane_times(races, labels)
    if lanes is not None and lanes.shape[1] > 1:
        low, high = profile_interval(lanes, taus)
        for place, look in enumerate(looks.values()):
            ends = low[:, place], high[:, place]
            axes.fill_between(taus, *ends, step="post", color=look.color, alpha=FAINT, lw=0)
        band = "bands: 95 %, bootstrap over seeds, can be far too narrow"
    else:
        band = "no intervals"
    for place, (label, look) in enumerate(looks.items()):
        draw_steps(axes, taus, shares[:, place], label, look)
    axes.set_xlim(1.0, LARGEST)
    axes.set_xlabel("time to the target / time of the fastest")
    axes.set_ylabel("share of problems")
    names = [f"{display_name(label)}  {scores[place]:.2f}" for place, label in enumerate(labels)]
    ordered = np.argsort(scores, kind="stable")
    name_beside(
        figure,
        axes,
        [
            End(
                names[place],
                looks[labels[place]].color,
                LARGEST,
                shares[-1, place],
                looks[labels[place]].linestyle,
            )
            for place in ordered
        ],
        [
            f"{aims_text(races)}; {races_seeds(races)}, at most {budgets_text(races)}",
            f"number: area from 1 to {LARGEST:g}, depends on who was entered; "
            f"{band}{left_out_text(left_out)}",
        ],
    )
    return figure


def _taus(t: np.ndarray) -> np.ndarray:
    """Return the ratios at which profiles are drawn: all at which one rises, and some between."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = (t / t.min(axis=0)).ravel()
    rises = ratios[ratios <= LARGEST]
    return np.unique(np.concatenate([rises, np.linspace(1.0, LARGEST, POINTS)]))
