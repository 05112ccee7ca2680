"""OpenBLAS is told to use AVX-512 where an AMD processor has it and nobody said otherwise."""

import subprocess
import sys
from pathlib import Path

import pytest

from optbench import blas

AMD = "processor\t: 0\nvendor_id\t: AuthenticAMD\nflags\t\t: fpu avx2 {}\n\nprocessor\t: 1\n"
ALL = "avx512f avx512dq avx512ifma avx512cd avx512bw avx512vl"


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """A process that has not loaded NumPy, on a processor of the test's choice."""
    monkeypatch.delenv(blas.VARIABLE, raising=False)
    monkeypatch.delitem(sys.modules, "numpy")
    monkeypatch.setattr(blas, "CPUINFO", tmp_path / "cpuinfo")
    return tmp_path / "cpuinfo"


def chosen() -> str | None:
    import os

    blas.choose_kernels()
    return os.environ.get(blas.VARIABLE)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (AMD.format(ALL), True),
        (AMD.format(""), False),
        (AMD.format("avx512f avx512cd"), False),
        (AMD.format(ALL).replace("AuthenticAMD", "GenuineIntel"), False),
        (AMD.format("") + f"vendor_id: AuthenticAMD\nflags: {ALL}\n", False),
        ("", False),
        ("nonsense", False),
    ],
)
def test_it_takes_an_amd_processor_with_all_that_the_kernels_need(text, wanted):
    assert blas.wants_avx512(text) is wanted


def test_the_choice_goes_into_the_environment(fresh):
    fresh.write_text(AMD.format(ALL))
    assert chosen() == "SkylakeX"


def test_another_processor_is_left_alone(fresh):
    fresh.write_text(AMD.format(""))
    assert chosen() is None


def test_the_users_choice_stays(fresh, monkeypatch):
    fresh.write_text(AMD.format(ALL))
    monkeypatch.setenv(blas.VARIABLE, "Haswell")
    assert chosen() == "Haswell"


def test_it_is_too_late_once_numpy_is_loaded(fresh, monkeypatch):
    fresh.write_text(AMD.format(ALL))
    monkeypatch.setitem(sys.modules, "numpy", object())
    assert chosen() is None


def test_a_system_that_tells_nothing_is_left_alone(fresh):
    assert chosen() is None


def test_openblas_listens():
    """In a new process, where nothing was chosen before optbench is imported."""
    code = (
        f"import os; os.environ.pop({blas.VARIABLE!r}, None)\n"
        "import optbench, numpy, threadpoolctl\n"
        f"print(os.environ.get({blas.VARIABLE!r}), "
        "*(each['architecture'] for each in threadpoolctl.threadpool_info()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    variable, *kernels = done.stdout.split()
    if not (Path("/proc/cpuinfo").exists() and blas.wants_avx512(blas.CPUINFO.read_text())):
        assert variable == "None"
    else:
        assert variable == "SkylakeX"
        assert kernels in (["SkylakeX"], [])
