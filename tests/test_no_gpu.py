"""What a machine without a GPU is told, for real: with CuPy installed and without.

``make test-cupy`` runs this file where CuPy is installed and little else is, so it needs nothing
but the package and pytest.
"""

import json
import re
import sys
from importlib.util import find_spec

import pytest

from optbench.cli import invoke
from optbench.device.choose import get_device
from optbench.device.gpu import list_gpus, why_no_gpu

HAS_CUPY = find_spec("cupy") is not None

pytestmark = pytest.mark.skipif(why_no_gpu() is None, reason="this machine has a GPU that works")

NO_CUPY = "CuPy is not installed; pip install 'optbench[gpu-cuda13]' (or gpu-cuda12)"

NO_DRIVER = re.compile(
    r"the NVIDIA driver is missing or too old for CuPy; install a newer one"
    r"|the driver sees no CUDA device; check nvidia-smi and CUDA_VISIBLE_DEVICES"
)


@pytest.fixture
def optbench(monkeypatch, tmp_path, capsys):
    """Return a function that runs the command line and returns exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["optbench", *arguments])
        code = int(invoke())
        return code, *capsys.readouterr()

    return run


def fits(reason: str) -> bool:
    """Say whether a reason is the one for this machine, with its remedy."""
    return bool(NO_DRIVER.fullmatch(reason)) if HAS_CUPY else reason == NO_CUPY


@pytest.mark.parametrize("number", [0, 1, 7])
def test_the_reason_fits_what_is_installed(number):
    assert fits(why_no_gpu(number))
    assert list_gpus() == []


@pytest.mark.parametrize("name", ["gpu", "gpu:0", "gpu:1"])
def test_a_run_on_a_gpu_ends_with_the_remedy(optbench, tmp_path, name):
    code, out, message = optbench("run", "anisotropic", "--device", name)
    assert (code, out) == (2, "")
    found = re.fullmatch(r"error: no GPU can be used: (.+); or run with --device cpu\n", message)
    assert found, message
    assert fits(found[1])
    assert list(tmp_path.iterdir()) == []


def test_auto_takes_the_cpu(optbench, tmp_path):
    assert get_device("auto").kind == "cpu"
    code, out, _ = optbench("run", "anisotropic", "--device", "auto", "--quiet")
    assert code == 0
    meta = json.loads((tmp_path / out.strip() / "run.json").read_text("utf-8"))
    assert meta["device"] == {"kind": "cpu", "namespace": "numpy"}
    assert meta["status"] == "done"


@pytest.mark.parametrize("name", ["cpu:1", "gpu:", "gpu:x", "cuda"])
def test_a_device_that_there_never_is_is_told_from_one_that_does_not_work(optbench, name):
    code, out, message = optbench("run", "anisotropic", "--device", name)
    assert (code, out) == (2, "")
    assert message.startswith(f"error: unknown device '{name}'; ")


def test_the_list_of_devices_says_why(optbench):
    code, out, message = optbench("list", "devices")
    assert (code, message) == (0, "")
    rows = [re.split(r"  +", line.strip()) for line in out.splitlines()]
    assert [row[:2] for row in rows if row[0] in ("cpu", "gpu")] == [["cpu", "yes"], ["gpu", "no"]]
    (reason,) = (row[-1] for row in rows if row[0] == "gpu")
    assert fits(reason)


@pytest.mark.skipif(not HAS_CUPY, reason="CuPy is not installed")
def test_cupy_is_imported_only_where_it_is_asked_for(optbench):
    """It costs about 0.3 s."""
    import subprocess

    code = (
        "import sys\n"
        "from optbench.cli import invoke\n"
        "sys.argv = ['optbench', 'run', 'anisotropic', '--quiet']\n"
        "assert invoke() == 0\n"
        "print('cupy' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
