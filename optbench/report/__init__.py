"""From the tables of a run to what is shown of it: smoothing, configurations, medians, summaries.

Pure functions of :class:`optbench.records.RunTables`; nothing here reads a file or knows how a lane
was computed. Lanes of one problem and label with the same hyperparameters are one *configuration*
with several seeds. A diverged or failed lane counts as +inf in every ranking and every median: it
is the worst of its seeds and is never dropped. A lane that has not ended yet has no final values;
what depends on them is NaN.
"""

from optbench.report.configurations import (
    configurations,
    describe,
    edge_warning,
    ending,
    heading,
    hyperparameter_columns,
    problems,
    sensitivity,
    setting,
    swept_columns,
    swept_numbers,
)
from optbench.report.curves import (
    Curve,
    LaneLoss,
    lane_losses,
    leading_finite,
    median_curve,
    starting_loss,
)
from optbench.report.statistics import ENDED_WORST, FEW_SEEDS, quantile, smooth, spread
from optbench.report.summaries import SUMMARY_COLUMNS, summary

__all__ = [
    "ENDED_WORST",
    "FEW_SEEDS",
    "SUMMARY_COLUMNS",
    "Curve",
    "LaneLoss",
    "configurations",
    "describe",
    "edge_warning",
    "ending",
    "heading",
    "hyperparameter_columns",
    "lane_losses",
    "leading_finite",
    "median_curve",
    "problems",
    "quantile",
    "sensitivity",
    "setting",
    "smooth",
    "spread",
    "starting_loss",
    "summary",
    "swept_columns",
    "swept_numbers",
]
