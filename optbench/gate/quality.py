"""Whether the losses that groups of lanes reach have become worse.

A group is the lanes of one problem, label and configuration over all seeds. Its metric is that of
:mod:`optbench.gate.metric`, its test that of :mod:`optbench.inference.flips`. A regression is a
change for the worse that is larger than the threshold and significant; an improvement is the same
with then and now exchanged. Where neither holds, a group passes unless its interval reaches beyond
the threshold: then it is inconclusive.

Groups without randomness are judged by the threshold alone: all their seeds are one lane.
"""

from collections.abc import Mapping, Sequence
from math import ceil, expm1, inf, isfinite, log1p, log2
from typing import TYPE_CHECKING, Any

import numpy as np

from optbench.gate.metric import MeasuredGroup
from optbench.gate.verdict import Finding, Gate, Group, Kind, Outcome, Severity, share
from optbench.inference.flips import SignFlips
from optbench.inference.power import detectable_change

if TYPE_CHECKING:
    import pandas as pd

FEWEST_SEEDS = 8


def judge(measured: Sequence[MeasuredGroup], gate: Gate) -> list[Group]:
    """Return the verdict of each group."""
    tested: dict[int, Group] = {}
    family = {
        number: group
        for number, group in enumerate(measured)
        if group.random and group.seeds >= seeds_needed(gate)
    }
    if family:
        test = SignFlips.of(np.stack([group.difference for group in family.values()]))
        for_worse, for_better = test.adjusted(1.0), test.adjusted(-1.0)
        for row, (number, group) in enumerate(family.items()):
            interval = test.interval(row, gate.level)
            p = (float(for_worse[row]), float(for_better[row]))
            tested[number] = _tested(group, gate, p, interval, len(family))
    return [
        tested[number] if number in tested else _untested(group, gate)
        for number, group in enumerate(measured)
    ]


def seeds_needed(gate: Gate) -> int:
    """Return how many seeds a group needs: 8, or more if so few cannot reach the level.

    >>> seeds_needed(Gate()), seeds_needed(Gate(level=0.001))
    (8, 10)
    """
    return max(FEWEST_SEEDS, ceil(-log2(gate.level) - 1e-12))


def untested(lanes: "pd.DataFrame", meta: Mapping[str, Any], needed: int) -> dict[str, int]:
    """Return of which problems the losses cannot be tested, with the number of seeds that count.

    ``lanes`` and ``meta`` are those of a baseline. Seeds count where they have a final loss, and
    the label of a problem that has the fewest decides. What is not random needs no test.
    """
    random = {entry["problem"]: entry["random"] for entry in meta["problems"]}
    rules = {entry["label"]: entry["random"] for entry in meta["optimizers"]}
    fewest: dict[str, int] = {}
    for (problem, label), part in lanes.groupby(["problem", "label"], sort=False):
        if random[problem] or rules[label]:
            seeds = part.loc[np.isfinite(part["final_loss"].astype(float)), "seed"].nunique()
            fewest[str(problem)] = min(seeds, fewest.get(str(problem), needed))
    return {problem: seeds for problem, seeds in fewest.items() if seeds < needed}


def _tested(
    group: MeasuredGroup,
    gate: Gate,
    p: tuple[float, float],
    interval: tuple[float, float],
    family: int,
) -> Group:
    """Judge a group by test and threshold; ``p`` is for the worse and for the better."""
    effect = float(np.nanmean(group.difference))
    beyond = log1p(gate.threshold_of(group.problem))
    if effect > beyond and p[0] <= gate.level:
        verdict = Outcome.REGRESSION
    elif effect < -beyond and p[1] <= gate.level:
        verdict = Outcome.IMPROVEMENT
    elif interval[0] < -beyond or interval[1] > beyond:
        verdict = Outcome.INCONCLUSIVE
    else:
        verdict = Outcome.PASS
    used = group.then[np.isfinite(group.difference)]
    detectable = detectable_change(float(used.std(ddof=1)), beyond, group.seeds, family, gate.level)
    return _group(group, verdict, "", effect, interval, detectable, p=p[0] if effect >= 0 else p[1])


def _untested(group: MeasuredGroup, gate: Gate) -> Group:
    """Judge a group that is not random by the threshold; say so of one with too few seeds."""
    if not group.seeds:
        return _without_pairs(group)
    effect = float(np.nanmean(group.difference))
    if not group.random:
        beyond = log1p(gate.threshold_of(group.problem))
        verdict = Outcome.PASS
        if abs(effect) > beyond:
            verdict = Outcome.REGRESSION if effect > 0.0 else Outcome.IMPROVEMENT
        note = "nothing random, judged by the threshold"
        return _group(group, verdict, note, effect, (effect, effect), beyond)
    note = f"needs at least {seeds_needed(gate)} seeds, has {group.seeds}"
    if (group.difference[np.isfinite(group.difference)] == 0.0).all():
        note += "; all of them end with the same loss as before"
        return _group(group, Outcome.PASS, note, effect)
    return _group(group, Outcome.INCONCLUSIVE, note, effect)


def _without_pairs(group: MeasuredGroup) -> Group:
    """Judge a group in which no pair has finite losses: diverged lanes count as worst."""
    if not group.finite_now and not group.finite_then:
        verdict, note = Outcome.PASS, "no lane has a finite loss, neither then nor now"
    elif not group.finite_now:
        verdict = Outcome.REGRESSION
        note = f"no lane has a finite loss, {group.finite_then} had one"
    elif not group.finite_then:
        verdict = Outcome.IMPROVEMENT
        note = f"{group.finite_now} lanes have a finite loss, none had one"
    else:
        verdict, note = Outcome.INCONCLUSIVE, "no seed has a finite loss both then and now"
    return _group(group, verdict, note)


def _group(
    group: MeasuredGroup,
    verdict: Outcome,
    note: str,
    effect: float | None = None,
    interval: tuple[float, float] = (-inf, inf),
    detectable: float | None = None,
    *,
    p: float | None = None,
) -> Group:
    """Return a verdict, changes of logarithms turned into relative changes."""
    lost = group.lanes - group.seeds
    if lost and group.seeds:
        left_out = f"{lost} lane{'s' if lost > 1 else ''} without a finite loss left out"
        note = f"{note}; {left_out}" if note else left_out
    return Group(
        group.problem,
        group.label,
        verdict,
        effect=_relative(effect),
        low=_relative(interval[0]),
        high=_relative(interval[1]),
        detectable=_relative(detectable),
        p=p,
        seeds=group.seeds,
        note=note,
        configuration=group.configuration,
        setting=group.setting,
    )


def _relative(change: float | None) -> float | None:
    """Return exp(change) − 1; None for what is not known."""
    if change is None or not isfinite(change):
        return None
    return expm1(min(change, 700.0))  # what is larger is no float


def quality_findings(groups: Sequence[Group], gate: Gate) -> list[Finding]:
    """Return what is to be said of groups that did not simply pass.

    Groups without a loss to compare are a matter of presence.
    """
    return [
        _finding(group, group.effect, gate)
        for group in groups
        if group.verdict != Outcome.PASS and group.effect is not None
    ]


def _finding(group: Group, effect: float, gate: Gate) -> Finding:
    threshold = gate.threshold_of(group.problem)
    severity = Severity.NOTICE
    if group.verdict == Outcome.REGRESSION:
        severity = Severity.FAILURE
    elif group.verdict == Outcome.INCONCLUSIVE and effect > threshold:
        severity = Severity.WARNING
    text = f"{group.verdict}: final loss {share(effect)}"
    if group.low is not None and group.high is not None and group.low != group.high:
        text += f" ({share(group.low)} to {share(group.high)})"
    text += f", threshold {100.0 * threshold:g} %"
    test = "" if group.p is None else f"p = {group.p:.3g}, {group.seeds} seeds"
    return Finding(
        severity,
        Kind.QUALITY,
        group.problem,
        group.label,
        "; ".join(filter(None, (text, test, group.note))),
        setting=group.setting,
        size=abs(log1p(effect)),
        values={
            name: getattr(group, name)
            for name in ("verdict", "effect", "low", "high", "detectable", "p", "seeds")
        },
    )
