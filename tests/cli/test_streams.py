"""Standard streams that are closed, full, or that nobody reads."""

import io
import json
import os
import signal
import subprocess
import sys
from contextlib import redirect_stdout
from errno import EIO
from threading import Thread

import pytest

from optbench.cli import streams
from optbench.cli.streams import LACKS_SPACE, Sink, guarded
from tests.cli.command import lanes, run

pytestmark = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has /dev/full")

STATES = (
    *("stdout closed", "stdout unread", "stdout full"),
    *("stderr closed", "stderr unread", "stderr full", "stdin closed"),
)

CODES = {
    "run quadratic-1d --iterations 2 --set sgd.lr=1e200": 4,
    "run quadratic-1d --iterations 2 --quiet": 0,
    "run nothing": 2,
    "show": 0,
    "show --format csv": 0,
    "export": 0,
    "list runs": 0,
    "clean": 2,
    "data list": 0,
    "new problem new.py": 0,
    "check": 5,
    "--help": 0,
    "show --help": 0,
    "--version": 0,
    "plot --kind loss": 0,
    "": 2,
}
"""Of each command, its exit code where all streams are in order."""

QUICK = ("clean", "new problem new.py", "show", "--version", "")

DRIVER = """
import json, os, sys
from importlib import import_module
from optbench.cli import COMMANDS, main

for target, _ in COMMANDS.values():
    import_module(f"optbench.cli.{target.split(':')[0]}")
# The names of the streams, and the numbers of their files.
STREAMS = {"stdin": 0, "stdout": 1, "stderr": 2}

def run(command, state, keep):
    name, _, how = state.partition(" ")
    for other in STREAMS:
        if other != "stdin":
            os.dup2(os.open(keep + other, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), STREAMS[other])
    if how == "closed":
        os.close(STREAMS[name])
        setattr(sys, name, None)
    elif how == "full":
        os.dup2(os.open("/dev/full", os.O_WRONLY), STREAMS[name])
    elif how == "unread":
        reader, writer = os.pipe()
        os.dup2(writer, STREAMS[name])
        os.close(reader)
    sys.argv = ["optbench", *command.split()]
    try:
        main()
    except SystemExit as end:
        sys.stdout and sys.stdout.flush()
        os._exit(int(end.code))
    except BaseException:
        os._exit(99)

seen = []
for command, state in json.loads(sys.argv[1]):
    for written in ("new.py", "test_new.py"):
        if os.path.exists(written):
            os.unlink(written)
    child = os.fork()
    if not child:
        run(command, state, ".seen-")
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    texts = [open(".seen-" + name, errors="replace").read() for name in ("stdout", "stderr")]
    seen.append((command, state, code, *texts))
print(json.dumps(seen))
"""


def outcomes(cwd, pairs):
    """Run each command with its streams in a state; return exit codes, output and messages."""
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, json.dumps(pairs)],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=True,
    )
    return json.loads(done.stdout)


def expected(command, state):
    """Return the exit code: only what was asked for and finds no space changes it."""
    return CODES[command] or (2 if state == "stdout full" else 0)


@pytest.mark.parametrize(
    "commands", [QUICK, pytest.param([*CODES], marks=pytest.mark.slow)], ids=["quick", "all"]
)
def test_streams_that_are_gone_change_no_exit_code_but_that_of_lost_output(tmp_path, commands):
    run("quadratic-1d", "--iterations", 2, cwd=tmp_path)
    pairs = [(command, state) for command in commands for state in STATES]
    seen = outcomes(tmp_path, pairs)
    assert {(command, state): code for command, state, code, *_ in seen} == {
        pair: expected(*pair) for pair in pairs
    }
    for command, state, _, out, err in seen:
        assert "Traceback" not in out + err
        speaks = CODES[command] in (0, 4) or command == ""  # else it says nothing on stdout
        assert (LACKS_SPACE in err) == (state == "stdout full" and speaks), (command, state)
        assert bool(out) == (speaks and not state.startswith("stdout")), (command, state)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_progress_that_cannot_be_written_does_not_end_the_training(tmp_path, unbuffered):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "optbench", "run", "quadratic-1d", "--iterations", "3"],
            stdout=subprocess.PIPE,
            stderr=full,
            cwd=tmp_path,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
            check=False,
        )
    assert done.returncode == 0
    path = tmp_path / done.stdout.splitlines()[-1].removeprefix("results: ")
    assert set(lanes(path)["status"]) == {"done"}


def test_a_process_that_begins_without_streams_runs(tmp_path):
    command = f"exec {sys.executable} -m optbench run quadratic-1d --iterations 3 <&- >&- 2>&-"
    assert subprocess.run(["/bin/sh", "-c", command], cwd=tmp_path, check=False).returncode == 0
    (path,) = (tmp_path / "results").iterdir()
    assert set(lanes(path)["status"]) == {"done"}


# The parts.


def test_a_sink_drops_what_cannot_be_written_and_keeps_the_first_reason():
    reader, writer = os.pipe()
    with open(writer, "wb", buffering=0) as raw:
        sink = Sink(raw)
        assert (sink.write(b"abc"), os.read(reader, 9), sink.failure) == (3, b"abc", None)
        os.close(reader)
        assert (sink.write(b"defg"), sink.write(b"h")) == (4, 1)
        assert isinstance(sink.failure, BrokenPipeError)
        assert (sink.isatty(), sink.fileno(), sink.writable()) == (False, writer, True)


def test_a_sink_waits_for_a_pipe_that_does_not_block():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    text = bytes(range(256)) * 4000  # far more than a pipe holds
    received = []

    def read():
        with open(reader, "rb") as source:
            received.append(source.read())

    thread = Thread(target=read)
    with open(writer, "wb", buffering=0) as raw:
        buffered = io.BufferedWriter(Sink(raw))
        thread.start()
        buffered.write(text)
        buffered.flush()
    thread.join()
    assert received == [text]


def test_streams_that_are_no_files_are_left_alone_and_all_come_back():
    text = io.StringIO()
    with redirect_stdout(text):
        with guarded():
            assert sys.stdout is text
            assert not streams.is_lost()
            assert streams.complaint() is None
        assert sys.stdout is text


def test_what_the_system_says_of_lost_output_is_told(monkeypatch):
    class Broken(io.RawIOBase):
        def write(self, data):
            raise OSError(EIO, "Input/output error")

        def writable(self):
            return True

    lost = io.TextIOWrapper(io.BufferedWriter(Sink(Broken())))
    monkeypatch.setattr(sys, "stdout", lost)
    lost.write("gone\n")
    lost.flush()
    assert streams.is_lost()
    assert streams.complaint() == "the output cannot be written: Input/output error"


# Interrupts.


@pytest.mark.parametrize("module", ["optbench.cli.output", "numpy", "pandas._libs.lib"])
def test_an_interrupt_while_the_command_is_loaded_is_quiet(tmp_path, module):
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "optbench", "show"],
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        text=True,
        # Whoever runs the tests in the background has made interrupts mean nothing.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr is not None
    with process.stderr as lines:
        for line in lines:
            if line.rpartition("|")[2].strip() == module:
                process.send_signal(signal.SIGINT)
                break
        rest = lines.read().splitlines()
    assert process.wait(timeout=60) == 130
    assert [line for line in rest if not line.startswith("import time:")] == []
