"""A stored reference that later runs are compared with, as both sides of the gate see it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

NUMERICS_ITERATIONS = 50
"""Rows at the start of each trace whose bits and tolerances are kept."""


@dataclass(frozen=True)
class Baseline:
    """A run that was saved as a reference.

    Attributes
    ----------
    path
        Its directory.
    meta
        baseline.json: ``name``, ``schema_version``, ``saved``, and of the run its ``suite``,
        ``seeds``, ``problems``, ``optimizers``, ``numerics_version``, ``device`` and
        ``environment`` as in run.json; ``calibration_seconds``, the time of the calibration loop
        beside that run; ``targets``, a loss by problem; ``test_error``, a mean by problem and
        label; ``thresholds``, relative changes of the loss that are let through, by problem.
    lanes
        lanes.parquet of the run.
    trace
        The columns lane, iteration and loss: the first rows, and a thinned rest.
    tolerance
        The columns lane, iteration and tolerance of the first rows: how far a loss may lie from
        the stored one.
    """

    path: Path
    meta: dict[str, Any]
    lanes: "pd.DataFrame"
    trace: "pd.DataFrame"
    tolerance: "pd.DataFrame"
