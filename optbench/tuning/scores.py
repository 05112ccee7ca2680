"""What trials are worth: from the tables of a round to scores, winners, rows of trials.parquet."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from optbench.records import (
    GRADIENTS,
    HYPERPARAMETER_PREFIX,
    TRIAL_COLUMNS,
    UNIT_PREFIX,
    Status,
)
from optbench.report.statistics import ENDED_WORST
from optbench.tuning.protocol import Entrant, Key
from optbench.tuning.rounds import distinct
from optbench.tuning.samplers import Trial

MEDIANS = ("validation_loss", "validation_error", "final_loss", "test_loss", "test_error")

NEAR_ENOUGH = 0.01
"""A trial inside the space whose score is so close, as a share of the winner's, clears its edge."""


@dataclass(frozen=True)
class Outcome:
    """What became of a trial in a phase.

    ``values`` are those of the metric, by seed, +inf where a lane diverged or failed. A trial that
    halving ended has what it had at its last rung, and no score: the values are of another length.
    """

    trial: Trial
    round: str
    values: np.ndarray
    diverged: int
    medians: Mapping[str, float | None]
    steps: int
    gradients: int
    seconds: float
    culled_at: int | None = None

    @property
    def score(self) -> float:
        """The median over seeds; +inf of a trial that halving ended."""
        return float(np.median(self.values)) if self.culled_at is None else float("inf")


@dataclass(frozen=True)
class Winner:
    """The trial that an optimizer is judged by.

    ``edges`` are the hyperparameters at an end of their space, with that end.
    """

    entrant: Entrant
    trial: Trial
    search_score: float
    finalist_score: float | None
    edges: Mapping[str, Any]

    @property
    def edge(self) -> str | None:
        """The edges in words."""
        return ", ".join(f"{name} near {_short(end)}" for name, end in self.edges.items()) or None


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def outcomes(
    lanes: pd.DataFrame,
    entrant: Entrant,
    tried: Sequence[Trial],
    metric: str,
    name: str,
) -> list[Outcome]:
    """Return what became of an entrant's trials in a round of this name.

    ``lanes`` are those of the round, as :func:`optbench.report.configurations.ranked_lanes` has
    them.
    """
    own, places = _own_lanes(lanes, entrant, tried)
    steps = own["iterations"].fillna(0).to_numpy(np.int64)
    gradients = own.get(GRADIENTS, own["iterations"]).fillna(0).to_numpy(np.int64)
    seconds = own["step_seconds"].fillna(0.0).to_numpy(np.float64) * steps
    ended_worst = own["status"].isin(ENDED_WORST).to_numpy()
    measures = {key: own[key].to_numpy(np.float64) for key in {metric, *MEDIANS}}
    values = np.where(np.isfinite(measures[metric]), measures[metric], np.inf)
    return [
        Outcome(
            trial,
            name,
            values[place],
            int(ended_worst[place].sum()),
            {key: _median(measures[key][place]) for key in MEDIANS},
            int(steps[place].sum()),
            int(gradients[place].sum()),
            float(seconds[place].sum()),
        )
        for trial, place in zip(tried, places, strict=True)
    ]


def culled_lanes(
    lanes: pd.DataFrame, entrant: Entrant, tried: Sequence[Trial], going_on: Sequence[Trial]
) -> list[int]:
    """Return the paused lanes of an entrant's trials but for those that go on."""
    kept = {trial.number for trial in going_on}
    numbers: tuple[set[int], set[int]] = set(), set()
    own, places = _own_lanes(lanes, entrant, tried)
    paused, lane = (own["status"] == Status.PAUSED).to_numpy(), own["lane"].to_numpy()
    for trial, place in zip(tried, places, strict=True):
        numbers[trial.number in kept].update(lane[place][paused[place]].tolist())
    return sorted(numbers[False] - numbers[True])


def _own_lanes(
    lanes: pd.DataFrame, entrant: Entrant, tried: Sequence[Trial]
) -> tuple[pd.DataFrame, list[np.ndarray]]:
    """Return an entrant's lanes, in the order of their numbers, and which are those of each trial.

    Trials that are the same have the same lanes.
    """
    own = lanes[(lanes["problem"] == entrant.problem) & (lanes["label"] == entrant.label)]
    configurations, places = distinct(tried)
    of_place = np.array_split(np.arange(len(own)), len(configurations))
    return own, [of_place[place] for place in places]


def _median(values: np.ndarray) -> float | None:
    return None if np.isnan(values).any() else float(np.median(values))


def best(found: Sequence[Outcome], count: int) -> list[Outcome]:
    """Return the outcomes with the smallest scores; of equal ones those of the lower number.

    Trials that halving ended are not among them.
    """
    whole = [outcome for outcome in found if outcome.culled_at is None]
    return sorted(whole, key=lambda outcome: (outcome.score, outcome.trial.number))[:count]


def over_both(search: Sequence[Outcome], finalists: Sequence[Outcome]) -> list[Outcome]:
    """Return the outcomes of finalists with the values of the search beside their own."""
    before = {outcome.trial.number: outcome.values for outcome in search}
    return [
        replace(outcome, values=np.concatenate([before[outcome.trial.number], outcome.values]))
        for outcome in finalists
    ]


def winner(entrant: Entrant, search: Sequence[Outcome], finalists: Sequence[Outcome]) -> Winner:
    """Return the best finalist, or the best trial where there are no finalists."""
    (first,) = best(finalists or search, 1)
    own = next(each for each in search if each.trial.number == first.trial.number)
    return Winner(
        entrant,
        first.trial,
        own.score,
        first.score if finalists else None,
        _edges(entrant, own, search),
    )


def _edges(entrant: Entrant, won: Outcome, search: Sequence[Outcome]) -> dict[str, Any]:
    """Return the hyperparameters of a winner that may do better beyond their space.

    Not so where a trial inside is nearly as good.
    """
    edges = {}
    for name, space in entrant.spaces.items():
        end = space.edge(won.trial.values[name])
        bound = won.score + NEAR_ENOUGH * abs(won.score)
        inside = (
            each.score <= bound and space.edge(each.trial.values[name]) is None for each in search
        )
        if end is not None and np.isfinite(won.score) and not any(inside):
            edges[name] = end
    return edges


Found = Mapping[Key, Sequence[Outcome]]
"""Outcomes of all entrants in a phase."""


def trial_rows(
    entrants: Sequence[Entrant],
    phases: Mapping[str, Found],
    winners: Mapping[Key, Winner],
    finalist_values: Found,
) -> pd.DataFrame:
    """Return the table of :data:`optbench.records.TRIAL_COLUMNS`, by problem, label and trial.

    ``phases`` holds the outcomes of search and finalists over seeds of their own, and
    ``finalist_values`` those of finalists over the seeds of both.
    """
    rows = []
    names = dict.fromkeys(name for entrant in entrants for name in entrant.spaces)
    for entrant in entrants:
        won = winners.get(entrant.key)
        scores = {each.trial.number: each.score for each in finalist_values.get(entrant.key, ())}
        for phase, found in phases.items():
            for each in found.get(entrant.key, ()):
                chosen = won is not None and won.trial.number == each.trial.number
                rows.append(
                    {
                        "problem": entrant.problem,
                        "label": entrant.label,
                        "optimizer": entrant.optimizer,
                        "trial": each.trial.number,
                        "phase": phase,
                        "round": each.round,
                        **_columns(names, each.trial),
                        "seeds": len(each.values),
                        "seeds_diverged": each.diverged,
                        "score": each.score if phase == "search" else scores[each.trial.number],
                        **each.medians,
                        "steps": each.steps,
                        "gradients": each.gradients,
                        "seconds": each.seconds,
                        "culled_at": each.culled_at,
                        "edge": won.edge if won is not None and chosen else None,
                        "chosen": chosen,
                    }
                )
    swept = [f"{prefix}{name}" for name in names for prefix in (HYPERPARAMETER_PREFIX, UNIT_PREFIX)]
    fixed = list(TRIAL_COLUMNS)
    place = fixed.index("round") + 1
    return pd.DataFrame(rows, columns=[*fixed[:place], *swept, *fixed[place:]])


def _columns(names: Mapping[str, None], trial: Trial) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for name in names:
        columns[HYPERPARAMETER_PREFIX + name] = recorded(trial.values.get(name))
        columns[UNIT_PREFIX + name] = trial.coordinates.get(name)
    return columns


def recorded(value: Any) -> Any:
    """Return a hyperparameter's value as lanes.parquet has it: a number or a text.

    >>> recorded(True), recorded(2), recorded((0.9, 0.99)), recorded("cosine")
    (1.0, 2.0, '[0.9, 0.99]', 'cosine')
    """
    if isinstance(value, tuple | list):
        return json.dumps(list(value))
    return float(value) if isinstance(value, int) else value
