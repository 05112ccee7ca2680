"""The comparison that people run, as whole programs: ``optbench run mnist-mlp`` and two scripts.

All of them read the same data from disk, train four optimizers from the same starts on the same
batches, record the loss on each batch after its update, evaluate all splits at the end and write
losses and evaluations to parquet. Start of Python, imports and compilation count.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.speed.contenders import has
from benchmarks.speed.measure import Timed, interleave, timed
from benchmarks.speed.processes import COMMAND, ROOT
from benchmarks.speed.workload import Workload
from optbench.engine.executor import usable_cores

ITERATIONS, QUICK_ITERATIONS = 2000, 200
SEEDS = (1, 5)
SCRIPTS = {"PyTorch": ("torch", "pytorch_program"), "JAX": ("jax", "jax_program")}
OPTBENCH, ONE_WORKER = "optbench", "optbench, 1 worker"
ROUNDS = 3
"""At most: a round takes minutes."""

ALIKE_ROWS, ALIKE = 20, ("sgd", "momentum")
"""Rows, and optimizers, whose losses have to be alike. AdaGrad and Adam divide gradients that are
nearly zero by their own size, so that rounding, and where eps is added, soon show."""


def run(rounds: int, *, quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """Time all programs; return the seconds that each took, by number of seeds."""
    iterations = QUICK_ITERATIONS if quick else ITERATIONS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table: dict[str, dict[str, Timed]] = {}
        for seeds in SEEDS:
            case = f"{seeds} seed{'' if seeds == 1 else 's'}"
            inputs = folder / f"inputs-{seeds}.npz"
            Workload().save(inputs, seeds, iterations)
            for program, command in _commands(inputs, seeds, iterations, folder).items():
                table.setdefault(program, {})[case] = lambda command=command: timed(command, 1)
        seconds = interleave(table, min(rounds, ROUNDS), say)
        _check_alike(folder)
    return {"iterations": iterations, "seconds": seconds}


def _commands(
    inputs: Path, seeds: int, iterations: int, folder: Path
) -> dict[str, Callable[[], None]]:
    """Return what runs each program; results go into the folder, one file or folder for each."""
    suite = ["run", "mnist-mlp", "--seeds", str(seeds), "--iterations", str(iterations)]

    def ours(*options: str) -> Callable[[], None]:
        out = str(folder / f"{OPTBENCH}-{seeds}")
        return lambda: _start("-c", COMMAND, *suite, "--quiet", "--out", out, *options)

    found = {OPTBENCH: ours(), ONE_WORKER: ours("--workers", "1")}
    for program, (library, module) in SCRIPTS.items():
        if has(library):
            out = str(folder / f"{program}-{seeds}.parquet")
            arguments = ("-m", f"benchmarks.speed.{module}", str(inputs), out)
            found[program] = lambda arguments=arguments: _start(*arguments)
    return found


def _start(*arguments: str) -> None:
    environment = {**os.environ, "NPROC": str(usable_cores()), "JAX_PLATFORMS": "cpu"}
    subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )


def _check_alike(folder: Path) -> None:
    """Make sure that all programs did the same work: their first losses are those of optbench."""
    for seeds in SEEDS:
        run = sorted((folder / f"{OPTBENCH}-{seeds}").iterdir())[0]
        lanes = pd.read_parquet(run / "lanes.parquet", columns=["lane", "label", "seed"])
        losses = pd.read_parquet(run / "trace", columns=["lane", "iteration", "loss"])
        ours = losses[losses["iteration"] < ALIKE_ROWS].merge(
            lanes[lanes["label"].isin(ALIKE)], on="lane"
        )
        for program in SCRIPTS:
            file = folder / f"{program}-{seeds}.parquet"
            if file.exists():
                both = ours.merge(pd.read_parquet(file), on=["label", "seed", "iteration"])
                if len(both) != len(ours) or not np.allclose(
                    both["loss_x"], both["loss_y"], rtol=1e-4
                ):
                    raise RuntimeError(f"{program} has other losses than optbench")
