"""What a user can choose about a figure; loads nothing of matplotlib."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal, TypeAlias

from optbench.errors import UsageError
from optbench.report.statistics import Band
from optbench.settings import check_type

LegendPlace: TypeAlias = Literal["below", "right", "inside", "none"]
"""Where a legend stands."""

SMOOTHING_ROWS = 11
"""Window for the loss of minibatch problems, as in the textbook."""

LARGEST_LIMIT = 1e300
"""Beyond it the arithmetic of axes overflows."""

WIDTH, FONT_SIZE = 8.0, 10.0
"""Inches and points of a figure unless somebody chooses, for a README and a screen."""

INCHES = {"": 1.0, "in": 1.0, "cm": 1 / 2.54, "mm": 1 / 25.4, "pt": 1 / 72}
"""Units of lengths; a point is a PostScript point, as in font sizes."""

LENGTH = re.compile(r"\s*([0-9]+\.?[0-9]*|\.[0-9]+)\s*([a-z]*)\s*")

SIZES, FONT_SIZES, DPIS = (1.0, 60.0), (3.0, 40.0), (20, 2400)
"""Smallest and largest inches, points, and dots per inch."""


@dataclass(frozen=True)
class PlotOptions:
    """Choices that ``optbench plot`` offers; the first five concern figures of losses.

    Smoothing takes an odd number of rows, 1 for none; None smooths minibatch problems over 11 rows
    and leaves functions alone. The band round the median of several seeds is their spread, minimum
    to maximum below 10 seeds and 10 to 90 % from there, or the 95 % interval of the median, which
    needs 6 seeds; the legend says which. ``targets``, ``on`` and ``choose_on`` are those of
    ``optbench target`` and ``optbench compare``, for figures of kind target, profile, ecdf, effects
    and ranks. The last six fit any figure to the page that it is for: lengths are numbers of inches
    or text such as ``"8.5cm"``; without a height it follows from the width.
    """

    smooth: int | None = None
    ylim: tuple[float, float] | None = None  # of the loss axis; None chooses
    x: Literal["iteration", "epoch", "seconds"] = "iteration"  # the horizontal axis
    log: bool = False  # a logarithmic loss axis; False chooses
    band: Band = "spread"
    targets: Sequence[str] = ()
    on: str | None = None
    choose_on: Sequence[int] = ()
    width: float | str | None = None
    height: float | str | None = None
    font_size: float | None = None  # in points; notes are a little smaller
    dpi: int | None = None  # of png files, and of what is an image in other files
    title: str | None = None  # in place of the problem's name; "" for none
    legend: LegendPlace | None = None  # None lets each kind choose

    def __post_init__(self) -> None:
        for field in fields(self):
            check_type(field.name, getattr(self, field.name), field.type)
        if self.smooth is not None and (self.smooth < 1 or self.smooth % 2 == 0):
            raise UsageError(f"smooth must be an odd number of rows, 1 for none; got {self.smooth}")
        if self.ylim is not None:
            low, high = self.ylim
            if not -LARGEST_LIMIT <= low < high <= LARGEST_LIMIT:
                raise UsageError(
                    f"ylim must be two numbers, the smaller first; got {low:g}, {high:g}"
                )
            if self.log and low <= 0:
                raise UsageError(f"a logarithmic axis needs a ylim above 0; got {low:g}")
        for name in ("width", "height"):
            if (length := getattr(self, name)) is not None:
                _check_within(name, inches(name, length), SIZES, "in")
        if self.font_size is not None:
            _check_within("font_size", self.font_size, FONT_SIZES, "points")
        if self.dpi is not None:
            _check_within("dpi", self.dpi, DPIS, "dots per inch")

    def log_axis(self, fitting: bool) -> bool:
        """Return whether the loss axis is logarithmic where that would fit the losses."""
        return self.log or (fitting and (self.ylim is None or self.ylim[0] > 0))

    def window(self, batch_size: int | None) -> int:
        """Return the smoothing window for a problem with or without minibatches."""
        if self.smooth is not None:
            return self.smooth
        return SMOOTHING_ROWS if batch_size else 1

    @property
    def width_inches(self) -> float:
        """The width of a figure."""
        return WIDTH if self.width is None else inches("width", self.width)

    @property
    def height_inches(self) -> float | None:
        """The height of a figure; None lets each kind choose."""
        return None if self.height is None else inches("height", self.height)

    @property
    def points(self) -> float:
        """The size of text."""
        return FONT_SIZE if self.font_size is None else self.font_size


def inches(name: str, length: float | str) -> float:
    """Return a length in inches.

    >>> inches("width", "8.89cm"), inches("width", 3.25)
    (3.5, 3.25)
    """
    if not isinstance(length, str):
        return float(length)
    found = LENGTH.fullmatch(length)
    if found is None or found[2] not in INCHES:
        raise UsageError(
            f"{name} '{length}' is no length; write inches, or a number with in, cm, mm or pt, "
            "as 3.25in"
        )
    return round(float(found[1]) * INCHES[found[2]], 9)


def _check_within(name: str, value: float, ends: tuple[float, float], unit: str) -> None:
    low, high = ends
    if not low <= value <= high:
        raise UsageError(f"{name} must be from {low:g} to {high:g} {unit}; got {value:g}")
