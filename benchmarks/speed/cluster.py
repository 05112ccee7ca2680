"""Whole runs of a network by two workers and by one, here and as processes of a Dask cluster."""

import tempfile
from collections.abc import Callable
from typing import Any

from benchmarks.speed.measure import interleave, timed
from benchmarks.speed.processes import optbench

ONE, TWO = "one worker", "two workers"
HERE, CLUSTER = "here", "on a cluster"
WAYS = {
    HERE: {ONE: ("--workers", "1"), TWO: ("--workers", "2")},
    CLUSTER: {ONE: ("--cluster", "local:1"), TWO: ("--cluster", "local:2")},
}
"""One and two workers have blocks of the same lanes on a cluster, and here."""

RUN = ("run", "mnist-mlp", "--data", "mnist-5k", "--quiet")
SEEDS, QUICK_SEEDS = 9, 2
"""Of each of four optimizers; nine take one worker more than two minutes."""


def run(rounds: int, *, quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """Time the command from start to end; return the seconds of each way."""
    seeds = QUICK_SEEDS if quick else SEEDS
    with tempfile.TemporaryDirectory() as folder:

        def whole(way: tuple[str, ...]) -> float:
            command = (*RUN, "--seeds", str(seeds), *way, "--out", folder)
            return timed(lambda: optbench(*command), 1)

        table = {
            place: {workers: lambda way=way: whole(way) for workers, way in each.items()}
            for place, each in WAYS.items()
        }
        samples = interleave(table, rounds, say)
    return {"lanes": 4 * seeds, "seconds": samples}
