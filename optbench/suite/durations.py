"""How long lanes run and when they are evaluated, from what suite and problem entry say."""

import re
from typing import Any

from optbench.engine.stopping import Rules
from optbench.errors import SuiteError
from optbench.problems.base import Problem
from optbench.suite.format import MAX_ITERATIONS, ProblemEntry, SuiteFile


def iterations_of(file: SuiteFile, entry: ProblemEntry, problem: Problem) -> int:
    """Return how many updates to make at most."""
    iterations = _iterations_asked(file, entry, problem)
    if iterations > MAX_ITERATIONS:
        raise SuiteError(
            f"{entry.title}: {iterations} iterations are too many; at most {MAX_ITERATIONS}"
        )
    return iterations


def _iterations_asked(file: SuiteFile, entry: ProblemEntry, problem: Problem) -> int:
    """Return what was asked for; the entry counts before the suite."""
    if entry.iterations is not None and entry.epochs is not None:
        raise SuiteError(f"{entry.title}: iterations and epochs exclude each other; give one")
    if entry.iterations is not None:
        return entry.iterations
    per_epoch = problem.iterations_per_epoch
    epochs = entry.epochs
    if epochs is None and file.epochs is not None and per_epoch is not None:
        epochs = file.epochs
    if epochs is None:
        return file.iterations or problem.default_iterations
    if per_epoch is None:
        raise SuiteError(f"{entry.name} has no epochs; give iterations")
    return epochs * per_epoch


def rules_of(file: SuiteFile, entry: ProblemEntry, problem: Problem, iterations: int) -> Rules:
    """Return when lanes are evaluated, what ends them early, and where they pause."""
    if entry.pause_at is not None and entry.pause_at >= iterations:
        raise SuiteError(
            f"{entry.title}: pause_at = {entry.pause_at} must be less than its {iterations} "
            "iterations"
        )
    stop = {**file.stop.rules, **entry.stop.rules}
    splits = problem.split_sizes()
    if "patience" in stop and ("validation" not in splits or problem.iterations_per_epoch is None):
        has = ", ".join(splits) or "none"
        raise SuiteError(
            f"{entry.title}: stop.patience needs a validation split; its splits are: {has}"
        )
    for name in ("patience_increase", "improvement_threshold"):
        if name in stop and "patience" not in stop:
            raise SuiteError(f"{entry.title}: stop.{name} means nothing without stop.patience")
    interval = entry.evaluate_every
    if interval is not None and not splits:
        raise SuiteError(f"{entry.title}: evaluate_every needs data splits; it has none")
    if interval is None and splits:
        interval = file.evaluate_every
    if isinstance(interval, str):
        interval = _interval_in_iterations(interval, entry.title, problem)
    return Rules(evaluate_every=interval, pause_at=entry.pause_at, **stop)


def _interval_in_iterations(interval: str, title: str, problem: Problem) -> int:
    match = re.fullmatch(r"([0-9]{1,18}) *(iterations?|epochs?)", interval.strip())
    if match is None or int(match[1]) < 1:
        raise SuiteError(
            f"{title}: evaluate_every = {interval!r} is not an interval; write 100, or '1 epoch'"
        )
    if match[2].startswith("iteration"):
        return int(match[1])
    if problem.iterations_per_epoch is None:
        raise SuiteError(f"{title} has no epochs; give evaluate_every in iterations")
    return int(match[1]) * problem.iterations_per_epoch


def as_written(rules: Rules) -> dict[str, Any]:
    """Return rules as keys of a problem entry."""
    plain = {
        "evaluate_every": rules.evaluate_every,
        "stop": rules.stopping(),
        "pause_at": rules.pause_at,
    }
    return {key: value for key, value in plain.items() if value is not None}
