"""From a request to the protocol that it means; what cannot be done is refused here."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optbench.errors import SuiteError, argument, nearest
from optbench.inference.multiplicity import least_seeds
from optbench.records import STEPS_TO_TARGET
from optbench.schedules import DECAYING
from optbench.settings import Choice
from optbench.suite.format import (
    SWEPT,
    OptimizerEntry,
    ProblemEntry,
    SuiteFile,
    adjusted,
    meant_by,
    parse_suite,
)
from optbench.suite.request import Changes, apply_request, requested_suites
from optbench.suite.resolve import ResolvedOptimizer, ResolvedProblem, Suite, resolve
from optbench.suite.sweep import with_swept_problems
from optbench.suite.values import MAX_SEEDS, seed_list
from optbench.tuning import budget as budgets
from optbench.tuning import tpe
from optbench.tuning.budget import Budget, Effort
from optbench.tuning.protocol import (
    FIRST_RUNG,
    METRICS,
    OWN_SPACES,
    Entrant,
    Key,
    Protocol,
    TuneRequest,
)
from optbench.tuning.samplers import SAMPLERS, trial_count
from optbench.tuning.sets import SpaceSet, check_spaces, space_set
from optbench.tuning.spaces import Space, grid, parse

if TYPE_CHECKING:
    from optbench.tuning.targets import Goal  # that loads pandas

DEFAULT_SUITE, DEFAULT_ITERATIONS = "mnist-mlp", 1000
"""What is tuned where nothing is named: the textbook's comparison, with half of its iterations, so
that two cores are through with it in about five minutes."""

FIRST_TUNING_SEED = 1_000_000
"""Tuning seeds count up from here, far from any that a suite is likely to have."""

FEWEST_EVALUATION_SEEDS, SPARE_SEEDS = 10, 2
"""With ``auto``: so many seeds at least, and so many more than Holm's procedure needs."""

VALIDATED = "train-validation-test"
"""How the data are split of a network that would have no validation split."""

Measure = Callable[[Suite, str], Mapping[Key, float]]
"""Returns what a lane's step of each optimizer of a suite takes on each problem, in a unit."""

MEASURED = ("gradients", "s")
"""Units of budgets in which steps of different optimizers are not alike."""


def settle(
    request: TuneRequest,
    data_dir: Path | None,
    measure: Measure,
    notice: Callable[[str], None] = lambda message: None,
) -> Protocol:
    """Return the protocol that a request means.

    ``measure`` is called once, where the budget is in one of :data:`MEASURED`; ``notice`` gets what
    the user should know.

    Raises
    ------
    SuiteError
        For whatever ``optbench tune`` exits with code 2.
    """
    _check(request)
    before, given, base = _suites(request, notice)
    suite, metrics, goals = _metrics(request, base, data_dir, notice)
    for message in suite.notices:
        notice(message)
    found = space_set(request.spaces)
    bare = [
        entrant
        for problem, entry in zip(suite.problems, given.problem, strict=True)
        for entrant in _entrants(request, given, entry, problem, suite, found)
    ]
    if request.halving is not None and not request.halving_anyway:
        _check_schedules(suite, bare)
    tuning_seeds = _seeds_from(FIRST_TUNING_SEED, request.trial_seeds)
    finalist_seeds = _seeds_from(
        FIRST_TUNING_SEED + request.trial_seeds, request.finalist_seeds if request.finalists else 0
    )
    budget = budgets.parse(request.budget)
    costs = measure(suite, budget.unit) if budget.unit in MEASURED else {}
    entrants = tuple(_with_trials(bare, request, budget, costs, notice))
    return Protocol(
        base=parse_suite(suite.resolved, f"suite '{suite.name}'"),
        written=before.as_written(),
        given=given.as_written(),
        entrants=entrants,
        spaces=request.spaces,
        sampler=request.sampler,
        batch=request.batch,
        budget=budget,
        metrics=metrics,
        goals=goals,
        tuning_seeds=tuning_seeds,
        finalists=request.finalists,
        finalist_seeds=finalist_seeds,
        evaluation_seeds=_evaluation_seeds(
            request, before, entrants, (*tuning_seeds, *finalist_seeds)
        ),
        defaults=request.defaults,
        seconds_per_step=costs if budget.unit == "s" else {},
        halving=request.halving,
        first_rung=request.first_rung,
    )


def _check(request: TuneRequest) -> None:
    if request.sampler not in SAMPLERS:
        raise SuiteError(
            f"unknown sampler '{request.sampler}'; {nearest(request.sampler, SAMPLERS)}"
        )
    if request.halving is None and (request.halving_anyway or request.first_rung != FIRST_RUNG):
        raise SuiteError(
            f"{argument('first_rung')} and {argument('halving_anyway')} mean nothing without "
            f"{argument('halving')}"
        )
    if request.halving is not None and request.sampler == "tpe":
        raise SuiteError(
            f"{argument('halving')} with {argument('sampler', 'tpe')}: tpe learns from the "
            "scores of whole trials, which those "
            "that halving ends do not have; take random, sobol, halton or grid"
        )
    if request.sampler == "tpe":
        tpe.optuna_version()
    least = {"batch": 1, "trial_seeds": 1, "finalists": 0, "finalist_seeds": 0, "eval_seeds": 1}
    for name, bound in least.items():
        given = getattr(request, name)
        if given != "auto" and not bound <= given <= MAX_SEEDS:
            or_auto = ", or auto" * (name == "eval_seeds")
            raise SuiteError(f"{argument(name, given)}: it must be {bound} to {MAX_SEEDS}{or_auto}")
    if request.eval_seeds != "auto" and request.seeds is not None:
        raise SuiteError(
            f"{argument('eval_seeds')} and {argument('seeds')} both say which seeds judge; give "
            "one of them"
        )
    metric = request.metric
    if metric is not None and metric.startswith("test_"):
        instead = metric.replace("test_", "validation_")
        raise SuiteError(
            f"{argument('metric', metric)}: the test split never chooses; take {instead}"
        )
    if metric is not None and metric not in METRICS:
        raise SuiteError(f"unknown metric '{metric}'; {nearest(metric, METRICS)}")
    if request.targets and metric != STEPS_TO_TARGET:
        raise SuiteError(
            f"{argument('target')} means nothing without {argument('metric', STEPS_TO_TARGET)}"
        )
    if metric == STEPS_TO_TARGET and not request.targets:
        raise SuiteError(
            f"{argument('metric', metric)} needs {argument('target')}: a value as 0.1, "
            "published, start/100, or one of "
            "these for each problem as PROBLEM=0.1"
        )
    if metric == STEPS_TO_TARGET and request.halving is not None:
        raise SuiteError(
            f"{argument('halving')} with {argument('metric', metric)}: of two lanes that are not "
            "there by a rung none is "
            f"ahead; leave out {argument('halving')}, or take another metric"
        )


def _suites(
    request: TuneRequest, notice: Callable[[str], None]
) -> tuple[SuiteFile, SuiteFile, SuiteFile]:
    """Return the suite as written, as it is given with its spaces, and that of the defaults.

    The latter two have each value of a grid of problems as a problem of its own.
    """
    asked = _with_suite(request, notice)
    written = requested_suites(asked)
    if len(written) != 1:
        raise SuiteError(f"a study tunes one suite, not {len(written)}; tune them one by one")
    ((given, notices),) = apply_request(written, asked)
    for message in notices:
        notice(message)
    ((plain, _),) = apply_request(written, replace(asked, grid=(), space=()))
    problems = map(_without_sweeps, plain.problem, given.problem)
    optimizers = [_bare(entry) for entry in plain.optimizer]
    base = plain.changed(problem=list(problems), optimizer=optimizers)
    return written[0], with_swept_problems(given), with_swept_problems(base)


def _with_suite(request: TuneRequest, notice: Callable[[str], None]) -> TuneRequest:
    """Return a request that names something to tune."""
    if request.suite or request.problem or request.function:
        return request
    asked = replace(request, suite=DEFAULT_SUITE)
    if request.iterations is not None or request.epochs is not None:
        return asked
    ((suite, _),) = apply_request(requested_suites(asked), asked)
    notice(
        f"nothing is named: {DEFAULT_SUITE} with {DEFAULT_ITERATIONS:,} of its "
        f"{suite.iterations:,} iterations, so that two cores are done in about five minutes; "
        f"optbench tune {DEFAULT_SUITE} makes all of them"
    )
    return replace(asked, iterations=DEFAULT_ITERATIONS)


def _pairs(changes: Changes) -> Iterable[tuple[str, Any]]:
    return changes.items() if isinstance(changes, Mapping) else changes


def _bare(entry: OptimizerEntry) -> dict[str, Any]:
    return entry.model_dump(exclude_unset=True, exclude=set(SWEPT))


def _without_sweeps(entry: ProblemEntry, given: ProblemEntry) -> dict[str, Any]:
    """Return a problem as it is given, but for spaces and grids of optimizers."""
    plain = given.model_dump(exclude_unset=True, exclude=set(given.overrides))
    for target, changes in entry.overrides.items():
        plain[target] = {key: changes[key] for key in changes if key not in SWEPT}
    return plain


def _metrics(
    request: TuneRequest, base: SuiteFile, data_dir: Path | None, notice: Callable[[str], None]
) -> "tuple[Suite, dict[str, str], dict[str, Goal]]":
    """Return the suite resolved, with validation splits where they are needed, metrics, targets."""
    suite = resolve(base, data_dir=data_dir)
    goals = _goals(request, suite)
    wanted = {
        problem.label: goals[problem.label].on
        if problem.label in goals
        else request.metric or "validation_loss"
        for problem in suite.problems
    }
    lacking = [
        place
        for place, problem in enumerate(suite.problems)
        if wanted[problem.label].startswith("validation_")
        and _can_be_split(problem)
        and "validation" not in problem.problem.split_sizes()
    ]
    if lacking:
        plain = [entry.model_dump(exclude_unset=True) for entry in base.problem]
        for place in lacking:
            plain[place]["split"] = VALIDATED
            notice(
                f"{base.problem[place].title} has no validation split to choose by, so a part "
                f'of its training data becomes one (split = "{VALIDATED}"); '
                f"{argument('metric', 'final_loss')} keeps the split"
            )
        suite = resolve(base.changed(problem=plain), data_dir=data_dir)
    metrics = {}
    for problem in suite.problems:
        on = wanted[problem.label]
        validated = "validation" in problem.problem.split_sizes()
        if request.metric is not None and on.startswith("validation_") and not validated:
            raise SuiteError(
                f"{argument('metric', on)}: {problem.label} has no validation split; take "
                "final_loss"
            )
        metrics[problem.label] = request.metric or (on if validated else "final_loss")
    return suite, metrics, goals


def _goals(request: TuneRequest, suite: Suite) -> "dict[str, Goal]":
    if request.metric != STEPS_TO_TARGET:
        return {}
    from optbench.tuning.targets import goals_of

    return goals_of(request.targets, suite)


def _can_be_split(problem: ResolvedProblem) -> bool:
    """Say whether a part of a problem's training data can become a validation split."""
    return any(
        isinstance(option, Choice) and option.name == "split" and VALIDATED in option.choices
        for option in problem.problem.options
    )


def _entrants(
    request: TuneRequest,
    given: SuiteFile,
    entry: ProblemEntry,
    problem: ResolvedProblem,
    suite: Suite,
    found: SpaceSet,
) -> Iterator[Entrant]:
    """Yield the optimizers that are tuned on a problem."""
    if entry.pause_at is not None:
        raise SuiteError(f"{entry.title}: pause_at is for the rungs of halving; leave it out")
    taken = {*ProblemEntry.model_fields, *(option.name for option in problem.problem.options)}
    for whole, resolved in zip(given.optimizer, problem.optimizers, strict=True):
        if whole.title in taken:
            raise SuiteError(
                f"an optimizer called '{whole.title}' cannot be tuned on {problem.label}, which "
                "has an option of that name; give it another label"
            )
        own = adjusted(given.optimizer, whole, entry.overrides)
        if own.points is not None:
            raise SuiteError(
                f"{own.title}: points are run by optbench run; to tune it, give spaces or grids"
            )
        kept = _kept(request, given, own)
        spaces, source = _spaces(own, kept, found)
        check_spaces(resolved.optimizer, spaces)
        yield Entrant(
            problem=problem.label,
            label=own.title,
            optimizer=own.name,
            rule=resolved.optimizer.name,
            spaces=spaces,
            source=source,
            specific=(own.space, own.grid) != (whole.space, whole.grid),
            random=is_random(problem, resolved),
            iterations=problem.iterations,
        )


def is_random(problem: ResolvedProblem, entry: ResolvedOptimizer) -> bool:
    """Say whether lanes of an optimizer on a problem differ by seed."""
    return problem.random or entry.optimizer.random


def _check_schedules(suite: Suite, entrants: Sequence[Entrant]) -> None:
    """Refuse schedules that decay: what leads before the decay is often behind after it."""
    spaces = {entrant.key: entrant.spaces for entrant in entrants}
    for problem in suite.problems:
        for entry in problem.optimizers:
            space = spaces[problem.label, entry.label].get("schedule")
            given = [entry.configurations[0].get("schedule")]
            for schedule in given if space is None else space.extremes:
                if schedule in DECAYING:
                    raise SuiteError(
                        f"{entry.label} on {problem.label}: a learning rate that decays (schedule "
                        f"= {schedule}) turns rankings over, so a rung says little of the end; "
                        f"leave out {argument('halving')}, or give "
                        f"{argument('halving_anyway', True)}"
                    )


def _kept(request: TuneRequest, given: SuiteFile, entry: OptimizerEntry) -> set[str]:
    """Return the hyperparameters that the request gives a value."""
    split = (name.rpartition(".") for name, _ in _pairs(request.set))
    return {key for target, _, key in split if entry.title in meant_by(given.optimizer, target)}


def _spaces(entry: OptimizerEntry, kept: set[str], found: SpaceSet) -> tuple[dict[str, Space], str]:
    """Return the spaces of an entry: its own and its grids, else those of the set."""
    spaces: dict[str, Space] = {}
    for key, text in entry.space.items():
        for other in ("value", "grid"):
            has = entry.hyperparameters if other == "value" else entry.grid
            if key in has:
                raise SuiteError(
                    f"{entry.title}: {key} has a {other} and a space; give one of them"
                )
        try:
            spaces[key] = parse(text)
        except SuiteError as error:
            raise error.within(f"{entry.title}: space.{key}") from None
    for key, values in entry.grid.items():
        try:
            spaces[key] = grid(values)
        except SuiteError as error:
            raise error.within(f"{entry.title}: grid.{key}") from None
    if spaces:
        return spaces, OWN_SPACES
    spaces = {key: space for key, space in found.of(entry.name).items() if key not in kept}
    if not spaces:
        raise SuiteError(
            f"{entry.title}: {argument('set')} leaves nothing to tune; give "
            + argument("space", {f"{entry.title}.KEY": "…"})
        )
    return spaces, found.source(entry.name)


def _with_trials(
    entrants: Sequence[Entrant],
    request: TuneRequest,
    budget: Budget,
    costs: Mapping[Key, float],
    notice: Callable[[str], None],
) -> Iterator[Entrant]:
    """Yield entrants with the number of trials that the budget buys them."""
    told = set()
    for entrant in entrants:
        effort = Effort(
            iterations=entrant.iterations,
            seeds=request.trial_seeds if entrant.random else 1,
            finalists=request.finalists if entrant.random else 0,
            finalist_seeds=request.finalist_seeds if entrant.random else 0,
            gradients_per_step=costs.get(entrant.key, 1.0),
            seconds_per_step=costs.get(entrant.key),
            eta=request.halving,
            first_rung=request.first_rung,
        )
        try:
            asked = budgets.trials(budget, effort)
            count, message = trial_count(request.sampler, entrant.spaces, asked)
            effort.plan(count)  # which says what is wrong with its rungs
        except SuiteError as error:
            raise error.within(f"{entrant.label} on {entrant.problem}") from None
        if message is not None and message not in told:
            told.add(message)
            notice(message)
        yield replace(entrant, trials=count)


def _seeds_from(first: int, count: int) -> tuple[int, ...]:
    return tuple(range(first, first + count))


def _evaluation_seeds(
    request: TuneRequest,
    written: SuiteFile,
    entrants: Sequence[Entrant],
    choosing: Sequence[int],
) -> tuple[int, ...]:
    """Return the seeds that judge, which must be none of those that choose."""
    if request.seeds is not None:
        seeds = seed_list(request.seeds)
    elif request.eval_seeds != "auto":
        seeds = tuple(range(request.eval_seeds))
    elif isinstance(written.seeds, list):
        seeds = seed_list(written.seeds)
    else:
        labels = {entrant.label for entrant in entrants}
        problems = {entrant.problem for entrant in entrants if entrant.random}
        pairs = len(list(combinations(labels, 2))) * max(1, len(problems))
        needed = SPARE_SEEDS + least_seeds(max(1, pairs))
        seeds = tuple(range(max(FEWEST_EVALUATION_SEEDS, needed)))
    for seed in seeds:
        if seed in choosing:
            raise SuiteError(
                f"seed {seed} would choose and judge: tuning seeds are {choosing[0]} to "
                f"{choosing[-1]}; take others for evaluation"
            )
    return seeds
