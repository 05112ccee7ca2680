"""What was asked for: hyperparameters, problems, streams, rules, and where optimizers come from.

A difference makes all others of its lanes consequences. It is a failure, except that a change of an
optimizer's plug-in is a notice: to try that change is what the gate of one's own optimizer is for.
A change of a problem's plug-in makes it another problem.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from optbench.gate.comparison import Comparison, Pair, share_of_lanes
from optbench.gate.verdict import Finding, Kind, Severity
from optbench.report.differences import MISSING, Difference, differences, shown
from optbench.suite.values import seeds_text

MOST_DIFFERENCES = 8
"""Differences of one problem's definition that have a finding each."""

CODE = re.compile(r"definition\.plugin\.(?!name$)")
"""Places in the definition of a plug-in's problem that hold what :func:`_code` compares."""

RULES = ("iterations", "evaluate_every", "stop")
"""Keys of a problem entry that decide how long lanes run; its definition holds the others."""


def settings_findings(comparison: Comparison) -> list[Finding]:
    """Return what differs between the settings of matched lanes, one finding per difference.

    Seeds and lanes with the same difference share a finding.
    """
    return [
        *_hyperparameters(comparison),
        *_problems(comparison),
        *_rules(comparison),
        *_code(comparison),
    ]


def concerned(finding: Finding) -> list[tuple[str, str]]:
    """Return the problems and labels that a finding of settings is about; "" stands for all."""
    places = [("", label) for label in finding.values.get("labels", ())]
    places += [(problem, "") for problem in finding.values.get("problems", ())]
    return places or [(finding.problem, finding.label)]


def _finding(
    problem: str,
    label: str,
    difference: Difference,
    message: str = "",
    *,
    severity: Severity = Severity.FAILURE,
    size: float = 1.0,
    numbers: Mapping[str, Any] | None = None,
    **quoted: Any,
) -> Finding:
    """Return a finding; ``quoted`` are the seed and the setting of what its message quotes."""
    text = message or str(difference)
    sides = difference._asdict().items()
    values = {name: None if value is MISSING else value for name, value in sides}
    values |= numbers or {}
    return Finding(
        severity, Kind.SETTINGS, problem, label, text, size=size, values=values, **quoted
    )


def _hyperparameters(comparison: Comparison) -> Iterator[Finding]:
    matching = comparison.matching
    lanes: dict[tuple[str, str], int] = defaultdict(int)
    alike: dict[tuple[str, str, str], list[tuple[Pair, Difference]]] = defaultdict(list)
    for pair in matching.pairs:
        lanes[pair.problem, pair.label] += 1
        then = matching.hyperparameters_then[pair.then]
        now = matching.hyperparameters_now[pair.now]
        for difference in differences(then, now):
            alike[pair.problem, pair.label, difference.path].append((pair, difference))
    for (problem, label, name), cases in alike.items():
        pair, first = cases[0]
        setting = pair.setting if len({case.setting for case, _ in cases}) == 1 else ""
        yield _finding(
            problem,
            label,
            Difference(f"hyperparameters.{name}", first.then, first.now),
            f"{first}{share_of_lanes(len(cases), lanes[problem, label])}",
            setting=setting,
            size=float(len(cases)),
        )


def _problems(comparison: Comparison) -> Iterator[Finding]:
    seeds: dict[str, set[int]] = defaultdict(set)
    for pair in comparison.matching.pairs:
        seeds[pair.problem].add(pair.seed)
    metas = comparison.baseline.meta, comparison.run.meta
    resolved = [meta.get("suite", {}).get("resolved", {}).get("problem", []) for meta in metas]
    entries = [
        {str(entry.get("label", entry["name"])): entry for entry in side} for side in resolved
    ]
    for problem, paired in seeds.items():
        sides = comparison.problems_then[problem], comparison.problems_now[problem]
        yield from _definition(problem, *sides)
        yield from _streams(problem, paired, *sides)
        rules_then, rules_now = (
            {"iterations": side.get("iterations", MISSING)}
            | {name: entry[name] for name in RULES if name in entry}
            for side, entry in zip(
                sides, (known.get(problem, {}) for known in entries), strict=True
            )
        )
        for difference in differences(rules_then, rules_now):
            yield _finding(problem, "", difference)


def _definition(problem: str, then: dict[str, Any], now: dict[str, Any]) -> Iterator[Finding]:
    """Explain a change of fingerprint by the definitions behind it."""
    if then.get("fingerprint") == now.get("fingerprint"):
        return
    old, new = then.get("definition", {}), now.get("definition", {})
    found = list(differences(old, new, "definition"))
    if found and _are_code(then, now):
        found = [each for each in found if not CODE.match(each.path)]
    elif not found:
        whole = Difference("fingerprint", then.get("fingerprint"), now.get("fingerprint"))
        yield _finding(problem, "", whole)
    for difference in found[:MOST_DIFFERENCES]:
        yield _finding(problem, "", difference)
    rest = found[MOST_DIFFERENCES:]
    if rest:
        paths = ", ".join(difference.path for difference in rest[:MOST_DIFFERENCES])
        more = Difference("definition", len(found), len(found))
        message = f"its definition differs in {len(rest)} more places: {paths}"
        yield _finding(problem, "", more, message, size=0.5)


def _streams(
    problem: str, seeds: set[int], then: dict[str, Any], now: dict[str, Any]
) -> Iterator[Finding]:
    old, new = then.get("stream_digests", {}), now.get("stream_digests", {})
    other = [seed for seed in sorted(seeds) if old.get(str(seed)) != new.get(str(seed))]
    if other:
        key = str(other[0])
        first = Difference(f"stream_digests.{key}", old.get(key, MISSING), new.get(key, MISSING))
        message = (
            f"start or first batches differ for {seeds_text(other)}: stream digest "
            f"{shown(first.then)} then, {shown(first.now)} now for seed {key}"
        )
        yield _finding(problem, "", first, message, seed=other[0])


def _rules(comparison: Comparison) -> Iterator[Finding]:
    """Compare each label's rule, and where it comes from."""
    for label, (then, now) in _optimizers(comparison).items():
        old, new = (
            {name: _identity(side.get(name)) for name in ("rule", "source")} if side else {}
            for side in (then, now)
        )
        for difference in differences(old, new):
            if not (_are_code(then, now) and difference.path.startswith("source.")):
                yield _finding("", label, difference)


def _code(comparison: Comparison) -> Iterator[Finding]:
    """Return one finding per change of plug-ins' code, whatever labels and problems it is of."""
    changes: dict[str, tuple[Difference, dict[str, list[str]]]] = {}
    for kind, known in (("labels", _optimizers(comparison)), ("problems", _described(comparison))):
        for name, (then, now) in known.items():
            if not _are_code(then, now):
                continue
            file = PurePath(str(now["source"].get("place", ""))).name
            for difference in differences(_identity(then["source"]), _identity(now["source"])):
                path = file if difference.path == "sha256" else difference.path
                text = str(difference._replace(path=path))
                nobody: dict[str, list[str]] = {"labels": [], "problems": []}
                changes.setdefault(text, (difference, nobody))[1][kind].append(name)
    for text, (difference, names) in changes.items():
        labels, problems = names["labels"], names["problems"]
        several = len(labels) + len(problems) > 1
        what = f"the code of {', '.join([*labels, *problems])}" if several else "its code"
        yield _finding(
            "" if several else "".join(problems),
            "" if several else "".join(labels),
            difference._replace(path=f"source.{difference.path}"),
            f"{what} has changed: {text}",
            severity=Severity.FAILURE if problems else Severity.NOTICE,
            numbers=names,
        )


def _optimizers(comparison: Comparison) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Return what baseline and run say of each matched label; nothing where they lack it."""
    then, now = (
        {str(entry["label"]): entry for entry in meta.get("optimizers", [])}
        for meta in (comparison.baseline.meta, comparison.run.meta)
    )
    labels = dict.fromkeys(pair.label for pair in comparison.matching.pairs)
    return {label: (then.get(label, {}), now.get(label, {})) for label in labels}


def _described(comparison: Comparison) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Return what baseline and run say of each matched problem."""
    then, now = comparison.problems_then, comparison.problems_now
    problems = dict.fromkeys(pair.problem for pair in comparison.matching.pairs)
    return {problem: (then[problem], now[problem]) for problem in problems}


def _are_code(then: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Say whether both sides are a plug-in's."""
    return all(isinstance(side.get("source"), dict) for side in (then, now))


def _identity(source: Any) -> Any:
    """Return a source without where its file is, which does not matter."""
    if not isinstance(source, dict):
        return source
    return {name: value for name, value in source.items() if name != "place"}
