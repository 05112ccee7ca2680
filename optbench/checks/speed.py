"""How long a step takes, in units of a loop that was timed in the same process."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from optbench.checks.comparison import Comparison
from optbench.checks.pairs import Pair
from optbench.checks.verdict import Finding, Kind, Severity

CALIBRATION = "calibration_seconds"
"""Key of meta on both sides: the time of the calibration loop beside the run."""


def speed_findings(comparison: Comparison) -> list[Finding]:
    """Return the groups whose steps have become slower by more than the gate's ratio.

    Of each problem and label the medians over its lanes are compared. Time means something only
    relative to the calibration loop, on one kind of device, and for lanes that shared their block
    and the workers with as many others as then: what cannot be compared is said once.
    """
    if not comparison.matching.pairs:
        return []
    severity = Severity.FAILURE if comparison.gate.fail_on_speed else Severity.WARNING
    reason = _why_not(comparison)
    if reason:
        asked = comparison.gate.fail_on_speed
        return [_uncompared(reason, Severity.WARNING)] if asked else []
    findings, unlike = [], []
    for pairs in _by_label(comparison):
        if _plan(comparison, pairs):
            findings += list(_slower(comparison, pairs, severity))
        else:
            unlike.append(f"{pairs[0].problem}, {pairs[0].label}")
    if unlike:
        more = f" and {len(unlike) - 1} more" if unlike[1:] else ""
        told = f"blocks or workers are others than then for {unlike[0]}{more}"
        findings.append(_uncompared(told, Severity.NOTICE))
    return findings


def _why_not(comparison: Comparison) -> str:
    """Say why no time of this comparison means anything; nothing where they do."""
    then, now = comparison.baseline.meta, comparison.run.meta
    for side, meta in (("baseline", then), ("run", now)):
        if not meta.get(CALIBRATION):
            return f"the {side} has no time of the calibration loop"
    kinds = [(meta.get("device") or {}).get("kind") for meta in (then, now)]
    return "" if kinds[0] == kinds[1] else f"device {kinds[0]} then, {kinds[1]} now"


def _uncompared(reason: str, severity: Severity) -> Finding:
    return Finding(severity, Kind.SPEED, "", "", f"speed not compared: {reason}")


def _by_label(comparison: Comparison) -> list[list[Pair]]:
    found: dict[tuple[str, str], list[Pair]] = {}
    for pair in comparison.matching.pairs:
        found.setdefault((pair.problem, pair.label), []).append(pair)
    return list(found.values())


def _plan(comparison: Comparison, pairs: Sequence[Pair]) -> bool:
    """Say whether lanes ran in company as large as then."""
    then, now = comparison.matching.then, comparison.matching.now
    return all(
        then[pair.then].get(name) == now[pair.now].get(name)
        for pair in pairs
        for name in ("block_lanes", "workers")
    )


def _slower(comparison: Comparison, pairs: Sequence[Pair], severity: Severity) -> Iterator[Finding]:
    then = _median([comparison.matching.then[pair.then]["step_seconds"] for pair in pairs])
    now = _median([comparison.matching.now[pair.now]["step_seconds"] for pair in pairs])
    loops = comparison.baseline.meta[CALIBRATION], comparison.run.meta[CALIBRATION]
    ratio = (now / loops[1]) / (then / loops[0]) if then > 0.0 else np.nan
    if ratio > comparison.gate.slowdown:
        yield Finding(
            severity,
            Kind.SPEED,
            pairs[0].problem,
            pairs[0].label,
            f"a step takes {ratio:.2f} times as long relative to the calibration loop "
            f"({then:.3g} s then, {now:.3g} s now; loop {loops[0]:.3g} s, {loops[1]:.3g} s; "
            f"allowed {comparison.gate.slowdown:g} times)",
            size=float(ratio),
            values={
                "ratio": float(ratio),
                "step_seconds_then": then,
                "step_seconds_now": now,
                "calibration_seconds_then": loops[0],
                "calibration_seconds_now": loops[1],
            },
        )


def _median(values: Sequence[Any]) -> float:
    """Return the median of the values that there are, NaN where there are none."""
    known = np.array(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    return float(np.median(known)) if known.size else float("nan")
