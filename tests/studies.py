"""Studies on disk for tests, as ``optbench tune`` leaves them."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from optbench.store.studies import write_trials, write_tune

NAME = "small-tune-20260104T000000Z-0123abcd"

META: dict[str, Any] = {
    "started": "2026-01-04T00:00:00.000+00:00",
    "ended": "2026-01-04T00:01:00.000+00:00",
    "status": "done",
    "suite": {"name": "small", "resolved": {"problem": [{"name": "booth", "iterations": 4}]}},
    "spaces": {"booth": {"adam": {"lr": "log(1e-5, 1)"}, "sgd": {"lr": "log(1e-4, 10)"}}},
    "space_sources": {},
    "sampler": "random",
    "budget": {
        "given": "4 trials",
        "amount": 4,
        "unit": "trials",
        "trials": {"booth": {"adam": 4, "sgd": 4}},
    },
    "metric": {"booth": "final_loss"},
    "tuning_seeds": [1_000_000],
    "finalist_seeds": [1_000_001],
    "evaluation_seeds": [0],
    "halving": None,
    "rounds": [{"phase": "search", "run": "search-000", "trials": 8}],
    "winners": [
        {
            "problem": "booth",
            "label": "adam",
            "trial": 0,
            "hyperparameters": {"lr": 0.1, "schedule": "cosine"},
            "search_score": 0.5,
            "finalist_score": None,
            "edge": "lr",
        }
    ],
}


def trials() -> pd.DataFrame:
    """Return the trials of two optimizers; of one a column holds words beside numbers."""
    rows = [
        {
            "problem": "booth",
            "label": label,
            "optimizer": label,
            "trial": trial,
            "phase": "search",
            "hp_lr": 0.1 * (trial + 1),
            "u_lr": 0.25 * trial,
            "hp_schedule": "cosine" if trial else None,
            "u_schedule": 0.5 if trial else np.nan,
            "round": "search-000",
            "seeds": 1,
            "seeds_diverged": int(trial == 1),
            "score": np.inf if trial == 1 else 0.5 + trial,
            "validation_loss": np.nan,
            "validation_error": np.nan,
            "final_loss": 0.5 + trial,
            "test_loss": np.nan,
            "test_error": np.nan,
            "steps": 2**40,
            "gradients": 2**41,
            "seconds": 0.5,
            "culled_at": 7 if trial == 1 else None,
            "edge": None if trial else "lr",
            "chosen": trial == 0,
        }
        for label in ("adam", "sgd")
        for trial in range(2)
    ]
    return pd.DataFrame(rows)


def make_study(
    out: Path, *rounds: str, name: str = NAME, run: Path | None = None, **changes: Any
) -> Path:
    """Make a study; each of its rounds is a copy of a run, or the least that is one."""
    study = out / name
    study.mkdir(parents=True)
    write_tune(study, META | changes)
    write_trials(study, trials())
    for each in rounds:
        if run is not None:
            shutil.copytree(run, study / each)
        else:
            (study / each).mkdir()
            text = '{"schema_version": 1, "started": "2026-01-04T00:00:30.000+00:00"}'
            (study / each / "run.json").write_text(text, encoding="utf-8")
    return study
