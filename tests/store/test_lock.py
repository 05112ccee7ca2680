"""One process writes a run; how many look at it does not matter."""

import errno
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from contextlib import nullcontext

import pytest
from filelock import lock_descriptor

from optbench.errors import ResultsError
from optbench.store import lock
from optbench.store.lock import LOCK, Writer, is_locked, locked, writer_of

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


@pytest.mark.parametrize("error", [None, ValueError("mine")])
def test_a_run_is_locked_while_it_is_written_however_that_ends(error, tmp_path):
    assert not is_locked(tmp_path)
    with pytest.raises(ValueError, match="mine") if error else nullcontext(), locked(tmp_path):
        assert is_locked(tmp_path)
        if error:
            raise error
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


@pytest.fixture
def taken(tmp_path, monkeypatch):
    """The open file of the lock, taken as by another process; tests wait long enough for it."""
    monkeypatch.setattr(lock, "LOOK_SECONDS", 40.0)
    opened = os.open(tmp_path / LOCK, os.O_RDWR | os.O_CREAT)
    assert lock_descriptor(opened, blocking=False)
    return opened


@pytest.mark.parametrize("look", [True, False])
def test_those_who_look_do_not_hinder_each_other_nor_who_wants_to_write(tmp_path, taken, look):
    """Looking takes the lock for a moment: another one who looks, or writes, waits that long."""
    timer = threading.Timer(0.05, os.close, [taken])
    timer.start()
    if look:
        assert not is_locked(tmp_path)
    else:
        with locked(tmp_path):
            pass
    timer.join()


def test_looking_needs_no_right_to_write_and_leaves_nothing(tmp_path):
    assert not is_locked(tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / LOCK).touch(mode=0o444)
    tmp_path.chmod(0o555)
    assert not is_locked(tmp_path)
    tmp_path.chmod(0o755)


@pytest.mark.skipif(os.name == "nt", reason="Windows removes no open file")
def test_a_lock_whose_file_is_removed_meanwhile_is_none(tmp_path, taken):
    """Who had the lock before removes its file, maybe after another one has opened it."""

    def leave():
        (tmp_path / LOCK).unlink()
        os.close(taken)

    timer = threading.Timer(0.05, leave)
    timer.start()
    with locked(tmp_path):
        timer.join()
        opened = os.open(tmp_path / LOCK, os.O_RDONLY)
        assert not lock_descriptor(opened, blocking=False)
        os.close(opened)


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
    workers = [context.Process(target=_count, args=(tmp_path, 20, results)) for _ in range(3)]
    for worker in workers:
        worker.start()
    done = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert done == [20, 20, 20]
    assert (tmp_path / "number").read_text() == "60"


def test_a_place_that_cannot_be_locked_is_named(tmp_path):
    place = tmp_path / "gone"
    with pytest.raises(ResultsError) as caught, locked(place):
        pass
    assert str(caught.value).startswith(f"cannot write results to '{place}': ")
    assert not is_locked(place)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EIO])
def test_a_file_system_without_locks_is_written_and_that_is_said_once(
    number, tmp_path, monkeypatch
):
    def flock(opened, operation):
        raise OSError(number, os.strerror(number))

    fcntl = pytest.importorskip("fcntl")
    monkeypatch.setattr(fcntl, "flock", flock)
    notices = []
    with locked(tmp_path, notices.append):
        assert not is_locked(tmp_path)
    expected = (
        f"the file system of '{tmp_path}' has no locks ({os.strerror(number)}); "
        "let no other process write there"
    )
    assert notices == [expected]
    assert list(tmp_path.iterdir()) == []


def test_who_writes_is_told_while_it_does(tmp_path, holder):
    writer = writer_of(tmp_path)
    assert (writer.pid, writer.is_elsewhere) == (holder.pid, False)
    holder.kill()
    holder.wait()
    assert writer_of(tmp_path) == writer  # who it was
    with locked(tmp_path):
        assert writer_of(tmp_path).pid == os.getpid()
    assert writer_of(tmp_path) is None


@pytest.mark.parametrize("text", ["", "4711", "none here\n", "1 2 3"])
def test_a_lock_that_says_nothing_is_nobodys(text, tmp_path):
    (tmp_path / LOCK).write_text(text, encoding="utf-8")
    assert writer_of(tmp_path) is None


def test_a_writer_is_elsewhere_by_the_name_of_its_machine(tmp_path):
    (tmp_path / LOCK).write_text("4711 another-machine\n", encoding="utf-8")
    assert writer_of(tmp_path) == Writer(4711, "another-machine")
    assert writer_of(tmp_path).is_elsewhere
