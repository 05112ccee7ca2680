"""Blocks run in worker processes: the records of threads, and nothing left behind."""

import hashlib
import io
import os
import pickle
import subprocess
import sys
import time
from dataclasses import replace
from functools import cached_property
from math import inf
from pathlib import Path
from threading import Event

import pytest

from optbench.device.cpu import NumpyDevice
from optbench.engine.block_error import BlockError
from optbench.engine.executor import execute
from optbench.engine.processes import CANCEL, Task, serve
from optbench.optimizers.rules.sgd import SGD
from optbench.records import BlockResult, BlockSplit, Checkpoint, Status, TraceChunk
from tests.engine.test_executor import RATES, Broken
from tests.small import (
    IMAGES,
    SmallNetwork,
    anisotropic,
    blocks_of,
    collect,
    quadratic,
    ruled_by,
    run_suite,
    small_network,
    suite,
)

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")

KILLED = "its worker process was ended by SIGKILL, as systems do that lack memory"


class Greedy(SGD):
    """Has memory for one lane only."""

    def columns(self, hyperparameters, updates):
        if hyperparameters["lr"].size > 1:
            raise MemoryError
        return super().columns(hyperparameters, updates)


class Deadly(SGD):
    """Ends its process, which is not that of the tests, for a lane with a learning rate of 0.5."""

    def __init__(self, code):
        self.code, self.parent = code, os.getpid()

    def columns(self, hyperparameters, updates):
        if (hyperparameters["lr"] == 0.5).any():
            assert os.getpid() != self.parent
            if self.code < 0:
                os.kill(os.getpid(), -self.code)
            os._exit(self.code)
        return super().columns(hyperparameters, updates)


class Loud(SGD):
    """Prints, as code that is being looked into does."""

    def columns(self, hyperparameters, updates):
        sys.stdout.write("here I am\n")
        return super().columns(hyperparameters, updates)


class Telling(SGD):
    """Writes the number of its process to a file."""

    def __init__(self, file):
        self.file = file

    def columns(self, hyperparameters, updates):
        if not Path(self.file).exists():  # whole at once: a process may be killed in between
            beside = Path(f"{self.file}.part")
            beside.write_text(str(os.getpid()), encoding="ascii")
            beside.replace(self.file)
        return super().columns(hyperparameters, updates)


def run(blocks, cancelled=None, checkpoint_seconds=inf):
    cancelled = cancelled or Event()
    return list(execute(blocks, NumpyDevice(), 2, cancelled, checkpoint_seconds, processes=True))


def test_they_give_the_records_of_threads():
    settled = suite(small_network(), anisotropic(), quadratic(), seeds=range(3), iterations=130)
    outcomes, expected = collect(blocks_of(settled), run(blocks_of(settled))), run_suite(settled)
    assert outcomes.keys() == expected.keys()
    for number, outcome in outcomes.items():
        assert outcome.bits == expected[number].bits
        assert outcome.evaluated == expected[number].evaluated
        assert outcome.result.status is Status.DONE


def swept(rule):
    """Return blocks of two problems, the first with a rule, and what lanes give without it."""
    settled = suite(anisotropic(), quadratic(), optimizers=[("sgd", RATES)], iterations=100)
    plain = blocks_of(settled)
    return [ruled_by(rule, plain[0]), *plain[1:]], run_suite(settled)


def assert_only_the_third_fails(blocks, expected, message):
    records = run(blocks)
    failed = [each for each in records if isinstance(each, BlockResult) and each.message]
    assert [each.message for each in failed] == [message]
    (lane,) = failed[0].lanes
    assert (lane.lane, lane.status) == (2, Status.FAILED)
    outcomes = collect(blocks, records)
    for number in set(expected) - {2}:
        assert outcomes[number].bits == expected[number].bits
        assert outcomes[number].result.status is Status.DONE
    return failed[0]


def test_a_lane_that_raises_there_fails_alone():
    told = assert_only_the_third_fails(*swept(Broken()), "ZeroDivisionError: a rule")
    assert "Traceback (most recent call last)" in told.traceback
    assert "that is wrong" in told.traceback


@POSIX
def test_a_lane_whose_process_ends_fails_alone():
    assert_only_the_third_fails(*swept(Deadly(-9)), KILLED)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        pytest.param(-9, KILLED, marks=POSIX),
        pytest.param(-15, "its worker process was ended by SIGTERM", marks=POSIX),
        pytest.param(-40, "its worker process was ended by signal 40", marks=POSIX),
        (7, "its worker process ended with exit code 7"),
    ],
)
def test_how_a_process_ended_is_told(code, message):
    (block,) = blocks_of(suite(anisotropic(), optimizers=[("sgd", RATES[2:3])], iterations=9))
    (end,) = run([ruled_by(Deadly(code), block)])
    assert end.message == message


def test_blocks_that_lack_memory_there_are_halved_without_a_word():
    blocks, expected = swept(Greedy())
    records = run(blocks)
    outcomes = collect(blocks, records)
    assert {number: each.bits for number, each in outcomes.items()} == {
        number: each.bits for number, each in expected.items()
    }
    splits = [each for each in records if isinstance(each, BlockSplit)]
    assert len(splits) == 4
    assert {each.message for each in splits} == {""}


def test_data_that_have_changed_meanwhile_are_refused():
    (block,) = blocks_of(suite(anisotropic(), optimizers=["sgd"], iterations=9))
    other = replace(block.lanes[0], fingerprint="another")
    group = replace(block.groups[0], lanes=(other,))
    (end,) = run([replace(block, groups=(group,))])
    assert end.message == "the data of anisotropic have changed since the run was planned"
    assert [lane.status for lane in end.lanes] == [Status.FAILED]


class ReadNetwork(SmallNetwork):
    """One whose data are told by a file."""

    def __init__(self, options, data_dir):
        super().__init__(options)
        self.data_dir = data_dir

    @cached_property
    def dataset(self):
        digest = hashlib.sha256((self.data_dir / "images").read_bytes()).hexdigest()
        return replace(IMAGES, checksums={"images": digest})


def test_a_process_tells_a_networks_data_from_what_it_loads_itself(tmp_path):
    (tmp_path / "images").write_bytes(b"as planned")
    network = ReadNetwork(small_network().settings, tmp_path)
    blocks = blocks_of(suite(network, optimizers=["sgd"], iterations=9))
    assert run(blocks)[-1].lanes[0].status is Status.DONE
    (tmp_path / "images").write_bytes(b"changed")
    assert network.fingerprint == blocks[0].lanes[0].fingerprint
    (end,) = run(blocks)
    assert end.message == "the data of small-network have changed since the run was planned"


def test_what_code_prints_goes_to_standard_error(capfd):
    blocks, _ = swept(Loud())
    run(blocks)
    shown = capfd.readouterr()
    assert shown.out == ""
    assert "here I am" in shown.err


def test_cancelling_lets_the_running_chunk_end_and_be_saved():
    blocks = [
        replace(block, iterations=10**7)
        for block in blocks_of(suite(anisotropic(), quadratic(), iterations=100))
    ]
    cancelled, rows, saved = Event(), {block.number: 0 for block in blocks}, set()
    for record in execute(blocks, NumpyDevice(), 2, cancelled, 1000.0, processes=True):
        if isinstance(record, TraceChunk):
            rows[record.block] += len(record.loss)
            cancelled.set()
        elif isinstance(record, Checkpoint):
            saved.add(record.block)
        else:
            for lane in record.lanes:
                assert lane.status is Status.INTERRUPTED
                assert lane.iterations == rows[record.block]
    assert saved == {number for number, count in rows.items() if count}


def test_what_is_cancelled_before_it_starts_starts_no_process(monkeypatch):
    def start(*arguments, **options):
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "Popen", start)
    cancelled = Event()
    cancelled.set()
    for end in run(blocks_of(suite(anisotropic(), quadratic(), iterations=100)), cancelled):
        assert {(lane.status, lane.iterations) for lane in end.lanes} == {(Status.INTERRUPTED, 0)}


def has_ended(process):
    try:
        os.kill(process, 0)
        state = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rsplit(")", 1)[1]
    except (ProcessLookupError, FileNotFoundError):
        return True
    return state.split()[0] == "Z"  # nobody has asked for its exit code


def wait_for(condition):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    pytest.fail("it took longer than a minute")


@POSIX
def test_whoever_stops_listening_ends_the_process(tmp_path):
    blocks = [replace(blocks_of(suite(anisotropic(), iterations=9))[0], iterations=10**7)]
    told = tmp_path / "process"
    records = execute(
        [ruled_by(Telling(told), blocks[0])], NumpyDevice(), 1, Event(), processes=True
    )
    next(records)
    records.close()
    assert has_ended(int(told.read_text(encoding="ascii")))


ENDLESS = """
from dataclasses import replace
from threading import Event
from optbench.device.cpu import NumpyDevice
from optbench.engine.executor import execute
from tests.engine.test_processes import Telling
from tests.small import anisotropic, blocks_of, ruled_by, suite

block = replace(blocks_of(suite(anisotropic(), iterations=9))[0], iterations=10**9)
for _ in execute([ruled_by(Telling("process"), block)], NumpyDevice(), 1, Event(), processes=True):
    pass
"""


@POSIX
def test_a_process_ends_when_its_parent_is_killed(tmp_path):
    told, root = tmp_path / "process", Path(__file__).parents[2]
    env = {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen([sys.executable, "-c", ENDLESS], cwd=tmp_path, env=env) as parent:
        wait_for(lambda: told.exists() and told.read_text(encoding="ascii"))
        process = int(told.read_text(encoding="ascii"))
        assert not has_ended(process)
        parent.kill()
    wait_for(lambda: has_ended(process))


SCRIPT = """
import optbench
from optbench.runs import pipeline

print("once")
pipeline.PROCESSES_AFTER = 0.0
results = optbench.run(problem=["anisotropic", "rosenbrock"], iterations=200, workers=2)
assert results.meta["processes"]
"""


def test_a_script_needs_no_guard_against_being_run_again(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "once\n", "")


# Its side, in this process.


def pipes():
    return [open(end, mode, buffering=0) for end, mode in zip(os.pipe(), ("rb", "wb"), strict=True)]


def answers_to(*messages):
    """Return what is answered to messages that go on until all tasks are done."""
    reading, writing = pipes()
    answers = io.BytesIO()
    for message in (NumpyDevice, *messages):
        writing.write(pickle.dumps(message))

    class Last(io.BytesIO):
        def write(self, data):
            answers.write(data)
            if isinstance(last_of(answers), BlockResult | BlockError):
                writing.close()
            return len(data)

    with io.BufferedReader(reading) as buffered:
        serve(buffered, Last())
    return all_of(answers)


def all_of(answers):
    found, whole = [], io.BytesIO(answers.getvalue())
    while True:
        try:
            found.append(pickle.load(whole))
        except EOFError:
            return found


def last_of(answers):
    try:
        return all_of(answers)[-1]
    except (IndexError, pickle.UnpicklingError):
        return None


def test_a_task_is_answered_with_the_records_of_its_block():
    (block,) = blocks_of(suite(anisotropic(), optimizers=["sgd"], iterations=100))
    answers = answers_to(Task(block, inf))
    assert [type(each) for each in answers] == [TraceChunk, TraceChunk, BlockResult]
    assert answers[-1].lanes[0].status is Status.DONE


def test_a_task_that_comes_after_all_is_cancelled_is_interrupted():
    (block,) = blocks_of(suite(anisotropic(), optimizers=["sgd"], iterations=100))
    (end,) = answers_to(CANCEL, Task(block, inf))
    assert end.lanes[0].status is Status.INTERRUPTED


def test_a_block_that_raises_is_answered_with_its_error():
    (block,) = blocks_of(suite(anisotropic(), optimizers=[("sgd", RATES[2:3])], iterations=100))
    (error,) = answers_to(Task(ruled_by(Broken(), block), inf))
    assert (error.message, error.lacks_memory) == ("ZeroDivisionError: a rule", False)
    assert "that is wrong" in error.traceback


def test_it_ends_when_nobody_takes_its_answers():
    class Closed(io.BytesIO):
        def write(self, data):
            raise BrokenPipeError

    (block,) = blocks_of(suite(anisotropic(), optimizers=["sgd"], iterations=10**9))
    serve(io.BytesIO(pickle.dumps(NumpyDevice) + pickle.dumps(Task(block, inf))), Closed())
