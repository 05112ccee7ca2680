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
ALIKE_ROWS, ALIKE = 8, ("sgd", "momentum")
"""Rows, and optimizers, whose losses have to be alike. AdaGrad and Adam divide gradients that are
nearly zero by their own size, so that rounding, and where eps is added, soon show. After more rows
rounding decides whether a unit's ReLU is open: then one lane's losses move 1e-4 away (beside
float64, JAX's first did at iteration 10, ours and PyTorch's stayed within 6e-7 for 20)."""

TOLERANCE = 1e-5
"""Relative difference up to which losses are alike; what was seen in these rows is 6.4e-7."""


def run(rounds: int, *, quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """Time all programs; return the seconds that each took, by number of seeds."""
    iterations = QUICK_ITERATIONS if quick else ITERATIONS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table: dict[str, dict[str, Timed]] = {}
        for seeds in SEEDS:
            case = f"{seeds} seed{'' if seeds == 1 else 's'}"
            say(f"checking that all do the same work: {case}")
            _check_alike(folder / f"alike-{seeds}", seeds)
            for program, command in _commands(folder / case, seeds, iterations).items():
                table.setdefault(program, {})[case] = lambda command=command: timed(command, 1)
        seconds = interleave(table, rounds, say)
    return {"iterations": iterations, "seconds": seconds}


def _commands(folder: Path, seeds: int, iterations: int) -> dict[str, Callable[[], None]]:
    """Return what runs each program.

    Results go into the folder, which is made: one file or folder for each.
    """
    folder.mkdir()
    inputs = folder / "inputs.npz"
    Workload().save(inputs, seeds, iterations)
    suite = ["run", "mnist-mlp", "--seeds", str(seeds), "--iterations", str(iterations)]

    def ours(*options: str) -> Callable[[], None]:
        out = str(folder / OPTBENCH)
        return lambda: _start("-c", COMMAND, *suite, "--quiet", "--out", out, *options)

    found = {OPTBENCH: ours(), ONE_WORKER: ours("--workers", "1")}
    for program, (library, module) in SCRIPTS.items():
        if has(library):
            out = str(folder / f"{program}.parquet")
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


def _check_alike(folder: Path, seeds: int) -> None:
    """Make sure that all programs do the same work: their first losses are those of optbench.

    Raises
    ------
    RuntimeError
        If one of them has others, with the first and the largest difference.
    """
    commands = _commands(folder, seeds, ALIKE_ROWS)
    del commands[ONE_WORKER]
    for command in commands.values():
        command()
    (run,) = (folder / OPTBENCH).iterdir()
    lanes = pd.read_parquet(run / "lanes.parquet", columns=["lane", "label", "seed"])
    trace = pd.read_parquet(run / "trace", columns=["lane", "iteration", "loss"])
    ours = trace.merge(lanes[lanes["label"].isin(ALIKE)], on="lane")
    for program in commands:
        if program == OPTBENCH:
            continue
        theirs = pd.read_parquet(folder / f"{program}.parquet")
        both = ours.merge(theirs, on=["label", "seed", "iteration"], suffixes=("", "_theirs"))
        apart = (both["loss_theirs"] / both["loss"] - 1.0).abs()
        if len(both) != len(ours):
            raise RuntimeError(f"{program} wrote {len(both)} of {len(ours)} losses")
        if not (apart <= TOLERANCE).all():
            first = both[~(apart <= TOLERANCE)].sort_values("iteration").iloc[0]
            raise RuntimeError(
                f"{program} has other losses than optbench: {first['label']} with seed "
                f"{first['seed']} has {first['loss_theirs']:.7g} at iteration "
                f"{first['iteration']}, not {first['loss']:.7g}"
            )
