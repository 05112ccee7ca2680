"""Whether a step takes longer, in units of a loop that was timed in the same process."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from optbench.gate.comparison import Comparison, Pair, Row
from optbench.gate.verdict import Finding, Kind, Severity

SHORTEST_SECONDS = 0.1
"""Time of all steps of a block below which it says more about the machine's other work."""

CALIBRATION = "calibration_seconds"
"""Key of meta on both sides: the time of the calibration loop beside the run."""


def speed_findings(comparison: Comparison) -> list[Finding]:
    """Return the groups whose steps have become slower by more than the gate's ratio.

    For each problem and label the medians over its lanes are compared. Times mean something only
    relative to the calibration loop, on one kind of device, for lanes that share their block and
    the workers with as many others as before, and where they are long enough. What cannot be
    compared is reported if a slower step is to fail.
    """
    asked = comparison.gate.fail_on_speed
    reason = _why_not(comparison)
    if reason:
        return [_uncompared(reason)] if asked else []
    findings = []
    others: dict[str, list[str]] = {}
    labels: dict[tuple[str, str], list[Pair]] = defaultdict(list)
    for pair in comparison.matching.pairs:
        labels[pair.problem, pair.label].append(pair)
    for pairs in labels.values():
        reason = _why_not_label(comparison, pairs)
        if reason:
            others.setdefault(reason, []).append(f"{pairs[0].problem}, {pairs[0].label}")
        else:
            findings += list(_slower(comparison, pairs))
    for reason, names in others.items() if asked else ():
        more = f" and {len(names) - 1} more" if names[1:] else ""
        findings.append(_uncompared(f"{reason} for {names[0]}{more}"))
    return findings


def _why_not(comparison: Comparison) -> str:
    """Say why no time of this comparison means anything; nothing where they do."""
    then, now = comparison.baseline.meta, comparison.run.meta
    for side, meta in (("baseline", then), ("run", now)):
        if not meta.get(CALIBRATION):
            return f"the {side} has no time of the calibration loop"
    kinds = [(meta.get("device") or {}).get("kind") for meta in (then, now)]
    return "" if kinds[0] == kinds[1] else f"device {kinds[0]} then, {kinds[1]} now"


def _uncompared(reason: str) -> Finding:
    return Finding(Severity.WARNING, Kind.SPEED, "", "", f"speed not compared: {reason}")


def _why_not_label(comparison: Comparison, pairs: Sequence[Pair]) -> str:
    """Say why the times of a label's lanes mean nothing; nothing where they do."""
    then, now = comparison.matching.then, comparison.matching.now
    rows = [(then[pair.then], now[pair.now]) for pair in pairs]
    if any(old[name] != new[name] for old, new in rows for name in ("block_lanes", "workers")):
        return "blocks or workers differ from those of the baseline"
    for side in zip(*rows, strict=True):
        if not _median([_stepping(lane) for lane in side]) >= SHORTEST_SECONDS:
            return f"steps took less than {SHORTEST_SECONDS:g} s in all"
    return ""


def _stepping(lane: Row) -> float | None:
    """Return the time of all steps of a lane's block in seconds."""
    parts = [lane[name] for name in ("step_seconds", "iterations", "block_lanes")]
    return None if pd.isna(parts).any() else float(np.prod(parts))


def _slower(comparison: Comparison, pairs: Sequence[Pair]) -> Iterator[Finding]:
    then = _median([comparison.matching.then[pair.then]["step_seconds"] for pair in pairs])
    now = _median([comparison.matching.now[pair.now]["step_seconds"] for pair in pairs])
    loops = comparison.baseline.meta[CALIBRATION], comparison.run.meta[CALIBRATION]
    ratio = (now / loops[1]) / (then / loops[0]) if then > 0.0 else np.nan
    if ratio > comparison.gate.slowdown:
        yield Finding(
            Severity.FAILURE if comparison.gate.fail_on_speed else Severity.NOTICE,
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
    """Return the median of the values that are known, NaN where none is."""
    known = np.array(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    return float(np.median(known)) if known.size else float("nan")
