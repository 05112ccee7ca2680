"""What is timed on a GPU, here on the CPU and small."""

import json

import pytest

from benchmarks import gpu
from optbench.device.cpu import NumpyDevice, NumpyWorkspace


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(gpu, "LANES", 2)
    monkeypatch.setattr(gpu, "STEPS", 128)
    monkeypatch.setattr(gpu, "FUNCTION_LANES", 3)
    monkeypatch.setattr(gpu, "FUNCTION_STEPS", 128)
    monkeypatch.setattr(gpu, "ROUNDS", 1)
    monkeypatch.setattr(gpu, "has", lambda library: False)


@pytest.mark.parametrize("part", [gpu.network, gpu.function])
def test_a_lane_step_is_timed(part):
    found = part(NumpyDevice())
    times = found["seconds_per_lane_step"]
    assert all(0 < spread["lowest"] <= spread["median"] for spread in times.values())
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize("spoilt", [False, True])
def test_a_devices_own_operations_are_compared_with_plain_ones(monkeypatch, spoilt):
    if spoilt:
        rectify = NumpyWorkspace.rectify
        monkeypatch.setattr(
            NumpyWorkspace, "rectify", lambda self, x, shift: rectify(self, x, shift + 0.01)
        )
    found = gpu.operations(NumpyDevice())
    assert found["agree"] is not spoilt
    assert (found["largest_relative_difference"] == 0.0) is not spoilt
    assert found["times_faster_than"]["plain"] > 0.0


def test_ratios_are_to_optbench_and_goals_are_looked_at():
    seconds = {"optbench": 2.0, "eager": 300.0, "vmap": 2.5}
    found = gpu._timed({name: lambda value=value: value for name, value in seconds.items()})
    assert found["times_faster_than"] == {"eager": 150.0, "vmap": 1.25}
    assert found["reached"] == {"eager": True, "vmap": False}


def test_what_was_learned_is_kept_part_by_part(monkeypatch, tmp_path):
    monkeypatch.setattr(gpu, "get_device", lambda name: NumpyDevice())
    monkeypatch.setattr(NumpyDevice, "describe", lambda self: {"name": "A Card"})
    monkeypatch.setattr(gpu, "FOLDER", tmp_path)
    kept = []

    def second(device):
        kept.append(json.loads((tmp_path / "a-card.json").read_text()))
        return {}

    monkeypatch.setattr(gpu, "PARTS", {"first": lambda device: {"value": 1}, "second": second})
    monkeypatch.setattr("sys.argv", ["gpu"])
    gpu.main()
    assert kept[0]["first"]["value"] == 1
    assert "second" in json.loads((tmp_path / "a-card.json").read_text())


def test_a_part_that_fails_is_told_and_the_others_go_on(monkeypatch, tmp_path):
    monkeypatch.setattr(gpu, "get_device", lambda name: NumpyDevice())
    parts = {"first": lambda device: 1 / 0, "second": lambda device: {"value": 2}}
    monkeypatch.setattr(gpu, "PARTS", parts)
    monkeypatch.setattr("sys.argv", ["gpu", "--out", str(tmp_path / "found.json")])
    gpu.main()
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["first"]["raised"][-1] == "ZeroDivisionError: division by zero"
    assert found["second"]["value"] == 2


def test_what_takes_too_long_is_given_up():
    given_up = gpu._command("-c", "import time; time.sleep(60)", seconds=0.2)
    assert given_up == {"given_up_after_seconds": 0.2}
    assert gpu._command("-c", "print('done')", seconds=60.0) == {"exit_code": 0, "said": ["done"]}
