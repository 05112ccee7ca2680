"""A suite that takes a moment, its run and its baseline, and ways to change any of them."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from optbench.gate.baseline import DESCRIPTION, checksums
from tests.cli.command import Seen, optbench, run, suite

SUITE = """
name = "gate"
seeds = 8
dtype = "float64"
data = "mnist-5k"
iterations = 60

[[problem]]
name = "anisotropic"
adam.lr = 0.3

[[problem]]
name = "mnist-mlp"
label = "net"
layers = ["dense 8", "relu", "dense 10"]
batch_size = 16
record = "before"

[[optimizer]]
name = "sgd"
lr = 0.1

[[optimizer]]
name = "adam"
lr = 0.01
"""

ANEW = ("gate",)
NOW = ("gate", "--run", "now")
"""Arguments of ``check``: run the suite anew, or compare with the run that is there."""

FINDING = re.compile(r"^  (failure|warning|notice): (\w+): ", re.MULTILINE)

Change = Callable[[pd.DataFrame], pd.DataFrame | None]
"""Changes a table in place, or returns another."""


@dataclass
class Desk:
    """A folder with a baseline "gate", and a run "now" that is the one it was saved from."""

    cwd: Path
    patch: pytest.MonkeyPatch

    @property
    def baseline(self) -> Path:
        return self.cwd / "results/baselines/gate"

    @property
    def now(self) -> Path:
        return self.cwd / "results/now"

    def check(self, *arguments: object) -> Seen:
        return optbench("check", *arguments, "--quiet", cwd=self.cwd)

    def run(self, *arguments: object, text: str = SUITE) -> None:
        """Put a new run of a suite in the place of "now"."""
        shutil.rmtree(self.now)
        run(suite(self.cwd, text), *arguments, cwd=self.cwd).rename(self.now)

    def lanes(self, change: Change) -> None:
        """Change the lanes of "now"."""
        table(self.now / "lanes.parquet", change)

    def trace(self, change: Change) -> None:
        """Change the trace of "now"."""
        for file in (self.now / "trace").glob("*.parquet"):
            table(file, change)

    def losses(self, problem: str, label: str, factor: float) -> None:
        """Multiply the final losses of "now"; seeds differ by a hundredth of that."""

        def change(lanes: pd.DataFrame) -> None:
            which = (lanes["problem"] == problem) & (lanes["label"] == label)
            spread = 1.0 + 0.01 * (factor - 1.0) * np.cos(lanes["seed"].to_numpy())
            lanes.loc[which, "final_loss"] *= (factor * spread)[which]

        self.lanes(change)

    def seal(self) -> None:
        """Give the baseline the checksums of the files that it has now."""
        meta = json.loads((self.baseline / DESCRIPTION).read_text())
        described(self.baseline / DESCRIPTION, checksums=checksums(self.baseline, meta))

    def meta(self, **values: Any) -> None:
        """Change run.json of "now"."""
        described(self.now / "run.json", **values)


def table(file: Path, change: Change) -> None:
    """Write a table anew with changes; no checksums stand in it then."""
    rows = pd.read_parquet(file)
    changed = change(rows)
    (rows if changed is None else changed).to_parquet(file, index=False)


def described(file: Path, **values: Any) -> None:
    """Write a JSON object anew with other values."""
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def is_lane(lanes: pd.DataFrame, problem: str, label: str, seed: int) -> pd.Series:
    """Return which row is a lane's."""
    return (lanes["problem"] == problem) & (lanes["label"] == label) & (lanes["seed"] == seed)


def made(cwd: Path) -> Path:
    """Run the suite and save its baseline in a folder."""
    path = run(suite(cwd, SUITE), cwd=cwd)
    seen = optbench("baseline", "save", "latest", cwd=cwd)
    assert (seen.code, seen.path) == (0, cwd / "results/baselines/gate"), seen
    path.rename(cwd / "results/now")
    return cwd
