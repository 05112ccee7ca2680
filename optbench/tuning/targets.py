"""What lanes are to reach where trials are scored by their steps to it, and when each did.

A target must not depend on what is tried. So it is a value, one that somebody published, or a share
of the start, which all lanes of a seed have in common.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf

from optbench.errors import SuiteError, UsageError, argument
from optbench.records import STEPS_TO_TARGET, RunTables
from optbench.report.aims import FIXED, Aim, aims_of, parse_aim, published_for, target_of
from optbench.report.statistics import ENDED_WORST
from optbench.report.watched import LOSS, watch_lanes
from optbench.suite.resolve import ResolvedProblem, Suite


@dataclass(frozen=True)
class Goal:
    """The target of a problem.

    Attributes
    ----------
    rule
        As it was asked for, see :mod:`optbench.report.aims`.
    on
        What is watched, of :data:`optbench.report.watched.WATCHABLE`.
    value
        What is to be reached, from above; None of a share of the start before any lane has run.
    """

    rule: str
    on: str
    value: float | None


def goals_of(texts: Sequence[str], suite: Suite) -> dict[str, Goal]:
    """Return the targets asked for of the problems of a suite.

    Raises
    ------
    SuiteError
        If a problem has none, or one that depends on what is tried.
    """
    problems = {problem.label: problem for problem in suite.problems}
    try:
        aims = aims_of(texts, [*problems], who=f"{suite.name} has", fixed=True)
        for label in problems:
            if label not in aims:
                raise SuiteError(
                    f"{label} has no target; give {argument('target', f'{label}=RULE')}: {FIXED}"
                )
        return {label: _goal(aims[label], problem) for label, problem in problems.items()}
    except UsageError as error:
        raise SuiteError(str(error)) from None


def _goal(aim: Aim, problem: ResolvedProblem) -> Goal:
    if aim.kind == "value":
        return Goal(aim.text, LOSS, aim.number)
    if aim.kind == "start":
        if problem.problem.record == "after":
            raise SuiteError(
                f"target {aim.text}: rows of {problem.label} are recorded after the update, so the "
                'first depends on the optimizer; give a value, or record = "before"'
            )
        return Goal(aim.text, LOSS, None)
    names = {"problem": problem.label, "name": problem.problem.name}
    published = published_for(names | problem.problem.describe())
    if published.on.startswith("test_"):
        raise SuiteError(
            f"the published target of {problem.label} is a {published.on}, and the test split "
            f"never chooses; give {problem.label}=RULE"
        )
    if problem.rules.evaluate_every is None:
        raise SuiteError(
            f"the published target of {problem.label} is a {published.on}, which only evaluations "
            f"see; give {argument('evaluate_every')}"
        )
    return Goal(aim.text, published.on, published.value)


def begun(goals: Mapping[str, Goal], tables: RunTables) -> dict[str, Goal]:
    """Return targets with the values of those that are a share of the start, from a first run."""
    return {problem: _begun(goal, tables, problem) for problem, goal in goals.items()}


def _begun(goal: Goal, tables: RunTables, problem: str) -> Goal:
    watched = None if goal.value is not None else watch_lanes(tables, problem, goal.on)
    target = watched and target_of(parse_aim(goal.rule, fixed=True), watched)
    return replace(goal, value=target.value) if target else goal


def with_steps(tables: RunTables, goals: Mapping[str, Goal]) -> RunTables:
    """Return a run whose lanes have their steps to the target of their problem, where it has one.

    They are the updates made until what is watched first was at or below it, as of
    :func:`optbench.inference.times.hitting_times`; +inf of lanes that missed it, that diverged or
    failed.
    """
    if not goals:
        return tables
    lanes = tables.lanes
    steps: dict[int, float] = {}
    for problem in lanes["problem"].unique():
        goal = goals[problem]
        watched = watch_lanes(tables, problem, goal.on)
        if watched is not None and goal.value is not None:
            steps |= watched.lane_times(goal.value)
    times = lanes["lane"].map(steps).astype("float64").fillna(inf)
    times = times.mask(lanes["status"].isin(ENDED_WORST), inf)
    return replace(tables, lanes=lanes.assign(**{STEPS_TO_TARGET: times}))
