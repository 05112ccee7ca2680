"""The paths of optimizers over a function of one or two variables, side by side."""

from collections.abc import Mapping, Sequence
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
from matplotlib.typing import ColorType

from optbench.records import RunTables
from optbench.report.plots.landscape import Ground, ground_of
from optbench.report.plots.options import WIDTH, PlotOptions
from optbench.report.plots.paths import Family, Path, Paths, value_colors, view_of
from optbench.report.plots.sheet import add_legend, chosen, columns, in_text, new_figure
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

SIDE_INCHES, TICKS_INCHES = 0.7, 0.25
"""Width left of all panels, and what each takes beside and below its axes."""

LINE_INCHES = 0.17
"""Height of a line of a title."""

FRAME_INCHES = 1.1
"""Height that no panel takes: the figure's title, the name of the axis, the legend."""

COLOR_BAR_INCHES = 1.2

SMALL, USUAL = 9, 11
"""Sizes of titles in text of usual size: in more than two columns, and in others."""

LEAST_INCHES = 0.6
"""Height of the function in a panel, however narrow the figure."""

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
    figure = _figure(rows, ground, view, room=colors is not None)
    panels = [panel for row in rows for panel in row]
    for axes, panel in zip(figure.axes, panels, strict=True):
        for path in sorted(panel.paths, key=lambda each: (each.best, -each.value)):
            color = panel.color if colors is None else _color(path, panel, colors)
            _draw_path(axes, path, view, color, company=len(panel.paths) > 1)
    if colors is not None:
        figure.colorbar(colors, ax=figure.axes, label=paths.swept_name, aspect=40)
    figure.suptitle(ground.title)
    _draw_key(figure, ground, view, [path for panel in panels for path in panel.paths])
    return figure


def _figure(
    rows: Sequence[Sequence[_Panel]], ground: Ground, view: np.ndarray, *, room: bool
) -> Figure:
    """Return a figure with the function for the panels of all labels, under their titles.

    ``room`` leaves some for a bar of colours.
    """
    panels = [panel for row in rows for panel in row]
    places = _places([len(row) for row in rows])
    down, across = places.max(axis=0) + 1
    size = USUAL if across <= 2 else SMALL
    width = (WIDTH - SIDE_INCHES - COLOR_BAR_INCHES * room) / across - TICKS_INCHES
    fitting = 72 * width * chosen().width_inches / WIDTH / in_text(size) / CHARACTER_WIDTH
    titles = [panel.title(max(1, int(fitting))) for panel in panels]
    lines = 1 + max(title.count("\n") for title in titles)
    aspect = ground.aspect(view) or CURVE_ASPECT
    rows_of_text = LINE_INCHES * lines + TICKS_INCHES
    height = min(width * aspect, TALLEST_INCHES) + rows_of_text
    least = FRAME_INCHES + down * (LEAST_INCHES + rows_of_text)
    figure = new_figure(FRAME_INCHES + down * height, least)
    figure.set_layout_engine("compressed")
    for title, (row, column) in zip(titles, places.tolist(), strict=True):
        axes = figure.add_subplot(down, across, row * across + column + 1)
        axes.set_title(title, fontsize=in_text(size))
        is_last = [row + 1, column] not in places.tolist()
        axes.set_xlabel(ground.labels[0] if is_last else "")
        axes.set_ylabel(ground.labels[1] if column == 0 else "")
        axes.tick_params(labelbottom=is_last, labelleft=column == 0)
        ground.draw(axes, view)
    return figure


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
    """Return one panel for all paths of a label."""
    notes = [f"best: {family.best.setting}", family.best.ending]
    lost = sum(bool(path.ending) for path in family.paths)
    if lost and len(family.paths) > 1:
        notes.append(f"{lost} of {len(family.paths)} do not come back")
    if len(family.paths) < family.configurations:
        notes.append(f"{len(family.paths)} of {family.configurations} are shown")
    notes = list(filter(None, notes))
    return _Panel(family.paths, family.style.color, family.name, notes)


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

    In company of others of its label only the best path is bold.
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
    if company and not path.best:
        look |= FINE
    elif company:
        axes.plot(*seen.T, color="white", linewidth=3.5, zorder=4)
    axes.plot(*seen.T, **look)
    if path.best or not company:
        axes.plot(*seen[:1].T, color="black" if company else color, zorder=4, **RING)
    if len(exits):
        axes.plot(*exits.T, color=color, clip_on=False, zorder=5, **SMALL_CROSS)
    if lost is not None:
        axes.plot(*lost, color=color, clip_on=False, zorder=5, **CROSS)


def _draw_key(figure: Figure, ground: Ground, view: np.ndarray, paths: Sequence[Path]) -> None:
    """Say below the panels what the signs mean that are there."""
    signs = {"start": RING, **ground.signs()}
    if any(len(path.exits(view)) for path in paths):
        signs["leaves the figure"] = SMALL_CROSS
    if any(path.lost(view) is not None for path in paths):
        signs["does not come back"] = CROSS
    add_legend(figure, map(sample_of, signs.values()), signs)


def sample_of(sign: Mapping[str, Any]) -> Line2D:
    """Return what a legend shows of a sign."""
    return Line2D([], [], color="black", **{"linestyle": "none", **sign})
