"""Runs on a cluster of two workers give what runs on this machine give, to the byte."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from optbench.cluster import places
from tests.cli.command import lanes, meta, optbench, suite
from tests.cluster.scheduling import scheduler
from tests.slow import MAY_DIFFER, assert_same_study

SUITE = """
name = "mixed"
seeds = 2
iterations = 120
evaluate_every = 40

[[problem]]
name = "network"
data = "mnist-5k"
layers = ["dense 6", "relu", "dense 10"]
batch_size = 16

[[problem]]
name = "noisy-rosenbrock"

[[optimizer]]
name = "sgd"
grid.lr = [0.01, 1e30]

[[optimizer]]
name = "adam"
"""

LONG = """
name = "long"
seeds = 2
iterations = 150000

[[problem]]
name = "anisotropic"

[[optimizer]]
name = "sgd"
"""

TIRED = """
from optbench.optimizers import Elementwise, Hyperparameter

class Tired(Elementwise):
    hyperparameters = (Hyperparameter("lr", 0.01, "learning rate"),)

    @staticmethod
    def rule(w, g, *, lr, xp):
        if (lr > 0.5).any():
            raise ValueError("too fast")
        return (w - lr * g,)
"""

UNGUARDED = """
import optbench

runs = optbench.run("anisotropic", iterations=30, cluster="local:2")
print("made", runs.path.name)
"""

ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name != "OPTBENCH_DATA_DIR"},
    "PYTHONPATH": os.pathsep.join(sys.path),
}

DEADLINE = 120.0


@pytest.fixture(scope="module")
def address():
    with scheduler(workers=2) as started:
        yield started


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The run that one worker makes here."""
    folder = tmp_path_factory.mktemp("alone")
    return made(folder, "--workers", 1)


def made(folder, *arguments, text=SUITE, code=0):
    """Run a suite and return the run's directory."""
    seen = optbench("run", suite(folder, text), "-q", *arguments, cwd=folder)
    assert seen.code == code, seen
    return seen.path


def assert_same_bytes(run, expected):
    """Compare all that two runs found; how long it took and who did it may differ."""
    for folder in ("trace", "evaluation"):
        ours, theirs = (
            {file.name: file.read_bytes() for file in (each / folder).glob("*.parquet")}
            for each in (run, expected)
        )
        assert ours == theirs
        assert ours or folder == "evaluation"
    ours, theirs = (lanes(each).drop(columns=[*MAY_DIFFER]) for each in (run, expected))
    pd.testing.assert_frame_equal(ours, theirs, check_exact=True)


@pytest.mark.parametrize("records", ["shared", "stream"])
def test_a_run_has_the_bytes_of_a_local_one(records, address, alone, tmp_path):
    run = made(tmp_path, "--cluster", address, "--cluster-records", records)
    assert_same_bytes(run, alone)
    told = meta(run)["cluster"]
    assert (told["cluster"], told["records"]) == (address, records)
    assert all("differs" not in worker for worker in told["workers"])


def test_one_worker_gives_the_bytes_of_two(alone, tmp_path):
    assert_same_bytes(made(tmp_path, "--cluster", "local:1"), alone)


def test_a_study_with_halving_has_the_trials_of_a_local_one(address, tmp_path):
    asked = ("anisotropic", "-o", "sgd", "-o", "momentum", "--budget", "9 trials")
    asked = (*asked, "--iterations", "90", "--halving", 3, "--eval-seeds", 2, "-q")
    studies = []
    for name, where in (("here", ("--workers", 1)), ("there", ("--cluster", address))):
        (tmp_path / name).mkdir()
        seen = optbench("tune", *asked, *where, cwd=tmp_path / name)
        assert seen.code == 0, seen
        studies.append(seen.path)
    assert_same_study(studies[1], studies[0])
    culled = pd.read_parquet(studies[1] / "trials.parquet")["culled_at"]
    assert culled.notna().any()


def test_only_the_lanes_of_a_rule_that_raises_fail(address, tmp_path):
    (tmp_path / "rules.py").write_text(TIRED)
    text = LONG.replace("150000", "50") + '\n[[optimizer]]\nname = "rules.py:Tired"\ngrid.lr = '
    text += "[0.1, 0.9]\n"
    expected = made(tmp_path, "--workers", 1, text=text, code=4)
    run = made(tmp_path, "--cluster", address, text=text, code=4)
    statuses = lanes(run).set_index(["label", "seed"])["status"]
    assert set(statuses) == {"done", "failed"}
    assert (lanes(run)["status"] == lanes(expected)["status"]).all()
    (failure,) = meta(run)["failures"]
    assert failure["message"] == meta(expected)["failures"][0]["message"]
    assert sorted(failure["lanes"]) == lanes(run).query("status == 'failed'")["lane"].tolist()


@pytest.mark.skipif(os.name != "posix", reason="needs signals of POSIX systems")
def test_an_interrupt_of_all_processes_leaves_a_run_that_goes_on_anywhere(address, tmp_path):
    """As a terminal does it: a worker that it ended would not have written a checkpoint."""
    file = suite(tmp_path, LONG)
    command = [sys.executable, "-m", "optbench", "run", file, "--cluster", "local:2"]
    process = subprocess.Popen(
        [*command, "-q", "--checkpoint-every", "1000"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until = time.monotonic() + DEADLINE
    while not [*tmp_path.glob("results/*/journal/*/rows-*.npz")] and process.poll() is None:
        assert time.monotonic() < until
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    (run,) = (tmp_path / "results").iterdir()
    assert meta(run)["status"] == "interrupted"
    assert [*run.glob("journal/*/checkpoint.npz")]
    seen = optbench("run", "--resume", "latest", "-q", "--cluster", address, cwd=tmp_path)
    assert seen.code == 0, seen
    assert_same_bytes(run, made(tmp_path, "--workers", 1, text=LONG))


def test_a_script_that_is_not_guarded_makes_one_run(tmp_path):
    (tmp_path / "mine.py").write_text(UNGUARDED)
    done = subprocess.run(
        [sys.executable, "mine.py"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )
    (run,) = (tmp_path / "results").iterdir()
    assert (done.returncode, done.stdout) == (0, f"made {run.name}\n"), done.stderr


def test_a_worker_with_another_numpy_is_refused_unless_forced(tmp_path):
    (tmp_path / "other" / "numpy-0.9.dist-info").mkdir(parents=True)
    told = tmp_path / "other" / "numpy-0.9.dist-info" / "METADATA"
    told.write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 0.9\n")
    file = suite(tmp_path, LONG.replace("150000", "50"))
    path = os.pathsep.join([str(tmp_path / "other"), *sys.path])
    with scheduler(workers=1, PYTHONPATH=path) as address:
        on_cluster = (file, "-q", "--cluster", address)
        refused = optbench("run", *on_cluster, cwd=tmp_path)
        assert f"numpy 0.9 there, {np.__version__} here" in refused.message
        assert "--force" in refused.message
        assert not (tmp_path / "results").exists()
        forced = optbench("run", *on_cluster, "--force", cwd=tmp_path)
        assert forced.code == 0, forced
    (worker,) = meta(forced.path)["cluster"]["workers"]
    assert worker["differs"] == [f"numpy 0.9 there, {np.__version__} here"]


def test_a_scheduler_that_is_not_there_is_told_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "CONNECT_SECONDS", 1.0)
    file = suite(tmp_path, LONG)
    seen = optbench("run", file, "--cluster", "tcp://127.0.0.1:9", cwd=tmp_path)
    assert "no scheduler answers at tcp://127.0.0.1:9" in seen.message
