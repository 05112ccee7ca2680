"""What a user can choose about a figure; loads nothing of matplotlib."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal

from optbench.errors import UsageError
from optbench.report.statistics import Band
from optbench.settings import check_type

SMOOTHING_ROWS = 11
"""Window for the loss of minibatch problems, as in the textbook."""

LARGEST_LIMIT = 1e300
"""Beyond it the arithmetic of axes overflows."""


@dataclass(frozen=True)
class PlotOptions:
    """Choices that ``optbench plot`` offers; the first five concern the loss figure.

    Smoothing takes an odd number of rows, 1 for none; None smooths minibatch problems over 11 rows
    and leaves functions alone. The band round the median of several seeds is their spread, minimum
    to maximum below 10 seeds and 10 to 90 % from there, or the 95 % interval of the median, which
    needs 6 seeds; the legend says which. The others are those of ``optbench target`` and
    ``optbench compare``, for figures of kind target, profile, ecdf, effects and ranks.
    """

    smooth: int | None = None
    ylim: tuple[float, float] | None = None  # of the loss axis; None chooses
    x: Literal["iteration", "epoch", "seconds"] = "iteration"  # the horizontal axis
    log: bool = False  # a logarithmic loss axis; False chooses
    band: Band = "spread"
    targets: Sequence[str] = ()
    on: str | None = None
    choose_on: Sequence[int] = ()

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

    def log_axis(self, fitting: bool) -> bool:
        """Return whether the loss axis is logarithmic where that would fit the losses."""
        return self.log or (fitting and (self.ylim is None or self.ylim[0] > 0))

    def window(self, batch_size: int | None) -> int:
        """Return the smoothing window for a problem with or without minibatches."""
        if self.smooth is not None:
            return self.smooth
        return SMOOTHING_ROWS if batch_size else 1
