"""Whether a baseline is what was saved, and holds all that a check compares.

A lane, a row or a tolerance that is not there would be let through unseen, so it is a failure.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from math import inf, isfinite, nan

import pandas as pd

from optbench.gate.baseline import NUMERICS_ITERATIONS, OLDEST_VERSION, Baseline
from optbench.gate.comparison import Row, rows_by_lane
from optbench.gate.verdict import Finding, Kind, Severity
from optbench.records import Status
from optbench.suite.format import adjusted, parse_suite
from optbench.suite.sweep import Sweep


def integrity_findings(baseline: Baseline) -> list[Finding]:
    """Return in what a baseline is not what was saved, and what of it cannot be compared."""
    version = baseline.meta["schema_version"]
    if version < OLDEST_VERSION:
        return [_finding(f"an earlier optbench saved it (schema_version {version})")]
    findings = []
    if baseline.changed:
        message = f"{', '.join(baseline.changed)} changed after it was saved (SHA-256 differs)"
        findings.append(_finding(message, files=list(baseline.changed)))
    incomplete = list(gaps(baseline))
    if incomplete:
        more = f", and {len(incomplete) - 1} more lanes" if incomplete[1:] else ""
        message = f"it is incomplete: {incomplete[0]}{more}"
        findings.append(_finding(message, lanes=len(incomplete)))
    return findings


def _finding(message: str, **values: object) -> Finding:
    return Finding(Severity.FAILURE, Kind.BASELINE, "", "", message, values=values)


def gaps(baseline: Baseline) -> Iterator[str]:
    """Yield for each lane of the suite that cannot be compared as a whole the reason.

    A lane needs its first rows and its last one; finite losses, except where it diverged, and a
    final loss; and for each of the first rows a tolerance that is positive and finite.
    """
    yield from _missing_lanes(baseline)
    losses = _by_lane(baseline.trace, "loss")
    tolerances = _by_lane(baseline.tolerance, "tolerance")
    ends = {
        str(entry["problem"]): entry.get("iterations", 1) - (entry.get("record") == "after")
        for entry in baseline.meta["problems"]
    }
    for number, lane in rows_by_lane(baseline.lanes).items():
        problem = str(lane["problem"])
        gap = _gap(lane, ends[problem], losses.get(number, {}), tolerances.get(number, {}))
        if gap:
            yield f"{problem}, {lane['label']}, seed {lane['seed']} {gap}"


def _missing_lanes(baseline: Baseline) -> Iterator[str]:
    meta, lanes = baseline.meta, baseline.lanes
    file = parse_suite(meta["suite"]["resolved"], f"'{baseline.path}'")
    keys = zip(lanes["problem"], lanes["label"], lanes["seed"], strict=True)
    there = Counter((str(problem), str(label), int(seed)) for problem, label, seed in keys)
    fixed = {entry["problem"] for entry in meta["problems"] if not entry.get("random", True)}
    random = {entry["label"] for entry in meta["optimizers"] if entry.get("random")}
    for problem in file.problem:
        for entry in file.optimizer:
            alike = problem.title in fixed and entry.title not in random
            seeds = meta["seeds"][:1] if alike else meta["seeds"]
            points = Sweep.of(adjusted(file.optimizer, entry, problem.overrides)).size
            for seed in seeds:
                if there[problem.title, entry.title, seed] < points:
                    yield f"{problem.title}, {entry.title}, seed {seed} is missing"


def _by_lane(rows: pd.DataFrame, column: str) -> dict[int, dict[int, float]]:
    """Return the values of a column by lane and iteration."""
    return {
        int(str(lane)): dict(zip(part["iteration"].tolist(), part[column].tolist(), strict=True))
        for lane, part in rows.groupby("lane")
    }


def _gap(lane: Row, full: int, losses: Mapping[int, float], tolerances: Mapping[int, float]) -> str:
    """Say why a lane cannot be compared; nothing if it can. ``full`` is the last row of a trace."""
    status = lane["status"]
    ends = {
        Status.DONE: full,
        Status.STOPPED: lane["stopped_at"],
        Status.DIVERGED: lane["diverged_at"],
    }
    if status not in ends or pd.isna(ends[status]):
        return f"is {status}, and nothing says where it ended"
    end = int(ends[status])
    for iteration in (*range(min(NUMERICS_ITERATIONS, end)), end):
        if iteration not in losses:
            return f"has no row {iteration}"
    for iteration, loss in losses.items():
        if iteration > end:
            return f"has a row {iteration}, but ended at {end}"
        if not isfinite(loss):
            if status == Status.DIVERGED and iteration == end:
                continue
            return f"has the loss {loss} at iteration {iteration}"
        tolerance = tolerances.get(iteration, nan)
        if iteration < NUMERICS_ITERATIONS and not 0.0 < tolerance < inf:
            return f"has the tolerance {tolerance} at iteration {iteration}"
    if status != Status.DIVERGED and not isfinite(lane["final_loss"]):
        return "has no final loss"
    return ""
