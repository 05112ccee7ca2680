"""Runs made by hand for the tests of the reporting side: tables whose every number is known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from optbench.records import (
    EVALUATION_COLUMNS,
    LANE_COLUMNS,
    SCHEMA_VERSION,
    SURFACE_COLUMNS,
    TRACE_COLUMNS,
    RunTables,
    Status,
    averaged_rows,
    final_and_best,
)

DOMAIN = [[-10.0, 10.0], [-10.0, 10.0]]


@dataclass
class Lane:
    """One lane to be put into tables; what is left out follows from the losses."""

    label: str
    loss: Sequence[float]
    problem: str = "anisotropic"
    optimizer: str | None = None
    seed: int = 0
    hyperparameters: Mapping[str, float] = field(default_factory=lambda: {"lr": 0.1})
    status: Status = Status.DONE
    position: np.ndarray | None = None
    evaluations: Sequence[tuple[int, str, float, float]] = ()
    step_seconds: float | None = 1e-5


def function_problem(problem: str = "anisotropic", **changes: Any) -> dict[str, Any]:
    """Describe a function of two variables as run.json does."""
    return {
        "problem": problem,
        "kind": "function",
        "formula": "x**2/20 + y**2",
        "variables": ["x", "y"],
        "minima": [{"position": [0.0, 0.0], "value": 0.0}],
        "plot": {"domain": DOMAIN, "levels": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]},
        "iterations": 30,
        "record": "before",
        "batch_size": None,
        "stochastic": False,
        "iterations_per_epoch": None,
        "fingerprint": "f1",
    } | changes


def network_problem(problem: str = "mnist-mlp", **changes: Any) -> dict[str, Any]:
    """Describe a network trained on minibatches as run.json does."""
    return {
        "problem": problem,
        "kind": "network",
        "iterations": 200,
        "record": "after",
        "batch_size": 128,
        "stochastic": True,
        "iterations_per_epoch": 40,
        "fingerprint": "n1",
    } | changes


def anisotropic_surface(problem: str = "anisotropic", points: int = 21) -> pd.DataFrame:
    """Tabulate f(x, y) = x²/20 + y² and its gradient over ±10, x outer."""
    side = np.linspace(-10.0, 10.0, points)
    x, y = (each.ravel() for each in np.meshgrid(side, side, indexing="ij"))
    surface = pd.DataFrame({"problem": problem, "x": x, "y": y, "value": x**2 / 20 + y**2})
    return surface.assign(gradient_x=x / 10, gradient_y=2 * y)


def tables(
    lanes: Sequence[Lane], problems: Sequence[dict[str, Any]], surface: pd.DataFrame | None = None
) -> RunTables:
    """Put lanes and the description of their problems together as the store would read them."""
    minibatch = {each["problem"]: each["batch_size"] is not None for each in problems}
    rows = [_lane_row(number, lane, minibatch[lane.problem]) for number, lane in enumerate(lanes)]
    hyperparameters = list(dict.fromkeys(name for row in rows for name in row if name[:3] == "hp_"))
    lane_table = pd.DataFrame(rows, columns=[*LANE_COLUMNS, *hyperparameters])
    for name in ("final_loss", "best_loss", "step_seconds", "diverged_at", *hyperparameters):
        lane_table[name] = lane_table[name].astype("float64")
    evaluations = [(number, *row) for number, lane in enumerate(lanes) for row in lane.evaluations]
    evaluation = pd.DataFrame(evaluations, columns=list(EVALUATION_COLUMNS))
    return RunTables(
        path=Path("results/test-20260101T000000Z-abc123"),
        meta={
            "schema_version": SCHEMA_VERSION,
            "suite": {"name": "test"},
            "problems": list(problems),
        },
        lanes=lane_table,
        trace=_trace(lanes),
        evaluation=evaluation.astype(EVALUATION_COLUMNS),
        surface=pd.DataFrame(columns=list(SURFACE_COLUMNS)) if surface is None else surface,
    )


def _lane_row(number: int, lane: Lane, minibatch: bool) -> dict[str, Any]:
    loss = np.asarray(lane.loss, dtype=np.float64)
    final: tuple[float | None, float | None] = (None, None)
    if lane.status in (Status.DONE, Status.STOPPED):
        final = final_and_best(loss, averaged_rows(len(loss), stochastic=minibatch))
    return {
        "lane": number,
        "lane_key": f"key{number}",
        "problem": lane.problem,
        "optimizer": lane.optimizer or lane.label,
        "label": lane.label,
        "seed": lane.seed,
        "fingerprint": "f1",
        "status": str(lane.status),
        "diverged_at": len(loss) - 1 if lane.status == Status.DIVERGED else None,
        "stopped_at": None,
        "final_loss": final[0],
        "best_loss": final[1],
        "iterations": len(loss) if minibatch else len(loss) - 1,
        "step_seconds": lane.step_seconds,
        "block_lanes": 1,
        "workers": 1,
        **{f"hp_{name}": value for name, value in lane.hyperparameters.items()},
    }


def _trace(lanes: Sequence[Lane]) -> pd.DataFrame:
    parts = []
    for number, lane in enumerate(lanes):
        part = pd.DataFrame(
            {"lane": number, "iteration": np.arange(len(lane.loss)), "loss": lane.loss}
        ).astype(TRACE_COLUMNS)
        if lane.position is not None:
            for name, column in zip("xyz", np.asarray(lane.position, dtype=float).T, strict=False):
                part[name] = column
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def descent(ratio_x: float, ratio_y: float, rows: int = 31) -> tuple[np.ndarray, np.ndarray]:
    """Return positions and losses of a walk from (−7, 2) that shrinks by a ratio an iteration."""
    k = np.arange(rows)
    with np.errstate(over="ignore"):
        position = np.stack([-7.0 * ratio_x**k, 2.0 * ratio_y**k], axis=1)
        return position, position[:, 0] ** 2 / 20 + position[:, 1] ** 2


RATIOS = {"sgd": (0.9, -0.9), "momentum": (0.8, -0.5), "adagrad": (0.7, 0.6), "adam": (0.85, 0.5)}


def function_lane(label: str, **changes: Any) -> Lane:
    """Return a lane that walks down the anisotropic function with the label's ratios."""
    position, loss = descent(*RATIOS[label])
    return Lane(label, loss=loss, position=position, **changes)


def function_run(**changes: Any) -> RunTables:
    """Return the textbook's shape of run: four optimizers, one lane each."""
    return tables(
        [function_lane(label) for label in RATIOS],
        [function_problem(**changes)],
        anisotropic_surface(),
    )


NETWORK_LEVELS = {"sgd": 0.8, "momentum": 0.3, "adagrad": 0.2, "adam": 0.25}


def network_loss(level: float, seed: int = 0, rows: int = 200) -> np.ndarray:
    """Return a loss that falls from 2.3 + seed/10 to the level, with a ripple of period two."""
    k = np.arange(rows)
    return level + (2.3 + seed / 10 - level) * 0.95**k + 0.01 * (-1.0) ** k


def network_lane(label: str, seed: int = 0, shift: float = 0.0, **changes: Any) -> Lane:
    """Return a lane of a network; its validation loss is its level plus ``shift``."""
    level = NETWORK_LEVELS[label]
    measured = level + shift + seed / 100
    splits = enumerate(("train", "validation", "test"))
    evaluations = [(200, name, measured + k / 100, measured / (10 - k)) for k, name in splits]
    known = {"loss": network_loss(level + shift, seed), "evaluations": evaluations}
    return Lane(label, problem="mnist-mlp", seed=seed, **(known | changes))


def network_run(seeds: int = 1) -> RunTables:
    """Return four optimizers on a network with so many seeds."""
    return tables(
        [network_lane(label, seed) for label, seed in product(NETWORK_LEVELS, range(seeds))],
        [network_problem()],
    )


def swept_run(seeds: int = 1) -> RunTables:
    """Return a grid of five learning rates on the anisotropic function.

    ``sgd`` is best at lr 0.1 and diverges at 10, ``adam`` is best at 1, and ends above its start
    at 10. Seed s adds s/100 to every loss.
    """
    ratios = {
        "sgd": {0.001: 0.99, 0.01: 0.95, 0.1: 0.5, 1.0: 0.9, 10.0: None},
        "adam": {0.001: 0.995, 0.01: 0.98, 0.1: 0.9, 1.0: 0.8, 10.0: -1.2},
    }
    lanes = []
    for label, values in ratios.items():
        for (lr, ratio), seed in product(values.items(), range(seeds)):
            position, loss = descent(ratio or -50.0, ratio or -50.0, rows=31)
            status = Status.DONE
            if ratio is None:
                position, loss, status = position[:8], np.r_[loss[:7], np.inf], Status.DIVERGED
            known = {"seed": seed, "hyperparameters": {"lr": lr}, "status": status}
            lanes.append(Lane(label, loss + seed / 100, position=position, **known))
    return tables(lanes, [function_problem()], anisotropic_surface())


def line_run(*ratios: float, **changes: Any) -> RunTables:
    """Return one optimizer on f(x) = x² + x + 1 from 20, a learning rate for each ratio.

    Each iteration multiplies the distance from the minimum, −½, by the ratio.
    """
    known = {
        "formula": "x**2 + x + 1",
        "variables": ["x"],
        "minima": [{"position": [-0.5], "value": 0.75}],
        "plot": {"domain": [[-21.0, 21.0]], "levels": None},
        "iterations": 25,
    }
    problem = function_problem("quadratic-1d", **(known | changes))
    lanes = []
    for ratio in ratios or (0.4,):
        x = -0.5 + 20.5 * ratio ** np.arange(26)
        rate = {"lr": (1 - ratio) / 2}
        lanes.append(
            Lane("sgd", x**2 + x + 1, "quadratic-1d", hyperparameters=rate, position=x[:, None])
        )
    side = np.linspace(-21.0, 21.0, 401)
    surface = pd.DataFrame({"problem": "quadratic-1d", "x": side, "y": np.nan})
    surface = surface.assign(value=side**2 + side + 1, gradient_x=2 * side + 1, gradient_y=np.nan)
    return tables(lanes, [problem], surface)


def with_every(run: RunTables, every: int | None) -> RunTables:
    """Return a run that kept one row in so many, and each lane's last; None: the first and last."""
    trace = run.trace.sort_values(["lane", "iteration"])
    is_last = trace["lane"] != trace["lane"].shift(-1)
    kept = trace[is_last | (trace["iteration"] % (every or 10**9) == 0)]
    meta = {**run.meta, "trace": "none" if every is None else f"every:{every}"}
    return replace(run, trace=kept.reset_index(drop=True), meta=meta)
