"""One process writes a run; how many look at it does not matter."""

import multiprocessing
import os
import subprocess
import sys
import threading
import time

import pytest

from optbench.errors import ResultsError
from optbench.store import lock
from optbench.store.lock import LOCK, is_locked, locked

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs locks of POSIX systems")

HOLD = """
import sys, time
from pathlib import Path
from optbench.store.lock import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that has locked ``tmp_path``."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "locked\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_run_is_locked_while_it_is_written(tmp_path):
    assert not is_locked(tmp_path)
    with locked(tmp_path):
        assert is_locked(tmp_path)
    assert not is_locked(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nobody_else_writes_meanwhile(tmp_path, holder):
    assert is_locked(tmp_path)
    with pytest.raises(ResultsError) as caught, locked(tmp_path):
        pass
    expected = f"'{tmp_path}' is being written by another process; wait for its end"
    assert str(caught.value) == expected
    assert is_locked(tmp_path), "a refusal is not to let go of the lock"


def test_a_lock_ends_with_its_process_however_that_ends(tmp_path, holder):
    holder.kill()
    holder.wait()
    assert (tmp_path / LOCK).exists()
    assert not is_locked(tmp_path)
    with locked(tmp_path):
        assert is_locked(tmp_path)


def test_a_lock_ends_with_an_error(tmp_path):
    with pytest.raises(ValueError, match="mine"), locked(tmp_path):
        raise ValueError("mine")
    assert not is_locked(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_those_who_look_do_not_hinder_each_other_nor_who_wants_to_write(tmp_path, monkeypatch):
    """Looking takes the lock for a moment: another one may look, and a writer waits that long."""
    (tmp_path / LOCK).touch()
    looking = os.open(tmp_path / LOCK, os.O_RDONLY)
    assert lock._take(looking, shared=True)
    assert not is_locked(tmp_path)
    timer = threading.Timer(0.05, os.close, [looking])
    timer.start()
    monkeypatch.setattr(lock, "LOOK_SECONDS", 5.0)
    with locked(tmp_path):
        assert is_locked(tmp_path)
    timer.join()


def test_a_lock_whose_file_is_removed_meanwhile_is_none(tmp_path, monkeypatch):
    """Between opening and locking, who had it before may have removed the file."""
    real = lock._take
    calls = []

    def take(opened, **options):
        calls.append(opened)
        if len(calls) == 1:
            (tmp_path / LOCK).unlink()
        return real(opened, **options)

    monkeypatch.setattr(lock, "_take", take)
    with locked(tmp_path):
        assert len(calls) == 2
        assert is_locked(tmp_path)


def _count(place, times, results):
    """Add to a file's number as often as asked, each time under the lock."""
    done = 0
    while done < times:
        try:
            with locked(place):
                file = place / "number"
                number = int(file.read_text())
                time.sleep(0.0005)
                file.write_text(str(number + 1))
                done += 1
        except ResultsError:
            continue
    results.put(done)


def test_processes_never_write_at_once(tmp_path):
    """Each reads a number and writes the next one; none is written twice."""
    (tmp_path / "number").write_text("0")
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    workers = [context.Process(target=_count, args=(tmp_path, 40, results)) for _ in range(3)]
    for worker in workers:
        worker.start()
    done = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert done == [40, 40, 40]
    assert (tmp_path / "number").read_text() == "120"


def test_a_place_that_cannot_be_locked_is_named(tmp_path):
    place = tmp_path / "gone"
    with pytest.raises(ResultsError) as caught, locked(place):
        pass
    assert str(caught.value).startswith(f"cannot write results to '{place}': ")
    assert not is_locked(place)
