"""Runs of two workers that are killed at random moments, interrupted twice, or left without space.

Each runs the real command line in a process of its own, which notes every record that it reports.
Whatever ends it, what was reported is read; resumed, it ends with the tables of a run that nothing
ended. :mod:`tests.slow.test_faults` goes through the steps of one worker; here, moments are drawn
from fixed seeds and printed: how many records have been reported, and how many seconds later.
"""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from optbench.store import block_writer
from optbench.store.reader import read_run
from tests.cli.command import meta, optbench, suite
from tests.slow import assert_reported, assert_same_run

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

DRIVER = """
import os, sys
from contextlib import contextmanager
import optbench.cli.run as command
from optbench.cli import main
from optbench.records import BlockResult, EvaluationRows, TraceChunk
from optbench.store import block_writer, writer

block_writer.JOURNAL_SECONDS = 0.05
writer.WAITING_BYTES, block_writer.PART_BYTES, block_writer.PIECE_BYTES = 2**14, 2**13, 2**12
noted = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def observe(record):
    match record:
        case TraceChunk():
            said = [f"row {lane} {record.first_iteration + rows - 1}"
                    for lane, rows in zip(record.lanes.tolist(), record.rows.tolist()) if rows]
        case EvaluationRows():
            said = [f"evaluation {lane} {record.iteration} {record.split}"
                    for lane in record.lanes.tolist()]
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
"""The command line, which notes what it reports, keeps its journal close behind, and writes the
file of a block in many pieces."""

DYING = DRIVER.replace(
    "main()\n",
    """
import signal
from optbench.store import files

real, left = files.arrow_table, int(sys.argv.pop(1))

def arrow_table(kinds, columns):
    global left
    left -= list(kinds)[:3] == ["lane", "iteration", "loss"]
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(kinds, columns)

files.arrow_table = arrow_table
main()
""",
)
"""The same, killed when so many pieces of traces have been written."""

PROCESSES = "from optbench.runs import pipeline; pipeline.PROCESSES_AFTER = 0.0\n"
"""Makes workers processes, however short a run is."""

OPTIONS = ("-q", "--workers", "2", "--checkpoint-every", "0.1", "--out", "results")

SEED = 20


@dataclass(frozen=True)
class Place:
    """A folder to run in, with workers that are threads or processes."""

    folder: Path
    processes: bool = False

    @property
    def noted(self) -> Path:
        return self.folder / "noted"

    @property
    def run(self) -> Path:
        (found,) = (self.folder / "results").iterdir()
        return found

    def start(self, *arguments: str, pieces: int | None = None) -> subprocess.Popen[str]:
        """Start a command and return once it begins to run blocks.

        It is killed when it has written so many pieces of traces.
        """
        self.noted.unlink(missing_ok=True)
        driver = (PROCESSES if self.processes else "") + (DRIVER if pieces is None else DYING)
        counts = [str(self.noted)] if pieces is None else [str(self.noted), str(pieces)]
        command = [sys.executable, "-c", driver, *counts, "run", *arguments, *OPTIONS]
        process = subprocess.Popen(
            command,
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
        lines = self.noted.read_text().splitlines() if self.noted.exists() else []
        return [line.split() for line in lines]

    def await_reports(self, process: subprocess.Popen[str], count: int, delay: float) -> None:
        """Wait until so many records are reported, and some seconds more."""
        while process.poll() is None and self.noted.read_bytes().count(b"\n") < count:
            time.sleep(0.001)
        with suppress(subprocess.TimeoutExpired):
            process.wait(delay)

    def resume(self) -> None:
        """Go on to the end, here."""
        seen = optbench("run", "--resume", "latest", "-q", cwd=self.folder)
        assert seen.code == 0, seen


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """The run that nothing ends, and how many records it reports."""
    place = Place(tmp_path_factory.mktemp("whole"))
    suite(place.folder, SUITE)
    process = place.start("mine.toml")
    out, err = process.communicate()
    assert process.returncode == 0, (out, err)
    assert_reported(place.reported(), place.run, place.run)
    return place.run, len(place.reported())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    suite(tmp_path, SUITE)
    return Place(tmp_path)


@pytest.fixture(autouse=True)
def many_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write as the others do what is resumed here."""
    monkeypatch.setattr(block_writer, "PIECE_BYTES", 2**12)


def say(line: str) -> None:
    """Print a line, which is seen where the test fails."""
    sys.stdout.write(f"{line}\n")


def kill(place: Place, process: subprocess.Popen[str], count: int, delay: float) -> None:
    """Kill a process some seconds after it has reported so many records."""
    place.await_reports(process, count, delay)
    process.kill()
    out, err = process.communicate()
    assert process.returncode in (-signal.SIGKILL, 0), (process.returncode, out, err)


@pytest.mark.parametrize("number", range(10))
def test_a_run_survives_being_killed_twice(number, place, expected):
    """Every other one has processes, which end with it and write nothing themselves."""
    whole, records = expected
    place = replace(place, processes=bool(number % 2))
    drawn = random.Random(f"{SEED} {number}")
    first = round(drawn.uniform(0.0, 0.9) * records)
    second = round(drawn.uniform(0.0, 0.9) * (records - first))
    moments = [(first, drawn.uniform(0.0, 0.1)), (second, drawn.uniform(0.0, 0.1))]
    say(f"seed {SEED} {number}: killed after {moments} of {records} records")
    kill(place, place.start("mine.toml"), *moments[0])
    assert_reported(place.reported(), place.run, whole)
    show = optbench("show", "--format", "csv", cwd=place.folder)
    assert (show.code, show.err) == (0, "")
    if meta(place.run)["status"] == "running":
        assert read_run(place.run).meta["status"] == "interrupted"
        kill(place, place.start("--resume", "latest"), *moments[1])
        assert_reported(place.reported(), place.run, whole)
    if meta(place.run)["status"] == "running":
        place.resume()
        assert_same_run(place.run, whole)
    else:
        assert_same_run(place.run, whole, left=(".lock", "journal", ".journal.gone"))


@pytest.fixture(scope="module")
def thinned(tmp_path_factory: pytest.TempPathFactory, expected: tuple[Path, int]) -> Path:
    """A run that nothing ends and that keeps every 7th row."""
    place = Place(tmp_path_factory.mktemp("thinned"))
    suite(place.folder, SUITE)
    process = place.start("mine.toml", "--trace", "every:7")
    out, err = process.communicate()
    assert process.returncode == 0, (out, err)
    assert_reported(place.reported(), place.run, expected[0], every=7)
    return place.run


@pytest.mark.parametrize("number", range(4))
def test_a_thinned_run_survives_being_killed_twice(number, place, expected, thinned):
    whole, records = expected
    place = replace(place, processes=bool(number % 2))
    drawn = random.Random(f"{SEED} thinned {number}")
    first = round(drawn.uniform(0.1, 0.9) * records)
    second = round(drawn.uniform(0.0, 0.9) * (records - first))
    moments = [(first, drawn.uniform(0.0, 0.1)), (second, drawn.uniform(0.0, 0.1))]
    say(f"seed {SEED} thinned {number}: killed after {moments} of {records} records")
    kill(place, place.start("mine.toml", "--trace", "every:7"), *moments[0])
    assert_reported(place.reported(), place.run, whole, every=7)
    if meta(place.run)["status"] == "running":
        kill(place, place.start("--resume", "latest"), *moments[1])
        assert_reported(place.reported(), place.run, whole, every=7)
    if meta(place.run)["status"] == "running":
        place.resume()
    assert_same_run(place.run, thinned, left=(".lock", "journal", ".journal.gone"))
    for file in (thinned / "trace").iterdir():
        assert (place.run / "trace" / file.name).read_bytes() == file.read_bytes()


@pytest.mark.parametrize("pieces", [1, 30, 60, 100])
def test_a_run_that_is_killed_while_it_writes_a_blocks_file_loses_nothing(pieces, place, expected):
    whole, _ = expected
    for number in (pieces, 3):
        arguments = ["mine.toml"] if number == pieces else ["--resume", "latest"]
        process = place.start(*arguments, pieces=number)
        _, err = process.communicate()
        assert process.returncode == -signal.SIGKILL, err
        (half,) = (place.run / "trace").glob(".optbench-*.part")
        assert half.stat().st_size > 100
        assert_reported(place.reported(), place.run, whole)
    place.resume()
    assert_same_run(place.run, whole)


@pytest.mark.parametrize("number", range(4))
def test_a_second_interrupt_stops_at_once_and_loses_nothing(number, place, expected):
    whole, records = expected
    place = replace(place, processes=bool(number % 2))
    drawn = random.Random(f"{SEED} interrupts {number}")
    count, delays = round(drawn.uniform(0.0, 0.6) * records), [drawn.uniform(0.0, 0.05)] * 2
    say(f"seed {SEED} interrupts {number}: after {count} of {records} records and {delays} s")
    process = place.start("mine.toml")
    place.await_reports(process, count, delays[0])
    process.send_signal(signal.SIGINT)
    time.sleep(delays[1])
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert_reported(place.reported(), place.run, whole)
    assert meta(place.run)["status"] in ("interrupted", "running")
    place.resume()
    assert_same_run(place.run, whole)


def test_two_processes_in_one_results_directory_do_not_meet(place, expected):
    whole, _ = expected
    other = Place(place.folder / "other")
    other.folder.mkdir()
    (other.folder / "results").symlink_to(place.folder / "results")
    (place.folder / "results").mkdir()
    suite(other.folder, SUITE)
    both = [place.start("mine.toml"), other.start("mine.toml")]
    for process in both:
        out, err = process.communicate()
        assert process.returncode == 0, (out, err)
    runs = list((place.folder / "results").iterdir())
    assert len(runs) == 2
    for run in runs:
        assert_same_run(run, whole)


def test_only_one_of_two_processes_goes_on_with_a_run(place, expected):
    whole, records = expected
    kill(place, place.start("mine.toml"), records // 5, 0.0)
    first = place.start("--resume", "latest")
    second = Place(place.folder / "second")
    second.folder.mkdir()
    (second.folder / "results").symlink_to(place.folder / "results")
    processes = [first, second.start("--resume", "latest")]
    errors = [process.communicate()[1] for process in processes]
    assert sorted(process.returncode for process in processes) == [0, 2], errors
    (told,) = filter(None, errors)
    # The second may come when the first is done.
    assert "another process" in told or "there is nothing to resume" in told
    assert_same_run(place.run, whole)


TMPFS = 'mount -t tmpfs -o size="$1" none results || exit 99; shift; "$@"; code=$?; ' + (
    "cp -a results/. kept; exit $code"
)
"""Run a command with its results on a disk of so many bytes, then copy them from there."""


def can_mount(folder: Path) -> bool:
    with suppress(OSError):
        command = ["unshare", "-Urm", "mount", "-t", "tmpfs", "none", str(folder)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    return False


@pytest.mark.parametrize("size", ["96k", "400k"])
def test_a_disk_that_is_full_ends_the_run_in_one_line(size, place, expected):
    whole, _ = expected
    folder = place.folder
    for name in ("results", "kept"):
        (folder / name).mkdir()
    if not can_mount(folder / "results"):
        pytest.skip("this machine does not let us mount a small disk")
    command = [sys.executable, "-c", DRIVER, str(place.noted), "run", "mine.toml", *OPTIONS]
    process = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", TMPFS, "sh", size, *command],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.returncode == 2, process.stderr
    (line,) = process.stderr.splitlines()
    assert line.startswith("error: cannot write results to 'results/killed-"), line
    assert "No space left on device" in line
    (run,) = (folder / "kept").iterdir()
    assert not list(run.rglob("*.part"))
    if not (run / "run.json").exists():  # there was no room to begin
        assert place.reported() == [["begin"]]
        return
    assert_reported(place.reported(), run, whole)
    shown = optbench("show", "--out", "kept", cwd=folder)
    assert (shown.code, shown.err) == (0, "")
    seen = optbench("run", "--resume", "latest", "-q", "--out", "kept", cwd=folder)
    assert seen.code == 0, seen
    assert_same_run(run, whole)


def test_results_that_are_deleted_meanwhile_end_the_run(place, expected):
    _, records = expected
    process = place.start("mine.toml")
    place.await_reports(process, records // 5, 0.0)
    run = place.run
    os.replace(run, place.folder / "taken")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    (line,) = err.splitlines()
    assert line.startswith("error: ")
    assert f"'results/{run.name}" in line
    assert not run.exists(), "a folder that was deleted is not to come back"
