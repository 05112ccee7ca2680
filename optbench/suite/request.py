"""What a run is asked for: suites, and the options that change them.

An option counts before what any part of a suite says. ``set`` and ``grid`` name hyperparameters as
``TARGET.key``: the target is an optimizer's label, else every entry of that name, or ``*`` for all
that have the hyperparameter. Where no optimizer is meant, problems are, and the key is an option.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, fields, replace
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import Any

from optbench.errors import SuiteError, argument, nearest
from optbench.optimizers.plugin import all_of_library
from optbench.optimizers.registry import get_optimizer, known_hyperparameters, optimizer_names
from optbench.problems.registry import get_problem_class
from optbench.settings import check_type
from optbench.suite.flags import without_target
from optbench.suite.format import (
    OptimizerEntry,
    ProblemEntry,
    ResolvedSuite,
    SuiteFile,
    adjusted,
    distinct,
    given_entry,
    meant_by,
    new_entry,
    parse_suite,
    read_suite,
)
from optbench.suite.handed import Given, named_optimizers, named_problems
from optbench.suite.names import as_spelled
from optbench.suite.resolve import DEFAULT_SUITES, Suite, resolve
from optbench.suite.shorthand import function_suite, suite_of_problems, with_problems
from optbench.suite.sweep import check_option
from optbench.suite.values import grid_values, plain_value, seed_list

PROBLEM_OPTIONS = ("batch_size", "data", "domain", "dtype", "minimum", "start_spread")
"""Options of a request that every problem gets which takes them."""

SuiteSource = str | PathLike[str] | Mapping[str, Any]
"""The name of a built-in suite, the path of a TOML file or a run.json, or a suite as a mapping."""

Changes = Mapping[str, Any] | Sequence[tuple[str, Any]]
"""Values by ``TARGET.key``. Later ones count more, so that pairs may name a target twice."""


@dataclass(frozen=True)
class RunRequest:
    """What a run is asked for: each option of ``optbench run`` that decides results.

    None, or nothing, leaves what the suite says.

    Attributes
    ----------
    suite
        One or several; the two of the textbook where neither these nor a problem nor a function are
        named.
    problem
        Problems to run on instead of the suite's: names, or ``FILE.py:NAME``. In Python also
        functions, as :func:`optbench.problems.function` takes them, and problems themselves.
    function
        A formula to minimise, as ``"x**2/20 + y**2"``.
    start
        Where a formula or a function starts: each variable, as ``{"x": -7, "y": 2}``; of a Python
        function also the array that it takes, as ``[-7, 2]``.
    gradient, vectorized
        Of a Python function: what returns its gradient, and whether both take all lanes at once. A
        gradient is compared with differences before anything runs; without one, it comes from JAX
        or PyTorch if the function is theirs, else from central differences.
    optimizers
        Only these entries, by label, else by name, whatever the capitals; one that a suite lacks is
        added with its defaults. In Python also entries as a suite holds them, in the place of the
        suite's own: ``{"name": "sgd", "points": [{"lr": 0.1}, {"lr": 0.5}]}``, and in the place of
        a name an update rule, an optimizer of PyTorch or a factory of optax.
    set, grid
        Hyperparameters by target, as ``{"adam.lr": 0.01}``, and values to sweep, as
        ``{"adam.lr": [1e-3, 1e-2]}``, ``{"adam.lr": "1e-4:1e-1:13"}`` or
        ``{"adam.schedule": ["constant", "cosine"]}``; options of problems too, as
        ``{"mnist-mlp.batch_size": [32, 64]}``.
    seeds
        How many, or which.
    iterations, epochs
        Updates to make, or passes over the data.
    batch_size
        Examples in a minibatch, or ``"full"``.
    evaluate_every
        Iterations from one evaluation to the next, or ``"2 epochs"``.
    stop
        What ends lanes early, as ``{"loss": 0.01}``; see :class:`optbench.engine.stopping.Rules`.
    dtype, data
        Precision, and the data set: its name, or the path of a file of one's own.
    domain, minimum
        Of a formula: what figures show of each variable, and where lanes may end, as
        ``{"x": [-5, 15]}``; and its smallest value, from which targets and scores then measure.
    start_spread
        How far starts of a function lie apart, as a share of its domain's width.
    name
        Name of the run, instead of the suite's.
    """

    suite: SuiteSource | Sequence[SuiteSource] = ()
    _: KW_ONLY
    problem: Given | Sequence[Given] = ()
    function: str | None = None
    start: Mapping[str, Any] | Sequence[float] | None = None
    gradient: Callable[..., Any] | None = None
    vectorized: bool = False
    optimizers: Given | Sequence[Given | Mapping[str, Any]] = ()
    set: Changes = ()
    grid: Changes = ()
    seeds: int | Sequence[int] | str | None = None
    iterations: int | None = None
    epochs: int | None = None
    batch_size: int | str | None = None
    evaluate_every: int | str | None = None
    stop: Mapping[str, Any] | None = None
    dtype: str | None = None
    data: str | None = None
    domain: Mapping[str, Any] | None = None
    minimum: float | None = None
    start_spread: float | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        """Turn values of NumPy, and sequences of any kind, into plain ones of the right type.

        What is handed over in the place of names gets some.
        """
        for field in fields(self):
            given = getattr(self, field.name)
            value = field.default if given is None else plain_value(given)
            check_type(field.name, value, field.type)
            object.__setattr__(self, field.name, value)
        object.__setattr__(self, "optimizers", named_optimizers(self.optimizers))
        if self.function is None:
            of_function = {key: getattr(self, key) for key in ("start", "gradient", "vectorized")}
            object.__setattr__(self, "problem", named_problems(self.problem, **of_function))
            for key in of_function:  # they are part of the problem now
                object.__setattr__(self, key, RunRequest.__dataclass_fields__[key].default)

    @property
    def changes(self) -> "list[tuple[str, Changes]]":
        """Values and sweeps by the options that they are given with."""
        return [("set", self.set), ("grid", self.grid)]


def resolve_request(
    request: RunRequest, data_dir: Path | None = None, resolved_suite: ResolvedSuite | None = None
) -> list[Suite]:
    """Return the suites asked for, changed and resolved.

    ``resolved_suite`` returns the suite of a run.json, as :func:`read_suite` takes it.
    """
    request, optional, refused = _without_stars(request)
    written = requested_suites(request, resolved_suite)
    resolved = []
    for before, (file, notices) in zip(written, apply_request(written, request), strict=True):
        suite = resolve(file, written=before.as_written(), data_dir=data_dir, optional=optional)
        notices = [
            notice for notice in notices if not any(f"'{name}'" in notice for name in optional)
        ]
        notices = [*refused, *notices, *suite.notices]
        resolved.append(replace(suite, notices=tuple(notices), file=before.file))
    return resolved


def _without_stars(request: RunRequest) -> tuple[RunRequest, frozenset[str], list[str]]:
    """Return a request that names all optimizers of a library for ``torch:PACKAGE:*``.

    These names are returned as well: what cannot run of them is left out. What no suite can make is
    left out here, and notices say why.
    """
    names: list[Any] = []
    optional: set[str] = set()
    refused: list[str] = []
    for given in _listed(request.optimizers):
        found = all_of_library(given) if isinstance(given, str) else None
        if found is None:
            names.append(given)
            continue
        for name in found:
            try:
                get_optimizer(name)
            except SuiteError as error:
                refused.append(f"{name} is left out: {error}")
                continue
            names.append(name)
            optional.add(name)
    if refused and not names:
        raise SuiteError(refused[0])
    if not optional:
        return request, frozenset(), []
    return replace(request, optimizers=tuple(names)), frozenset(optional), refused


def requested_suites(
    request: RunRequest, resolved_suite: ResolvedSuite | None = None
) -> list[SuiteFile]:
    """Return the suites asked for, before any option changes them."""
    suite = request.suite
    sources = [suite] if isinstance(suite, str | PathLike | Mapping) else list(suite)
    problems = _listed(request.problem)
    if request.function is not None:
        if sources or problems:
            raise SuiteError(
                f"{argument('function')} is a suite of its own; leave suites and "
                f"{argument('problem')} out"
            )
        start = request.start or {}
        if not isinstance(start, Mapping) or request.gradient or request.vectorized:
            raise SuiteError(
                f"{argument('function')} is a formula: its start names its variables, its "
                "gradient is its own"
            )
        return [parse_suite(function_suite(request.function, start), argument("function"))]
    if problems and not sources:
        return [suite_of_problems(problems, _listed(request.optimizers))]
    suites = [_read(source, resolved_suite) for source in sources or DEFAULT_SUITES]
    return [with_problems(suite, problems) for suite in suites]


def _read(source: SuiteSource, resolved_suite: ResolvedSuite | None) -> SuiteFile:
    if isinstance(source, Mapping):
        return parse_suite(source, "suite")
    return read_suite(str(source), resolved_suite)


def _listed(given: Any) -> list[Any]:
    return list(given) if isinstance(given, list | tuple) else [given]


@dataclass(frozen=True)
class _Change:
    """A hyperparameter, or an option, of some entries that gets another value, grid or space."""

    option: str
    target: str
    key: str
    value: Any

    def __str__(self) -> str:
        return f"{argument(self.option)} {self.target}.{self.key}"

    def merged(self, entry: OptimizerEntry) -> OptimizerEntry:
        """Return an entry with this change."""
        change = {self.key: self.value}
        return entry.merged(change if self.option == "set" else {self.option: change})


def _changes(option: str, changes: Changes) -> Iterable[_Change]:
    for name, value in changes.items() if isinstance(changes, Mapping) else changes:
        target, _, key = name.rpartition(".")
        if name and "." not in name:
            raise SuiteError(f"{argument(option)} '{name}' {without_target(name)}")
        if not (target and key):
            raise SuiteError(
                f"{argument(option)} '{name}' is malformed; write TARGET.key, as adam.lr"
            )
        change = _Change(option, target, key, value)
        if option == "grid":
            try:
                change = replace(change, value=grid_values(change.value))
            except SuiteError as error:
                raise error.within(str(change)) from None
        yield change


class _Draft:
    """A suite while it is changed; it is checked again once, at the end."""

    def __init__(self, file: SuiteFile) -> None:
        self.file = file
        self.optimizers = list(file.optimizer)
        self.problems = [_plain(entry) for entry in file.problem]
        self.overridden = [{*entry.overrides} for entry in file.problem]
        self.notices: list[str] = []

    def choose(self, wanted: Sequence[str | Mapping[str, Any]]) -> None:
        """Keep optimizers by label, else by name; add from the registry what is not there."""
        chosen: list[OptimizerEntry] = []
        for name in distinct([self._spelled(each) for each in wanted]):
            if not isinstance(name, str):
                chosen.append(given_entry(name))
                continue
            entries = [entry for entry in self.optimizers if entry.title == name] or [
                entry for entry in self.optimizers if entry.name == name
            ]
            if not entries:
                get_optimizer(name, (entry.title for entry in self.optimizers))
                entries = [new_entry(name, [entry.title for entry in chosen])]
                self.notices.append(
                    f"suite '{self.file.name}' has no optimizer '{name}': added with its defaults"
                )
            chosen += [entry for entry in entries if entry not in chosen]
        kept = {entry.title for entry in chosen}
        for plain, targets in zip(self.problems, self.overridden, strict=True):
            for target in [*targets]:
                if kept.isdisjoint(meant_by(self.optimizers, target)):
                    del plain[target]
                    targets.remove(target)
        self.optimizers = chosen

    def _spelled(self, wanted: str | Mapping[str, Any]) -> str | Mapping[str, Any]:
        """Return an optimizer's label or name as the suite, else the registry, spells it."""
        groups = _titles_and_names(self.optimizers)
        if not isinstance(wanted, str) or any(wanted in names for names in groups):
            return wanted
        return as_spelled(wanted, *groups, optimizer_names())

    def apply(self, change: _Change) -> bool:
        """Change the entries that a change is meant for; say whether there are any."""
        groups = (*_titles_and_names(self.optimizers), *_titles_and_names(self.file.problem))
        change = replace(change, target=as_spelled(change.target, *groups))
        titles = self._hits(change)
        places = [] if titles else self._problem_hits(change)
        if titles:
            self._change(change, titles)
        if places and change.option == "space":
            raise SuiteError(f"{change}: only hyperparameters of optimizers have spaces")
        for place in places:
            check_option(self.file.problem[place], change.key)
            _give(self.problems[place], change.key, change.value, grid=change.option == "grid")
        return bool(titles or places)

    def _hits(self, change: _Change) -> tuple[str, ...]:
        """Return the titles of the optimizers that a change is meant for."""
        if change.target != "*":
            return meant_by(self.optimizers, change.target)
        return tuple(
            entry.title
            for entry in self.optimizers
            if change.key in known_hyperparameters(get_optimizer(entry.name))
        )

    def _problem_hits(self, change: _Change) -> list[int]:
        """Return the places of the problems that a change is meant for."""
        entries = self.file.problem
        if change.target == "*":
            return [place for place, entry in enumerate(entries) if _takes(entry, change.key)]
        of_title = [place for place, entry in enumerate(entries) if entry.title == change.target]
        return of_title or [
            place for place, entry in enumerate(entries) if entry.name == change.target
        ]

    def _change(self, change: _Change, titles: Sequence[str]) -> None:
        """Change optimizers, and again on every problem that has its own word on them."""
        self.optimizers = [
            change.merged(entry) if entry.title in titles else entry for entry in self.optimizers
        ]
        for plain, targets in zip(self.problems, self.overridden, strict=True):
            overrides = {target: plain[target] for target in targets}
            for entry in self.optimizers:
                if entry.title in titles:
                    if adjusted(self.optimizers, entry, overrides) == entry:
                        continue
                    own = OptimizerEntry(name=entry.title, **plain.get(entry.title, {}))
                    plain[entry.title] = _plain(change.merged(own))
                    del plain[entry.title]["name"]
                    targets.add(entry.title)

    def give_options(self, request: RunRequest) -> None:
        """Give the problems those of the request's options that they take."""
        for entry, plain in zip(self.file.problem, self.problems, strict=True):
            for key in PROBLEM_OPTIONS:
                if getattr(request, key) is not None and _takes(entry, key):
                    _give(plain, key, getattr(request, key))

    def finish(self, request: RunRequest) -> SuiteFile:
        """Apply the other options and return the suite."""
        for entry, plain in zip(self.file.problem, self.problems, strict=True):
            if request.iterations is not None:
                plain |= {"iterations": request.iterations, "epochs": None}
            if request.epochs is not None and _takes(entry, "batch_size"):
                plain |= {"epochs": request.epochs, "iterations": None}
            if request.evaluate_every is not None and _takes(entry, "batch_size"):
                plain["evaluate_every"] = request.evaluate_every
            if request.stop:
                plain["stop"] = {**plain.get("stop", {}), **request.stop}
        whole: dict[str, Any] = {
            "problem": self.problems,
            "optimizer": [_plain(entry) for entry in self.optimizers],
        }
        if request.seeds is not None:
            whole["seeds"] = list(seed_list(request.seeds))
        if request.name is not None:
            whole["name"] = request.name
        return self.file.changed(**whole)


def _titles_and_names(
    entries: Sequence[OptimizerEntry | ProblemEntry],
) -> tuple[list[str], list[str]]:
    return [entry.title for entry in entries], [entry.name for entry in entries]


def _give(plain: dict[str, Any], key: str, value: Any, *, grid: bool = False) -> None:
    """Give a problem's option a value or a grid; each replaces what the other kind was."""
    grids = {other: values for other, values in plain.pop("grid", {}).items() if other != key}
    plain.pop(key, None)
    (grids if grid else plain)[key] = value
    if grids:
        plain["grid"] = grids


def _plain(entry: OptimizerEntry | ProblemEntry) -> dict[str, Any]:
    return entry.model_dump(exclude_unset=True)


def _takes(entry: ProblemEntry, name: str) -> bool:
    return any(option.name == name for option in get_problem_class(entry.name).options)


def apply_request(
    suites: Sequence[SuiteFile], request: RunRequest
) -> list[tuple[SuiteFile, list[str]]]:
    """Return each suite as the request's options change it, and notices of what was added."""
    _check_numbers(suites, request)
    drafts = [_Draft(suite) for suite in suites]
    wanted = _listed(request.optimizers)
    if wanted:
        for draft in drafts:
            draft.choose(wanted)
    for draft in drafts:
        draft.give_options(request)
    for change in [each for option, given in request.changes for each in _changes(option, given)]:
        applied = [draft.apply(change) for draft in drafts]
        if not any(applied):
            raise SuiteError(f"{change}: {_unmet(change, drafts)}")
    return [(draft.finish(request), draft.notices) for draft in drafts]


def _unmet(change: _Change, drafts: Sequence[_Draft]) -> str:
    """Say why a change fits nothing."""
    if change.target == "*":
        return f"no optimizer has a hyperparameter '{change.key}', and no problem such an option"
    optimizers = ((entry.title, entry.name) for draft in drafts for entry in draft.optimizers)
    problems = ((entry.title, entry.name) for draft in drafts for entry in draft.file.problem)
    known = dict.fromkeys(chain.from_iterable((*optimizers, *problems)))
    meant = nearest(change.target, known, most=3)
    return f"there is no optimizer or problem '{change.target}'; {meant}"


def _check_numbers(suites: Sequence[SuiteFile], request: RunRequest) -> None:
    """Refuse options that fit none of the suites."""
    if request.name is not None and len(suites) > 1:
        raise SuiteError(
            f"{argument('name')} takes one suite, not {len(suites)}; run them one by one"
        )
    if request.iterations is not None and request.epochs is not None:
        raise SuiteError(
            f"{argument('iterations')} and {argument('epochs')} exclude each other; give one of "
            "them"
        )
    for key in ("iterations", "epochs"):
        count = getattr(request, key)
        if count is not None and count < 1:
            raise SuiteError(f"{argument(key, count)}: it must be at least 1")
    entries = [entry for suite in suites for entry in suite.problem]
    for key in (*PROBLEM_OPTIONS, "epochs", "evaluate_every"):
        needed = key if key in PROBLEM_OPTIONS else "batch_size"
        given = getattr(request, key) is not None
        if given and not any(_takes(entry, needed) for entry in entries):
            names = ", ".join(entry.title for entry in entries)
            raise SuiteError(f"{argument(key)} means nothing to {names}; leave it out")
