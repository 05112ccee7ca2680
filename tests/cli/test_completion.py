"""What the shell completes."""

import io
import sys
from contextlib import redirect_stdout

import pytest

from optbench.cli import invoke
from optbench.cli.options import complete_optimizer, complete_run, complete_suite
from optbench.optimizers.registry import optimizer_names
from optbench.suite.format import builtin_suites
from tests.cli.command import run
from tests.studies import NAME, make_study


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Two runs in the working directory, by name, the older first."""
    monkeypatch.chdir(tmp_path)
    return [
        run(suite, "--iterations", 1, cwd=tmp_path).name
        for suite in ("anisotropic", "quadratic-1d")
    ]


def test_suites_and_optimizers():
    assert complete_suite("") == list(builtin_suites())
    assert complete_suite("mnist-mlp-t") == ["mnist-mlp-tanh"]
    assert complete_optimizer("") == optimizer_names()
    assert complete_optimizer("adade") == ["adadelta"]
    assert complete_optimizer("adam.") == []


def test_runs_the_latest_first(runs):
    assert complete_run("") == ["latest", *reversed(runs)]
    assert complete_run("l") == ["latest"]
    assert complete_run(runs[0][:5]) == [runs[0]]
    assert complete_run("z") == []


def test_studies_among_runs_and_not_their_rounds(runs, tmp_path):
    make_study(tmp_path / "results", "search-000", "final")
    assert complete_run("") == ["latest", NAME, *reversed(runs)]


def test_without_results_there_is_still_latest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert complete_run("") == ["latest"]


def completed(monkeypatch, *words):
    """Ask as bash does, through the program itself."""
    out = io.StringIO()
    monkeypatch.setenv("_OPTBENCH_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", " ".join(("optbench", *words)))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    monkeypatch.setattr(sys, "argv", ["optbench"])
    with redirect_stdout(out), pytest.raises(SystemExit) as caught:
        invoke()
    assert caught.value.code == 0
    return out.getvalue().split()


def test_the_program_answers_the_shell(runs, monkeypatch):
    assert completed(monkeypatch, "run", "an") == ["anisotropic"]
    assert completed(monkeypatch, "run", "-o", "rms") == [
        name for name in optimizer_names() if name.startswith("rms")
    ]
    for command in ("plot", "show"):
        assert completed(monkeypatch, command, "quad") == [runs[1]]
    assert completed(monkeypatch, "data", "verify", "mnist-") == ["mnist-5k"]
    assert "--iterations" in completed(monkeypatch, "run", "--it")
