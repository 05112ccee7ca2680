"""LARS and LAMB against optax's."""

import numpy as np
import pytest

from optbench.optimizers.layerwise import LAMB, LARS
from tests.optimizers.shaped import RECORDINGS, Lanes, worst

optax = pytest.importorskip("optax")
from tests.parity.optax_paths import optax_path  # noqa: E402  # needs optax

STEPS = (1, 7, 50)
BOUNDS = {"float64": 1e-10, "float32": 1e-5}

CASES = {
    LARS: [
        {},
        {"lr": 20.0, "trust": 0.01},
        {"lr": 5.0, "weight_decay": 0.1, "momentum": 0.5},
        {"eps": 0.3, "momentum": 0.0},
    ],
    LAMB: [
        {},
        {"lr": 0.05},
        {"lr": 0.02, "weight_decay": 0.3, "beta1": 0.5, "beta2": 0.9},
        {"eps": 0.01},
    ],
}


def theirs(optimizer, *, lr, weight_decay, eps, trust=None, momentum=None, beta1=None, beta2=None):
    if optimizer is LARS:
        return optax.lars(lr, weight_decay, trust_coefficient=trust, eps=eps, momentum=momentum)
    return optax.lamb(lr, beta1, beta2, eps, weight_decay=weight_decay)


@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("name", RECORDINGS)
@pytest.mark.parametrize("optimizer", CASES, ids=lambda each: each.name)
def test_the_path_is_that_of_optax(optimizer, name, dtype, record_property):
    recording = RECORDINGS[name]
    lanes = Lanes(optimizer, CASES[optimizer], recording, dtype=dtype)
    path = lanes.path()
    differences = []
    for lane in range(lanes.lanes):
        given = {key: float(each[0, lane, 0]) for key, each in lanes.hyperparameters.items()}
        expected = optax_path(theirs(optimizer, **given), recording, dtype)
        differences += [
            worst(recording, path[step - 1, lane], expected[step - 1]) for step in STEPS
        ]
    record_property("difference", max(differences))
    assert max(differences) < BOUNDS[dtype]
    assert path.dtype == dtype
    assert np.abs(path[-1] - recording.start).max() > 1e-3
