"""What all tests share."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings
from threadpoolctl import threadpool_limits

from optbench.device.base import Device
from optbench.device.cpu import NumpyDevice
from optbench.device.gpu import CupyDevice, why_no_gpu
from optbench.problems.registry import PROBLEMS
from tests.small import SmallNetwork
from tests.strict import StrictDevice

# Machines that run tests are often busy, and a failure has to come back when it is looked into.
settings.register_profile("optbench", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("optbench")


@pytest.fixture(scope="session", autouse=True)
def _one_blas_thread_for_each_worker() -> Iterator[None]:
    """Keep pytest-xdist's workers, one for each core, from waiting for each other's threads."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        with threadpool_limits(1, user_api="blas"):
            yield
    else:
        yield


@pytest.fixture
def small_network_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the small network into the registry of problems."""
    monkeypatch.setitem(PROBLEMS, SmallNetwork.name, SmallNetwork)


@pytest.fixture(params=["numpy", "array-api-strict", pytest.param("cupy", marks=pytest.mark.gpu)])
def core_device(request: pytest.FixtureRequest) -> Device:
    """Return each of the devices that the core is to run on; a GPU where one works."""
    if request.param == "numpy":
        return NumpyDevice()
    if request.param == "array-api-strict":
        return StrictDevice()
    reason = why_no_gpu()
    if reason is not None:
        pytest.skip(reason)
    return CupyDevice()
