"""``--detach``: the command returns, and the run goes on."""

import os
import signal
import sys
from contextlib import suppress

import pytest

from optbench.cli.detach import LOG
from optbench.errors import ExitCode
from optbench.store.lock import writer_of
from tests.cli.command import lanes, meta, optbench

pytest.importorskip("distributed")

if sys.platform == "win32":
    pytest.skip("it needs a POSIX system", allow_module_level=True)

LONG = ("mnist-mlp", "--data", "mnist-5k", "-o", "sgd", "--iterations", 100000)
"""What takes longer than any test."""


@pytest.fixture
def started(monkeypatch):
    """The processes that are started; those that a test leaves are killed."""
    found = []
    usual = os.posix_spawn

    def posix_spawn(*arguments, **options):
        found.append(usual(*arguments, **options))
        return found[-1]

    monkeypatch.setattr(os, "posix_spawn", posix_spawn)
    yield found
    for process in found:
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)


def waited_for(process):
    """Wait for the end of a process; return its exit code."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def process_of(seen):
    """Return the process that a command said the run goes on in."""
    first, second = seen.err.splitlines()
    process = int(first.rpartition(" ")[2])
    assert first == f"it goes on in process {process}; stop it with: kill -INT {process}"
    assert second.startswith("look at it with: optbench show ")
    return process


# What is refused, before any process is started.


@pytest.mark.parametrize("command", ["run", "tune"])
def test_without_a_cluster_nothing_goes_on(command, tmp_path):
    said = optbench(command, "anisotropic", "--detach", cwd=tmp_path).message
    assert said == "--detach goes with --cluster; give both, or leave --detach out"


@pytest.mark.parametrize("option", ["--dry-run", "--json"])
@pytest.mark.parametrize("command", ["run", "tune"])
def test_what_is_printed_at_the_end_cannot_be_had(command, option, tmp_path):
    given = ("anisotropic", "--cluster", "local:1", "--detach", option)
    assert option in optbench(command, *given, cwd=tmp_path).message


def test_windows_has_no_such_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    given = ("anisotropic", "--cluster", "local:1", "--detach")
    assert "POSIX" in optbench("run", *given, cwd=tmp_path).message


# What ends before it has begun.


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "nosuch", "--cluster", "local:1"), "unknown suite 'nosuch'"),
        (("run", "anisotropic", "--cluster", "local:0"), "N of at least 1"),
        (("tune", "--resume", "nosuch", "--cluster", "local:1"), "there is no study"),
    ],
)
def test_the_error_of_a_run_that_does_not_begin_is_printed(arguments, said, tmp_path, started):
    seen = optbench(*arguments, "--detach", cwd=tmp_path)
    assert said in seen.message
    assert list(tmp_path.iterdir()) == []
    (process,) = started
    with pytest.raises(ChildProcessError):  # it has been waited for
        waited_for(process)


# What goes on.


def test_a_run_goes_on_until_it_is_interrupted_and_can_be_resumed(tmp_path, started):
    cluster = ("--cluster", "local:1", "--detach", "--out", "there")
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as shells do in the background
    try:
        seen = optbench("run", *LONG, *cluster, cwd=tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen.code == 0
    process = process_of(seen)
    assert [process] == started
    assert f" {seen.path.name} --follow --out there" in seen.err
    assert writer_of(seen.path).pid == os.getsid(process) == process
    assert meta(seen.path)["status"] == "running"
    os.kill(process, signal.SIGINT)
    assert waited_for(process) == ExitCode.INTERRUPTED
    assert meta(seen.path)["status"] == "interrupted"

    again = optbench("run", "--resume", seen.path.name, *cluster, cwd=tmp_path)
    assert again.path == seen.path
    os.kill(process_of(again), signal.SIGTERM)
    assert waited_for(started[1]) == ExitCode.INTERRUPTED
    assert meta(seen.path)["status"] == "interrupted"
    log = (seen.path / LOG).read_text(encoding="utf-8")
    for line in ("mnist-mlp: 1 lane, 1 block, 1 worker on local:1", "optbench run --resume"):
        assert log.count(line) == 2


def test_of_a_study_the_directory_is_its_own(tmp_path, started):
    study = ("anisotropic", "-o", "sgd", "--budget", "4 trials", "--iterations", 5)
    few = ("--finalists", 0, "--trial-seeds", 1, "--eval-seeds", 1)
    cluster = ("--cluster", "local:1", "--detach")
    seen = optbench("tune", *study, *few, *cluster, "--quiet", cwd=tmp_path)
    assert (seen.code, seen.err) == (0, "")
    assert waited_for(*started) == ExitCode.DONE
    assert set(lanes(seen.path / "final")["status"]) == {"done"}
    assert (seen.path / LOG).read_text(encoding="utf-8") == seen.out
