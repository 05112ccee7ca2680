"""From a run to a baseline: what is kept of it, and how far a later run may lie from it."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from optbench.device.base import Device
from optbench.engine.block import Block
from optbench.engine.executor import one_blas_thread
from optbench.engine.ledger import Ledger
from optbench.engine.nudge import nudged_problem
from optbench.engine.stepper import Stepper
from optbench.errors import ResultsError
from optbench.gate.baseline import NUMERICS_ITERATIONS
from optbench.gate.reported import test_errors
from optbench.records import SCHEMA_VERSION, RunTables, Status
from optbench.runs.pipeline import plan_run
from optbench.suite.resolve import Suite

NUDGES = 8
"""Runs of each lane whose traces are the envelope, see :func:`nudged_problem`."""


ENVELOPES = 10.0
"""The tolerance is so many times the envelope."""


KEPT_ROWS = 50
"""Rows of a trace that are kept beyond the first ones, evenly in the logarithm of the iteration."""


KEPT = (
    *("suite", "seeds", "problems", "optimizers", "numerics_version", "device", "environment"),
    "calibration_seconds",
)
"""What of run.json is part of a baseline."""


def check_savable(run: RunTables) -> None:
    """Refuse what is no reference.

    Raises
    ------
    ResultsError
        If the run has not ended, a lane of it failed, or an optbench without gate made it.
    """
    status = run.meta["status"]
    if status not in (Status.DONE, Status.DIVERGED):
        raise ResultsError(f"'{run.path}' is {status}: a baseline needs a run that is done")
    if "given" not in run.meta["suite"] or "calibration_seconds" not in run.meta:
        raise ResultsError(f"'{run.path}' is of an earlier optbench; run its suite again")


def check_lanes(run: RunTables, suite: Suite, device: Device) -> None:
    """Refuse a suite whose lanes are not those of a run.

    Raises
    ------
    ResultsError
        If code, data or defaults have changed since it was made.
    """
    keys = [lane.key for lane in plan_run(suite, device, workers=1).lanes]
    if keys != run.lanes["lane_key"].tolist():
        raise ResultsError(
            f"'{run.path}' was made by other code, data or defaults than there are now; run it "
            "again, then save it"
        )


def description(run: RunTables, name: str, thresholds: Mapping[str, float]) -> dict[str, Any]:
    """Return baseline.json of a run.

    ``thresholds`` are the relative changes of the loss, by problem, that later checks let through.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "name": name,
        "saved": datetime.now(UTC).isoformat(timespec="milliseconds"),
        **{key: run.meta[key] for key in KEPT},
        "targets": _targets(run),
        "test_error": test_errors(run),
        "thresholds": dict(thresholds),
    }


def _targets(run: RunTables) -> dict[str, float]:
    """Return for each problem the median over labels of their median final losses."""
    finite = run.lanes[np.isfinite(run.lanes["final_loss"].astype(float))]
    medians = finite.groupby(["problem", "label"])["final_loss"].median()
    return {str(problem): float(each.median()) for problem, each in medians.groupby("problem")}


def thinned(trace: Any) -> Any:
    """Return the first rows of each lane's trace, and of the rest some and the last one."""
    last = int(trace["iteration"].max()) if len(trace) else 0
    spread = np.geomspace(NUMERICS_ITERATIONS, max(last, NUMERICS_ITERATIONS), KEPT_ROWS)
    kept = trace["iteration"].isin(np.unique(spread.astype(int)))
    kept |= trace["iteration"] < NUMERICS_ITERATIONS
    kept |= trace["iteration"] == trace.groupby("lane")["iteration"].transform("max")
    return trace.loc[kept, ["lane", "iteration", "loss"]].reset_index(drop=True)


def tolerances(suite: Suite, device: Device) -> dict[str, np.ndarray]:
    """Return how far losses may lie from those of a suite's lanes in their first rows.

    The tolerance is :data:`ENVELOPES` times the largest change of the loss in :data:`NUDGES` runs
    from starts one ulp beside a lane's own, and at least as many ulps of the loss. Relative to the
    loss it never shrinks from row to row: two traces that have parted cross now and then.

    Returns
    -------
    dict
        The columns lane, iteration and tolerance.
    """
    found: list[tuple[np.ndarray, np.ndarray]] = []
    with one_blas_thread(), device.active(), device.quiet(), device.residents():
        for block in plan_run(suite, device, workers=1).blocks:
            found.append((np.array([lane.number for lane in block.lanes]), _spread(block, device)))
    return {
        "lane": np.concatenate([np.repeat(lanes, len(each)) for lanes, each in found]),
        "iteration": np.concatenate(
            [np.tile(np.arange(len(each)), len(lanes)) for lanes, each in found]
        ),
        "tolerance": np.concatenate([each.T.ravel() for _, each in found]),
    }


def _spread(block: Block, device: Device) -> np.ndarray:
    """Return the tolerances of a block, shape (rows, lanes); infinite where losses are not."""
    plain = _losses(block, device)
    eps = np.finfo(block.problem.dtype).eps
    with np.errstate(invalid="ignore", over="ignore"):
        size = np.abs(plain)
        envelope = eps * size
        for nudge in range(1, NUDGES + 1):
            nudged = replace(block, problem=nudged_problem(block.problem, nudge, device))
            envelope = np.maximum(envelope, np.abs(_losses(nudged, device) - plain))
        relative = np.divide(envelope, size, out=np.zeros_like(size), where=size > 0.0)
        envelope = np.maximum(envelope, np.maximum.accumulate(relative, axis=0) * size)
        spread: np.ndarray = np.asarray(ENVELOPES * envelope)
    spread[~np.isfinite(spread)] = np.inf
    return spread


def _losses(block: Block, device: Device) -> np.ndarray:
    rows = min(NUMERICS_ITERATIONS, Ledger(block).full_rows)
    found: np.ndarray = Stepper(block, device).advance(0, rows).loss
    return found
