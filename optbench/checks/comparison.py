"""A baseline and a run side by side: what every kind of finding is made from."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from optbench.checks.pairs import Matching, Pair, match
from optbench.checks.verdict import Finding, Gate
from optbench.records import RunTables
from optbench.reference import Baseline


@dataclass(frozen=True)
class Comparison:
    """A baseline, a run, and which of their lanes belong together."""

    baseline: Baseline
    run: RunTables
    gate: Gate

    @cached_property
    def matching(self) -> Matching:
        """The pairs of lanes."""
        return match(self.baseline.lanes, self.run.lanes)

    @cached_property
    def places(self) -> dict[Pair, int]:
        """The place of each pair among the pairs."""
        return {pair: place for place, pair in enumerate(self.matching.pairs)}

    @cached_property
    def rows(self) -> pd.DataFrame:
        """The stored rows of each matched lane beside those of the run.

        Columns: pair (its place in ``matching.pairs``), iteration, then and now (losses), tolerance
        (NaN where none is stored), found (whether the run has the row); ordered by pair and
        iteration.
        """
        pairs = self.matching.pairs
        numbers = pd.DataFrame(
            {
                "pair": range(len(pairs)),
                "lane": pd.Series([pair.then for pair in pairs], dtype="int64"),
                "other": pd.Series([pair.now for pair in pairs], dtype="int64"),
            }
        )
        stored = self.baseline.trace[["lane", "iteration", "loss"]].merge(numbers, on="lane")
        tolerance = self.baseline.tolerance[["lane", "iteration", "tolerance"]]
        stored = stored.merge(tolerance, how="left", on=["lane", "iteration"])
        fresh = self.run.trace[["lane", "iteration", "loss"]]
        fresh = fresh.rename(columns={"lane": "other", "loss": "now"})
        rows = stored.merge(fresh, how="left", on=["other", "iteration"], indicator="found")
        rows["found"] = rows["found"] == "both"
        rows = rows.rename(columns={"loss": "then"}).sort_values(["pair", "iteration"])
        return rows[["pair", "iteration", "then", "now", "tolerance", "found"]].reset_index(
            drop=True
        )

    @cached_property
    def problems_then(self) -> dict[str, dict[str, Any]]:
        """What the baseline says of each problem, by title."""
        return {str(each["problem"]): each for each in self.baseline.meta["problems"]}

    @cached_property
    def problems_now(self) -> dict[str, dict[str, Any]]:
        """What the run says of each problem, by title."""
        return {str(each["problem"]): each for each in self.run.meta["problems"]}


@dataclass(frozen=True)
class Changed:
    """Which lanes have other settings than in the baseline.

    Attributes
    ----------
    places
        Problem and label of findings; an empty text stands for all.
    """

    places: frozenset[tuple[str, str]]

    @classmethod
    def by(cls, findings: list[Finding]) -> "Changed":
        """Return what findings of settings name."""
        return cls(frozenset((each.problem, each.label) for each in findings))

    def has(self, problem: str, label: str) -> bool:
        """Say whether a difference in lanes of a problem and label has this explanation."""
        return not self.places.isdisjoint({(problem, label), (problem, ""), ("", label)})
