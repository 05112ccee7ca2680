"""Fonts for labels in any script."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from matplotlib.text import Text

BOXES_ONLY = ("Last Resort", "Adobe Blank", "Noto Sans Blank")
"""Names of fonts that have every character and show none of them begin so."""


def fit_fonts(figure: Figure) -> str:
    """Give texts fonts that have what the usual one lacks, and return the characters of no font."""
    texts = [text for text in figure.findobj(Text) if not text.get_text().isascii()]
    usual = FontProperties()
    lacking = {char for text in texts for char in text.get_text() if char.isprintable()}
    lacking -= _characters(findfont(usual)) if lacking else set()
    families: list[str] = []
    while lacking:
        covered = [(lacking & _characters(file), name) for name, file in _upright_fonts()]
        has, name = max(covered, key=lambda each: (len(each[0]), "Sans" in each[1], each[1]))
        if not has:
            break
        families.append(name)
        lacking -= has
    if families:
        for text in texts:
            text.set_fontfamily([*usual.get_family(), *families])
    return "".join(sorted(lacking))


@contextmanager
def boxes_allowed() -> Iterator[None]:
    """Draw boxes for what no font has, without a warning for each."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph .* missing from font", UserWarning)
        yield


def _upright_fonts() -> list[tuple[str, str]]:
    """Return name and file of the fonts of this machine that show what they have."""
    return [
        (font.name, font.fname)
        for font in fontManager.ttflist
        if font.style == "normal" and not font.name.startswith(BOXES_ONLY)
    ]


@cache
def _characters(file: str) -> frozenset[str]:
    """Return the characters that a font has; none if it cannot be read."""
    try:
        return frozenset(map(chr, get_font(file).get_charmap()))
    except (OSError, RuntimeError):
        return frozenset()
