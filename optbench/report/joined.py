"""Several runs as one, so that what they have in common can stand in one table or figure."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from optbench.errors import UsageError
from optbench.records import RunTables
from optbench.report.configurations import describe
from optbench.report.differences import differences, shown
from optbench.store.studies import run_name
from optbench.store.thinning import ALL, kept_every

ENDS = ("evaluate_every", "stop")
"""Keys of a suite's problem that decide, beside its iterations, what lanes report and when they
end."""

MOST_DIFFERENCES = 4
"""Differences that a message names."""

SETTINGS = {
    "iterations": "{} iterations",
    "batch_size": "batches of {}",
    "dtype": "{}",
    "device": "on a {}",
}
"""Settings of a problem that tell runs of it apart at a glance, and how a title has them."""

RUN_NAME = re.compile(r"(.+)-\d{8}T\d{6}Z-([0-9a-f]{8})$")
"""The name of a run's directory that nobody has moved: what people call it, and what tells it from
all others."""


def joined(runs: Sequence[RunTables]) -> RunTables:
    """Return the tables of all runs as those of one; lanes are numbered anew.

    Labels that several runs have of one problem become ``label (run)``, with what people call the
    runs where no two have the same name.

    Raises
    ------
    UsageError
        If a problem is not the same in all runs that have it: its fingerprint, iterations,
        evaluations or stopping rules differ, or the meaning of its final loss. It names the places.
    """
    distinct = list({run.path.resolve(): run for run in runs}.values())
    if len(distinct) == 1:
        return distinct[0]
    problems: dict[str, RunTables] = {}
    for run in distinct:
        for entry in run.meta["problems"]:
            first = problems.setdefault(str(entry["problem"]), run)
            _check_same(str(entry["problem"]), first, run)
    names = _run_names(distinct)
    parts = list(_renumbered(_told_apart(distinct, _spoken_names(distinct) or names)))
    tables = {
        name: pd.concat([getattr(part, name) for part in parts], ignore_index=True)
        for name in ("lanes", "trace", "evaluation", "surface")
    }
    tables["surface"] = tables["surface"].drop_duplicates(["problem", "x", "y"])
    first = distinct[0]
    suites = dict.fromkeys(str(run.meta["suite"]["name"]) for run in distinct)
    meta = {
        **first.meta,
        "trace": max((run.meta.get("trace", ALL) for run in distinct), key=kept_every),
        "suite": {**first.meta["suite"], "name": " and ".join(suites)},
        "problems": [
            {**describe(run, problem), "alone_seconds": _alone_seconds(problem, parts)}
            for problem, run in problems.items()
        ],
        "optimizers": [entry for part in parts for entry in part.meta.get("optimizers", ())],
        "failures": [entry for part in parts for entry in part.meta.get("failures", ())],
    }
    shared = dict(_owners(distinct, parts))
    return RunTables(path=first.path, meta=meta, **tables, runs=tuple(names), shared=shared)


def settings_apart(described: Mapping[str, Mapping[str, Any]]) -> dict[tuple[str, str], str]:
    """Return, by run and problem, those of :data:`SETTINGS` that differ between runs, as text.

    ``described`` has what run.json says of each run, by its name.
    """
    settings: dict[str, dict[str, dict[str, Any]]] = {}
    for run, meta in described.items():
        device = (meta.get("device") or {}).get("kind")
        for entry in meta["problems"]:
            settings.setdefault(str(entry["problem"]), {})[run] = {**entry, "device": device}
    found = {}
    for problem, of_runs in settings.items():
        differ = [
            name for name in SETTINGS if len({each.get(name) for each in of_runs.values()}) > 1
        ]
        for run, each in of_runs.items():
            known = [(name, each.get(name)) for name in differ if each.get(name) is not None]
            found[run, problem] = ", ".join(SETTINGS[name].format(value) for name, value in known)
    return found


def of_problems(tables: RunTables, problems: Collection[str]) -> RunTables:
    """Return the tables of some problems of a run as those of a run."""
    lanes = tables.lanes[tables.lanes["problem"].isin(list(problems))]
    return replace(
        tables,
        lanes=lanes,
        trace=tables.trace[tables.trace["lane"].isin(lanes["lane"])],
        evaluation=tables.evaluation[tables.evaluation["lane"].isin(lanes["lane"])],
        surface=tables.surface[tables.surface["problem"].isin(list(problems))],
        meta={
            **tables.meta,
            "problems": [describe(tables, problem) for problem in problems],
        },
    )


def _check_same(problem: str, one: RunTables, other: RunTables) -> None:
    """Refuse a problem that is not the same in two runs."""
    found = list(_unlike(problem, one, other))
    if found:
        more = f" and {len(found) - MOST_DIFFERENCES} more" * (len(found) > MOST_DIFFERENCES)
        raise UsageError(
            f"'{problem}' is not the same in {run_name(one.path)} and {run_name(other.path)}: "
            f"{'; '.join(found[:MOST_DIFFERENCES])}{more}"
        )


def _unlike(problem: str, one: RunTables, other: RunTables) -> Iterator[str]:
    """Yield what makes lanes of a problem in two runs something else, as text."""
    sides = _asked(problem, one), _asked(problem, other)
    for place, first, second in differences(*sides):
        yield f"{place} {shown(first)} and {shown(second)}"
    entries = [describe(run, problem) for run in (one, other)]
    if sides[0] == sides[1] and entries[0].get("fingerprint") != entries[1].get("fingerprint"):
        yield "fingerprint"
    versions = [run.meta["schema_version"] for run in (one, other)]
    if entries[0].get("stochastic") and versions[0] != versions[1]:
        yield f"schema_version {versions[0]} and {versions[1]}, whose final losses differ"


def _asked(problem: str, run: RunTables) -> dict[str, Any]:
    """Return what decides what the lanes of a problem compute, report, and when they end."""
    entry = describe(run, problem)
    resolved = run.meta["suite"].get("resolved") or {}
    (asked,) = [
        each for each in resolved.get("problem", ()) if each.get("label", each["name"]) == problem
    ] or [{}]
    ends = {name: asked[name] for name in ENDS if name in asked}
    definition = entry.get("definition") or {}
    return {"iterations": entry.get("iterations"), **ends, **definition}


def _run_names(runs: Sequence[RunTables]) -> list[str]:
    """Return what tells runs from all others: the last part of their names, or all of it."""
    named = [run_name(run.path) for run in runs]
    found = [RUN_NAME.fullmatch(name) for name in named]
    short = [match[2] if match else name for match, name in zip(found, named, strict=True)]
    return short if len(set(short)) == len(short) else [str(run.path) for run in runs]


def _spoken_names(runs: Sequence[RunTables]) -> list[str] | None:
    """Return what people call runs, unless two of them have the same name."""
    names = [RUN_NAME.sub(r"\1", run_name(run.path)) for run in runs]
    return names if len(set(names)) == len(names) else None


def _told_apart(runs: Sequence[RunTables], names: Iterable[str]) -> Iterator[RunTables]:
    """Yield the runs, labels that several of them have followed by the name of the run."""
    has: Counter[tuple[str, str]] = Counter()
    for run in runs:
        has.update(set(zip(run.lanes["problem"], run.lanes["label"], strict=True)))
    shared = {label for (_, label), count in has.items() if count > 1}
    for run, name in zip(runs, names, strict=True):
        labels = {label: f"{label} ({name})" for label in shared}
        yield replace(
            run,
            lanes=run.lanes.assign(label=run.lanes["label"].replace(labels)),
            meta={
                **run.meta,
                "optimizers": list(_renamed(run.meta, labels)),
                "problems": [_with_labels(entry, labels) for entry in run.meta["problems"]],
            },
        )


def _with_labels(problem: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, Any]:
    """Return the entry of a problem, what it says of labels under their names."""
    alone = problem.get("alone_seconds") or {}
    return {**problem, "alone_seconds": {labels.get(key, key): alone[key] for key in alone}}


def _alone_seconds(problem: str, parts: Iterable[RunTables]) -> dict[str, float]:
    """Return what a step of each label takes alone, of all runs."""
    entries = [entry for part in parts for entry in part.meta["problems"]]
    found = [entry["alone_seconds"] for entry in entries if entry["problem"] == problem]
    return {label: seconds for each in found for label, seconds in each.items()}


def _owners(
    runs: Iterable[RunTables], parts: Iterable[RunTables]
) -> Iterator[tuple[str, tuple[str, int]]]:
    """Yield each label that was made different, what it was, and the place of its run."""
    for place, (run, part) in enumerate(zip(runs, parts, strict=True)):
        labels = zip(run.lanes["label"], part.lanes["label"], strict=True)
        for own, label in dict.fromkeys(labels):
            if own != label:
                yield str(label), (str(own), place)


def _renamed(meta: Mapping[str, Any], labels: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for entry in meta.get("optimizers", ()):
        yield {**entry, "label": labels.get(entry["label"], entry["label"])}


def _renumbered(runs: Iterable[RunTables]) -> Iterator[RunTables]:
    """Yield the runs with lane numbers that follow those of the run before."""
    first = 0
    for run in runs:
        yield replace(
            run,
            lanes=run.lanes.assign(lane=run.lanes["lane"] + first),
            trace=run.trace.assign(lane=run.trace["lane"] + first),
            evaluation=run.evaluation.assign(lane=run.evaluation["lane"] + first),
        )
        first += int(run.lanes["lane"].max()) + 1
