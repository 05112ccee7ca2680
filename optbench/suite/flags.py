"""Flags that change suites: which optimizers, which values, how long, which seeds.

``--set`` and ``--grid`` take ``TARGET.key=value``, split at the first ``=`` and then at the last
``.`` before it. A target is an optimizer's label, else every entry of that name, or ``*`` for all
that have the hyperparameter. What a flag says counts before what any part of a suite says.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from optbench.errors import SuiteError, nearest
from optbench.optimizers.registry import get_optimizer, known_hyperparameters
from optbench.problems.registry import get_problem_class
from optbench.suite.format import OptimizerEntry, ProblemEntry, StopTable, SuiteFile, new_entry
from optbench.suite.values import grid_values, seed_list, toml_value

PROBLEM_FLAGS = ("batch_size", "data", "dtype")
"""Flags that set an option of every problem that takes it."""


@dataclass(frozen=True)
class Flags:
    """What was given on the command line, or to :func:`optbench.run`; None is not given."""

    optimizers: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()
    grids: tuple[str, ...] = ()
    seeds: int | list[int] | str | None = None
    iterations: int | None = None
    epochs: int | None = None
    batch_size: int | str | None = None
    evaluate_every: int | str | None = None
    stops: tuple[str, ...] = ()
    dtype: str | None = None
    data: str | None = None
    name: str | None = None


@dataclass(frozen=True)
class _Change:
    """A hyperparameter of some entries that gets another value or grid."""

    flag: str
    target: str
    key: str
    value: Any

    def as_changes(self) -> dict[str, Any]:
        return {"grid": {self.key: self.value}} if self.flag == "--grid" else {self.key: self.value}


def apply_flags(suites: Sequence[SuiteFile], flags: Flags) -> tuple[list[SuiteFile], list[str]]:
    """Return the suites as the flags change them, and notices of what was added.

    Raises
    ------
    SuiteError
        If a flag is malformed, or changes nothing in any of the suites.
    """
    _check_numbers(suites, flags)
    notices: list[str] = []
    changed = [_choose_optimizers(suite, flags.optimizers, notices) for suite in suites]
    changes = [_parse(text, "--set") for text in flags.sets]
    changes += [_parse(text, "--grid") for text in flags.grids]
    for change in changes:
        changed = _apply_change(changed, change)
    return [_apply_numbers(suite, flags) for suite in changed], notices


def _check_numbers(suites: Sequence[SuiteFile], flags: Flags) -> None:
    """Refuse flags that fit none of the suites."""
    if flags.name is not None and len(suites) > 1:
        raise SuiteError(f"--name takes one suite, not {len(suites)}; run them one by one")
    if flags.iterations is not None and flags.epochs is not None:
        raise SuiteError("--iterations and --epochs exclude each other; give one of them")
    for key in ("iterations", "epochs"):
        count = getattr(flags, key)
        if count is not None and count < 1:
            raise SuiteError(f"--{key} {count}: at least 1 is needed")
    entries = [entry for suite in suites for entry in suite.problem]
    for key in (*PROBLEM_FLAGS, "epochs", "evaluate_every"):
        option = key if key in PROBLEM_FLAGS else "batch_size"
        if getattr(flags, key) is not None and not any(_takes(each, option) for each in entries):
            names = ", ".join(entry.title for entry in entries)
            raise SuiteError(f"--{key.replace('_', '-')} means nothing to {names}; leave it out")


def _takes(entry: ProblemEntry, option: str) -> bool:
    return any(each.name == option for each in get_problem_class(entry.name).options)


def _choose_optimizers(suite: SuiteFile, wanted: Sequence[str], notices: list[str]) -> SuiteFile:
    """Keep the wanted entries, by label, else by name; add from the registry what is not there."""
    if not wanted:
        return suite
    chosen: list[OptimizerEntry] = []
    for name in dict.fromkeys(wanted):
        found = [entry for entry in suite.optimizer if entry.title == name] or [
            entry for entry in suite.optimizer if entry.name == name
        ]
        if not found:
            get_optimizer(name, [entry.title for entry in suite.optimizer])
            found = [new_entry(name, [entry.title for entry in chosen])]
            notices.append(
                f"suite '{suite.name}' has no optimizer '{name}': added with its defaults"
            )
        chosen += [entry for entry in found if entry not in chosen]
    problems = []
    for entry in suite.problem:
        gone = _gone(suite, entry, chosen)
        problems.append({key: each for key, each in _plain(entry).items() if key not in gone})
    return suite.changed(optimizer=[_plain(entry) for entry in chosen], problem=problems)


def _gone(suite: SuiteFile, entry: ProblemEntry, chosen: Sequence[OptimizerEntry]) -> set[str]:
    """Return the targets of a problem's own changes that mean none of the chosen optimizers."""
    titles = {each.title for each in chosen}
    return {target for target in entry.overrides if titles.isdisjoint(suite.meant_by(target))}


def _plain(entry: OptimizerEntry | ProblemEntry) -> dict[str, Any]:
    return entry.model_dump(exclude_unset=True)


def _parse(text: str, flag: str) -> _Change:
    """Read ``TARGET.key=value``."""
    left, equals, right = text.partition("=")
    target, dot, key = left.rpartition(".")
    if not (equals and dot and target and key and right):
        example = "adam.lr=0.01" if flag == "--set" else "adam.lr=1e-4:1e-1:13"
        raise SuiteError(f"{flag} '{text}' is malformed; write TARGET.key=value, as {example}")
    try:
        value = grid_values(right) if flag == "--grid" else toml_value(right)
    except SuiteError as error:
        raise SuiteError(f"{flag} {left}: {error}") from None
    return _Change(flag, target, key, value)


def _apply_change(suites: Sequence[SuiteFile], change: _Change) -> list[SuiteFile]:
    """Apply a change to all suites; it must fit an optimizer of at least one."""
    hits = [_hits(suite, change) for suite in suites]
    if not any(hits):
        where = f"{change.flag} {change.target}.{change.key}"
        if change.target == "*":
            raise SuiteError(f"{where}: no optimizer has a hyperparameter '{change.key}'")
        entries = [entry for suite in suites for entry in suite.optimizer]
        known = dict.fromkeys(name for each in entries for name in (each.title, each.name))
        raise SuiteError(
            f"{where}: there is no optimizer '{change.target}'; {nearest(change.target, known)}"
        )
    return [_change_entries(suite, change, hit) for suite, hit in zip(suites, hits, strict=True)]


def _hits(suite: SuiteFile, change: _Change) -> tuple[str, ...]:
    """Return the titles of the entries that a change is meant for."""
    if change.target != "*":
        return suite.meant_by(change.target)
    return tuple(entry.title for entry in suite.optimizer if _has(entry, change.key))


def _has(entry: OptimizerEntry, key: str) -> bool:
    return key in known_hyperparameters(get_optimizer(entry.name))


def _change_entries(suite: SuiteFile, change: _Change, titles: Sequence[str]) -> SuiteFile:
    """Change entries, and again on every problem that has its own word on them."""
    if not titles:
        return suite
    optimizers = [
        entry.merged(change.as_changes()) if entry.title in titles else entry
        for entry in suite.optimizer
    ]
    problems = []
    for problem in suite.problem:
        plain = _plain(problem)
        for entry in optimizers:
            if entry.title in titles and suite.adjusted(entry, problem) != entry:
                own = OptimizerEntry(name=entry.title, **plain.get(entry.title, {}))
                plain[entry.title] = _plain(own.merged(change.as_changes()))
                del plain[entry.title]["name"]
        problems.append(plain)
    return suite.changed(optimizer=[_plain(entry) for entry in optimizers], problem=problems)


def _apply_numbers(suite: SuiteFile, flags: Flags) -> SuiteFile:
    """Apply the flags that are no changes to optimizers."""
    problems = []
    for entry in suite.problem:
        plain = _plain(entry)
        for key in PROBLEM_FLAGS:
            if getattr(flags, key) is not None and _takes(entry, key):
                plain[key] = getattr(flags, key)
        if flags.iterations is not None:
            plain = {**plain, "iterations": flags.iterations, "epochs": None}
        if flags.epochs is not None and _takes(entry, "batch_size"):
            plain = {**plain, "epochs": flags.epochs, "iterations": None}
        if flags.evaluate_every is not None and _takes(entry, "batch_size"):
            plain["evaluate_every"] = flags.evaluate_every
        if flags.stops:
            plain["stop"] = {**plain.get("stop", {}), **_stop_rules(flags.stops)}
        problems.append(plain)
    whole: dict[str, Any] = {"problem": problems}
    if flags.seeds is not None:
        whole["seeds"] = list(seed_list(flags.seeds))
    if flags.name is not None:
        whole["name"] = flags.name
    return suite.changed(**whole)


def _stop_rules(texts: Sequence[str]) -> dict[str, Any]:
    """Read ``key=value`` of stopping rules."""
    rules = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (equals and value) or key not in StopTable.model_fields:
            known = ", ".join(StopTable.model_fields)
            raise SuiteError(f"--stop '{text}' is malformed; write key=value with one of {known}")
        rules[key] = toml_value(value)
    return rules
