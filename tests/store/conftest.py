"""A finished run of a network and two functions, to be read, copied and damaged."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from optbench.device.cpu import NumpyDevice
from optbench.runs.pipeline import plan_run, run_plan
from tests.small import anisotropic, quadratic, small_network, suite


@pytest.fixture(scope="package")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a finished run; only to be read."""
    device = NumpyDevice()
    settled = suite(
        small_network(),
        anisotropic(),
        quadratic(),
        optimizers=[("sgd", [{"lr": 0.1}, {"lr": 3.0}]), "adam"],
        seeds=(0, 7),
        iterations=300,
        name="small",
    )
    out = tmp_path_factory.mktemp("results")
    return run_plan(plan_run(settled, device, workers=2), device, out, "first").path


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that copies the run to a directory of that name."""

    def make(name: str = "run") -> Path:
        return Path(shutil.copytree(finished, tmp_path / name))

    return make
