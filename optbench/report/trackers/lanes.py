"""Lanes as every tracker takes them: which ones, and what there is to say of each."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import zip_longest
from math import isfinite
from pathlib import Path
from typing import Any

import pandas as pd

from optbench.errors import ResultsError, UsageError, argument
from optbench.records import HYPERPARAMETER_PREFIX, RunTables
from optbench.report.configurations import SPLITS, configurations, hyperparameter_columns
from optbench.store.files import file_name
from optbench.store.studies import run_name

BEST, ALL = "best", "all"

MOST_LANES = 50
"""Lanes of a run that are taken where nobody chooses them."""

SPAN = re.compile(r"[0-9]{1,9}(-[0-9]{1,9})?")

SUMMARY = ("final_loss", "best_loss", "iterations", "diverged_at", "stopped_at", "step_seconds")
"""Columns of lanes.parquet that hold what a lane reached."""


@dataclass(frozen=True)
class TrackedLane:
    """All that a tracker is told of a lane.

    Attributes
    ----------
    run
        Name of the run; no two runs in one folder have the same.
    number
        Of the lane in its run.
    title
        Label, what was swept, and seed. Two lanes may have the same.
    place
        A relative path that no other lane has, of signs that every file system takes.
    config
        Problem, optimizer, label, seed, and the ``hp_`` columns of its hyperparameters.
    series
        ``loss``, and ``<split>_loss`` and ``<split>_error`` of evaluations, by iteration; NaN
        where there is none.
    summary
        Those of :data:`SUMMARY` that it has.
    started
        When the run was started, in seconds since 1970.
    """

    run: str
    number: int
    title: str
    place: Path
    config: Mapping[str, Any]
    status: str
    series: pd.DataFrame
    summary: Mapping[str, float]
    started: float

    def steps(self) -> Iterator[tuple[int, dict[str, float]]]:
        """Yield each iteration with its values, those that are finite."""
        names = [str(name) for name in self.series.columns]
        for step, *row in self.series.itertuples():
            values = {
                name: value for name, value in zip(names, row, strict=True) if isfinite(value)
            }
            if values:
                yield int(step), values

    @property
    def iterations(self) -> int:
        """Updates made, 0 where nobody knows."""
        return int(self.summary.get("iterations", 0))

    def time(self, step: int) -> float:
        """Return when it made an update, going by the mean time of all of them."""
        return self.started + step * self.summary.get("step_seconds", 0.0)


def check_lanes(wanted: str) -> None:
    """Refuse what says no lanes: neither ``best`` nor ``all``, nor numbers such as ``0-9,12``."""
    if wanted not in (BEST, ALL) and not all(map(SPAN.fullmatch, wanted.split(","))):
        raise UsageError(
            f"{argument('lanes')} '{wanted}' is none of {BEST}, {ALL} and numbers, as 0-9,12"
        )


def chosen(run: RunTables, wanted: str = BEST) -> tuple[RunTables, str | None]:
    """Return a run with some of its lanes, and what to say of those that nobody left out.

    ``best`` are all seeds of each label's best configuration on each problem, at most
    :data:`MOST_LANES`: where there are more, the first seeds of each.

    Raises
    ------
    UsageError
        If the run has no lane of a number.
    """
    if wanted == ALL:
        return run, None
    if wanted != BEST:
        return _with_lanes(run, _numbered(run, wanted)), None
    table = configurations(run)
    by_seed = zip_longest(*table.loc[table["best"], "lane_numbers"])
    best = [number for seed in by_seed for number in seed if number is not None]
    part = _with_lanes(run, best[:MOST_LANES])
    if len(part.lanes) == len(run.lanes):
        return part, None
    seeds = ", its first seeds" if len(best) > MOST_LANES else ""
    return part, (
        f"{len(part.lanes)} of the {len(run.lanes)} lanes of {run_name(run.path)}: each label's "
        f"best configuration{seeds}; {argument('lanes', ALL)} takes all"
    )


def _numbered(run: RunTables, wanted: str) -> list[int]:
    known = run.lanes["lane"].tolist()
    numbers: list[int] = []
    for span in wanted.split(","):
        first, _, last = span.partition("-")
        ends = int(first), int(last or first)
        if ends[0] > ends[1] or not {*ends} <= {*known}:
            raise UsageError(
                f"{run_name(run.path)} has no lanes {span}; "
                f"its lanes are numbered {min(known)} to {max(known)}"
            )
        numbers += [number for number in known if ends[0] <= number <= ends[1]]
    return numbers


def _with_lanes(run: RunTables, numbers: Collection[int]) -> RunTables:
    parts = {
        name: rows[rows["lane"].isin(list(numbers))]
        for name, rows in vars(run).items()
        if name in ("lanes", "trace", "evaluation")
    }
    return replace(run, **parts)


def distinct(names: Iterable[str]) -> list[str]:
    """Return names in order, underlines after those that differ from an earlier one in nothing.

    >>> distinct(["a b", "a_b", "A_B", "a_b"])
    ['a b', 'a_b', 'A_B_', 'a_b__']
    """
    seen: set[str] = set()
    result = []
    for name in names:
        while name.casefold() in seen:
            name += "_"
        seen.add(name.casefold())
        result.append(name)
    return result


def tracked(runs: Mapping[str, RunTables]) -> Iterator[TrackedLane]:
    """Yield all lanes of runs, by their names."""
    folders = distinct(map(file_name, runs)) if len(runs) > 1 else [""]
    for (name, run), folder in zip(runs.items(), folders, strict=True):
        yield from _lanes_of(name, run, Path(folder))


def _lanes_of(name: str, run: RunTables, folder: Path) -> Iterator[TrackedLane]:
    lanes = run.lanes.sort_values("lane")
    chosen_columns = ["problem", "optimizer", "label", "seed", *hyperparameter_columns(lanes)]
    traces, evaluations = (dict(list(rows.groupby("lane"))) for rows in (run.trace, run.evaluation))
    started = _started(run)
    for lane, algorithm in zip(lanes.to_dict("records"), algorithms(lanes), strict=True):
        number, title = int(lane["lane"]), f"{algorithm} seed {lane['seed']}"
        yield TrackedLane(
            run=name,
            number=number,
            title=title,
            place=folder / file_name(lane["problem"]) / file_name(f"{number} {title}"),
            config={key: lane[key] for key in chosen_columns if not pd.isna(lane[key])},
            status=str(lane["status"]),
            series=_series(
                traces.get(number, run.trace[:0]), evaluations.get(number, run.evaluation[:0])
            ),
            summary={
                key: float(lane[key])
                for key in SUMMARY
                if not pd.isna(lane[key]) and isfinite(lane[key])
            },
            started=started,
        )


def algorithms(lanes: pd.DataFrame) -> list[str]:
    """Return what was tried in each lane: its label, and of hyperparameters those that differ.

    >>> lanes = pd.DataFrame({"problem": "f", "label": ["sgd", "sgd", "adam"], "hp_lr": [1, 2, 1]})
    >>> algorithms(lanes)
    ['sgd lr=1', 'sgd lr=2', 'adam']
    """
    texts = {}
    for _, group in lanes.groupby(["problem", "label"], sort=False):
        swept = [
            name for name in hyperparameter_columns(group) if group[name].nunique(dropna=False) > 1
        ]
        for index, row in group[["label", *swept]].to_dict("index").items():
            texts[index] = " ".join(
                [
                    row["label"],
                    *(f"{name.removeprefix(HYPERPARAMETER_PREFIX)}={row[name]}" for name in swept),
                ]
            )
    return [texts[index] for index in lanes.index]


def _series(trace: pd.DataFrame, evaluation: pd.DataFrame) -> pd.DataFrame:
    """Return the series of one lane, whose rows these are."""
    columns = [trace.set_index("iteration")["loss"]]
    for split in SPLITS:
        of_split = evaluation[evaluation["split"] == split].set_index("iteration")
        columns += [of_split[name].rename(f"{split}_{name}") for name in ("loss", "error")]
    return pd.concat(columns, axis=1).sort_index()


def _started(run: RunTables) -> float:
    try:
        return datetime.fromisoformat(run.meta["started"]).timestamp()
    except (ValueError, OverflowError, OSError):
        raise ResultsError(
            f"'{run.path / 'run.json'}' is damaged: '{run.meta['started']}' is no time"
        ) from None
