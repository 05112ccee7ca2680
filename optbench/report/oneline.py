"""A run or a study in one line, as Python prints it."""

from collections.abc import Mapping

import pandas as pd

from optbench.records import RunTables, StudyTables
from optbench.report.summaries import summary
from optbench.report.tables import number

MOST_NAMED = 3
"""Problems whose winners a line names."""


def run_line(tables: RunTables) -> str:
    """Return in one line where a run is, how it ended, how large it is, and who won."""
    lanes = tables.lanes
    counts = [
        (lanes["problem"].nunique(), "problem"),
        (lanes["label"].nunique(), "optimizer"),
        (lanes["seed"].nunique(), "seed"),
    ]
    size = " × ".join(f"{count} {noun}{'s' * (count != 1)}" for count, noun in counts)
    return f"{tables.path}: {tables.meta['status']}, {size}{_winners(summary(tables))}"


def _winners(rows: pd.DataFrame) -> str:
    """Name the optimizer with the smallest score of each problem, where any has one."""
    scored = rows[rows["score"].notna() & ~rows["outside"]]
    best = scored.loc[scored.groupby("problem", sort=False)["score"].idxmin()]
    named = [
        f"{row['problem']}: {row['label']} {number(row['score'])}" for _, row in best.iterrows()
    ]
    more = len(named) - MOST_NAMED
    shown = [*named[:MOST_NAMED], *([f"{more} more"] if more > 0 else [])]
    return f"; best on {', '.join(shown)}" if named else ""


def study_line(study: StudyTables) -> str:
    """Return in one line where a study is, how it ended, how large it is, and what won."""
    winners = [
        f"{won['problem']}: {won['label']}"
        + "".join(f" {key}={value:.4g}" for key, value in _numbers(won).items())
        for won in study.meta["winners"]
    ]
    more = len(winners) - MOST_NAMED
    shown = [*winners[:MOST_NAMED], *([f"{more} more"] if more > 0 else [])]
    chosen = f"; chosen on {', '.join(shown)}" if winners else ""
    return f"{study.path}: {study.meta['status']}, {len(study.trials)} trials{chosen}"


def _numbers(won: Mapping[str, Mapping[str, object]]) -> dict[str, float]:
    given = won["hyperparameters"].items()
    return {
        key: float(value)
        for key, value in given
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
