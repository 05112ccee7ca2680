"""Workers with GPUs, as they tell of themselves; none is here."""

import json

from optbench.cluster import Cluster, RemoteDevice
from optbench.cluster.facts import facts
from optbench.cluster.members import introduced
from optbench.cluster.places import Place
from optbench.errors import DeviceError
from optbench.runs.pipeline import plan_run
from tests.refusal import refusal
from tests.small import small_network, suite

CARD = {"kind": "gpu", "namespace": "cupy", "number": 0, "name": "H200"}


def told(**parts):
    found = json.loads(json.dumps(facts("cpu")))
    packages = {**found["packages"], "cupy-cuda13x": "13.6.0"}
    dask = {"name": "0", "threads": 8, "gpus": 1, "limit_bytes": 0, "host": "node", "pid": 1}
    card = {"device": CARD, "packages": packages, "block_bytes": 2**30, "memory_bytes": 2**37}
    return {**found, **card, **dask, **parts}


def cluster(workers=3):
    device = RemoteDevice(told())
    return Cluster(Place("tcp://there", None, workers), device, "gpu", "shared", False, print)


def test_a_worker_with_a_gpu_is_compared_with_this_machine_and_with_the_first_gpu():
    assert introduced("tcp://a", told(), cluster().here).refused == ()
    other = {**CARD, "name": "A100"}
    (text,) = introduced("tcp://a", told(device=other), cluster().here).refused
    assert text == "device gpu cupy 0 A100 there, gpu cupy 0 H200 here"


def test_a_worker_with_a_gpu_runs_a_block_at_a_time_whatever_its_threads():
    assert introduced("tcp://a", told(), cluster().here).slots == 1


def test_a_worker_that_names_no_gpu_as_its_own_is_refused():
    (text,) = introduced("tcp://a", told(gpus=0), cluster().here).refused
    assert "--resources GPU=1" in text


def test_blocks_are_as_many_as_gpus_and_as_large_as_these_hold():
    opened = cluster(workers=3)
    settled = suite(small_network(), optimizers=["sgd", "adam"], seeds=range(300))
    plan = plan_run(settled, opened.device, cluster=opened)
    assert len(plan.blocks) == 3
    assert plan.workers == 3


def test_no_step_is_timed_where_the_gpu_is_not():
    assert "on workers" in refusal(DeviceError, cluster().device.active)


def test_limits_on_this_process_are_no_matter_there():
    assert cluster().device.spare_bytes is None
