"""Figures of the page: paths keep every point, which a slider of iterations counts."""

import re

import numpy as np
import pytest
from matplotlib import rc_context
from matplotlib.figure import Figure

from optbench.report.page.pictures import picture
from optbench.report.plots.paths import PathLine

STRAIGHT = np.linspace([0.1, 0.1], [0.9, 0.9], 150)
AWAY = np.array([[0.5, 0.5], [3.0, 0.7], [0.6, 0.5], [0.5, 1e100]])


def drawn(positions, **look):
    figure = Figure(figsize=(4, 3))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.add_line(PathLine(positions, 10 * np.arange(len(positions)), **look))
    svg = picture(figure, "f1", "a path", 500).svg
    (group,) = re.findall(r'<g class="path" .*?</g>', svg, re.DOTALL)
    iterations = re.search(r'data-iterations="([^"]*)"', group)[1].split()
    outline = re.search(r'<path d="M ([^"]*)"', group)[1].split(" L ")
    dots = re.findall(r'<use [^>]*x="([^"]*)" y="([^"]*)"', group)
    places = np.array([each.split() for each in outline], dtype=float)
    return iterations, places, np.array(dots, dtype=float)


def luminance(color):
    """Repeat WCAG's definition: https://www.w3.org/TR/WCAG22/#dfn-relative-luminance."""
    parts = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize(
    "color", ["#000000", "#e69f00", "#56b4e9", "#f0e442", "#888888", "#0072b2"]
)
def test_text_can_be_read_on_white(color):
    figure = Figure(figsize=(4, 3))
    figure.text(0.5, 0.5, "momentum", color=color)
    with rc_context({"svg.fonttype": "none"}):
        svg = picture(figure, "f1", "a text", 500).svg
    (text,) = re.findall(r"<text [^>]*>", svg)
    seen = (re.findall(r"fill: (#[0-9a-f]{6})", text) or ["#000000"])[0]
    assert 1.05 / (luminance(seen) + 0.05) >= 4.45
    if 1.05 / (luminance(color) + 0.05) >= 4.5:
        assert seen == color


@pytest.mark.parametrize(
    "positions", [STRAIGHT, AWAY, STRAIGHT[:1]], ids=["straight", "away", "one"]
)
def test_a_path_has_each_of_its_points(positions):
    iterations, places, dots = drawn(positions, marker="o")
    assert iterations == [str(10 * place) for place in range(len(positions))]
    assert places.tolist() == dots.tolist()
    expected = positions * [4 * 72, -3 * 72] + [0, 3 * 72]
    near = np.abs(positions).max(axis=1) < 10
    assert places.shape == expected.shape
    assert np.abs(places - expected)[near].max() <= 0.051
    assert np.abs(places).max() < 1e7


def test_a_path_without_dots_gets_none():
    iterations, places, dots = drawn(STRAIGHT)
    assert (len(iterations), len(places), len(dots)) == (150, 150, 0)


def test_a_point_far_away_is_in_its_direction():
    _, places, _ = drawn(np.array([[0.5, 0.5], [4e99, 3e99]]))
    step = places[1] - places[0]
    assert step[1] / step[0] == pytest.approx(-(3 * 3) / (4 * 4), rel=1e-3)
