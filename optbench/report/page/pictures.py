"""Figures as SVG that stands in a page: small, themed by its style sheet, alone with its names."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO
from typing import TypeAlias

import numpy as np
from matplotlib.collections import FillBetweenPolyCollection, PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from optbench.report.page.thinning import FEWEST_POINTS, extremes
from optbench.report.plots.fonts import boxes_allowed, fit_fonts
from optbench.report.plots.paths import PathLine

MOST_MARKS = 600
"""Points of lines in a figure from which they have no markers: each is an element of the page."""

ALL_POINTS = 8000
"""Points of all lines of a figure together, as far as each has its fewest."""

RASTER_DPI = 90
"""Dots per inch of what is an image: the filled contours, whose outlines are hundreds of kB."""

OF_A_FILE = re.compile(r"<metadata>.*?</metadata>|<style.*?</style>", re.DOTALL)
"""What only a file by itself needs. A style in it would hold for the whole page."""

SIZE = re.compile(r'(<svg [^>]*?)width="[^"]*" height="[^"]*" ')

NAMED_PARTS = re.compile(r' id="(?!path|[pmCi][0-9a-f]+)[^"]*"')
"""Names that Matplotlib gives the parts of every figure alike, and nothing refers to."""

OWN_NAME = re.compile(r'(id="|url\(#|href="#)(?!path)')

NUMBER = re.compile(r"-?\d+\.\d+")

PATH = re.compile(
    r'<g id="(?P<name>path\d+)">\s*<path d="[^"]*"(?P<rest>.*?)(?P<dots>(?:<use [^>]*/>\s*)*)</g>',
    re.DOTALL,
)
"""A path as it is written: its outline and, where it has markers, one of them at each point."""

UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Characters that show nothing, or turn what follows round."""

OUTLINE = re.compile(r'\bd="([^"]*)"')

DOT = re.compile(r'(<use .*?\bx=")[^"]*(".*?\by=")[^"]*("[^>]*/>)')

RGB: TypeAlias = tuple[float, float, float]

DARK_ENOUGH = 1.05 / 4.5 - 0.05
"""The luminance whose contrast with white is 4.5."""

FAR = 1e6
"""Points of length beyond which browsers could not draw a line."""

POINTS_PER_INCH = 72
"""The unit of lengths in SVG that Matplotlib writes."""


@dataclass(frozen=True)
class Picture:
    """A figure of the page: SVG, and whether curves were thinned to fit."""

    svg: str
    thinned: bool


def picture(figure: Figure, name: str, title: str, most: int) -> Picture:
    """Return a figure as SVG for a page, its curves with at most so many points.

    Parameters
    ----------
    name
        What tells the names in it from those in other pictures of the page.
    title
        What a screen reader says.
    most
        Of each stretch of a longer curve the lowest and the highest point stay.
    """
    thinned = _thin(figure, most)
    for part in figure.findobj(ContourSet):
        part.set_rasterized(True)
    figure.patch.set_visible(False)
    for axes in figure.axes:
        axes.patch.set_visible(False)
    fit_fonts(figure)
    for text in figure.findobj(Text):
        text.set_color(_readable(to_rgb(text.get_color())))
    paths = _named_paths(figure)
    written = BytesIO()
    with boxes_allowed():
        _lay_out(figure)
        figure.savefig(written, format="svg", dpi=RASTER_DPI)
    svg = written.getvalue().decode()
    return Picture(_inline(_with_every_point(svg, paths), name, title), thinned)


def _lay_out(figure: Figure) -> None:
    """Lay a figure out for good; to write one that has still to be, Matplotlib draws it twice."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine("none")


def _readable(color: RGB) -> RGB:
    """Return a colour in which text can be read on white: dark enough for WCAG's AA."""
    shade = np.array(color)
    while _luminance(shade) > DARK_ENOUGH:
        shade *= 0.97
    red, green, blue = shade.tolist()
    return red, green, blue


def _luminance(color: np.ndarray) -> float:
    """Return the relative luminance of a colour of sRGB, as WCAG defines it."""
    linear = np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def _named_paths(figure: Figure) -> dict[str, PathLine]:
    """Name the paths of a figure, and return them by their names."""
    paths = (line for axes in figure.axes for line in axes.lines if isinstance(line, PathLine))
    named = {f"path{number}": line for number, line in enumerate(paths)}
    for name, line in named.items():
        line.set_gid(name)
    return named


def _with_every_point(svg: str, lines: Mapping[str, PathLine]) -> str:
    """Return SVG in which paths have all their points, and the iteration of each.

    Matplotlib leaves out points on a straight line and those beyond the figure, and adds others
    where the path crosses its edge.
    """

    def every(found: re.Match[str]) -> str:
        line = lines[found["name"]]
        places = [(f"{x:.1f}", f"{y:.1f}") for x, y in _points_of(line).tolist()]
        outline = " L ".join(map(" ".join, places))
        dots = DOT.findall(found["dots"])
        before, between, after = dots[0] if dots else ("", "", "")
        every_dot = [f"{before}{x}{between}{y}{after}" for x, y in places] if dots else []
        iterations = " ".join(map(str, line.iterations.tolist()))
        start = f'<g class="path" data-iterations="{iterations}">'
        return "".join([start, f'<path d="M {outline}"', found["rest"], *every_dot, "</g>"])

    return PATH.sub(every, svg)


def _points_of(line: Line2D) -> np.ndarray:
    """Return where the points of a line are in SVG, (points, 2); one far away in its direction."""
    figure = line.get_figure(root=True)
    if figure is None:
        raise AssertionError("only lines in a figure are written")
    points = line.get_transform().transform(line.get_xydata()) * (POINTS_PER_INCH / figure.dpi)
    points[:, 1] = figure.get_figheight() * POINTS_PER_INCH - points[:, 1]
    steps = np.diff(points, axis=0, prepend=points[:1])
    is_far = np.abs(points).max(axis=1) > FAR
    lengths = np.maximum(1.0, np.abs(steps).max(axis=1, keepdims=True))
    nearer = points - steps + FAR * (steps / lengths)
    found: np.ndarray = np.clip(np.where(is_far[:, None], nearer, points), -2 * FAR, 2 * FAR)
    return found


def _thin(figure: Figure, most: int) -> bool:
    """Leave of long curves and bands what is seen, and say whether anything was left out."""
    thinned = False
    lines = [line for axes in figure.axes for line in axes.lines]
    most = max(FEWEST_POINTS, min(most, ALL_POINTS // max(1, len(lines))))
    _unmark(lines)
    for axes in figure.axes:
        for line in axes.lines:
            thinned |= _thin_line(line, most)
        for part in axes.collections:
            if isinstance(part, FillBetweenPolyCollection):
                thinned |= _thin_band(part, most)
    return thinned


def _unmark(lines: Sequence[Line2D]) -> None:
    """Take the markers from lines that have many; what is only markers keeps them."""
    marked = [
        line
        for line in lines
        if line.get_marker() not in ("", "None") and line.get_linestyle() != "None"
    ]
    if sum(np.size(line.get_xdata()) for line in marked) > MOST_MARKS:
        for line in marked:
            line.set_marker("")


def _thin_line(line: Line2D, most: int) -> bool:
    points = np.column_stack(line.get_data()).astype(np.float64)
    if len(points) <= most:
        return False
    moving = (0, 1) if isinstance(line, PathLine) else (1,)
    of_each = most // len(moving)
    kept = np.unique(np.concatenate([extremes(points[:, of], of_each) for of in moving]))
    line.set_data(*points[kept].T)
    if isinstance(line, PathLine):
        line.iterations = line.iterations[kept]
    return True


def _thin_band(band: PolyCollection, most: int) -> bool:
    """Thin the two sides of each part of a band: the lower one to its lowest points."""
    outlines, thinned = [], False
    for path in band.get_paths():
        points = np.asarray(path.vertices)
        if len(points) > 2 * most:
            turn = int(points[:, 0].argmax())
            sides = points[: turn + 1], points[turn + 1 :]
            points = np.concatenate([side[extremes(side[:, 1], most)] for side in sides])
            thinned = True
        outlines.append(points)
    if thinned:
        band.set_verts(outlines)
    return thinned


def _inline(svg: str, name: str, title: str) -> str:
    """Return SVG that a page holds among others: without what is for files, with own names."""
    svg = SIZE.sub(r"\1", OF_A_FILE.sub("", svg[svg.index("<svg") :]))
    svg = NAMED_PARTS.sub("", svg)
    svg = OWN_NAME.sub(rf"\g<1>{name}-", svg)
    svg = OUTLINE.sub(lambda found: f'd="{_shorter(found[1])}"', svg)
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{escape(title)}" ', 1)
    return UNSEEN.sub("", "\n".join(_lines(svg)))


def _lines(svg: str) -> Iterator[str]:
    for line in svg.splitlines():
        if stripped := line.strip():
            yield stripped


def _shorter(outline: str) -> str:
    """Write an outline with a tenth of a point; on a wall it is still finer than its lines."""
    return " ".join(NUMBER.sub(_rounded, outline).split())


def _rounded(number: re.Match[str]) -> str:
    text = f"{float(number[0]):.1f}".removesuffix(".0")
    return "0" if text == "-0" else text
