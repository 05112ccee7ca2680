"""``optbench verify devices``: what it prints, and how it ends."""

import json
import sys
from typing import Any

import pytest

from optbench import cli
from optbench.cli import verify
from optbench.device.cpu import NumpyDevice
from optbench.device.gpu import why_no_gpu
from optbench.errors import DeviceError
from optbench.optimizers.registry import OPTIMIZERS
from optbench.verify import devices
from tests.strict import StrictDevice


class Gpu(StrictDevice):
    """A stand-in with the name of a card, whose eps may be wrong."""

    def __init__(self, eps_factor: float = 1.0) -> None:
        super().__init__()
        self.eps_factor = eps_factor

    def elementwise(self) -> Any:
        apply = super().elementwise()

        def changed(rule: Any, arrays: Any, columns: Any) -> None:
            if "eps" in columns:
                columns = {**columns, "eps": columns["eps"] * self.eps_factor}
            apply(rule, arrays, columns)

        return changed

    def describe(self) -> dict[str, Any]:
        return {"kind": self.kind, "name": "NVIDIA [test] card"}


class Raising(Gpu):
    def rows(self, *arguments: Any, **options: Any) -> Any:
        raise RuntimeError("cuBLAS is missing")


@pytest.fixture(autouse=True)
def _less_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = {name: OPTIMIZERS[name] for name in ("sgd", "adagrad")}
    monkeypatch.setattr(devices, "OPTIMIZERS", chosen)
    monkeypatch.setattr(devices, "NUDGES", 1)
    monkeypatch.setattr(devices, "STEPS", (5, 20))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Return a function that runs ``optbench verify devices``: exit code, stdout and stderr."""
    monkeypatch.delenv("FORCE_COLOR", raising=False)

    def run_it(gpu: Any, *arguments: str) -> tuple[int, str, str]:
        asked: list[str] = []
        if gpu is not None:
            monkeypatch.setattr(verify, "get_device", lambda name: asked.append(name) or gpu)
        monkeypatch.setattr(sys, "argv", ["optbench", "verify", "devices", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert set(asked) <= {"gpu", "gpu:1"}
        out, err = capsys.readouterr()
        return int(ended.value.code), out, err

    return run_it


def cells(out: str) -> list[list[str]]:
    """Return the table's lines, split at spaces."""
    return [line.split() for line in out.splitlines()[2:] if line.strip() and "──" not in line]


def test_a_gpu_that_computes_right_passes(run):
    code, out, err = run(Gpu())
    assert (code, err) == (0, "")
    assert out.startswith(
        "Largest relative difference of the traces on NVIDIA [test] card from those on the CPU\n"
    )
    heading, *rows = cells(out)
    assert " ".join(heading) == "optimizer dtype 5 steps tolerance 20 steps tolerance result"
    assert [row for row in rows if len(row) == 1] == [["anisotropic"], ["small-mlp"]]
    compared = [row for row in rows if len(row) > 1]
    assert [row[:2] for row in compared] == 2 * [
        [optimizer, dtype] for optimizer in ("sgd", "adagrad") for dtype in ("float32", "float64")
    ]
    for row in compared:
        assert row[2] == row[4] == "0"
        assert row[-1] == "good"
        if row[1] == "float64":
            assert row[3] == row[5] == "1.0e-09"


def test_lines_fit_80_columns(run):
    _, out, _ = run(Gpu(eps_factor=1.1))
    assert max(len(line.rstrip()) for line in out.splitlines()[1:]) <= 80


def test_one_that_computes_wrong_ends_with_3_and_its_worst_optimizer(run):
    code, out, err = run(Gpu(eps_factor=1.1), "--device", "gpu:1")
    assert code == 3
    verdicts = {(row[0], row[-1]) for row in cells(out)[1:] if row[1:2] == ["float64"]}
    assert verdicts == {("sgd", "good"), ("adagrad", "beyond")}
    assert err.count("\n") == 1
    assert " of 16 comparisons are beyond their tolerance; the worst: adagrad on " in err
    assert err.rstrip().endswith("where rounding explains 1.0e-09")


def test_a_gpu_that_fails_ends_with_3_and_says_why(run):
    code, out, err = run(Raising())
    assert code == 3
    assert {row[-1] for row in cells(out)[1:] if len(row) > 1} == {"beyond"}
    lines = err.splitlines()
    assert len(lines) == 9
    assert lines[0] == "sgd on anisotropic in float32: RuntimeError: cuBLAS is missing"
    assert lines[-1] == (
        "error: 16 of 16 comparisons are beyond their tolerance; "
        "the worst: sgd on anisotropic in float32, 5 steps: RuntimeError: cuBLAS is missing"
    )


@pytest.mark.parametrize(("gpu", "code"), [(Gpu(), 0), (Gpu(eps_factor=1.1), 3), (Raising(), 3)])
def test_json_holds_every_comparison(run, gpu, code):
    found, out, _ = run(gpu, "--format", "json")
    assert found == code
    rows = json.loads(out)
    assert len(rows) == 16
    for row in rows:
        assert list(row) == [
            *("problem", "optimizer", "dtype", "steps"),
            *("difference", "tolerance", "passed", "note"),
        ]
        if isinstance(gpu, Raising):
            assert row["difference"] is None
            assert (row["passed"], row["note"]) == (False, "RuntimeError: cuBLAS is missing")
        else:
            assert row["passed"] is (row["difference"] <= row["tolerance"])
            assert row["note"] is None


@pytest.mark.skipif(why_no_gpu() is None, reason="there is a GPU")
def test_without_a_gpu_it_ends_with_2_and_the_remedy(run):
    code, out, err = run(None)
    assert (code, out) == (2, "")
    assert err == f"error: no GPU can be used: {why_no_gpu()}; or run with --device cpu\n"


def test_the_cpu_is_not_compared_with_itself(run):
    code, out, err = run(NumpyDevice(), "--device", "gpu")
    assert (code, out) == (2, "")
    assert err == "error: device 'gpu' is the CPU itself; give a GPU to compare it with\n"


def test_an_unknown_format_is_refused_before_anything_is_computed(run):
    code, _, err = run(Raising(), "--format", "jason")
    assert (code, err) == (2, "error: unknown format 'jason'; did you mean 'json'?\n")


def test_an_unknown_device_is_refused(run):
    code, _, err = run(None, "--device", "gpus")
    assert code == 2
    assert str(DeviceError("unknown device 'gpus'; did you mean 'gpu'?")) in err
