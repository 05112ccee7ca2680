"""A run and its baseline for tests of the gate."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from optbench.gate import speed
from tests.cli.gate import Desk, made


@pytest.fixture(scope="session")
def saved_gate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the run and the baseline, to be copied."""
    return made(tmp_path_factory.mktemp("gate"))


@pytest.fixture
def desk(saved_gate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Return a copy to work on; how fast a busy machine makes a step is no matter."""
    shutil.copytree(saved_gate, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(speed, "SHORTEST_SECONDS", np.inf)
    return Desk(tmp_path, monkeypatch)
