"""What is recorded of the machine and the sources that a run was made with."""

import json
import platform
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import optbench
from optbench.store import environment
from optbench.store.environment import describe_environment


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.invalid", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def outside(tmp_path, monkeypatch) -> Path:
    """A folder in no repository, as working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    return tmp_path


def test_versions_and_machine_are_those_of_this_process_in_plain_data():
    found = describe_environment()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["optbench"] == optbench.__version__
    assert found["python"] == platform.python_version()
    assert found["system"] == platform.system()
    assert found["machine"] == platform.machine()
    assert found["cores"] >= 1
    for name in ("numpy", "pandas", "pyarrow", "matplotlib", "threadpoolctl"):
        assert found["packages"][name] == version(name)
    assert found["blas"][0].keys() == {"internal_api", "version", "architecture"}
    assert found["blas"][0]["internal_api"]


def library(file, version):
    described = {"internal_api": "openblas", "version": version, "architecture": "Zen"}
    return {"user_api": "blas", "filepath": str(file), "prefix": "libopenblas", **described}


def test_of_all_blas_libraries_that_of_numpy_is_recorded(monkeypatch):
    site = Path(np.__file__).parents[1]
    numpys = library(site / "numpy.libs" / "libopenblas.so", "1")
    others = library(site / "scipy.libs" / "libopenblas.so", "2")
    shared = library("/opt/lib/libopenblas.so", "3")
    for loaded, versions in (([others, numpys], ["1"]), ([others, shared], ["2", "3"])):
        monkeypatch.setattr(environment, "threadpool_info", lambda loaded=loaded: loaded)
        assert [each["version"] for each in describe_environment()["blas"]] == versions


@pytest.mark.parametrize("name", ["jax", "jaxlib", "numba", "optax", "torch"])
def test_libraries_that_compute_are_recorded_where_they_are_installed(name, monkeypatch):
    recorded = describe_environment()["packages"].get(name)
    assert recorded == (version(name) if find_spec(name) else None)
    monkeypatch.setattr(environment, "version", lambda package: f"{package} 1.2")
    assert describe_environment()["packages"][name] == f"{name} 1.2"


def test_packages_that_are_not_there_are_left_out(monkeypatch):
    monkeypatch.setattr(environment, "PACKAGES", ("numpy", "no-such-package-anywhere"))
    assert describe_environment()["packages"] == {"numpy": version("numpy")}


def test_without_git_there_is_no_commit(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert describe_environment()["git"] is None


def test_the_commit_and_whether_it_is_all_there_is(outside):
    assert describe_environment()["git"] is None  # there is no repository
    git(outside, "init", "-q")
    assert describe_environment()["git"] is None  # nothing is committed yet
    (outside / "suite.toml").write_text("", encoding="utf-8")
    git(outside, "add", ".")
    git(outside, "commit", "-q", "-m", "first")
    commit = git(outside, "rev-parse", "HEAD")
    assert describe_environment()["git"] == {"commit": commit, "clean": True}
    (outside / "suite.toml").write_text("changed", encoding="utf-8")
    assert describe_environment()["git"] == {"commit": commit, "clean": False}


def test_a_git_that_hangs_is_not_waited_for(monkeypatch):
    def hang(*arguments, timeout, **options):
        raise subprocess.TimeoutExpired("git", timeout)

    monkeypatch.setattr(environment.subprocess, "run", hang)
    assert describe_environment()["git"] is None


def test_the_processor_has_a_name_where_the_system_tells_it(monkeypatch):
    if sys.platform == "linux" and "model name" in Path("/proc/cpuinfo").read_text("utf-8"):
        assert describe_environment()["processor"]
    threadpool_info = environment.threadpool_info()  # it, too, asks for the platform
    monkeypatch.setattr(environment, "threadpool_info", lambda: threadpool_info)
    monkeypatch.setattr(environment.sys, "platform", "darwin")
    monkeypatch.setattr(environment.platform, "processor", lambda: "arm")
    assert describe_environment()["processor"] == "arm"
    monkeypatch.setattr(environment.platform, "processor", lambda: "")
    assert describe_environment()["processor"] is None
