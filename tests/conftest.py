"""What all tests share."""

import pytest
from hypothesis import settings

from optbench.problems import PROBLEMS
from tests.small import SmallNetwork

# Machines that run tests are often busy, and a failure has to come back when it is looked into.
settings.register_profile("optbench", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("optbench")


@pytest.fixture
def small_network_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the small network into the registry of problems."""
    monkeypatch.setitem(PROBLEMS, SmallNetwork.name, SmallNetwork)
