"""Suites: what is to be run, from a TOML file to settled problems and optimizers.

A :class:`SuiteFile` is what somebody wrote, checked for its shape; flags change it into another
(:mod:`optbench.suite.flags`). :func:`resolve` turns it into a :class:`Suite`: every default filled
in, every name looked up, data found, grids expanded. ``Suite.resolved`` is a suite file again, so
that run.json can be run.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from optbench.engine.stopping import Rules
from optbench.errors import SuiteError, nearest
from optbench.optimizers.base import Optimizer, Task
from optbench.optimizers.registry import complete_hyperparameters, get_optimizer
from optbench.problems.base import Problem
from optbench.problems.registry import get_problem_class, make_problem
from optbench.suite.durations import as_written, iterations_of, rules_of
from optbench.suite.format import OptimizerEntry, ProblemEntry, SuiteFile
from optbench.suite.values import grid_values, seed_list

DEFAULT_SUITES = ("anisotropic", "mnist-mlp")

MAX_LANES = 1_000_000

SHARED_OPTIONS = ("batch_size", "data", "dtype", "record")
"""Options that may stand at the top of a suite, for all problems that take them."""


@dataclass(frozen=True)
class ResolvedOptimizer:
    """An optimizer entry of a suite for one problem, its grid expanded.

    Attributes
    ----------
    name
        What the suite calls the optimizer: a name of the registry or of a plug-in.
    optimizer
        The update rule itself.
    configurations
        All hyperparameters by name, one mapping a point of the grid.
    """

    name: str
    label: str
    optimizer: Optimizer
    configurations: tuple[Mapping[str, float | str], ...]


@dataclass(frozen=True)
class ResolvedProblem:
    """A problem of a suite, with the optimizers that are to minimise it.

    ``seeds`` are those of its lanes: one where nothing of the problem depends on the seed.
    """

    label: str
    problem: Problem
    iterations: int
    optimizers: tuple[ResolvedOptimizer, ...]
    rules: Rules = field(default_factory=Rules)
    seeds: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Suite:
    """Everything that a run does.

    Attributes
    ----------
    written
        The suite as its author wrote it.
    resolved
        The same with flags and defaults; as plain data, and a suite file again.
    given
        The same with flags only, for whoever wants today's defaults.
    notices
        What the user should know, such as that a smaller data set is used.
    """

    name: str
    seeds: tuple[int, ...]
    problems: tuple[ResolvedProblem, ...]
    written: Mapping[str, Any] = field(repr=False)
    resolved: Mapping[str, Any] = field(repr=False)
    notices: tuple[str, ...] = ()
    given: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def seeds_of(self, setting: ResolvedProblem) -> tuple[int, ...]:
        """Return the seeds of a problem's lanes."""
        return self.seeds if setting.seeds is None else setting.seeds


def resolve(
    file: SuiteFile, *, written: Mapping[str, Any] | None = None, data_dir: Path | None = None
) -> Suite:
    """Settle a suite.

    Parameters
    ----------
    file
        The suite with all flags applied.
    written
        What to keep as ``Suite.written``: the suite before flags. Defaults to ``file``.
    data_dir
        Where to look for data sets first.

    Raises
    ------
    SuiteError
        If anything in it is unknown, out of range, or does not fit.
    DataError
        If a data set is missing or damaged.
    """
    try:
        return _resolve(file, file.as_written() if written is None else written, data_dir)
    except SuiteError as error:
        raise error.within(f"suite '{file.name}'") from None


def _resolve(file: SuiteFile, written: Mapping[str, Any], data_dir: Path | None) -> Suite:
    if not file.problem:
        raise SuiteError("it has no problem; add a [[problem]] with a name")
    if not file.optimizer:
        raise SuiteError("it has no optimizer; add an [[optimizer]] with a name")
    seeds = seed_list(file.seeds)
    _check_lanes(file, len(seeds))
    settings, resolved, notices = [], [], []
    for entry in file.problem:
        setting, plain, said = _settle(file, entry, seeds, data_dir)
        settings.append(setting)
        resolved.append(plain)
        notices += said
    _check_shared(file, settings)
    plain_suite = {
        "name": file.name,
        "seeds": list(seeds),
        "problem": resolved,
        "optimizer": [_plain(entry) for entry in file.optimizer],
    }
    if len(seeds) > 1 and not any(setting.problem.random for setting in settings):
        notices.append(f"nothing in suite '{file.name}' is random: one seed says all")
    given = file.as_written()
    return Suite(file.name, seeds, tuple(settings), written, plain_suite, tuple(notices), given)


def _settle(
    file: SuiteFile, entry: ProblemEntry, seeds: tuple[int, ...], data_dir: Path | None
) -> tuple[ResolvedProblem, dict[str, Any], list[str]]:
    """Return a problem's setting, the same as plain data, and notices."""
    known = {option.name for option in get_problem_class(entry.name).options}
    _check_targets(file, entry)
    shared = {key: getattr(file, key) for key in SHARED_OPTIONS if key in known}
    given = {key: value for key, value in shared.items() if value is not None} | entry.options
    problem, notices = make_problem(entry.name, given, data_dir)
    iterations, rules = iterations_of(file, entry, problem), rules_of(file, entry, problem)
    optimizers = tuple(_expand(file.adjusted(each, entry)) for each in file.optimizer)
    plain = {
        "name": entry.name,
        "label": entry.title,
        "iterations": iterations,
        **problem.settings,
        **entry.overrides,
        **as_written(rules),
    }
    own_seeds = seeds if problem.random else seeds[:1]
    setting = ResolvedProblem(entry.title, problem, iterations, optimizers, rules, own_seeds)
    return setting, plain, [*notices, *_fit(setting)]


def _fit(setting: ResolvedProblem) -> Iterator[str]:
    """See whether the optimizers can run on a problem, and yield notices."""
    problem = setting.problem
    for each in setting.optimizers:
        task = Task(
            each.label,
            setting.label,
            problem.tensors,
            problem.dtype,
            problem.minibatch,
            each.configurations,
        )
        yield from each.optimizer.fit(task)


def _check_lanes(file: SuiteFile, seeds: int) -> None:
    """Refuse more lanes than a run can hold, before any grid is expanded."""
    configurations = sum(
        prod(len(values) for values in _grids(file.adjusted(optimizer, problem)).values())
        for problem in file.problem
        for optimizer in file.optimizer
    )
    if configurations * seeds > MAX_LANES:
        raise SuiteError(
            f"its grids and seeds make {configurations * seeds} lanes; "
            f"a run takes at most {MAX_LANES}"
        )


def _check_shared(file: SuiteFile, settings: Sequence[ResolvedProblem]) -> None:
    """Refuse what stands at the top of the suite and means nothing to any of its problems."""
    known = {option.name for setting in settings for option in setting.problem.options}
    if any(setting.problem.iterations_per_epoch is not None for setting in settings):
        known.add("epochs")
    if any(setting.problem.split_sizes() for setting in settings):
        known.add("evaluate_every")
    for key in (*SHARED_OPTIONS, "epochs", "evaluate_every"):
        if getattr(file, key) is not None and key not in known:
            titles = ", ".join(setting.label for setting in settings)
            raise SuiteError(f"{key} means nothing to {titles}; leave it out")


def _check_targets(file: SuiteFile, entry: ProblemEntry) -> None:
    """Refuse changes to optimizers that the suite has not."""
    titles = dict.fromkeys(known for each in file.optimizer for known in (each.title, each.name))
    for target in entry.overrides:
        if not file.meant_by(target):
            raise SuiteError(f"{entry.title}: no optimizer '{target}'; {nearest(target, titles)}")


def _grids(entry: OptimizerEntry) -> dict[str, list[float]]:
    """Return the values of an entry's grids by hyperparameter."""
    grids = {}
    for key, given in entry.grid.items():
        try:
            grids[key] = grid_values(given)
        except SuiteError as error:
            raise SuiteError(f"{entry.title}: grid.{key}: {error}") from None
    return grids


def _plain(entry: OptimizerEntry) -> dict[str, Any]:
    """Return an entry with all defaults and grids as lists."""
    grids = _grids(entry)
    optimizer = get_optimizer(entry.name)
    given = {**entry.hyperparameters, **{key: values[0] for key, values in grids.items()}}
    fixed = complete_hyperparameters(optimizer, given)
    plain: dict[str, Any] = {"name": entry.name, "label": entry.title}
    plain |= {key: value for key, value in fixed.items() if key not in grids}
    return {**plain, "grid": grids} if grids else plain


def _expand(entry: OptimizerEntry) -> ResolvedOptimizer:
    """Return the configurations of an entry: every combination of its grids."""
    optimizer = get_optimizer(entry.name)
    grids = _grids(entry)
    for key in grids.keys() & entry.hyperparameters.keys():
        raise SuiteError(f"{entry.title}: {key} has a value and a grid; give one of them")
    configurations = tuple(
        complete_hyperparameters(
            optimizer, {**entry.hyperparameters, **dict(zip(grids, values, strict=True))}
        )
        for values in product(*grids.values())
    )
    return ResolvedOptimizer(entry.name, entry.title, optimizer, configurations)
