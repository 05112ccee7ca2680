"""The rounds of a study as suites: search, finalists, final."""

from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from typing import Any

from optbench.report.protocol import DEFAULT
from optbench.suite.format import SuiteFile
from optbench.suite.values import plain_value
from optbench.tuning import tpe
from optbench.tuning.protocol import Key, Protocol
from optbench.tuning.samplers import Trial, trials

Scores = Mapping[Key, Sequence[tuple[Trial, float]]]
"""The trials of each entrant so far, and their scores."""


def next_trials(protocol: Protocol, so_far: Scores) -> dict[Key, list[Trial]]:
    """Return the trials of the next round of the search; nothing once all have been made.

    All of them, unless they depend on the scores of the rounds before.
    """
    if protocol.sampler != "tpe":
        return (
            {}
            if so_far
            else {
                entrant.key: trials(
                    protocol.sampler, entrant.rule, entrant.spaces, 0, entrant.trials
                )
                for entrant in protocol.entrants
            }
        )
    counts = [entrant.trials for entrant in protocol.entrants]
    # All entrants take part in all rounds, also where a budget buys them unlike numbers of trials.
    rounds = min(ceil(max(counts) / protocol.batch), min(counts))
    done = {key: len(told) for key, told in so_far.items()}
    number = (
        next((each for each in range(rounds) if _before(protocol, rounds, each) == done), rounds)
        if done
        else 0
    )
    if number == rounds:
        return {}
    after = _before(protocol, rounds, number + 1)
    return {
        entrant.key: tpe.next_round(
            entrant.rule,
            entrant.spaces,
            list(so_far.get(entrant.key, ())),
            number,
            after[entrant.key] - done.get(entrant.key, 0),
        )
        for entrant in protocol.entrants
    }


def _before(protocol: Protocol, rounds: int, number: int) -> dict[Key, int]:
    """Return how many trials entrants have made before a round."""
    alike = len({entrant.trials for entrant in protocol.entrants}) == 1
    return {
        entrant.key: min(number * protocol.batch, entrant.trials)
        if alike
        else entrant.trials * number // rounds
        for entrant in protocol.entrants
    }


def distinct(tried: Sequence[Trial]) -> tuple[list[Mapping[str, Any]], list[int]]:
    """Return the configurations of trials, each once, and which of them each trial has.

    Trials of finite spaces may be the same; they share their lanes.
    """
    found: dict[str, int] = {}
    configurations: list[Mapping[str, Any]] = []
    places: list[int] = []
    for trial in tried:
        place = found.setdefault(repr(sorted(trial.values.items())), len(found))
        if place == len(configurations):
            configurations.append(trial.values)
        places.append(place)
    return configurations, places


def search_suite(
    protocol: Protocol, name: str, tried: Mapping[Key, Sequence[Trial]], seeds: Sequence[int]
) -> SuiteFile:
    """Return the suite that runs some trials of entrants on some seeds."""
    points = {key: distinct(those)[0] for key, those in tried.items()}
    problems = [
        _with_points(plain, title, points)
        for title, plain in _problems(protocol)
        if any(problem == title for problem, _ in points)
    ]
    return protocol.base.changed(name=name, seeds=list(seeds), problem=problems)


def final_suite(protocol: Protocol, winners: Mapping[Key, Trial]) -> SuiteFile:
    """Return the suite that judges the winners, and the defaults, on the evaluation seeds."""
    base = protocol.base
    optimizers = [entry.model_dump(exclude_unset=True) for entry in base.optimizer]
    if protocol.defaults:
        optimizers += [
            {**plain, "label": DEFAULT.format(entry.title)}
            for plain, entry in zip(list(optimizers), base.optimizer, strict=True)
        ]
    points = {key: [trial.values] for key, trial in winners.items()}
    problems = []
    for title, plain in _problems(protocol):
        whole = _with_points(plain, title, points)
        for entry in base.optimizer:
            if protocol.defaults and entry.title in plain:
                whole[DEFAULT.format(entry.title)] = plain[entry.title]
        problems.append(whole)
    return base.changed(
        name=base.name,
        seeds=list(protocol.evaluation_seeds),
        problem=problems,
        optimizer=optimizers,
    )


def _problems(protocol: Protocol) -> Iterator[tuple[str, dict[str, Any]]]:
    for entry in protocol.base.problem:
        yield entry.title, entry.model_dump(exclude_unset=True)


def _with_points(
    plain: Mapping[str, Any], title: str, points: Mapping[Key, Sequence[Mapping[str, Any]]]
) -> dict[str, Any]:
    """Return a problem on which optimizers have these points in place of what they had."""
    whole = dict(plain)
    for (problem, label), those in points.items():
        if problem == title:
            named = set(those[0])
            kept = {key: value for key, value in plain.get(label, {}).items() if key not in named}
            whole[label] = {**kept, "points": plain_value(those)}
    return whole
