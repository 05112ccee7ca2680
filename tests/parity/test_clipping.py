"""Gradients clipped by norm, against PyTorch's and optax's functions for it."""

import numpy as np
import pytest

from tests.small import anisotropic, run_suite, suite

torch = pytest.importorskip("torch")
optax = pytest.importorskip("optax")
jax = pytest.importorskip("jax")

GRADIENT = np.array([-0.7, 4.0])
"""Of the anisotropic function at its start, (−7, 2)."""


def clipped(limit: float) -> np.ndarray:
    """Return the gradient that the first update of a lane takes."""
    entry = ("sgd", [{"lr": 1.0, "clip_norm": limit}])
    (lane,) = run_suite(suite(anisotropic(), optimizers=[entry], iterations=1)).values()
    return lane.position[0] - lane.position[1]


@pytest.mark.parametrize("limit", [0.5, 1.0, 3.0, 10.0])
def test_the_norm_is_clipped_exactly_as_in_optax_and_not_quite_as_in_pytorch(limit):
    norm = np.linalg.norm(GRADIENT)
    found = clipped(limit)
    with jax.enable_x64(True):
        updates, _ = optax.clip_by_global_norm(limit).update(jax.numpy.array(GRADIENT), ())
    assert np.allclose(found, updates, rtol=1e-14, atol=0.0)
    parameter = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))
    parameter.grad = torch.from_numpy(GRADIENT.copy())
    torch.nn.utils.clip_grad_norm_([parameter], limit)
    theirs = parameter.grad.numpy()
    ratio = norm / (norm + 1e-6) if limit < norm else 1.0
    assert np.allclose(theirs, found * ratio, rtol=1e-12, atol=0.0)
    assert np.allclose(theirs, found, rtol=1e-9, atol=0.0) == (limit > norm)
