"""What tells workers apart from the machine that lanes are compared with."""

import json

import pytest

from optbench.cluster.facts import differences, facts

HERE = json.loads(json.dumps({**facts("cpu")}))


def changed(**parts):
    return {**HERE, **parts}


def test_a_worker_like_this_machine_differs_in_nothing():
    assert differences(facts("cpu"), HERE) == []


@pytest.mark.parametrize("name", ["cores", "git", "processor", "memory_bytes"])
def test_what_changes_no_bit_is_no_difference(name):
    assert differences(changed(**{name: "another"}), HERE) == []


def test_another_numpy_is_told_with_both_versions():
    packages = {**HERE["packages"], "numpy": "1.0.0"}
    (text,) = differences(changed(packages=packages), HERE)
    assert text == f"numpy 1.0.0 there, {HERE['packages']['numpy']} here"


def test_packages_that_only_draw_are_no_difference():
    packages = {**HERE["packages"], "matplotlib": "0.1"}
    assert differences(changed(packages=packages), HERE) == []


def test_a_package_that_is_missing_is_told():
    packages = {name: found for name, found in HERE["packages"].items() if name != "numba"}
    (text,) = differences(changed(packages=packages), HERE)
    assert text == f"numba none there, {HERE['packages']['numba']} here"


def test_other_blas_kernels_are_told_by_their_names():
    other = [{**library, "architecture": "Haswell2"} for library in HERE["blas"]]
    (text,) = differences(changed(blas=other), HERE)
    assert text.startswith("BLAS ")
    assert "Haswell2 there" in text


@pytest.mark.parametrize(
    ("name", "title"), [("optbench", "optbench"), ("python", "Python"), ("machine", "machine")]
)
def test_another_version_is_told(name, title):
    assert differences(changed(**{name: "9"}), HERE) == [f"{title} 9 there, {HERE[name]} here"]


def test_a_device_that_cannot_be_used_is_told_in_a_line(monkeypatch):
    monkeypatch.setattr("optbench.device.choose.why_no_gpu", lambda number=0: "there is none")
    told = facts("gpu")
    assert "there is none" in told["trouble"]
    assert "\n" not in told["trouble"]
