"""The judging part of the gate: a baseline and a run become a verdict.

Nothing here, nor in the files of each kind of finding, reads a file or runs a lane. Test errors and
iterations to a target are reported and not judged.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from optbench.gate.baseline import Baseline
from optbench.gate.comparison import Comparison, Pair, averaged_alike
from optbench.gate.metric import measure
from optbench.gate.numerics import numerics_findings
from optbench.gate.presence import ending_findings, nothing_paired, unmatched_findings
from optbench.gate.quality import judge, quality_findings
from optbench.gate.settings import concerned, settings_findings
from optbench.gate.speed import speed_findings
from optbench.gate.verdict import (
    Finding,
    Gate,
    Group,
    Kind,
    Reached,
    Severity,
    Verdict,
    worst_first,
)
from optbench.records import RunTables
from optbench.report.configurations import last_evaluations


def compare(baseline: Baseline, run: RunTables, gate: Gate | None = None) -> Verdict:
    """Compare a run with a baseline, lane by lane; without a gate, by its defaults."""
    comparison = Comparison(baseline, averaged_alike(run, baseline), gate or Gate())
    if not comparison.matching.pairs:
        return Verdict((nothing_paired(comparison),), (), 0)
    settings = settings_findings(comparison)
    kinds = comparison.gate.kinds
    judged = judge(measure(comparison), comparison.gate) if Kind.QUALITY in kinds else []
    groups = _with_reported(judged, comparison)
    consequences = [
        *numerics_findings(comparison),
        *quality_findings(groups, comparison.gate),
        *ending_findings(comparison),
    ]
    findings = [
        *settings,
        *unmatched_findings(comparison.matching),
        *_explained(consequences, settings),
        *speed_findings(comparison),
    ]
    looked_for = [finding for finding in findings if finding.kind in kinds]
    return Verdict(worst_first(looked_for), tuple(groups), len(comparison.matching.pairs))


def _explained(findings: Iterable[Finding], settings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield findings, which say so where settings of their lanes differ: that explains them."""
    changed: dict[tuple[str, str], set[Severity]] = defaultdict(set)  # "" stands for all
    for finding in settings:
        for place in concerned(finding):
            changed[place].add(finding.severity)
    for finding in findings:
        problem, label = finding.problem, finding.label
        places = ((problem, label), (problem, ""), ("", label))
        severities = set[Severity]().union(*(changed.get(place, ()) for place in places))
        if severities:
            what = "its settings differ" if Severity.FAILURE in severities else "its code differs"
            message = f"{finding.message}; {what} too"
            yield replace(finding, message=message, consequence=True)
        else:
            yield finding


def test_errors(tables: RunTables) -> dict[str, dict[str, float]]:
    """Return the mean zero-one error on the test split, by problem and label.

    The last evaluation of each lane counts; with early stopping, that of the parameters that
    validated best. Labels without one are left out.
    """
    rows = tables.evaluation
    rows = rows[(rows["split"] == "test") & np.isfinite(rows["error"].astype("float64"))]
    last = last_evaluations(rows, tables.lanes)
    last = last.merge(tables.lanes[["lane", "problem", "label"]], on="lane")
    errors: dict[str, dict[str, float]] = {}
    for (problem, label), part in last.groupby(["problem", "label"], sort=False):
        errors.setdefault(str(problem), {})[str(label)] = float(part["error"].mean())
    return errors


def _with_reported(groups: Sequence[Group], comparison: Comparison) -> list[Group]:
    """Return groups with what is reported of them filled in."""
    meta = comparison.baseline.meta
    errors_then, errors_now = meta.get("test_error") or {}, test_errors(comparison.run)
    targets = meta.get("targets") or {}
    reached = {
        pairs[0].group: _iterations(comparison, pairs, targets.get(pairs[0].problem))
        for pairs in comparison.matching.groups()
    }
    return [
        replace(
            group,
            test_error_then=_of_label(errors_then, group),
            test_error_now=_of_label(errors_now, group),
            reached_then=reached[group.problem, group.label, group.configuration][0],
            reached_now=reached[group.problem, group.label, group.configuration][1],
        )
        for group in groups
    ]


def _of_label(errors: Mapping[str, Mapping[str, float]], group: Group) -> float | None:
    """Return a label's error; one of several configurations of a label has none of its own."""
    return None if group.setting else errors.get(group.problem, {}).get(group.label)


def _iterations(
    comparison: Comparison, pairs: Sequence[Pair], target: float | None
) -> tuple[Reached | None, Reached | None]:
    """Return the median over seeds of the first iteration with a loss of at most the target.

    Only iterations that the baseline has stored are looked at, on both sides. A lane that misses
    counts as infinite; where the median does, it is censored at the last iteration looked at.
    """
    if target is None:
        return None, None
    positions = [comparison.positions[pair] for pair in pairs]
    rows = comparison.rows[comparison.rows["pair"].isin(positions)]
    return _median(rows, "then", len(pairs), target), _median(rows, "now", len(pairs), target)


def _median(rows: pd.DataFrame, side: str, lanes: int, target: float) -> Reached | None:
    rows = rows[rows[side].notna()]
    if rows.empty:
        return None
    first = rows[rows[side] <= target].groupby("pair")["iteration"].min()
    iterations = np.full(lanes, np.inf)
    iterations[: len(first)] = first.to_numpy()
    ordered = np.sort(iterations)
    middle = ordered[[(lanes - 1) // 2, lanes // 2]]
    if np.isfinite(middle).all():
        return Reached(float(middle.mean()))
    return Reached(float(rows["iteration"].max()), censored=True)
