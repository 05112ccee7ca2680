"""Lanes that are missing or new, how lanes ended, and losses that are no longer numbers."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from math import inf
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from optbench.gate.comparison import (
    Comparison,
    Matching,
    MatchKey,
    Pair,
    Row,
    share_of_lanes,
)
from optbench.gate.verdict import Finding, Kind, Severity
from optbench.records import Status
from optbench.report.statistics import ENDED_WORST
from optbench.suite.values import seeds_text

UNFINISHED = (Status.RUNNING, Status.INTERRUPTED)


def nothing_paired(comparison: Comparison) -> Finding:
    """Return what is to be said where no lane has a partner."""

    def described(lanes: pd.DataFrame) -> str:
        names = [", ".join(map(str, lanes[name].unique()[:3])) for name in ("problem", "label")]
        return f"{' with '.join(names)}, {seeds_text(lanes['seed'].astype(int))}"

    then, now = described(comparison.baseline.lanes), described(comparison.run.lanes)
    message = (
        f"no lane has the problem, label and seed of one in the baseline, which has {then}; "
        f"the run has {now}"
    )
    return Finding(Severity.FAILURE, Kind.PRESENCE, "", "", message)


def unmatched_findings(matching: Matching) -> list[Finding]:
    """Return lanes that are missing or new."""
    missing = _unmatched(matching.missing, Severity.FAILURE, "missing from the run")
    return [*missing, *_unmatched(matching.new, Severity.NOTICE, "not in the baseline")]


def _unmatched(keys: Sequence[MatchKey], severity: Severity, what: str) -> Iterator[Finding]:
    seeds_by_label: dict[tuple[str, str], list[int]] = defaultdict(list)
    for key in keys:
        seeds_by_label[key.problem, key.label].append(key.seed)
    for (problem, label), seeds in seeds_by_label.items():
        noun = "lane" if len(seeds) == 1 else "lanes"
        yield Finding(
            severity,
            Kind.PRESENCE,
            problem,
            label,
            f"{len(seeds)} {noun} {what}: {seeds_text(seeds)}",
            size=float(len(seeds)),
            values={"seeds": sorted(set(seeds)), "lanes": len(seeds)},
        )


def ending_findings(comparison: Comparison) -> list[Finding]:
    """Return ends of lanes that differ, and values that are no longer finite.

    Lanes of one configuration that ended alike share a finding, which quotes the first.
    """
    matching, lost = comparison.matching, _lost_rows(comparison)
    errors = {
        lane: failure["message"]
        for failure in comparison.run.meta.get("failures", ())
        for lane in failure["lanes"]
    }
    findings = []
    for pairs in matching.groups():
        alike: dict[tuple[Severity, str], list[tuple[Pair, _End]]] = defaultdict(list)
        for pair in pairs:
            then, now = matching.then[pair.then], matching.now[pair.now]
            end = _end(then, now, lost.get(pair), errors.get(pair.now, ""))
            if end is not None:
                alike[end.severity, end.what].append((pair, end))
        findings += [_finding(cases, len(pairs)) for cases in alike.values()]
    return findings


class _Lost(NamedTuple):
    """The first row that held a number and no longer does; ``now`` says what is there instead."""

    iteration: int
    then: float
    now: str


def _lost_rows(comparison: Comparison) -> dict[Pair, _Lost]:
    """Return the first lost row of each lane that has one.

    Rows after a lane's end are not lost, nor is the one where it diverged.
    """
    rows = comparison.rows
    lost = np.isfinite(rows["then"].to_numpy()) & ~np.isfinite(rows["now"].to_numpy())
    first: dict[Pair, _Lost] = {}
    for row in rows[lost].to_dict("records"):
        pair = comparison.matching.pairs[int(row["pair"])]
        if int(row["iteration"]) < _finite_rows(comparison, pair):
            now = repr(float(row["now"])) if row["found"] else "no row"
            first.setdefault(pair, _Lost(int(row["iteration"]), float(row["then"]), now))
    return first


def _finite_rows(comparison: Comparison, pair: Pair) -> float:
    """Return how many finite losses the run's lane should have; infinity where it does not say."""
    lane, problem = comparison.matching.now[pair.now], comparison.problems_now[pair.problem]
    name, more = {
        Status.DIVERGED: ("diverged_at", 0),
        Status.STOPPED: ("stopped_at", 1),
    }.get(lane["status"], ("iterations", int(problem.get("record") != "after")))
    last = _whole(lane[name])
    return inf if last is None else last + more


class _End(NamedTuple):
    """What is to be said of how a lane ended; ``what`` is shared by lanes that ended alike."""

    severity: Severity
    what: str
    message: str
    iteration: int | None = None


def _end(old: Row, new: Row, lost: _Lost | None, error: str) -> _End | None:
    """Return what is to be said of how two lanes ended; None for nothing.

    ``error`` is what the new lane raised, if anything.
    """
    before, after = str(old["status"]), str(new["status"])
    if after == Status.FAILED:
        why = f" with {error}" if error else ""
        return _End(Severity.FAILURE, f"{after}{why}", f"failed{why}, was {before}")
    if after in UNFINISHED:
        return _End(Severity.FAILURE, after, f"did not end: it is {after}, was {before}")
    if after == Status.DIVERGED and before != after:
        at = _whole(new["diverged_at"])
        where = "" if at is None else f" at iteration {at}"
        return _End(Severity.FAILURE, after, f"diverged{where}, was {_status_and_loss(old)}", at)
    if after != before and before in ENDED_WORST:
        return _End(Severity.NOTICE, before, f"was {before}, is {_status_and_loss(new)}")
    if lost is not None:
        message = f"loss {lost.then!r} then, {lost.now} now at iteration {lost.iteration}"
        return _End(Severity.FAILURE, "row", message, lost.iteration)
    if _finite(old["final_loss"]) and not _finite(new["final_loss"]):
        message = f"final loss {float(old['final_loss']):.6g} then, none now"
        return _End(Severity.FAILURE, "final", message)
    at_then, at_now = (
        _whole(row["diverged_at" if after == Status.DIVERGED else "stopped_at"])
        for row in (old, new)
    )
    if before != after or at_then != at_now:
        ends = (_when(before, at_then), _when(after, at_now))
        return _End(Severity.NOTICE, "when", f"{ends[0]} then, {ends[1]} now", at_now)
    return None


def _finite(value: Any) -> bool:
    return not pd.isna(value) and bool(np.isfinite(float(value)))


def _whole(value: Any) -> int | None:
    return None if pd.isna(value) else int(value)


def _when(status: str, at: int | None) -> str:
    return status if at is None else f"{status} at iteration {at}"


def _status_and_loss(lane: Row) -> str:
    loss = lane["final_loss"]
    return f"{lane['status']}" + (f" with loss {float(loss):.6g}" if _finite(loss) else "")


def _finding(cases: list[tuple[Pair, _End]], lanes: int) -> Finding:
    """Return what is to be said of some lanes of a configuration, quoting the first."""
    pair, end = cases[0]
    return Finding(
        end.severity,
        Kind.PRESENCE,
        pair.problem,
        pair.label,
        f"{end.message}{share_of_lanes(len(cases), lanes)}",
        seed=pair.seed,
        iteration=end.iteration,
        setting=pair.setting,
        size=float(len(cases)),
        values={"seeds": [case.seed for case, _ in cases]},
    )
