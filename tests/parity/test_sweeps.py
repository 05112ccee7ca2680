"""Sweeps over lists, words and switches of PyTorch's and optax's optimizers, beside each alone."""

import json

import numpy as np
import pytest

from optbench.errors import SuiteError
from optbench.suite.format import parse_suite
from optbench.suite.request import RunRequest, resolve_request
from optbench.suite.resolve import resolve
from tests.small import run_suite

pytest.importorskip("torch")
pytest.importorskip("optax")


@pytest.mark.parametrize(
    ("optimizer", "grid", "recorded"),
    [
        ("torch:AdamW", {"betas": "[0.9,0.99],[0.8,0.9]"}, ["[0.9, 0.99]", "[0.8, 0.9]"]),
        ("torch:AdamW", {"betas": ((0.9, 0.99), [0.5, 0.9])}, ["[0.9, 0.99]", "[0.5, 0.9]"]),
        ("torch:AdamW", {"amsgrad": [True, False]}, [1.0, 0.0]),
        ("torch:SGD", {"schedule": "constant,cosine"}, ["constant", "cosine"]),
        ("optax:adam", {"nesterov": "true,false"}, [1.0, 0.0]),
        ("optax:adam", {"schedule": ["1/t", "constant"]}, ["1/t", "constant"]),
        ("torch:SGD", {"foreach": "none,true"}, ["none", 1.0]),
    ],
)
def test_each_lane_of_a_sweep_is_the_one_of_its_values(optimizer, grid, recorded):
    (key,) = grid
    label = optimizer.partition(":")[2]
    lr = {f"{label}.lr": 0.1}

    def settled(**changes):
        request = RunRequest("anisotropic", optimizers=optimizer, iterations=7, **changes)
        return resolve_request(request)[0]

    swept = settled(set=lr, grid={f"{label}.{key}": grid[key]})
    assert swept.resolved["optimizer"][0]["grid"] == {key: recorded}
    again = resolve(parse_suite(json.loads(json.dumps(swept.resolved)), "run.json"))
    assert again.resolved == swept.resolved
    together = list(run_suite(swept).values())
    assert [outcome.lane.hyperparameters[key] for outcome in together] == recorded
    for outcome, value in zip(together, recorded, strict=True):
        (alone,) = run_suite(settled(set=lr | {f"{label}.{key}": value})).values()
        assert outcome.lane.key == alone.lane.key
        np.testing.assert_allclose(outcome.loss, alone.loss, rtol=1e-6)


def test_a_list_given_in_two_ways_is_one_configuration():
    grid = {"AdamW.betas": [[0.9, 0.99], "[0.9, 0.99]"]}
    with pytest.raises(SuiteError, match="AdamW: points 1 and 2 are the same configuration"):
        resolve_request(RunRequest("anisotropic", optimizers="torch:AdamW", grid=grid))
