"""Studies made by hand for the tests of the reporting side: tables whose every number is known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from optbench.records import SCHEMA_VERSION, TRIAL_COLUMNS, RunTables, StudyTables

SEEDS = 3
"""Tuning seeds of a trial."""


@dataclass
class Trial:
    """One trial to be put into tables; what is left out follows from the score."""

    score: float
    label: str = "adam"
    problem: str = "mnist-mlp"
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    units: Mapping[str, float] = field(default_factory=dict)
    phase: str = "search"
    trial: int | None = None  # by default the label's next on the problem
    test_error: float = np.nan
    seeds: int = SEEDS
    seeds_diverged: int | None = None  # by default all of a trial that is +inf
    steps: int | None = None  # by default what all seeds make
    seconds: float = 0.5
    culled_at: int | None = None


def trial_table(trials: Sequence[Trial], iterations: int = 200) -> pd.DataFrame:
    """Return trials as a study's trials.parquet has them."""
    rows: list[dict[str, Any]] = []
    for each in trials:
        key = (each.problem, each.label, each.phase)
        before = sum((row["problem"], row["label"], row["phase"]) == key for row in rows)
        lost = each.score == inf and each.culled_at is None
        steps = each.seeds * iterations if each.steps is None else each.steps
        rows.append(
            {
                "problem": each.problem,
                "label": each.label,
                "optimizer": each.label,
                "trial": before if each.trial is None else each.trial,
                "phase": each.phase,
                "round": "search-000" if each.phase == "search" else "finalists",
                **{f"hp_{name}": value for name, value in each.hyperparameters.items()},
                **{f"u_{name}": value for name, value in each.units.items()},
                "seeds": each.seeds,
                "seeds_diverged": each.seeds * lost
                if each.seeds_diverged is None
                else each.seeds_diverged,
                "score": each.score,
                "test_error": each.test_error,
                "steps": steps,
                "gradients": steps,
                "seconds": each.seconds,
                "culled_at": each.culled_at,
                "chosen": False,
            }
        )
    extra = list(dict.fromkeys(name for row in rows for name in row if name not in TRIAL_COLUMNS))
    table = pd.DataFrame(rows, columns=[*TRIAL_COLUMNS, *extra])
    kinds = {name: kind for name, kind in TRIAL_COLUMNS.items() if name != "culled_at"}
    return table.astype(kinds | {"culled_at": "Int32"})


def study(
    trials: Sequence[Trial], final: RunTables | None = None, *, iterations: int = 200, **meta: Any
) -> StudyTables:
    """Put trials and a final run together as the store would read them; the best trial wins."""
    table = trial_table(trials, iterations)
    pairs = table.drop_duplicates(["problem", "label"])[["problem", "label"]]
    counts = table[table["phase"] == "search"].groupby(["problem", "label"], sort=False).size()
    names = [name for name in table if str(name).startswith("hp_")]
    winners = []
    for problem, label in pairs.itertuples(index=False):
        own = table[(table["problem"] == problem) & (table["label"] == label)]
        own = own[own["phase"] == "search"].sort_values("score", kind="stable")
        best = own.iloc[0]
        if np.isfinite(best["score"]):
            winners.append(
                {
                    "problem": problem,
                    "label": label,
                    "trial": int(best["trial"]),
                    "hyperparameters": {name[3:]: best[name] for name in names},
                    "search_score": float(best["score"]),
                    "finalist_score": None,
                    "edge": None,
                }
            )
            same = (table["problem"] == problem) & (table["label"] == label)
            table.loc[same & (table["trial"] == best["trial"]), "chosen"] = True
    known = {
        "schema_version": SCHEMA_VERSION,
        "status": "done",
        "started": "2026-01-01T00:00:00.000+00:00",
        "ended": "2026-01-01T00:01:00.000+00:00",
        "suite": {
            "name": "test",
            "resolved": {
                "problem": [
                    {"name": problem, "label": problem, "iterations": iterations}
                    for problem in pairs["problem"].unique()
                ]
            },
        },
        "spaces": {
            problem: {label: {"lr": "log(0.0001, 1)"} for label in of_problem["label"]}
            for problem, of_problem in pairs.groupby("problem", sort=False)
        },
        "space_sources": {},
        "sampler": "random",
        "budget": {
            "given": f"{counts.max()} trials",
            "amount": int(counts.max()),
            "unit": "trials",
            "trials": {
                problem: {
                    label: int(count) for (of, label), count in counts.items() if of == problem
                }
                for problem in pairs["problem"].unique()
            },
        },
        "metric": dict.fromkeys(pairs["problem"], "validation_loss"),
        "tuning_seeds": [1_000_000 + seed for seed in range(SEEDS)],
        "finalist_seeds": [],
        "evaluation_seeds": list(range(10)),
        "halving": None,
        "rounds": [{"phase": "search", "run": "search-000", "trials": int(counts.max())}],
        "winners": winners,
    }
    known |= meta
    if isinstance(known["metric"], str):
        known["metric"] = dict.fromkeys(pairs["problem"].unique(), known["metric"])
    return StudyTables(Path("results/test-tune-20260101T000000Z-abc123"), known, table, final)
