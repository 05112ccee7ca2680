"""Mean ranks of optimizers over problems, after the diagram of Demšar (2006)."""

from collections.abc import Sequence
from math import ceil

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from optbench.errors import UsageError
from optbench.records import RunTables
from optbench.report.across import Across, across, too_few
from optbench.report.compare import BETTER, Question, compare
from optbench.report.plots.options import PlotOptions
from optbench.report.plots.sheet import caption, new_figure
from optbench.report.plots.style import display_name, styles
from optbench.report.protocol import contestants

ROW_INCHES, FRAME_INCHES = 0.3, 1.2

BAR_STEP = 0.28
"""Distance between the axis and the first bar, and from bar to bar, in rows of names."""


def draw(tables: RunTables, problem: str, options: PlotOptions) -> Figure:
    """Draw the mean ranks of all labels that have lanes on every problem.

    The best is on the left. A bar joins labels of which no two differ by signed ranks, with Holm's
    adjustment; Demšar's own bars are a critical difference, by which the verdict on two labels
    depends on who else was entered.
    """
    question = Question(choose_on=tuple(options.choose_on))
    found = across(compare(contestants(tables), question).contests, question.level)
    if found is None:
        raise UsageError("ranks need two problems or more with the same optimizers on all of them")
    count = len(found.labels)
    groups = cliques(found)
    rows = ceil(count / 2)
    figure = new_figure(0.0, FRAME_INCHES + ROW_INCHES * (rows + BAR_STEP * (len(groups) + 1)))
    axes = figure.add_subplot()
    look = styles(zip(tables.lanes["label"], tables.lanes["optimizer"], strict=True), tables.shared)
    ranks = [float(rank) for rank in found.labels["mean_rank"]]
    names = [str(label) for label in found.labels["label"]]
    top = BAR_STEP * (len(groups) + 1)
    for place, (name, rank) in enumerate(zip(names, ranks, strict=True)):
        is_left = place < rows
        depth = top + (place if is_left else count - 1 - place) + 0.4
        _draw_name(axes, name, rank, depth, look[name].color, count, is_left=is_left)
    for place, group in enumerate(groups):
        height = BAR_STEP * (place + 1)
        ends = [ranks[group[0]] - 0.03, ranks[group[-1]] + 0.03]
        axes.plot(ends, [height, height], color="#222222", linewidth=4, solid_capstyle="butt")
    axes.set_xlim(1 - 0.02 * count, count + 0.02 * count)
    axes.set_ylim(top + rows + 0.2, 0)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xticks(range(1, count + 1))
    axes.set_yticks([])
    axes.set_xlabel("mean rank, 1 is best")
    for side in ("left", "right", "bottom"):
        axes.spines[side].set_visible(False)
    caption(figure, [_caption(found)])
    return figure


def cliques(found: Across) -> list[range]:
    """Return the longest runs of neighbours in rank of which no two differ significantly."""
    labels = [str(label) for label in found.labels["label"]]
    differ = {
        frozenset((row["a"], row["b"]))
        for row in found.pairs.to_dict(orient="records")
        if row["verdict"] == BETTER
    }

    def alike(group: Sequence[int]) -> bool:
        pairs = ((labels[a], labels[b]) for a in group for b in group if a < b)
        return not any(frozenset(pair) in differ for pair in pairs)

    longest: list[range] = []
    for first in range(len(labels)):
        last = first + 1
        while last < len(labels) and alike(range(first, last + 1)):
            last += 1
        group = range(first, last)
        if len(group) > 1 and not any(set(group) <= set(other) for other in longest):
            longest.append(group)
    return longest


def _draw_name(
    axes: Axes, name: str, rank: float, depth: float, color: str, count: int, *, is_left: bool
) -> None:
    """Draw a line from the axis at a rank down and out to the name beside the axes."""
    edge = 1 - 0.02 * count if is_left else count + 0.02 * count
    axes.plot([rank, rank, edge], [0, depth, depth], color=color, linewidth=1.2)
    axes.plot(rank, 0, marker="v", color=color, markersize=5, clip_on=False)
    axes.annotate(
        f"{display_name(name)}  {rank:.2f}",
        (edge, depth),
        xytext=(-4 if is_left else 4, 0),
        textcoords="offset points",
        ha="right" if is_left else "left",
        va="center",
        color=color,
        fontsize="small",
        annotation_clip=False,
    )


def _caption(found: Across) -> str:
    """Say how many problems and labels there are, and what a bar means."""
    count, labels = len(found.problems), len(found.labels)
    said = f"{count} problems, {labels} optimizers; Friedman's test: p = {found.p:.2g}"
    level = f"{100 * found.level:g} %"
    if too_few(count, found.level):
        return f"{said}; no pair can differ at {level} with {count} problems"
    return f"{said}; bars join those that do not differ (signed ranks, Holm, {level})"
