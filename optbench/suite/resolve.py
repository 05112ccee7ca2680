"""Suites: what is to be run, from a TOML file to problems and optimizers at hand.

A :class:`SuiteFile` is what somebody wrote, checked for its shape; the options of a request change
it into another (:mod:`optbench.suite.request`). :func:`resolve` turns it into a :class:`Suite`:
every default filled in, every name looked up, data found, grids expanded. ``Suite.resolved`` is a
suite file again, so that run.json can be run.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from optbench.engine.stopping import Rules
from optbench.errors import SuiteError, argument, nearest
from optbench.optimizers.base import Optimizer, Task
from optbench.optimizers.registry import get_optimizer
from optbench.problems.base import Problem
from optbench.problems.functions.base import START_SPREAD
from optbench.problems.registry import get_problem_class, make_problem
from optbench.suite.durations import as_written, iterations_of, rules_of
from optbench.suite.format import ProblemEntry, SuiteFile, adjusted, meant_by
from optbench.suite.sweep import Sweep, with_swept_problems
from optbench.suite.values import seed_list

DEFAULT_SUITES = ("anisotropic", "mnist-mlp")
"""The textbook's, which run where nothing is named."""

MAX_LANES = 1_000_000

SHARED_OPTIONS = ("batch_size", "data", "dtype", "record", "start_spread")
"""Options that may stand at the top of a suite, for all problems that take them."""


@dataclass(frozen=True)
class ResolvedOptimizer:
    """An optimizer entry of a suite for one problem, its grids expanded."""

    name: str  # of the registry or of a plug-in
    label: str
    optimizer: Optimizer
    configurations: tuple[Mapping[str, float | str], ...]  # one per point


@dataclass(frozen=True)
class ResolvedProblem:
    """A problem of a suite, with the optimizers that are to minimise it.

    ``random`` says whether the problem makes lanes of the suite's seeds differ, ``variant_of`` of
    which of the suite's problems it is a variant, ``name`` what the suite calls it: a name of the
    registry or of a plug-in.
    """

    label: str
    problem: Problem
    iterations: int
    optimizers: tuple[ResolvedOptimizer, ...]
    rules: Rules = field(default_factory=Rules)
    random: bool = True
    variant_of: str | None = None
    name: str = ""


@dataclass(frozen=True)
class Suite:
    """Everything that a run does.

    ``written`` is the suite as its author wrote it, ``given`` the same with the request's options,
    to be run with the defaults of another day, and ``resolved`` that with the defaults: plain data,
    and a suite file again. Notices are what the user should know, such as a smaller data set.
    ``file`` is where it is written, if it is.
    """

    name: str
    seeds: tuple[int, ...]
    problems: tuple[ResolvedProblem, ...]
    written: Mapping[str, Any] = field(repr=False)
    resolved: Mapping[str, Any] = field(repr=False)
    notices: tuple[str, ...] = ()
    given: Mapping[str, Any] = field(default_factory=dict, repr=False)
    file: Path | None = None

    def seeds_of(self, problem: ResolvedProblem, entry: ResolvedOptimizer) -> tuple[int, ...]:
        """Return the seeds of an optimizer's lanes on a problem: one where nothing is random."""
        return self.seeds if problem.random or entry.optimizer.random else self.seeds[:1]


def resolve(
    file: SuiteFile,
    *,
    written: Mapping[str, Any] | None = None,
    data_dir: Path | None = None,
    optional: Collection[str] = (),
) -> Suite:
    """Look up, fill in and check everything in a suite to which all options have been applied.

    ``written`` is the suite before them, by default the same; ``data_dir`` is where to look for
    data sets first. Optimizers named in ``optional`` are left out where they cannot run.
    """
    try:
        whole = file.as_written() if written is None else written
        file, refused = _without_refused(file, optional, data_dir)
        suite = _resolve(file, whole, data_dir)
        return replace(suite, notices=(*refused, *suite.notices))
    except SuiteError as error:
        raise error.within(f"suite '{file.name}'") from None


def _resolve(given: SuiteFile, written: Mapping[str, Any], data_dir: Path | None) -> Suite:
    file = with_swept_problems(given)
    if not file.problem:
        raise SuiteError("it has no problem; add a [[problem]] with a name")
    if not file.optimizer:
        raise SuiteError("it has no optimizer; add an [[optimizer]] with a name")
    seeds = seed_list(file.seeds)
    swept = [
        [Sweep.of(adjusted(file.optimizer, entry, problem.overrides)) for entry in file.optimizer]
        for problem in file.problem
    ]
    lanes = sum(entry.size for entries in swept for entry in entries) * len(seeds)
    if lanes > MAX_LANES:  # said before any grid is expanded
        raise SuiteError(
            f"its grids and seeds make {lanes} lanes; a run can have at most {MAX_LANES}"
        )
    _check_variants(file.problem)
    problems, plain_problems, notices = [], [], []
    for entry, optimizers in zip(file.problem, swept, strict=True):
        problem, plain, said = _resolve_problem(file, entry, optimizers, seeds, data_dir)
        problems.append(problem)
        plain_problems.append(plain)
        notices += said
    _check_shared(file, problems)
    plain_suite = {
        "name": file.name,
        "seeds": list(seeds),
        "problem": plain_problems,
        "optimizer": [Sweep.of(entry).as_recorded() for entry in file.optimizer],
    }
    suite = Suite(
        file.name,
        seeds,
        tuple(problems),
        written,
        plain_suite,
        tuple(notices),
        given.as_written(),
    )
    pairs = ((problem, entry) for problem in problems for entry in problem.optimizers)
    if len(seeds) > 1 and all(len(suite.seeds_of(*pair)) == 1 for pair in pairs):
        enough = f"nothing in suite '{file.name}' is random, so one seed is enough"
        options = {option.name for resolved in problems for option in resolved.problem.options}
        spread = "; with start_spread = 0.05 each seed would start elsewhere"
        return replace(suite, notices=(*notices, enough + spread * (START_SPREAD.name in options)))
    return suite


def _without_refused(
    file: SuiteFile, optional: Collection[str], data_dir: Path | None
) -> tuple[SuiteFile, tuple[str, ...]]:
    """Return a suite without the optional optimizers that cannot run, and why they cannot.

    Raises
    ------
    SuiteError
        If none is left.
    """
    tried = [entry for entry in file.optimizer if entry.name in optional]
    if not tried:
        return file, ()
    problems = [
        (entry.title, make_problem(entry.name, _options_of(file, entry), data_dir)[0])
        for entry in with_swept_problems(file).problem
    ]
    refused: dict[str, str] = {}
    for entry in tried:
        try:
            resolved = _resolve_optimizer(Sweep.of(entry))
            for title, problem in problems:
                list(_fit(ResolvedProblem(title, problem, 1, (resolved,))))
        except SuiteError as error:
            refused[entry.title] = f"{entry.title} is left out: {error}"
    kept = [entry for entry in file.optimizer if entry.title not in refused]
    if not kept:
        raise SuiteError(next(iter(refused.values())))
    plain = [entry.model_dump(exclude_unset=True) for entry in kept]
    return file.changed(optimizer=plain), tuple(refused.values())


def _options_of(file: SuiteFile, entry: ProblemEntry) -> dict[str, Any]:
    """Return the options of a problem: its own, and those at the top of the suite that it takes."""
    known = {option.name for option in get_problem_class(entry.name).options}
    shared = {key: getattr(file, key) for key in SHARED_OPTIONS if key in known}
    return {key: value for key, value in shared.items() if value is not None} | entry.options


def _resolve_problem(
    file: SuiteFile,
    entry: ProblemEntry,
    optimizers: Sequence[Sweep],
    seeds: tuple[int, ...],
    data_dir: Path | None,
) -> tuple[ResolvedProblem, dict[str, Any], list[str]]:
    """Return a problem with its optimizers, its entry with all defaults, and notices."""
    _check_targets(file, entry)
    problem, notices = make_problem(entry.name, _options_of(file, entry), data_dir)
    iterations = iterations_of(file, entry, problem)
    resolved = ResolvedProblem(
        entry.title,
        problem,
        iterations,
        rules=rules_of(file, entry, problem, iterations),
        optimizers=tuple(map(_resolve_optimizer, optimizers)),
        random=problem.is_random(seeds),
        variant_of=entry.variant_of,
        name=entry.name,
    )
    plain = {
        "name": entry.name,
        "label": entry.title,
        **({} if entry.variant_of is None else {"variant_of": entry.variant_of}),
        "iterations": resolved.iterations,
        **problem.settings,
        **entry.overrides,
        **as_written(resolved.rules),
    }
    return resolved, plain, [*notices, *_fit(resolved)]


def _resolve_optimizer(sweep: Sweep) -> ResolvedOptimizer:
    name = sweep.entry.name
    optimizer = get_optimizer(name)
    return ResolvedOptimizer(name, sweep.entry.title, optimizer, sweep.configurations(optimizer))


def _fit(resolved: ResolvedProblem) -> Iterator[str]:
    """See whether the optimizers can run on a problem, and yield notices."""
    problem = resolved.problem
    for entry in resolved.optimizers:
        task = Task(
            entry.label,
            resolved.label,
            problem.tensors,
            problem.dtype,
            problem.minibatch,
            entry.configurations,
        )
        _check_representable(task)
        yield from entry.optimizer.fit(task)
        if resolved.rules.pause_at is not None and not entry.optimizer.resumable:
            raise SuiteError(
                f"{entry.label} is not resumable, so its lanes cannot pause as halving asks; "
                f"leave {argument('halving')} out"
            )


def _check_representable(task: Task) -> None:
    """Refuse hyperparameters that the problem's dtype has no number for."""
    limits = np.finfo(task.dtype)
    smallest, largest = float(limits.smallest_subnormal), float(limits.max)
    items = [item for configuration in task.configurations for item in configuration.items()]
    given = {(name, value) for name, value in items if isinstance(value, float)}
    for name, value in sorted(given):
        size = abs(value)
        if largest < size < math.inf or 0.0 < size < smallest / 2:
            becomes = "too large" if size > 1.0 else "too small"
            raise SuiteError(
                f"{task.label}: {name} = {value!r} is {becomes} for {task.dtype}, which "
                f"{task.problem} has; its numbers go from {smallest:.1e} to {largest:.1e}"
            )


def _check_shared(file: SuiteFile, problems: Sequence[ResolvedProblem]) -> None:
    """Refuse what stands at the top of the suite and means nothing to any of its problems."""
    known = {option.name for resolved in problems for option in resolved.problem.options}
    if any(resolved.problem.iterations_per_epoch is not None for resolved in problems):
        known.add("epochs")
    if any(resolved.problem.split_sizes() for resolved in problems):
        known.add("evaluate_every")
    for key in (*SHARED_OPTIONS, "epochs", "evaluate_every"):
        if getattr(file, key) is not None and key not in known:
            titles = ", ".join(resolved.label for resolved in problems)
            raise SuiteError(f"{key} means nothing to {titles}; leave it out")


def _check_variants(entries: Sequence[ProblemEntry]) -> None:
    """Refuse variants of problems that the suite does not have, or that are variants themselves."""
    bases = [entry.title for entry in entries if entry.variant_of is None]
    for entry in entries:
        if entry.variant_of is not None and entry.variant_of not in bases:
            raise SuiteError(
                f"{entry.title}: variant_of = '{entry.variant_of}' must be a problem of the suite "
                f"that is no variant itself; {nearest(entry.variant_of, bases)}"
            )


def _check_targets(file: SuiteFile, entry: ProblemEntry) -> None:
    """Refuse changes to optimizers that the suite does not have."""
    names = dict.fromkeys(name for entry in file.optimizer for name in (entry.title, entry.name))
    for target in entry.overrides:
        if not meant_by(file.optimizer, target):
            raise SuiteError(
                f"{entry.title}: there is no optimizer '{target}'; {nearest(target, names)}"
            )
