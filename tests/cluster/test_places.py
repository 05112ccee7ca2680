"""What --cluster may say, before any process is started."""

import sys

import pytest

from optbench.cluster import open_cluster
from optbench.cluster.places import _script_kept_out
from optbench.errors import DeviceError, SuiteError
from tests.refusal import refusal


def planned(text, *arguments, **options):
    with open_cluster(text, *arguments, planning=True, **options) as cluster:
        return cluster


def test_processes_of_this_machine_are_planned_for_without_starting_any():
    cluster = planned("local:3")
    assert (cluster.workers, cluster.where, cluster.members()) == (3, "local:3", [])


@pytest.mark.parametrize("text", ["local:0", "local:", "local:-1", "local:two", "local:²"])
def test_a_number_of_processes_that_is_none_is_refused(text):
    assert "N of at least 1" in refusal(SuiteError, planned, text)


@pytest.mark.parametrize("text", ["", "scheduler:8786", "slurm", "jobs.json"])
def test_what_means_nothing_is_refused_with_what_would(text):
    said = refusal(SuiteError, planned, text)
    assert "local:4" in said
    assert "tcp://HOST:8786" in said


@pytest.mark.parametrize("device", ["auto", "gpu:1", "tpu"])
def test_devices_that_mean_nothing_on_workers_are_refused(device):
    assert "one GPU each" in refusal(DeviceError, planned, "local:2", device)


def test_records_come_in_one_of_two_ways():
    assert "shared or stream" in refusal(SuiteError, planned, "local:2", records="mail")


def test_without_dask_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("optbench.cluster.places.find_spec", lambda name: None)
    assert "optbench[dask]" in refusal(DeviceError, planned, "local:2")


def test_a_scheduler_that_does_not_answer_is_told_in_a_line(monkeypatch):
    monkeypatch.setattr("optbench.cluster.places.CONNECT_SECONDS", 0.5)
    assert "no scheduler answers at tcp://127.0.0.1:1" in refusal(
        DeviceError, planned, "tcp://127.0.0.1:1"
    )


def test_scripts_are_no_matter_to_processes_only_as_long_as_a_cluster_is_open():
    main = sys.modules["__main__"]
    before = {name: getattr(main, name, None) for name in ("__file__", "__spec__")}
    with _script_kept_out():
        assert not hasattr(main, "__file__")
        assert main.__spec__ is None
    assert {name: getattr(main, name, None) for name in before} == before
