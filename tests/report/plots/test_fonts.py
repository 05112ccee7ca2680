"""Labels in scripts that the usual font lacks."""

import warnings

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager

from optbench.report.plots import PlotOptions, draw
from optbench.report.plots.files import write_figure
from optbench.report.plots.fonts import fit_fonts
from optbench.report.plots.sheet import new_figure
from tests.report.runs import Lane, function_problem, tables


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Return a function that makes a font of some characters and lets figures find it."""
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [*font_manager.fontManager.ttflist])

    def made(name, characters):
        pen = TTGlyphPen(None)
        pen.moveTo((0, 0))
        for corner in ((0, 700), (500, 700), (500, 0)):
            pen.lineTo(corner)
        pen.closePath()
        names = [".notdef", *(f"glyph{k}" for k in range(len(characters)))]
        font = FontBuilder(1000)
        font.setupGlyphOrder(names)
        font.setupCharacterMap(dict(zip(map(ord, characters), names[1:], strict=True)))
        font.setupGlyf(dict.fromkeys(names, pen.glyph()))
        font.setupHorizontalMetrics(dict.fromkeys(names, (600, 0)))
        font.setupHorizontalHeader(ascent=800, descent=-200)
        font.setupNameTable({"familyName": name, "styleName": "Regular"})
        font.setupOS2()
        font.setupPost()
        font.save(tmp_path / f"{name}.ttf")
        font_manager.fontManager.addfont(tmp_path / f"{name}.ttf")

    return made


def text_of(words):
    figure = new_figure(3.0)
    return figure, figure.text(0.1, 0.1, words)


UNKNOWN = "\U00013000\U00013001\U00013002"
"""Hieroglyphs, which the fonts of Matplotlib lack."""


def test_fonts_that_have_what_the_usual_one_lacks_stand_in_for_it(install, tmp_path):
    install("Two Signs", UNKNOWN[:2])
    install("One Sign", UNKNOWN[0])
    figure, text = text_of(f"a{UNKNOWN[:2]}")
    plain = figure.text(0.5, 0.5, "lr = 0.1")
    usual = plain.get_fontfamily()
    assert fit_fonts(figure) == ""
    assert text.get_fontfamily() == [*usual, "Two Signs"]
    assert plain.get_fontfamily() == usual
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(tmp_path / "figure.png")


@pytest.mark.parametrize("kind", ["loss", "effects"])
def test_what_no_font_has_is_returned_and_drawn_without_a_warning(kind, install, tmp_path):
    install("One Sign", UNKNOWN[1])
    lanes = [Lane(UNKNOWN, [2.0, 1.0], optimizer="sgd"), Lane("b", [2.0, 1.5])]
    figure = draw(kind, tables(lanes, [function_problem()]), "anisotropic", PlotOptions())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert write_figure(figure, tmp_path / "figure.png") == UNKNOWN[0] + UNKNOWN[2]


def test_what_the_usual_font_has_needs_no_other():
    figure, text = text_of("β₁ − ✖ é")
    before = text.get_fontfamily()
    assert fit_fonts(figure) == ""
    assert text.get_fontfamily() == before
