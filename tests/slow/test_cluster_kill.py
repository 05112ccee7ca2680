"""Runs on a cluster of which a worker, the scheduler or the client is killed at random moments.

Each runs the real command line in a process of its own, which notes every record that it reports.
Whatever is killed, what was reported is read; the run ends with the tables of one that nothing
ended. Moments are drawn from fixed seeds and printed.
"""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import psutil
import pytest
from distributed import Client

from optbench.store import block_writer
from optbench.store.reader import read_run
from tests.cli.command import meta, optbench, suite
from tests.cluster.scheduling import launched
from tests.slow import assert_same_run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="needs signals and locks of POSIX systems"),
]

SUITE = """
name = "killed"
seeds = 2
evaluate_every = 100

[[problem]]
name = "network"
data = "mnist-5k"
layers = ["dense 20", "batch-norm", "relu", "dropout 0.3", "dense 10"]
batch_size = 32
iterations = 250

[[problem]]
name = "anisotropic"
iterations = 2500

[[problem]]
name = "noisy-rosenbrock"
iterations = 1500

[[optimizer]]
name = "sgd"
grid.lr = [0.01, 1e30]

[[optimizer]]
name = "adam"

[[optimizer]]
name = "schedule-free-sgd"
"""

LITTLE = """
from optbench.store import block_writer

block_writer.JOURNAL_SECONDS = 0.05
block_writer.PART_BYTES, block_writer.PIECE_BYTES = 2**13, 2**12
"""
"""Keeps journals close behind, and writes the file of a block in many pieces."""

DRIVER = (
    LITTLE
    + """
import os, sys
from contextlib import contextmanager
import optbench.cli.run as command
from optbench.cli import main
from optbench.cluster import driver
from optbench.records import BlockResult, TraceChunk, Underway

driver.LOOK_SECONDS = driver.TAKE_SECONDS = 0.1
noted = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def observe(record):
    match record:
        case TraceChunk():
            said = [f"rows {record.block} {record.next_iteration}"]
        case Underway():
            said = [f"rows {record.block} {record.next_iteration}"]
        case BlockResult():
            said = [f"end {lane.lane} {lane.status}" for lane in record.lanes
                    if lane.status != "interrupted"]
        case _:
            said = []
    os.write(noted, "".join(f"{each}\\n" for each in said).encode())

@contextmanager
def display(plan, *, quiet):
    os.write(noted, b"begin\\n")
    yield observe

command.display = display
main()
"""
)
"""The command line, which notes what it reports."""

SEED = 33

OPTIONS = ("-q", "--out", "results", "--checkpoint-every", "0.1")

DEADLINE = 90.0


@dataclass(frozen=True)
class Place:
    """A folder to run in."""

    folder: Path

    @property
    def noted(self) -> Path:
        return self.folder / "noted"

    @property
    def run(self) -> Path:
        (found,) = (self.folder / "results").iterdir()
        return found

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start a command and return once it begins to run blocks."""
        self.noted.unlink(missing_ok=True)
        process = subprocess.Popen(
            [sys.executable, "-c", DRIVER, str(self.noted), "run", *arguments],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        while not self.noted.exists() and process.poll() is None:
            time.sleep(0.005)
        return process

    def reported(self) -> list[list[str]]:
        return [line.split() for line in self.noted.read_text().splitlines()]

    def await_rows(self, process: "subprocess.Popen[str]", block: int, rows: int) -> None:
        """Wait until so many rows of a block have been reported, or the process ends."""
        until = time.monotonic() + DEADLINE
        while process.poll() is None and time.monotonic() < until:
            if any(
                kind == "rows" and int(said[0]) == block and int(said[1]) >= rows
                for kind, *said in self.reported()
            ):
                return
            time.sleep(0.005)

    def assert_reported(self) -> None:
        """Look for all that was reported in the run as readers see it."""
        found = read_run(self.run)
        rows = found.trace.groupby("lane")["iteration"].max() + 1
        statuses = found.lanes.set_index("lane")["status"]
        lanes = {entry["block"]: entry["lanes"] for entry in found.meta["blocks"]}
        for kind, *said in self.reported():
            if kind == "rows" and int(said[1]):
                assert rows.reindex(lanes[int(said[0])]).max() >= int(said[1])
            elif kind == "end":
                assert statuses[int(said[0])] == said[1]

    def resume(self, *arguments: str) -> None:
        """Go on to the end, here."""
        seen = optbench("run", "--resume", "latest", "-q", *arguments, cwd=self.folder)
        assert seen.code == 0, seen


def finished(process: "subprocess.Popen[str]", code: int = 0) -> str:
    """Wait for a command's end, and return what it said on stderr."""
    out, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == code, (process.returncode, out, err)
    return err


def say(line: str) -> None:
    """Print a line, which is seen where the test fails."""
    sys.stdout.write(f"{line}\n")


@contextmanager
def cluster(folder, workers=2, threads=1):
    """Yield scheduler and workers with their nannies, as processes, and the scheduler's address."""
    (folder / "little.py").write_text(LITTLE, encoding="utf-8")
    with ExitStack() as stack:
        scheduler, address = stack.enter_context(
            launched(
                *("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"),
                says=r"Scheduler at:\s+(\S+)",
            )
        )
        nannies = []
        for _ in range(workers):
            arguments = ("--nthreads", str(threads), "--no-dashboard")
            preload = ("--preload", str(folder / "little.py"))
            process, _ = stack.enter_context(
                launched("worker", address, *arguments, *preload, says=r"Registered to:\s+(\S+)")
            )
            nannies.append(process)
        yield scheduler, nannies, address


@pytest.fixture(scope="module")
def standing(tmp_path_factory):
    """A cluster that is there for all tests: its scheduler's address."""
    with cluster(tmp_path_factory.mktemp("cluster")) as (_, _, address):
        yield address


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run that nothing ends."""
    folder = tmp_path_factory.mktemp("whole")
    suite(folder, SUITE)
    place = Place(folder)
    finished(place.start("mine.toml", *OPTIONS, "--workers", "1"))
    return place.run


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(block_writer, "PIECE_BYTES", 2**12)  # for what is resumed here
    suite(tmp_path, SUITE)
    return Place(tmp_path)


def workers(address: str) -> dict[str, int]:
    """Return the processes of the workers by their addresses, once there are two."""
    with Client(address, set_as_default=False) as client:
        client.wait_for_workers(2)
        return dict(client.run(os.getpid))


def moment(drawn: random.Random) -> tuple[int, int]:
    """Draw a block and how many of its rows are to be there."""
    block = drawn.randrange(3)
    return block, round(drawn.uniform(0, 0.8) * (250, 2500, 1500)[block])


RECORDS = ("shared", "stream")


@pytest.mark.parametrize("number", range(10))
def test_a_worker_that_is_killed_costs_nothing(number, place, whole, standing):
    drawn = random.Random(f"{SEED} worker {number}")
    at, records = moment(drawn), RECORDS[number % 2]
    say(f"seed {SEED} {number}: {records}, killed after {at[1]} rows of block {at[0]}")
    known = workers(standing)
    process = place.start(
        "mine.toml", *OPTIONS, "--cluster", standing, "--cluster-records", records
    )
    place.await_rows(process, *at)
    os.kill(drawn.choice([*known.values()]), signal.SIGKILL)
    finished(process)
    place.assert_reported()
    assert_same_run(place.run, whole)


@pytest.mark.parametrize("number", range(10))
def test_a_client_that_is_killed_loses_nothing(number, place, whole, standing):
    drawn = random.Random(f"{SEED} client {number}")
    at, records = moment(drawn), RECORDS[number % 2]
    say(f"seed {SEED} {number}: {records}, killed after {at[1]} rows of block {at[0]}")
    on_cluster = ("--cluster", standing, "--cluster-records", records)
    workers(standing)
    process = place.start("mine.toml", *OPTIONS, *on_cluster)
    place.await_rows(process, *at)
    process.kill()
    finished(process, -signal.SIGKILL)
    place.assert_reported()
    # Its workers are still at it for a moment.
    place.resume(*(on_cluster if number % 3 else ()))
    assert_same_run(place.run, whole)


@pytest.mark.parametrize("number", range(10))
def test_a_scheduler_that_is_killed_ends_the_run_and_loses_nothing(number, place, whole, tmp_path):
    drawn = random.Random(f"{SEED} scheduler {number}")
    at, records = moment(drawn), RECORDS[number % 2]
    say(f"seed {SEED} {number}: {records}, killed after {at[1]} rows of block {at[0]}")
    with cluster(tmp_path) as (scheduler, _, address):
        process = place.start(
            "mine.toml", *OPTIONS[1:], "--cluster", address, "--cluster-records", records
        )
        place.await_rows(process, *at)
        scheduler.kill()
        _, err = process.communicate(timeout=DEADLINE)
        place.assert_reported()
        if process.returncode:  # else all blocks had ended where they ran
            assert process.returncode == 130
            what, remedy, *_ = err.splitlines()
            assert what.startswith("note: the cluster's scheduler ")
            assert f"optbench run --resume {place.run.name}" in remedy
            assert meta(place.run)["status"] == "interrupted"
            place.resume()
        assert_same_run(place.run, whole)


LONG = """
name = "long"
iterations = 100000

[[problem]]
name = "anisotropic"

[[optimizer]]
name = "sgd"
"""


@pytest.mark.parametrize(
    ("told", "records"), [("worker", "shared"), ("worker", "stream"), ("nanny", "shared")]
)
def test_a_worker_that_is_told_to_end_hands_its_block_on(told, records, tmp_path):
    suite(tmp_path, LONG)
    place = Place(tmp_path)
    with cluster(tmp_path) as (_, nannies, address):
        seldom = ("--checkpoint-every", "1000", "--out", "results", "-q")
        process = place.start(
            "mine.toml", *seldom, "--cluster", address, "--cluster-records", records
        )
        place.await_rows(process, 0, 2_000)
        checkpoint = place.run / "journal" / "block-00000" / "checkpoint.npz"
        assert not checkpoint.exists()
        with Client(address, set_as_default=False) as client:
            at_work = next(each for each, keys in client.processing().items() if keys)
            pid = client.run(os.getpid, workers=[at_work])[at_work]
        parents = [nanny.pid for nanny in nannies if pid in children(nanny.pid)]
        os.kill(pid if told == "worker" else parents[0], signal.SIGTERM)
        until = time.monotonic() + DEADLINE
        while not checkpoint.exists():
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.005)
        finished(process)
    expected = optbench("run", "mine.toml", "-q", "--out", "expected", cwd=tmp_path).path
    assert_same_run(place.run, expected)


def children(pid: int) -> list[int]:
    return [child.pid for child in psutil.Process(pid).children(recursive=True)]


DEADLY = """
import os, signal
from optbench.optimizers import Elementwise, Hyperparameter

class Deadly(Elementwise):
    hyperparameters = (Hyperparameter("lr", 0.01, "learning rate"),)

    @staticmethod
    def rule(w, g, *, lr, xp):
        if "OPTBENCH_TEST_DEADLY" in os.environ:
            os.kill(os.getpid(), signal.SIGKILL)
        return (w - lr * g,)
"""


@pytest.mark.parametrize("records", RECORDS)
def test_a_block_that_kills_its_worker_is_given_up_and_costs_no_other(records, place):
    (place.folder / "rules.py").write_text(DEADLY, encoding="utf-8")
    suite(place.folder, SUITE + '\n[[optimizer]]\nname = "rules.py:Deadly"\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPTBENCH_TEST_DEADLY", "1")
        with cluster(place.folder, workers=1, threads=2) as (_, _, address):
            patch.delenv("OPTBENCH_TEST_DEADLY")
            process = place.start(
                "mine.toml", *OPTIONS, "--cluster", address, "--cluster-records", records
            )
            err = finished(process, 4)
    assert "it has ended its worker 3 times" in err
    lanes = pd.read_parquet(place.run / "lanes.parquet").set_index("label")["status"]
    assert set(lanes["Deadly"]) == {"failed"}
    assert not {"failed", "interrupted"} & {*lanes.drop("Deadly")}


def test_a_second_client_is_refused_by_the_run(place, whole, standing):
    on_cluster = ("--cluster", standing)
    process = place.start("mine.toml", *OPTIONS, *on_cluster)
    place.await_rows(process, 1, 1)
    seen = optbench("run", "--resume", "latest", "-q", *on_cluster, cwd=place.folder)
    assert "is being written by another process" in seen.message
    finished(process)
    assert_same_run(place.run, whole)
