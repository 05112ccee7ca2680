"""Saves a run as a baseline: what is kept of it, and how far a later run may lie from it."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from optbench.device.base import Device
from optbench.device.choose import get_device
from optbench.engine.block import Block
from optbench.engine.executor import one_blas_thread
from optbench.engine.ledger import Ledger
from optbench.engine.nudge import nudged_problem
from optbench.engine.stepper import Stepper
from optbench.errors import ResultsError, UsageError, argument
from optbench.gate.baseline import (
    FOLDER,
    NUMERICS_ITERATIONS,
    Baseline,
    Thresholds,
    check_free,
    check_problems,
    parse_thresholds,
    titles,
    write,
)
from optbench.gate.compare import test_errors
from optbench.gate.integrity import gaps
from optbench.gate.origin import kept_suite
from optbench.records import SCHEMA_VERSION, RunTables, Status
from optbench.runs.pipeline import plan_run
from optbench.runs.resume import device_name
from optbench.store.files import file_name
from optbench.store.find import find_runs
from optbench.store.reader import read_run
from optbench.store.thinning import every_of, in_words
from optbench.suite.format import parse_suite, resolved_suite
from optbench.suite.resolve import Suite, resolve

if TYPE_CHECKING:
    import pandas as pd

NUDGES = 8
"""Runs of each lane whose traces are the envelope, see :func:`nudged_problem`."""

ENVELOPES = 10.0
"""The tolerance is this many times the envelope."""

KEPT_ROWS = 50
"""Rows of a trace that are kept beyond the first ones, evenly in the logarithm of the iteration."""

KEPT = (
    *("suite", "seeds", "problems", "optimizers", "numerics_version", "device", "environment"),
    "calibration_seconds",
)
"""What a baseline keeps of run.json."""


def save_baseline(
    run: str | PathLike[str],
    *,
    name: str | None = None,
    threshold: Thresholds = (),
    data_dir: str | PathLike[str] | None = None,
    out: str | PathLike[str] = "results",
) -> Path:
    """Save a run as a reference under ``out/baselines/name``; what ``optbench baseline save`` does.

    Parameters
    ----------
    run
        The run: its directory, its name under ``out``, the beginning of that name, or ``latest``.
    name
        What to call the baseline; by default as its suite.
    threshold
        Relative change of the loss that later checks let through: 0.05, or by problem as
        ``{"mnist-mlp": 0.1}``.
    data_dir
        Folder to look for data sets in first.
    out
        The results directory.

    Returns
    -------
    Path
        The baseline's folder, small enough for git.

    Raises
    ------
    UsageError
        For whatever ``optbench baseline save`` would exit with code 2.
    """
    (path,) = find_runs([str(run)], Path(out))
    tables = read_run(path)
    title = file_name(tables.meta["suite"]["name"]) if name is None else name
    if title != file_name(title):
        raise UsageError(
            f"'{title}' cannot be the name of a folder; use letters, digits, '.', '_' and '-', "
            f"as {file_name(title)}"
        )
    folder = Path(out) / FOLDER / title
    check_free(folder)
    thresholds = parse_thresholds(threshold)
    check_problems(thresholds, titles(tables.meta))
    data_folder = None if data_dir is None else Path(data_dir)
    save_tables(tables, folder, thresholds, data_dir=data_folder)
    return folder


def save_tables(
    run: RunTables,
    folder: Path,
    thresholds: Mapping[str, float],
    *,
    data_dir: Path | None = None,
    replace: bool = False,
) -> None:
    """Save a run as a baseline in a folder, maybe in place of the one that is there."""
    check_savable(run)
    file = parse_suite(resolved_suite(run.meta, run.path), str(run.path))
    suite = resolve(file, data_dir=data_dir)
    device = get_device(device_name(run.meta))
    check_lanes(run, suite, device)
    meta = description(run, folder, thresholds)
    trace, tolerance = thinned(run), tolerances(suite, device)
    baseline = Baseline(folder, meta, run.lanes, trace, tolerance)
    for gap in gaps(baseline):
        raise ResultsError(f"'{run.path}' is incomplete: {gap}; run its suite again")
    write(baseline, replace=replace)


def check_savable(run: RunTables) -> None:
    """Refuse a run that is not done, lacks rows, or was made by an earlier optbench."""
    check_whole(run)
    status = run.meta["status"]
    if status not in (Status.DONE, Status.DIVERGED):
        raise ResultsError(f"'{run.path}' is {status}: a baseline needs a run that is done")
    complete = "given" in run.meta["suite"] and "calibration_seconds" in run.meta
    if not complete or run.meta["schema_version"] < SCHEMA_VERSION:
        raise ResultsError(f"'{run.path}' was made by an earlier optbench; run its suite again")


def check_whole(run: RunTables) -> None:
    """Refuse a run that did not keep all rows of its trace."""
    every = every_of(run.meta)
    if every > 1:
        raise ResultsError(
            f"'{run.path}' kept {in_words(every)} of its trace, and a baseline is compared with "
            f"all; run its suite with {argument('trace', 'all')}"
        )


def check_lanes(run: RunTables, suite: Suite, device: Device) -> None:
    """Refuse a suite whose lanes are not those of a run: code, data or defaults changed."""
    keys = [lane.key for lane in plan_run(suite, device, workers=1).lanes]
    if keys != run.lanes["lane_key"].tolist():
        raise ResultsError(
            f"'{run.path}' was made with other code, data or defaults than there are now; "
            "run its suite again, then save that run"
        )


def description(run: RunTables, folder: Path, thresholds: Mapping[str, float]) -> dict[str, Any]:
    """Return what the baseline.json of a folder is to say of a run."""
    return {
        "schema_version": SCHEMA_VERSION,
        "name": folder.name,
        "saved": datetime.now(UTC).isoformat(timespec="milliseconds"),
        **{key: run.meta[key] for key in KEPT},
        "suite": kept_suite(run.meta["suite"], folder),
        "targets": targets(run),
        "test_error": test_errors(run),
        "thresholds": dict(thresholds),
    }


def targets(run: RunTables) -> dict[str, float]:
    """Return for each problem the median over labels of their median final losses."""
    finite = run.lanes[np.isfinite(run.lanes["final_loss"].astype(float))]
    medians = finite.groupby(["problem", "label"])["final_loss"].median()
    return {str(problem): float(part.median()) for problem, part in medians.groupby("problem")}


def thinned(run: RunTables) -> "pd.DataFrame":
    """Return the first rows of each lane's trace, some of the others, and the last one.

    All lanes of a problem have the same rows as long as they last.
    """
    trace = run.trace
    kept = trace["iteration"] == trace.groupby("lane")["iteration"].transform("max")
    problems = trace["lane"].map(run.lanes.set_index("lane")["problem"])
    for _, rows in trace["iteration"].groupby(problems):
        kept[rows.index] |= rows.isin(kept_iterations(int(rows.max())))
    return trace.loc[kept, ["lane", "iteration", "loss"]].reset_index(drop=True)


def kept_iterations(last: int) -> np.ndarray:
    """Return the iterations up to the last whose losses a baseline keeps, in rising order.

    >>> kept_iterations(51).tolist()[-4:]
    [48, 49, 50, 51]
    """
    spread = np.geomspace(NUMERICS_ITERATIONS, max(last, NUMERICS_ITERATIONS), KEPT_ROWS)
    first = np.arange(NUMERICS_ITERATIONS)
    kept: np.ndarray = np.unique(np.concatenate([first, spread.astype(int)]))
    return kept[kept <= last]


def tolerances(suite: Suite, device: Device) -> "pd.DataFrame":
    """Return how far losses may lie from those of a suite's lanes in their first rows.

    The tolerance is :data:`ENVELOPES` times the largest change of the loss in :data:`NUDGES` runs
    from starts one ulp beside a lane's own, and at least as many ulps of the loss. Relative to the
    loss it never shrinks from row to row: two traces that have parted cross now and then. It is
    positive and finite where the loss is finite, and infinite elsewhere.
    """
    import pandas as pd

    parts = []
    with one_blas_thread(), device.active(), device.quiet(), device.residents():
        for block in plan_run(suite, device, workers=1).blocks:
            spread = _spread(block, device)
            rows, lanes = spread.shape
            parts.append(
                pd.DataFrame(
                    {
                        "lane": np.repeat([lane.number for lane in block.lanes], rows),
                        "iteration": np.tile(np.arange(rows), lanes),
                        "tolerance": spread.T.ravel(),
                    }
                )
            )
    return pd.concat(parts, ignore_index=True)


def _spread(block: Block, device: Device) -> np.ndarray:
    """Return the tolerances of a block, shape (rows, lanes)."""
    plain = _losses(block, device)
    rounding = np.finfo(block.problem.dtype)
    with np.errstate(invalid="ignore", over="ignore"):
        size = np.abs(plain)
        envelope = np.maximum(rounding.eps * size, rounding.tiny)
        for nudge in range(1, NUDGES + 1):
            nudged = replace(block, problem=nudged_problem(block.problem, nudge, device))
            envelope = np.maximum(envelope, np.abs(_losses(nudged, device) - plain))
        relative = np.divide(envelope, size, out=np.zeros_like(size), where=size > 0.0)
        envelope = np.maximum(envelope, np.maximum.accumulate(relative, axis=0) * size)
        spread: np.ndarray = np.fmin(ENVELOPES * envelope, np.finfo(np.float64).max)
    spread[~np.isfinite(plain)] = np.inf
    return spread


def _losses(block: Block, device: Device) -> np.ndarray:
    rows = min(NUMERICS_ITERATIONS, Ledger(block).full_rows)
    return Stepper(block, device).advance(0, rows).loss
