"""Exit codes, messages and streams of the command line as a whole."""

import errno
import io
import os
import runpy
import subprocess
import sys
from contextlib import redirect_stdout

import pytest
import typer

import optbench as package
from optbench.cli import COMMANDS, app, load_command, main
from optbench.errors import ExitCode, OptbenchError
from tests.cli.command import optbench, run


def python_m(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "optbench", *arguments],
        capture_output=True,
        encoding="utf-8",
        env=os.environ | environment,
        check=False,
    )


def test_exit_codes_are_those_promised():
    assert {code.name: code.value for code in ExitCode} == {
        "DONE": 0,
        "INTERNAL": 1,
        "USAGE": 2,
        "CHECK_FAILED": 3,
        "LANES_FAILED": 4,
        "NOTHING_TO_COMPARE": 5,
        "INTERRUPTED": 130,
    }


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_names_every_command(tmp_path, flag):
    seen = optbench(flag, cwd=tmp_path)
    assert (seen.code, seen.err) == (0, "")
    assert all(f" {command} " in seen.out for command in COMMANDS)
    assert "\x1b" not in seen.out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_that_begins_with_its_line_in_the_list(tmp_path, command):
    seen = optbench(command, "-h", cwd=tmp_path)
    assert (seen.code, seen.err) == (0, "")
    assert f"Usage: optbench {command}" in seen.out
    listed = typer.main.get_command(app).commands[command]
    assert listed.get_short_help_str(999) == load_command(command).get_short_help_str(999)


@pytest.mark.parametrize("arguments", [["--version"], ["run", "--version"]])
def test_the_version_is_told(tmp_path, arguments):
    seen = optbench(*arguments, cwd=tmp_path)
    assert (seen.code, seen.out, seen.err) == (0, f"optbench {package.__version__}\n", "")


@pytest.mark.parametrize("arguments", [[], ["list"], ["data"]])
def test_without_a_command_the_help_is_shown_and_the_code_is_two(tmp_path, arguments):
    seen = optbench(*arguments, cwd=tmp_path)
    assert seen.code == 2
    assert "Usage: optbench" in seen.out
    command = " ".join(["optbench", *arguments])
    assert seen.err == f"error: no command given (see: {command} --help)\n"


@pytest.mark.parametrize(
    ("arguments", "says", "names"),
    [
        (["rum"], "no such command", "'rum'"),
        (["list", "suite"], "no such command", "'suite'"),
        (["--xyzzy"], "no such option: --xyzzy (see: ", ""),
        (["run", "--xyzzy"], "no such option: --xyzzy (see: ", ""),
        (["run", "--optimiser", "adam"], "no such option", "did you mean '--optimizer'?"),
        (["run", "--iterations"], "option", "'--iterations' requires an argument"),
        (["run", "--iterations", "ten"], "invalid value for", "'--iterations'"),
        (["list", "suites", "more"], "got unexpected extra argument", "more"),
    ],
)
def test_wrong_usage_is_one_line_that_names_the_help(tmp_path, arguments, says, names):
    message = optbench(*arguments, cwd=tmp_path).message
    assert message.startswith(says)
    assert names in message
    words = [word for word in arguments if word in (*COMMANDS, "suites")]
    assert message.endswith(f"(see: {' '.join(['optbench', *words])} --help)")


@pytest.mark.parametrize(
    ("arguments", "change"),
    [
        (["run", "anisotropic", "--lr", "0.5"], "'*.lr=0.5'"),
        (["run", "--lr=0.5", "anisotropic"], "'*.lr=0.5'"),
        (["tune", "--weight-decay", "-1"], "'*.weight_decay=-1'"),
        (["run", "--learning_rate", "a b"], "'*.lr=a b'"),
        (["run", "anisotropic", "--warmup"], "'*.warmup=VALUE'"),
    ],
)
def test_an_option_that_is_a_hyperparameter_is_told_how_to_set_one(tmp_path, arguments, change):
    message = optbench(*arguments, cwd=tmp_path).message
    option = next(word.partition("=")[0] for word in arguments if word.startswith("--"))
    assert message == (
        f"no such option: {option}; set a hyperparameter with --set {change} "
        f"(see: optbench {arguments[0]} --help)"
    )


def raising(error: BaseException):
    def raise_it(*_arguments: object) -> None:
        raise error

    return raise_it


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (typer.Abort(), 130, "error: interrupted\n"),
        (OptbenchError("a fault"), 1, "error: a fault\n"),
    ],
)
def test_errors_end_with_their_own_code(tmp_path, monkeypatch, error, code, says):
    monkeypatch.setattr("optbench.cli.list_.builtin_suites", raising(error))
    seen = optbench("list", "suites", cwd=tmp_path)
    assert (seen.code, seen.out, seen.err) == (code, "", says)


def test_an_interrupt_has_its_code_and_a_line(tmp_path, monkeypatch):
    monkeypatch.setattr("optbench.cli.list_.builtin_suites", raising(KeyboardInterrupt()))
    seen = optbench("list", "suites", cwd=tmp_path)
    assert (seen.code, seen.out, seen.err) == (130, "", "error: interrupted\n")


def test_a_fault_of_the_program_is_not_hidden(tmp_path, monkeypatch):
    monkeypatch.setattr("optbench.cli.list_.builtin_suites", raising(ZeroDivisionError("ours")))
    with pytest.raises(ZeroDivisionError, match="ours"):
        optbench("list", "suites", cwd=tmp_path)


def test_main_exits_with_the_code(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["optbench", "show", "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("error: there are no runs under")


def test_the_module_runs_main(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["optbench", "--version"])
    out = io.StringIO()
    with redirect_stdout(out), pytest.raises(SystemExit) as caught:
        runpy.run_module("optbench", run_name="__main__")
    assert (caught.value.code, out.getvalue()) == (0, f"optbench {package.__version__}\n")


def test_python_m_is_the_same_command():
    done = python_m("rum")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: no such command 'rum'")


def test_a_stream_that_lacks_a_sign_gets_its_escape():
    done = python_m("list", "optimizers", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert "w \\u2190 w \\u2212 lr\\xb7g" in done.stdout


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a device that is full")
@pytest.mark.parametrize("arguments", [["list", "optimizers"], ["--version"]])
def test_output_that_finds_no_space_is_one_line(arguments):
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "optbench", *arguments]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr == "error: no space is left where the output goes; free some\n"


STARVED = "not enough memory to load libraries and start threads; raise its limit (ulimit -v)"


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            MemoryError("Unable to allocate 5 TiB"),
            "not enough memory: Unable to allocate 5 TiB; make the problem smaller",
        ),
        (ImportError("x.so: failed to map segment from shared object"), STARVED),
        (RuntimeError("can't start new thread"), STARVED),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), STARVED),
    ],
)
def test_a_lack_of_memory_is_told_in_one_line(monkeypatch, tmp_path, error, says):
    monkeypatch.setattr("optbench.suite.request.read_suite", raising(error))
    assert optbench("run", "anisotropic", cwd=tmp_path).message == says


def test_a_backend_of_matplotlib_that_is_none_is_in_nobodys_way(tmp_path):
    path = run("quadratic-1d", "--iterations", 2, cwd=tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "optbench", "plot", str(path)],
        capture_output=True,
        text=True,
        env=os.environ | {"MPLBACKEND": "foo"},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
