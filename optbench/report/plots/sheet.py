"""The sheet that a figure is drawn on: how large it and its text are, and how it is written.

What a user chose of it is in force within :func:`sized_by`; there :func:`new_figure`,
:func:`add_legend` and :func:`caption` follow it, and :func:`finish` sees to all other text.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from io import BytesIO
from math import ceil, sqrt
from os import PathLike
from pathlib import PurePath
from textwrap import wrap
from threading import RLock
from typing import IO, Any

import numpy as np
from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.mathtext import MathTextParser
from matplotlib.text import Text
from typing_extensions import override

from optbench.errors import UsageError
from optbench.report.plots.fonts import boxes_allowed
from optbench.report.plots.options import FONT_SIZE, WIDTH, LegendPlace, PlotOptions
from optbench.report.plots.style import literal

SHRINKING = 0.75
"""A figure of half the width has this power of a half of the height: text keeps its own."""

THINNING = 0.4
"""And its lines and markers this power of theirs."""

CAPTION = "#555555"
"""Colour of a caption."""

EM = 0.576
"""Width of a character, in sizes of its font, on average with some room."""

FEWEST_CHARACTERS = 24
"""Characters of a line that is not broken, however narrow the figure."""

NO_BREAK = "\N{NO-BREAK SPACE}"
"""Joins words that stand in one line if they can."""

TITLE_ROW_INCHES = 0.2
"""Height of a line of a figure's title in text of the usual size."""

MANY_ENTRIES = 14
"""Entries beyond which a legend is written small."""

SAMPLE_CHARACTERS, SMALL_SAMPLE_CHARACTERS = 9, 5
"""Characters that a line sample of a legend takes the place of, and of a small legend."""

SMALL: dict[str, Any] = {
    "fontsize": "small",
    "handlelength": 1.3,
    "handletextpad": 0.5,
    "columnspacing": 1.2,
    "labelspacing": 0.35,
}
"""How a small legend is laid out."""

LEGEND_ROW_INCHES, SMALL_ROW_INCHES = 0.22, 0.165
"""Height of a row of a legend, and of a small one, in text of the usual size."""

TOP = 10.0
"""Where a legend inside the axes lies: above all curves, marks and signs."""

TEXT_SHARE = 0.96
"""Share of a figure's width that lines of captions and of legends' titles take at most."""

BESIDE_SHARE = 0.45
"""Share of a figure's width that a legend at the right takes at most."""

CAPTION_LINES, CAPTION_ROW_INCHES = 2, 0.17
"""Lines of a caption that a figure has room for, and the height of each more in usual text."""

FRAME_INCHES = 1.1
"""Height that title and horizontal axis take of a figure in text of the usual size."""

WRITING: dict[Any, Any] = {
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "optbench",
}
"""Fonts that journals take, text that can be searched, and the same bytes whenever written."""

UNDATED: dict[str, dict[str, None]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
"""Metadata by format that leave out when a file was written."""

IMAGE_DPI = 300
"""Dots per inch of what is an image in a vector format, unless a user chooses."""

NOTEBOOK_DPI = 72
"""Dots per inch in a notebook, where 8 inches are to fit beside text."""

_options: ContextVar[PlotOptions | None] = ContextVar("options", default=None)
_settings = RLock()  # Matplotlib's settings belong to all threads


def chosen() -> PlotOptions:
    """Return what the user chose of the figure that is being drawn."""
    return _options.get() or PlotOptions()


@contextmanager
def sized_by(options: PlotOptions) -> Iterator[None]:
    """Draw with what a user chose; other threads that draw wait."""
    token = _options.set(options)
    try:
        with _settings, rc_context({"font.size": options.points}):
            yield
    finally:
        _options.reset(token)


class Sheet(Figure):
    """A figure that is written alike by everybody: see :data:`WRITING`.

    A notebook shows it by itself, without pyplot and whatever that would set up.
    """

    @override
    def savefig(self, fname: str | PathLike[str] | IO[Any], **settings: Any) -> None:
        """Write the figure as :meth:`matplotlib.figure.Figure.savefig` does, without a date."""
        named = PurePath(fname).suffix[1:] if isinstance(fname, str | PathLike) else ""
        form = str(settings.get("format") or named).lower()
        known = UNDATED.get(form, {})
        settings["metadata"] = {**known, **(settings.get("metadata") or {})} or None
        if form in UNDATED:
            settings.setdefault("dpi", max(IMAGE_DPI, round(self.dpi)))
        with _settings, rc_context(WRITING):
            super().savefig(fname, **settings)

    def _repr_png_(self) -> bytes:
        """Return the figure as a notebook asks for it."""
        image = BytesIO()
        self.savefig(image, format="png", dpi=NOTEBOOK_DPI)
        return image.getvalue()


def new_figure(height: float, least: float = 0.0, narrowed: float = 1.0) -> Sheet:
    """Return an empty figure that belongs to no window and no global state.

    Parameters
    ----------
    height
        Inches that it has if it is as wide as usual; less if it is narrower.
    least
        Inches that its rows of text take in text of the usual size.
    narrowed
        How many times more panels it would have side by side if it were as wide as usual.
    """
    share = (chosen().width_inches * sqrt(narrowed) / WIDTH) ** SHRINKING
    return figure_of(max(height * share, in_text(least)))


def figure_of(height_inches: float) -> Sheet:
    """Return an empty figure of this height, unless the user chose another."""
    options = chosen()
    size = (options.width_inches, options.height_inches or height_inches)
    return Sheet(figsize=size, dpi=options.dpi, layout="constrained")


def in_text(inches: float) -> float:
    """Return inches that text of the usual size takes in text of the size that was chosen."""
    return inches * chosen().points / FONT_SIZE


def columns(most: int) -> int:
    """Return how many of at most so many panels fit side by side."""
    options = chosen()
    share = options.width_inches * FONT_SIZE / (WIDTH * options.points)
    return max(1, min(most, int(most * share + 0.25)))


def characters(width_inches: float, size: str = "medium", least: int = FEWEST_CHARACTERS) -> int:
    """Return how many characters fit into a line of text, at least so many."""
    points = FontProperties(size=size).get_size_in_points()
    return max(least, int(72 * width_inches / (EM * points)))


def wrapped(text: str, most: int) -> str:
    r"""Break the lines of a text that have more characters than so many.

    What no-break spaces join is broken where it is longer than a line.

    >>> wrapped("a line\nand another one", 11)
    'a line\nand another\none'
    """
    lines = [
        part
        for line in text.split("\n")
        for part in (_parts(line, most) if len(line) > most else [line])
    ]
    return "\n".join(lines).replace(NO_BREAK, " ")


def _parts(line: str, most: int) -> list[str]:
    words = line.split(" ")
    shorter = [word.replace(NO_BREAK, " ") if len(word) > most else word for word in words]
    return wrap(" ".join(shorter), most, break_on_hyphens=False)


def evenly_wrapped(text: str, most: int) -> str:
    r"""Break a text into as few lines, but of about the same length.

    >>> evenly_wrapped("a title that leaves a word", 24)
    'a title that\nleaves a word'
    """
    whole = wrapped(text, most)
    lines = _lines(whole)
    longest = max(map(len, text.replace("\n", " ").split(" ")))  # no word is broken for it
    shorter = (wrapped(text, width) for width in range(max(longest, len(text) // lines), most))
    return next((found for found in shorter if _lines(found) == lines), whole)


def caption(figure: Figure, paragraphs: Iterable[str]) -> None:
    """Write under the axes what a reader must know beside them: over the legend if one is there.

    Unless the user chose a height the figure grows with it.
    """
    most = characters(TEXT_SHARE * float(figure.get_size_inches()[0]), "small")
    text = "\n".join(parted(paragraph, most) for paragraph in paragraphs)
    shown = literal(text, len(text))
    legend = next(iter(figure.legends), None)
    if legend is None:
        figure.supxlabel(shown, fontsize="small", color=CAPTION)
    else:  # both would stand at the foot
        legend.set_title(shown, prop=FontProperties(size="small"))
        legend.get_title().set(color=CAPTION, multialignment="center")
    more = _lines(text) - (CAPTION_LINES if legend is None else 0)
    grow(figure, in_text(CAPTION_ROW_INCHES) * max(0, more))


def lay_out(figure: Figure) -> None:
    """Give all that a figure has so far its place, before texts have their fonts."""
    with boxes_allowed():
        figure.draw_without_rendering()


def grow(figure: Figure, inches: float) -> None:
    """Make a figure higher, unless the user chose how high it is."""
    if chosen().height is None:
        width, height = figure.get_size_inches()
        figure.set_size_inches(width, height + inches)


def parted(paragraph: str, most: int) -> str:
    r"""Break a paragraph of parts between semicolons, between them where it can be.

    >>> parted("one; two; and a third", 11)
    'one; two\nand a third'
    """
    lines: list[str] = []
    for part in paragraph.split("; "):
        longer = f"{lines[-1]}; {part}" if lines else part
        lines[-1:] = [longer] if len(longer) <= most else [*lines[-1:], part]
    return wrapped("\n".join(lines), most)


def add_legend(
    figure: Figure, handles: Iterable[Artist], texts: Iterable[str], title: str | None = None
) -> None:
    """Draw a legend where the user wants it, by default under all axes, where it hides nothing.

    Without entries its title is a caption. Unless the user chose a height the figure grows with it.
    """
    place: LegendPlace = chosen().legend or "below"
    names = list(texts)
    if place == "none" or not (names or title):
        return
    if not names:
        caption(figure, filter(None, [title]))
        return
    small = len(names) > MANY_ENTRIES
    sample = SMALL_SAMPLE_CHARACTERS if small else SAMPLE_CHARACTERS
    width = float(figure.get_size_inches()[0]) * (BESIDE_SHARE if place == "right" else 1.0)
    most = characters(width, "small" if small else "medium")
    names = [wrapped(name, most - sample) for name in names]
    about = parted(title, characters(TEXT_SHARE * width, "small")) if title else None
    settings: dict[str, Any] = {"title": about, "title_fontsize": "small", "frameon": False}
    settings |= SMALL if small else {}
    if place == "inside":
        inside = figure.axes[0].legend(list(handles), names, **settings | {"frameon": True})
        inside.set_zorder(TOP)
        return
    across = 1 if place == "right" else _across(names, most, sample)
    lines = max(sum(map(_lines, part)) for part in _filled(names, across))
    row = in_text(SMALL_ROW_INCHES if small else LEGEND_ROW_INCHES)
    _make_room(figure, place, row, lines, _lines(about) if about else 0)
    where: Any = "outside right upper" if place == "right" else "outside lower center"
    legend = figure.legend(list(handles), names, loc=where, ncols=across, **settings)
    legend.get_title().set_multialignment("center")


def _lines(text: str) -> int:
    return text.count("\n") + 1


def _across(names: Sequence[str], most: int, sample: int) -> int:
    """Return how many names have room side by side in a row of so many characters."""
    for rows in range(1, len(names)):
        across = ceil(len(names) / rows)
        widths = [max(_width(name) for name in part) for part in _filled(names, across)]
        if sum(widths) + sample * len(widths) <= most:
            return across
    return 1


def _filled(names: Sequence[str], across: int) -> list[list[str]]:
    """Return names in so many columns, which are filled one by one."""
    return [[names[place] for place in part] for part in np.array_split(range(len(names)), across)]


def _width(text: str) -> int:
    return max(map(len, text.split("\n")))


def _make_room(
    figure: Figure, place: LegendPlace, row: float, lines: int, title_lines: int
) -> None:
    """Make a figure higher for a legend with rows of so many inches, unless a height was chosen."""
    if chosen().height is not None:
        return
    width, height = figure.get_size_inches()
    if place == "right":
        height = max(height, row * (lines + title_lines) + FRAME_INCHES)
    else:
        height += row * (lines - 1 + max(0, title_lines - 1))
    figure.set_size_inches(width, height)


def finish(figure: Figure) -> None:
    """Give a figure the title that its user chose, and break what is too long for its place."""
    title = chosen().title
    if title is not None:
        _entitle(figure, title)
    width, height = map(float, figure.get_size_inches())
    foot = _foot_inches(figure)
    if figure.get_suptitle():
        text = evenly_wrapped(figure.get_suptitle(), characters(width, "large"))
        figure.suptitle(text)
        grow(figure, in_text(TITLE_ROW_INCHES) * (_lines(text) - 1))
    for axes in figure.axes:
        spec = axes.get_subplotspec()
        rows, across = spec.get_gridspec().get_geometry() if spec else (1, 1)
        _break(axes.title, width / across)
        _break(axes.xaxis.label, width / across)
        _break(axes.yaxis.label, max(height - FRAME_INCHES - foot, 1.0) / rows)
        _keep_sizes(axes)
    _thin(figure, min(1.0, (width / WIDTH) ** THINNING))


def _foot_inches(figure: Figure) -> float:
    """Return the height of a legend under the axes, beyond its first row."""
    if chosen().legend == "right":
        return 0.0
    with boxes_allowed():
        heights = [float(legend.get_window_extent().height) for legend in figure.legends]
    return max(0.0, sum(heights) / figure.dpi - in_text(LEGEND_ROW_INCHES))


def _thin(figure: Figure, share: float) -> None:
    """Make lines and markers of a narrow figure smaller."""
    legends = [*figure.legends, *filter(None, (axes.get_legend() for axes in figure.axes))]
    every = [one for axes in figure.axes for one in (axes, *axes.child_axes)]
    lines = [line for axes in every for line in axes.lines]
    lines += [one for each in legends for one in each.legend_handles if isinstance(one, Line2D)]
    for line in lines:
        line.set_linewidth(share * line.get_linewidth())
        line.set_markersize(share * line.get_markersize())
        line.set_markeredgewidth(share * line.get_markeredgewidth())
    for dots in (part for axes in every for part in axes.collections):
        if isinstance(dots, PathCollection):
            dots.set_sizes(share**2 * dots.get_sizes())


def _break(text: Text, inches: float) -> None:
    most = int(72 * inches / (EM * float(text.get_fontsize())))
    text.set_text(evenly_wrapped(text.get_text(), max(FEWEST_CHARACTERS, most)))


def _keep_sizes(axes: Axes) -> None:
    """Give ticks that come later, as a figure is written, the size of those that are there."""
    for one in (axes, *axes.child_axes):
        for axis in (one.xaxis, one.yaxis):
            size = axis.get_tick_params().get("labelsize", "medium")
            points = FontProperties(size=size).get_size_in_points()
            axis.set_tick_params(which="both", labelsize=points)


def _entitle(figure: Figure, title: str) -> None:
    """Put a title in the place of a figure's own; of panels that have one each, above them."""
    try:
        MathTextParser("path").parse(title)
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"title '{title}' is not what Matplotlib takes: {reason}") from None
    headed = [axes for axes in figure.axes if axes.get_title()]
    if not figure.get_suptitle() and len(headed) == 1:
        headed[0].set_title(title)
    elif title or figure.get_suptitle():
        figure.suptitle(title).set_in_layout(bool(title))
