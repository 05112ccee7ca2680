"""A baseline beside a run: which lanes belong together, and what both say of them."""

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from optbench.gate.baseline import Baseline
from optbench.gate.verdict import Gate
from optbench.records import (
    HYPERPARAMETER_PREFIX,
    RunTables,
    averaged_rows_of,
    final_and_best,
)

Hyperparameters = dict[str, float | str]

Row = Mapping[str, Any]
"""A row of lanes.parquet."""


class MatchKey(NamedTuple):
    """What lanes are matched by first; the points of a grid share it."""

    problem: str
    label: str
    seed: int


@dataclass(frozen=True)
class Pair:
    """A lane of the baseline and its partner in the run, by lane numbers ``then`` and ``now``.

    ``configuration`` is the position of the baseline's lane among those of its problem, label and
    seed; ``setting`` the hyperparameters in which the configurations of its label differ, as text.
    """

    problem: str
    label: str
    seed: int
    then: int
    now: int
    configuration: int
    setting: str

    @property
    def group(self) -> tuple[str, str, int]:
        """Problem, label and configuration."""
        return self.problem, self.label, self.configuration


@dataclass(frozen=True)
class Matching:
    """Pairs of lanes, the keys of lanes that have no partner, and both sides by lane number.

    ``then`` and ``now`` are the rows of lanes.parquet.
    """

    pairs: tuple[Pair, ...]
    missing: tuple[MatchKey, ...]
    new: tuple[MatchKey, ...]
    then: dict[int, Row]
    now: dict[int, Row]
    hyperparameters_then: dict[int, Hyperparameters]
    hyperparameters_now: dict[int, Hyperparameters]

    def groups(self) -> Iterator[list[Pair]]:
        """Yield the pairs of each problem, label and configuration, one pair per seed."""
        groups: dict[Hashable, list[Pair]] = defaultdict(list)
        for pair in self.pairs:
            groups[pair.group].append(pair)
        yield from groups.values()


def match(then: pd.DataFrame, now: pd.DataFrame) -> Matching:
    """Match lanes by problem, label and seed; those of a grid by hyperparameters, then by order.

    Lanes of one problem, label and seed are the points of a grid. Those with the same
    hyperparameters belong together; of the others the first belongs to the first, and so on, in
    the order of lanes: after a change of a default no two are alike, and that is to be found as a
    difference of settings. What is left over is missing or new.
    """
    known_then, known_now = hyperparameters(then), hyperparameters(now)
    lanes_then, lanes_now = _lanes_by_key(then), _lanes_by_key(now)
    settings = _settings(lanes_then, known_then)
    pairs: list[Pair] = []
    missing: list[MatchKey] = []
    new: list[MatchKey] = []
    for key, lanes in lanes_then.items():
        rest = list(lanes_now.get(key, ()))
        partners = _partners(lanes, rest, known_then, known_now)
        for position, lane in enumerate(lanes):
            if lane in partners:
                pairs.append(Pair(*key, lane, partners[lane], position, settings[lane]))
            else:
                missing.append(key)
        new += [key] * len(rest)
    for key, lanes in lanes_now.items():
        if key not in lanes_then:
            new += [key] * len(lanes)
    return Matching(
        pairs=tuple(pairs),
        missing=tuple(missing),
        new=tuple(new),
        then=rows_by_lane(then),
        now=rows_by_lane(now),
        hyperparameters_then=known_then,
        hyperparameters_now=known_now,
    )


def _partners(
    lanes: Sequence[int],
    rest: list[int],
    known_then: dict[int, Hyperparameters],
    known_now: dict[int, Hyperparameters],
) -> dict[int, int]:
    """Return the partner of each lane that has one, and take it from ``rest``."""
    partners = {}
    for lane in lanes:
        same = next((other for other in rest if known_now[other] == known_then[lane]), None)
        if same is not None:
            rest.remove(same)
            partners[lane] = same
    others = [lane for lane in lanes if lane not in partners]
    for lane, other in zip(others, list(rest), strict=False):
        rest.remove(other)
        partners[lane] = other
    return partners


def rows_by_lane(lanes: pd.DataFrame) -> dict[int, Row]:
    """Return the rows of lanes.parquet by lane number."""
    names = [str(name) for name in lanes]
    rows = (dict(zip(names, row, strict=True)) for row in lanes.itertuples(index=False, name=None))
    return {int(row["lane"]): row for row in rows}


def hyperparameters(lanes: pd.DataFrame) -> dict[int, Hyperparameters]:
    """Return the hyperparameters of each lane by name, without those that it does not have."""
    columns = [str(name) for name in lanes if str(name).startswith(HYPERPARAMETER_PREFIX)]
    names = [name.removeprefix(HYPERPARAMETER_PREFIX) for name in columns]
    rows = lanes[columns].astype(object).itertuples(index=False, name=None)
    return {
        int(lane): {
            name: _plain(value)
            for name, value in zip(names, row, strict=True)
            if not pd.isna(value)
        }
        for lane, row in zip(lanes["lane"], rows, strict=True)
    }


def _plain(value: Any) -> float | str:
    """Return a number where it is one: a column that holds any word holds numbers as text."""
    try:
        return float(value)
    except ValueError:
        return str(value)


def _lanes_by_key(lanes: pd.DataFrame) -> dict[MatchKey, list[int]]:
    numbers: dict[MatchKey, list[int]] = defaultdict(list)
    ordered = lanes.sort_values("lane", kind="stable")
    columns = (ordered[name] for name in ("problem", "label", "seed", "lane"))
    for problem, label, seed, lane in zip(*columns, strict=True):
        numbers[MatchKey(str(problem), str(label), int(seed))].append(int(lane))
    return dict(numbers)


def _settings(
    lanes_by_key: dict[MatchKey, list[int]], known: dict[int, Hyperparameters]
) -> dict[int, str]:
    """Return what tells each lane from the others of its problem and label, but for the seed."""
    lanes_by_label: dict[tuple[str, str], list[int]] = defaultdict(list)
    for key, lanes in lanes_by_key.items():
        lanes_by_label[key.problem, key.label] += lanes
    settings = {}
    for lanes in lanes_by_label.values():
        names = dict.fromkeys(name for lane in lanes for name in known[lane])
        swept = [name for name in names if len({known[lane].get(name) for lane in lanes}) > 1]
        for lane in lanes:
            settings[lane] = ", ".join(_assignment(name, known[lane].get(name)) for name in swept)
    return settings


def _assignment(name: str, value: float | str | None) -> str:
    if value is None:
        return f"no {name}"
    return f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"


def averaged_alike(run: RunTables, baseline: Baseline) -> RunTables:
    """Return a run whose final and best losses are means of as many rows as the baseline's.

    They are so already unless another version of optbench made it.
    """
    version = baseline.meta["schema_version"]
    if run.meta["schema_version"] == version:
        return run
    problems = {str(entry["problem"]): entry for entry in baseline.meta["problems"]}
    losses = run.trace.sort_values("iteration", kind="stable").groupby("lane")["loss"]
    final, best = (
        run.lanes[name].to_numpy(float, copy=True) for name in ("final_loss", "best_loss")
    )
    columns = (run.lanes[name] for name in ("lane", "problem", "iterations"))
    for place, (lane, problem, updates) in enumerate(zip(*columns, strict=True)):
        if problem in problems and np.isfinite(final[place]):
            rows = averaged_rows_of(problems[problem], version, int(updates))
            loss = losses.get_group(lane).to_numpy(dtype=np.float64)
            final[place], best[place] = final_and_best(loss, rows)
    return replace(run, lanes=run.lanes.assign(final_loss=final, best_loss=best))


@dataclass(frozen=True)
class Comparison:
    """A baseline, a run and a gate, and what follows from them."""

    baseline: Baseline
    run: RunTables
    gate: Gate

    @cached_property
    def matching(self) -> Matching:
        """The pairs of lanes."""
        return match(self.baseline.lanes, self.run.lanes)

    @cached_property
    def positions(self) -> dict[Pair, int]:
        """The position of each pair among the pairs."""
        return {pair: position for position, pair in enumerate(self.matching.pairs)}

    @cached_property
    def rows(self) -> pd.DataFrame:
        """The stored rows of each matched lane beside those of the run.

        Columns: pair (its position in ``matching.pairs``), iteration, then and now (losses),
        tolerance (NaN where none is stored), found (whether the run has the row); ordered by pair
        and iteration.
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
        return {str(entry["problem"]): entry for entry in self.baseline.meta["problems"]}

    @cached_property
    def problems_now(self) -> dict[str, dict[str, Any]]:
        """What the run says of each problem, by title."""
        return {str(entry["problem"]): entry for entry in self.run.meta["problems"]}


def share_of_lanes(count: int, total: int) -> str:
    """Return the end of a message that says how many lanes of a configuration it is true of.

    >>> share_of_lanes(2, 8), share_of_lanes(1, 1)
    ('; 2 of 8 lanes', '')
    """
    return "" if total == 1 else f"; {count} of {total} lanes"
