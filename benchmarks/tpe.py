"""``python -m benchmarks.tpe`` compares what TPE finds with what random search does.

Both tune adamw's learning rate, β₁, β₂ and weight decay on mnist-5k, 64 trials on 3 seeds each, and
a network with one hidden layer of 16. What is compared is the validation loss of the winner on 20
seeds that chose nothing. A study is a function of its spaces, so that it would be the same again:
each repetition has the ends of the learning rate's space a thousandth apart, which names another
random stream and is no easier and no harder. Needs optuna; takes some minutes on 2 cores.
"""

import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np

from optbench.report.configurations import RANKED_BY, ranked_lanes
from optbench.runs.invocation import Execution
from optbench.store.reader import read_run
from optbench.tuning.protocol import TuneRequest
from optbench.tuning.study import tune

REPETITIONS, TRIALS, ITERATIONS = 5, 64, 150

NETWORK = {"name": "network", "data": "mnist-5k", "layers": ["dense 16", "relu", "dense 10"]}

SAMPLERS = ("random", "tpe")


def suite(repetition: int) -> dict[str, object]:
    """Return what is tuned; the space differs a little from repetition to repetition."""
    end = 1.0 + repetition / 1000
    return {
        "name": "tpe",
        "iterations": ITERATIONS,
        "seeds": list(range(20)),
        "problem": [
            {"name": "network", "data": "mnist-5k", "layers": ["dense 16", "relu", "dense 10"]}
        ],
        "optimizer": [
            {
                "name": "adamw",
                "space": {
                    "lr": f"log({end:g}e-5, {end:g})",
                    "beta1": "1 - log(4e-3, 1)",
                    "beta2": "1 - log(1e-5, 0.5)",
                    "weight_decay": "log(1e-4, 1)",
                },
            }
        ],
    }


def found(sampler: str, repetition: int, out: Path) -> tuple[float, float]:
    """Return the winner's score after the search, and its validation loss on other seeds."""
    asked = TuneRequest(
        suite(repetition), sampler=sampler, budget=f"{TRIALS} trials", defaults=False
    )
    result = tune(asked, Execution(out=out))
    (won,) = result.winners
    lanes = ranked_lanes(read_run(result.path / "final", RANKED_BY))
    return won.search_score, float(np.median(lanes["validation_loss"]))


def main() -> None:
    """Print each repetition, and the medians."""
    losses: dict[str, list[float]] = {sampler: [] for sampler in SAMPLERS}
    for repetition in range(REPETITIONS):
        for sampler in SAMPLERS:
            with tempfile.TemporaryDirectory() as folder:
                search, loss = found(sampler, repetition, Path(folder))
            losses[sampler].append(loss)
            sys.stdout.write(f"{repetition} {sampler:6}: search {search:.4f}, then {loss:.4f}\n")
            sys.stdout.flush()
    medians = {sampler: median(values) for sampler, values in losses.items()}
    ratios = [tpe / random for random, tpe in zip(*losses.values(), strict=True)]
    for sampler, value in medians.items():
        sys.stdout.write(f"{sampler:6}: median {value:.4f}\n")
    sys.stdout.write(f"tpe / random: {', '.join(f'{each:.3f}' for each in ratios)}\n")


if __name__ == "__main__":
    main()
