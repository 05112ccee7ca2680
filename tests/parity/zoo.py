"""Runs of the small models in ``models/``, which the tests of both libraries share."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

import optbench

FOLDER = Path(__file__).parent / "models"
NAMES = {
    library: f"{library}:{FOLDER / f'zoo_{library}.py'}:problem" for library in ("torch", "jax")
}
STEPS, LR = 12, 0.2


def run(tmp_path, library, kind, *, seeds=(0,), optimizers=("sgd",), **options):
    suite = {
        "name": "models",
        "problem": [{"name": NAMES[library], "kind": kind, "dtype": "float64", **options}],
        "optimizer": [{"name": name, "lr": LR if name == "sgd" else 0.01} for name in optimizers],
        "iterations": STEPS,
        "seeds": list(seeds),
    }
    return optbench.run(suite, out=tmp_path)


def traces(results) -> dict[tuple[str, int], np.ndarray]:
    lanes = results.lanes.set_index("lane")
    return {
        (lanes.label[lane], int(lanes.seed[lane])): rows.sort_values("iteration").loss.to_numpy()
        for lane, rows in results.trace.groupby("lane")
    }


def assert_goes_the_way_of(
    results, plain_loop: Callable[[int], tuple[list[float], Mapping[str, float]]]
) -> None:
    """Compare lanes with what a loop gives for a seed: its losses, and the validation's columns."""
    evaluated = results.evaluation.query("split == 'validation'").set_index("lane")
    seeds = results.lanes.set_index("seed").lane
    for (_, seed), losses in traces(results).items():
        rows, validation = plain_loop(seed)
        np.testing.assert_allclose(losses, rows, rtol=1e-12)
        last = evaluated.loc[seeds[seed], list(validation)]
        np.testing.assert_allclose(last.to_list(), list(validation.values()), rtol=1e-12)
