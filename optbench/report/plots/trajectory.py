"""The paths of optimizers over a function of one or two variables, side by side."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from matplotlib.typing import ColorType

from optbench.records import RunTables
from optbench.report.plots.landscape import Ground, ground_of
from optbench.report.plots.options import PlotOptions
from optbench.report.plots.paths import Family, Path, PathLine, Paths, value_colors, view_of
from optbench.report.plots.sheet import (
    NO_BREAK,
    add_legend,
    caption,
    chosen,
    columns,
    figure_of,
    in_text,
)
from optbench.report.plots.style import CROSS, SMALL_CROSS

MOST_VALUES = 5
"""Configurations of a label that have a panel each; more are drawn in one."""

MOST_VALUES_ALONE = 9
"""The same where there is one label."""

MOST_PANELS = 20
"""Panels of all labels together up to which configurations have one each."""

CURVE_ASPECT = 0.75
"""Height of axes that are not to scale, as a fraction of their width."""

TALLEST_INCHES = 4.6
"""Height of axes at most, lest a panel that is alone fills a screen."""

LEAST_INCHES = 0.6
"""Width and height of axes at least."""

SIDE_INCHES, TICKS_INCHES = 0.7, 0.25
"""Width left of all panels, and what each takes beside and below its axes, in usual text."""

LINE_INCHES = 0.19
"""Height of a line of a panel's title in usual text."""

FRAME_INCHES = 1.2
"""Height that no panel takes in usual text: the figure's title, the axis' name, the legend."""

PAD_INCHES = 0.08
"""What is left empty over and under each row of panels in usual text."""

LABEL_INCHES = 0.35
"""Height of the numbers and the name of an axis that stands over an empty place."""

BAR_WIDTH_INCHES, BAR_HEIGHT_INCHES = 1.2, 0.7
"""What a bar of colours takes beside the panels, or below them."""

NARROW_INCHES = 5.5
"""Width of figures in usual text that have it below."""

SMALL, USUAL = 9, 11
"""Sizes of titles in text of usual size: of narrow panels, and of others."""

NARROW_PANEL_INCHES = 2.5

CHARACTER_WIDTH = 0.55
"""Width of a character of a title, in sizes of its font."""

WIDE_PANELS = 9
"""Panels up to which a grid is rather wide than high."""

FEW_DOTS = 60
"""Positions from which the dots of a path are small."""

MANY_DOTS = 300
"""Positions from which they are smaller still: a path of a thousand rows is a line."""

RING: dict[str, Any] = {"marker": "o", "markersize": 8, "fillstyle": "none"}
"""Where a path starts."""

FINE: dict[str, Any] = {"markersize": 1.2, "linewidth": 0.7, "alpha": 0.6}
"""A path among many."""

OFTEN = 15.0
"""Widths of the view from whose length on a path would cover what lies below it."""

FAINTEST = 0.08
"""Opacity of such a path among many at least."""


@dataclass(frozen=True)
class _Panel:
    """What one of the axes shows: a path, or those of a label together."""

    paths: Sequence[Path]
    color: str  # of a path that is alone
    name: str
    notes: Sequence[str]  # what else its title says

    def title(self, characters: int) -> str:
        """Return its title in lines of at most so many characters."""
        first, *others = self.notes or [""]
        whole = f"{self.name}, {first}" if first else self.name
        rows = [whole, *others] if len(whole) <= characters else [self.name, first, *others]
        return "\n".join(line for row in rows for line in wrap(row, characters))


def draw(tables: RunTables, problem: str, options: PlotOptions) -> Figure:
    """Draw a panel for each configuration, or for each label where there are many of them.

    A panel of many shows a path for each value of the hyperparameter that has most values, in a
    colour that says which, and the best one bold. Paths are those of the first seed. All panels
    show the same part of the plane.
    """
    ground = ground_of(tables, problem)
    paths = Paths(tables, problem, ground)
    together = _is_crowded(paths.counts)
    families = paths.swept_over() if together else paths.all()
    colors = value_colors(families) if together and paths.swept else None
    rows = [[_together(family)] if together else _apart(family) for family in families]
    view = view_of(families, ground, crowded=together)
    figure = _figure(rows, ground, view, colored=colors is not None)
    panels = [panel for row in rows for panel in row]
    for axes, panel in zip(figure.axes, panels, strict=True):
        for path in sorted(panel.paths, key=lambda each: (each.best, -each.value)):
            color = panel.color if colors is None else _color(path, panel, colors)
            _draw_path(axes, path, view, color, company=len(panel.paths) > 1)
    if colors is not None:
        place: Any = {"location": "bottom", "pad": 0.02} if _is_narrow() else {}
        figure.colorbar(colors, ax=figure.axes, label=paths.swept_name, aspect=40, **place)
    figure.suptitle(ground.title)
    _draw_key(figure, ground, view, [path for panel in panels for path in panel.paths])
    if together:
        caption(figure, ["; ".join(_words(families, view))])
    return figure


def _figure(
    rows: Sequence[Sequence[_Panel]], ground: Ground, view: np.ndarray, *, colored: bool
) -> Figure:
    """Return a figure with the function for the panels of all labels, under their titles.

    If they are ``colored`` there is room for a bar of colours.
    """
    panels = [panel for row in rows for panel in row]
    places = _places([len(row) for row in rows])
    down, across = places.max(axis=0) + 1
    beside, below = (0.0, BAR_HEIGHT_INCHES) if _is_narrow() else (BAR_WIDTH_INCHES, 0.0)
    free = chosen().width_inches - in_text(SIDE_INCHES + colored * beside)
    width = max(LEAST_INCHES, free / across - in_text(TICKS_INCHES))
    size = in_text(USUAL if width >= in_text(NARROW_PANEL_INCHES) else SMALL)
    titles = [panel.title(max(1, int(72 * width / size / CHARACTER_WIDTH))) for panel in panels]
    lines = 1 + max(title.count("\n") for title in titles)
    aspect = ground.aspect(view) or CURVE_ASPECT
    height = max(LEAST_INCHES, min(width * aspect, TALLEST_INCHES))
    row = height + in_text(LINE_INCHES * lines + TICKS_INCHES)
    labels = LABEL_INCHES * (len(places) < down * across)
    figure = figure_of(in_text(FRAME_INCHES + labels + colored * below) + down * row)
    figure.set_layout_engine("compressed", h_pad=in_text(PAD_INCHES))
    for title, (row, column) in zip(titles, places.tolist(), strict=True):
        axes = figure.add_subplot(down, across, row * across + column + 1)
        axes.set_title(title, fontsize=size)
        is_last = [row + 1, column] not in places.tolist()
        axes.set_xlabel(ground.labels[0] if is_last else "")
        axes.set_ylabel(ground.labels[1] if column == 0 else "")
        for axis in (axes.xaxis, axes.yaxis):  # 2.5 is wider than what the layout made room for
            axis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10]))
        axes.tick_params(labelbottom=is_last, labelleft=column == 0)
        ground.draw(axes, view)
    return figure


def _is_narrow() -> bool:
    return chosen().width_inches < in_text(NARROW_INCHES)


def _words(families: Sequence[Family], view: np.ndarray) -> Iterator[str]:
    """Say what panels of several configurations each have in common."""
    counts = {(len(family.paths), family.configurations) for family in families}
    shown, several = counts.pop()
    best = "bold, and named above: the best"
    if counts:
        yield best
    else:
        thinned = f", of which {shown} are shown" if shown < several else ""
        yield f"{best} of {several}{thinned}"
    others = [path for family in families for path in family.paths if not path.best]
    if any(_length(path, view) > OFTEN for path in others):
        yield "pale: paths that cross the figure many times"


def _is_crowded(counts: Sequence[int]) -> bool:
    """Say whether labels have more configurations than can have a panel each."""
    most = max(counts)
    if len(counts) == 1:
        return most > columns(MOST_VALUES_ALONE)
    return most > columns(MOST_VALUES) or (most > 1 and most * len(counts) > MOST_PANELS)


def _apart(family: Family) -> list[_Panel]:
    """Return a panel for each path of a label, its best one marked where it is one of several."""
    panels = []
    for path in family.paths:
        setting = (
            f"{path.setting} (best)" if path.best and family.configurations > 1 else path.setting
        )
        notes = [note for note in (setting, path.ending) if note]
        panels.append(_Panel([path], family.style.color, family.name, notes))
    return panels


def _together(family: Family) -> _Panel:
    """Return one panel for all paths of a label, its title that of the best."""
    lost = sum(bool(path.ending) for path in family.paths)
    counted = f"{lost} lost".replace(" ", NO_BREAK) if lost and len(family.paths) > 1 else ""
    notes = filter(None, [family.best.setting, family.best.ending, counted])
    return _Panel(family.paths, family.style.color, family.name, [", ".join(notes)])


def _places(counts: Sequence[int]) -> np.ndarray:
    """Return row and column of every panel, (panels, 2), where labels have so many each.

    Several labels with several panels have a row each; otherwise the grid is nearly square, but
    narrower in a narrow figure.
    """
    if len(counts) > 1 and max(counts) > 1:
        return np.array(
            [(row, column) for row, count in enumerate(counts) for column in range(count)]
        )
    _, wanted = _grid(sum(counts))
    across = max(min(wanted, 2), columns(wanted))
    return np.array([divmod(place, across) for place in range(sum(counts))])


def _grid(panels: int) -> tuple[int, int]:
    """Return rows and columns of a nearly square grid, wide while its panels stay readable."""
    columns = ceil(sqrt(panels)) if panels <= WIDE_PANELS else round(sqrt(panels))
    columns = max(columns, 3) if panels == 3 else columns
    return ceil(panels / columns), columns


def _color(path: Path, panel: _Panel, scale: ScalarMappable) -> str:
    """Return the colour of a path's value, or its label's where that has no such hyperparameter."""
    if not np.isfinite(path.value):
        return panel.color
    return to_hex(scale.to_rgba(np.array([path.value]))[0])


def _draw_path(
    axes: Axes, path: Path, view: np.ndarray, color: ColorType, *, company: bool
) -> None:
    """Draw dots and line, a ring round the start, and a cross at the end that was lost.

    In company of others of its label only the best path is bold. One that is as long as to cover
    the function is a thin line, in company a pale one.
    """
    seen, exits, lost = path.seen(view), path.exits(view), path.lost(view)
    dots = 3.5 if len(seen) <= FEW_DOTS else 2.0 if len(seen) <= MANY_DOTS else 1.0
    look: dict[str, Any] = {
        "color": color,
        "marker": "o",
        "markersize": dots,
        "linewidth": 1.2,
        "zorder": 4,
    }
    is_fine = company and not path.best
    length = _length(path, view)
    if is_fine:
        look |= FINE
    elif company and length <= OFTEN:
        axes.plot(*seen.T, color="white", linewidth=3.5, zorder=4)
    if length > OFTEN:
        look |= {"marker": "", "linewidth": FINE["linewidth"]}
    if is_fine and length > OFTEN:
        look |= {"alpha": max(FAINTEST, FINE["alpha"] * OFTEN / length), "zorder": 3}
    axes.add_line(PathLine(seen, path.iterations[: len(seen)], **look))
    if not is_fine:
        axes.plot(*seen[:1].T, color="black" if company else color, zorder=4, **RING)
    if len(exits):
        opacity = look.get("alpha", 1.0) if length > OFTEN else 1.0
        axes.plot(*exits.T, color=color, alpha=opacity, clip_on=False, zorder=5, **SMALL_CROSS)
    if lost is not None:
        axes.plot(*lost, color=color, clip_on=False, zorder=5, **CROSS)


def _length(path: Path, view: np.ndarray) -> float:
    """Return how long a path is in view, in widths and heights of the view."""
    places = np.clip(path.positions, *view.T) / np.ptp(view, axis=1)
    return float(np.hypot(*np.diff(places, axis=0).T).sum())


def _draw_key(figure: Figure, ground: Ground, view: np.ndarray, paths: Sequence[Path]) -> None:
    """Say below the panels what the signs mean that are there."""
    signs = {"start": RING, **ground.signs(view)}
    if any(len(path.exits(view)) for path in paths):
        signs["leaves the figure"] = SMALL_CROSS
    if any(path.lost(view) is not None for path in paths):
        signs["lost: does not come back"] = CROSS
    add_legend(figure, map(sample_of, signs.values()), signs)


def sample_of(sign: Mapping[str, Any]) -> Line2D:
    """Return what a legend shows of a sign."""
    return Line2D([], [], color="black", **{"linestyle": "none", **sign})
