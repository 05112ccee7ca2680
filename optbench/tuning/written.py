"""What tune.json holds of a protocol, checked and read before a study goes on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, Field

from optbench.errors import ResultsError
from optbench.records import STEPS_TO_TARGET
from optbench.store.description import Finite, check_shape
from optbench.store.studies import TUNE
from optbench.suite.format import parse_suite, resolved_suite
from optbench.suite.resolve import Suite, resolve
from optbench.tuning.budget import MOST_TRIALS, Budget
from optbench.tuning.protocol import FIRST_RUNG, Entrant, Protocol
from optbench.tuning.settling import is_random
from optbench.tuning.spaces import read
from optbench.tuning.targets import Goal

T = TypeVar("T")
Positive = Annotated[Finite, Field(gt=0.0)]
Seeds = list[Annotated[int, Field(ge=0)]]
OfAll = dict[str, dict[str, T]]
"""Something of each entrant, by problem and label."""


class _Part(BaseModel, strict=True):
    """A part of tune.json."""


class _Suite(_Part):
    written: dict[str, Any]
    given: dict[str, Any]
    resolved: dict[str, Any]


class _Budget(_Part):
    amount: Positive
    unit: Literal["trials", "steps", "gradients", "s"]
    trials: OfAll[Annotated[int, Field(ge=1, le=2 * MOST_TRIALS)]]
    seconds_per_step: OfAll[Positive | None]


class _Halving(_Part):
    eta: Annotated[int, Field(ge=2)]
    first_rung: str


class _Goal(_Part):
    rule: str
    on: Literal["loss", "validation_loss", "validation_error"]
    value: Finite | None


class _Written(_Part):
    suite: _Suite
    spaces: OfAll[Annotated[dict[str, str], Field(min_length=1)]]
    space_sources: OfAll[str]
    space_set: str
    problem_specific: list[str]
    sampler: Literal["random", "sobol", "halton", "grid", "tpe"]
    batch: Annotated[int, Field(ge=1)]
    budget: _Budget
    metric: dict[
        str,
        Literal[
            "validation_loss", "validation_error", "final_loss", "best_loss", "steps_to_target"
        ],
    ]
    target: dict[str, _Goal]
    tuning_seeds: Annotated[Seeds, Field(min_length=1)]
    finalists: Annotated[int, Field(ge=0)]
    finalist_seeds: Seeds
    evaluation_seeds: Annotated[Seeds, Field(min_length=1)]
    defaults: bool
    halving: _Halving | None


def read_protocol(meta: Mapping[str, Any], study: Path, data_dir: Path | None) -> Protocol:
    """Return the protocol that the tune.json of a study's directory holds.

    Raises
    ------
    ResultsError
        If it is none: its seeds overlap, or it does not tell of all that its suite has.
    SuiteError
        If the suite, or a space, cannot be read any more.
    """
    file = study / TUNE
    check_shape(_Written, meta, file)
    base = parse_suite(resolved_suite(meta, study), str(file))
    suite = resolve(base, data_dir=data_dir)
    _check_fit(meta, suite, file)
    budget = meta["budget"]
    halving = meta["halving"] or {}
    entrants = tuple(
        Entrant(
            problem=problem.label,
            label=entry.label,
            optimizer=entry.name,
            rule=entry.optimizer.name,
            spaces={
                name: read(text)
                for name, text in meta["spaces"][problem.label][entry.label].items()
            },
            source=meta["space_sources"][problem.label][entry.label],
            specific=entry.label in meta["problem_specific"],
            random=is_random(problem, entry),
            iterations=problem.iterations,
            trials=budget["trials"][problem.label][entry.label],
        )
        for problem in suite.problems
        for entry in problem.optimizers
    )
    return Protocol(
        base=base,
        written=meta["suite"]["written"],
        given=meta["suite"]["given"],
        entrants=entrants,
        spaces=meta["space_set"],
        sampler=meta["sampler"],
        batch=meta["batch"],
        budget=Budget(budget["amount"], budget["unit"]),
        metrics=meta["metric"],
        goals={
            problem: Goal(each["rule"], each["on"], each["value"])
            for problem, each in meta["target"].items()
        },
        tuning_seeds=tuple(meta["tuning_seeds"]),
        finalists=meta["finalists"],
        finalist_seeds=tuple(meta["finalist_seeds"]),
        evaluation_seeds=tuple(meta["evaluation_seeds"]),
        defaults=meta["defaults"],
        seconds_per_step={
            (problem, label): seconds
            for problem, labels in budget["seconds_per_step"].items()
            for label, seconds in labels.items()
            if seconds is not None
        },
        halving=halving.get("eta"),
        first_rung=halving.get("first_rung", FIRST_RUNG),
    )


def _check_fit(meta: Mapping[str, Any], suite: Suite, file: Path) -> None:
    """Refuse seeds that choose and judge, and tables that lack entrants or know others."""
    seeds = [*meta["tuning_seeds"], *meta["finalist_seeds"], *meta["evaluation_seeds"]]
    if len(set(seeds)) < len(seeds):
        raise ResultsError(f"'{file}' is damaged: a seed is there twice; none may choose and judge")
    labels = {each.label: {entry.label for entry in each.optimizers} for each in suite.problems}
    budget = meta["budget"]
    tables = {
        "spaces": meta["spaces"],
        "space_sources": meta["space_sources"],
        "budget.trials": budget["trials"],
        "budget.seconds_per_step": budget["seconds_per_step"],
    }
    for name, table in tables.items():
        if {problem: {*those} for problem, those in table.items()} != labels:
            raise ResultsError(f"'{file}' is damaged: {name} does not fit its suite")
    if meta["metric"].keys() != labels.keys():
        raise ResultsError(f"'{file}' is damaged: metric does not fit its suite")
    aimed = {problem for problem, metric in meta["metric"].items() if metric == STEPS_TO_TARGET}
    known = {
        problem
        for problem, goal in meta["target"].items()
        if goal["value"] is not None or goal["rule"].startswith("start/")
    }
    if known != aimed or known != meta["target"].keys():
        raise ResultsError(f"'{file}' is damaged: target does not fit its metric")
