"""Baselines and runs made by hand, whose every number is known."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from optbench.gate.baseline import NUMERICS_ITERATIONS, Baseline
from optbench.gate.verdict import Finding, Verdict
from optbench.records import RunTables
from tests.report.runs import Lane, function_problem, network_problem, tables

SEEDS = range(8)
ROWS = 120
TOLERANCE = 1e-6

ENVIRONMENT = {
    "optbench": "0.1.0",
    "python": "3.11.7",
    "system": "Linux",
    "machine": "x86_64",
    "packages": {"numpy": "2.4.6", "pandas": "3.1.1"},
    "blas": [{"internal_api": "openblas", "version": "0.3.31", "architecture": "Haswell"}],
}


def curve(level: float, seed: int, rows: int = ROWS) -> np.ndarray:
    """Return a loss that falls from 2.3 to a level of its own for each seed."""
    own = level * (1.0 + 0.02 * np.cos(7.0 * seed + 1.0))
    return own + (2.3 - own) * 0.9 ** np.arange(rows)


def network_lanes(
    levels: Mapping[str, float] | None = None, seeds: Sequence[int] = SEEDS, **changes: Any
) -> list[Lane]:
    """Return lanes of a network: two optimizers with 8 seeds."""
    return [
        Lane(label, curve(level, seed), problem="mnist-mlp", seed=seed, **changes)
        for label, level in (levels or {"sgd": 0.8, "adam": 0.25}).items()
        for seed in seeds
    ]


def function_lanes(seeds: Sequence[int] = (0,)) -> list[Lane]:
    """Return one lane a seed on a function, all alike."""
    return [Lane("sgd", 6.45 * 0.8 ** np.arange(31), seed=seed) for seed in seeds]


def made(lanes: Sequence[Lane], **meta: Any) -> RunTables:
    """Return a run of lanes on the textbook's two problems with a full run.json."""
    seeds = sorted({lane.seed for lane in lanes})
    problems = [
        function_problem(
            dtype="float64",
            definition={"kind": "function", "start": [-7.0, 2.0]},
            stream_digests={str(seed): "same" for seed in seeds},
        ),
        network_problem(
            dtype="float32",
            definition={
                "kind": "network",
                "network": {"layers": ["dense 100", "relu"], "init": "he"},
                "data": {"checksums": {"mnist-5k": "a" * 64}},
                "streams": ["batches"],
            },
            stream_digests={str(seed): f"digest{seed}" for seed in seeds},
        ),
    ]
    used = {lane.problem for lane in lanes}
    run = tables(lanes, [each for each in problems if each["problem"] in used])
    labels = dict.fromkeys(lane.label for lane in lanes)
    known = {
        "suite": {"name": "test", "resolved": {"problem": [{"name": name} for name in used]}},
        "seeds": seeds,
        "optimizers": [
            {"label": label, "name": label, "rule": label, "source": "optbench"} for label in labels
        ],
        "numerics_version": 1,
        "device": {"kind": "cpu", "namespace": "numpy"},
        "environment": ENVIRONMENT,
    }
    run.meta.update(deepcopy(known | meta))
    return run


def saved(run: RunTables, tolerance: float = TOLERANCE, every: int = 10, **meta: Any) -> Baseline:
    """Return a run as a baseline: its first rows, and then one of ``every``."""
    iteration = run.trace["iteration"]
    last = run.trace.groupby("lane")["iteration"].transform("max")
    kept = (iteration < NUMERICS_ITERATIONS) | (iteration % every == 0) | (iteration == last)
    trace = run.trace.loc[kept, ["lane", "iteration", "loss"]].reset_index(drop=True)
    first = trace.loc[trace["iteration"] < NUMERICS_ITERATIONS, ["lane", "iteration"]]
    return Baseline(
        Path("results/baselines/test"),
        deepcopy(run.meta) | meta,
        run.lanes.copy(),
        trace,
        first.assign(tolerance=tolerance).reset_index(drop=True),
    )


def with_losses(run: RunTables, label: str, factor: float | np.ndarray) -> RunTables:
    """Return a run in which the final losses of a label are multiplied."""
    final = run.lanes.loc[run.lanes["label"] == label, "final_loss"]
    return edited(run, label, final_loss=factor * final)


def without_lanes(run: RunTables, which: Callable[[pd.DataFrame], pd.Series]) -> RunTables:
    """Return a run without some of its lanes, numbered anew as a run would."""
    kept = run.lanes[~which(run.lanes)]
    numbers = {lane: number for number, lane in enumerate(kept["lane"])}
    lanes = kept.assign(lane=list(numbers.values())).reset_index(drop=True)
    trace = run.trace[run.trace["lane"].isin(numbers)]
    trace = trace.assign(lane=trace["lane"].map(numbers)).reset_index(drop=True)
    return replace(run, lanes=lanes, trace=trace)


def told(verdict: Verdict) -> list[tuple[str, str, str, str]]:
    """Return severity, kind, problem and label of all findings."""
    return [(f.severity, f.kind, f.problem, f.label) for f in verdict.findings]


def only(verdict: Verdict) -> Finding:
    """Return the only finding."""
    (finding,) = verdict.findings
    return finding


def edited(run: RunTables, label: str = "", seeds: Sequence[int] = (), **values: Any) -> RunTables:
    """Return a run with other values in its lanes: of a label, of some seeds, or of all."""
    lanes = run.lanes.copy()
    rows = lanes["label"].eq(label) | (not label)
    rows &= lanes["seed"].isin(seeds) | (len(seeds) == 0)
    for name, value in values.items():
        if isinstance(value, str):
            lanes[name] = lanes[name].astype(object)
        lanes.loc[rows, name] = value
    return replace(run, lanes=lanes)


def with_rows(run: RunTables, rows: Callable[[pd.DataFrame], pd.Series], loss: Any) -> RunTables:
    """Return a run with another loss in some rows of its trace."""
    return replace(run, trace=run.trace.assign(loss=run.trace["loss"].mask(rows(run.trace), loss)))
