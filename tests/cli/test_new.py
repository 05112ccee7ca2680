"""``optbench new``: files to start from."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from optbench.arrays import stack
from optbench.cli import models
from optbench.cli.new import (
    OPTIMIZER,
    OPTIMIZER_TEST,
    PROBLEM,
    PROBLEM_TEST,
    app,
    write_new,
    write_new_files,
)
from optbench.device.cpu import NumpyDevice
from optbench.errors import UsageError
from optbench.optimizers.registry import get_optimizer
from optbench.problems.plugin import plugin_problem
from optbench.records import Status
from tests.cli import command
from tests.forget import forget  # noqa: F401
from tests.small import problem, run_suite, suite
from tests.strict import StrictDevice

pytestmark = pytest.mark.usefixtures("forget")

ROOT = Path(__file__).parents[2]


@pytest.fixture
def written(tmp_path, monkeypatch):
    """The class in a file that the command has written."""
    monkeypatch.chdir(tmp_path)
    seen = CliRunner().invoke(app, ["problem", "my own.py"])
    assert (seen.exit_code, seen.stdout) == (0, "my own.py\ntest_my own.py\n")
    assert seen.stderr.splitlines() == [
        "run it with: optbench run --problem 'my own.py:Valley' -o adam",
        "check it with: optbench verify problem 'my own.py:Valley'",
        "test it with: python -m pytest 'test_my own.py'",
    ]
    return plugin_problem("my own.py:Valley")


def test_what_it_writes_runs_at_once(written):
    outcomes = run_suite(
        suite(problem(written), optimizers=["adam", "sgd"], seeds=(0, 1), iterations=100)
    )
    for outcome in outcomes.values():
        assert outcome.result.status is Status.DONE
        assert outcome.loss[-1] < outcome.loss[0]
    assert outcomes[0].loss[0] != outcomes[1].loss[0]
    assert outcomes[0].loss[0] == outcomes[2].loss[0]


@pytest.mark.parametrize("device", [NumpyDevice(), StrictDevice()], ids=["numpy", "strict"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_it_writes_is_the_function_that_it_says(written, device, dtype):
    made = problem(written, dtype=dtype)
    points = np.random.default_rng(3).normal(size=(4, 10)).astype(dtype)
    params = stack(device.put(points.copy()), made.tensors, device.xp)
    grads = stack(device.put(points.copy()), made.tensors, device.xp)
    work = device.workspace()
    loss = made.loss_and_grad(params, grads, {}, buffers={}, work=work).total
    again = made.loss(params, {}, buffers={}, work=work).total
    curvature = 100.0 ** np.linspace(-1, 0, 10)
    away = points.astype(np.float64) - 1
    assert device.get(loss).dtype == device.get(grads.rows).dtype == dtype
    np.testing.assert_allclose(device.get(loss), (curvature * away**2).sum(axis=1) / 2, rtol=1e-5)
    np.testing.assert_allclose(device.get(grads.rows), curvature * away, rtol=1e-5)
    np.testing.assert_array_equal(device.get(again), device.get(loss))


def test_a_lane_alone_has_the_same_bits_as_in_company(written):
    options = {"optimizers": ["adam"], "iterations": 20}
    together = run_suite(suite(problem(written), seeds=(3, 4, 5), **options))
    alone = run_suite(suite(problem(written), seeds=(4,), **options))
    assert alone[0].bits == together[1].bits


def test_what_it_writes_runs_from_a_suite(written, tmp_path):
    text = (
        "[[problem]]\nname = 'my own.py:Valley'\nlabel = 'mine'\ncondition = 10\n"
        "[[optimizer]]\nname = 'adam'\n"
    )
    path = command.run(command.suite(tmp_path, text), "--iterations", 3, cwd=tmp_path)
    assert command.lanes(path)["problem"].tolist() == ["mine"]
    assert len(command.trace(path)) == 4
    (described,) = command.meta(path)["problems"]
    assert described["source"]["place"] == str(tmp_path / "my own.py")
    assert described["definition"]["condition"] == 10.0
    again = command.run(path / "run.json", cwd=tmp_path)
    keys = [command.lanes(each)["lane_key"].tolist() for each in (path, again)]
    assert keys[0] == keys[1]


def test_the_commands_that_it_names_work(written, tmp_path):
    assert command.optbench("verify", "problem", "my own.py:Valley", cwd=tmp_path).code == 0
    path = command.run("--problem", "my own.py:Valley", "-o", "adam", cwd=tmp_path)
    assert path.name.startswith("Valley-")
    assert command.lanes(path)[["problem", "label", "status"]].values.tolist() == [
        ["Valley", "adam", "done"]
    ]
    loss = command.trace(path)["loss"]
    assert loss.iloc[-1] < 0.1 * loss.iloc[0]


def test_it_is_short_and_says_what_it_is():
    assert len(PROBLEM.splitlines()) <= 55
    assert max(len(line) for line in PROBLEM.splitlines()) <= 88
    assert '"""Write the gradients and return the losses, one per lane."""' in PROBLEM


def test_it_never_writes_over_a_file(tmp_path):
    there = tmp_path / "there.py"
    there.write_text("mine")
    for file, says in (
        (there, "there.py' already exists; give another name"),
        (tmp_path / "mine", "mine' is not a Python file; give a name that ends in .py"),
        (there / "mine.py", "mine.py' cannot be written: "),
    ):
        with pytest.raises(UsageError) as caught:
            write_new(file, PROBLEM)
        assert says in str(caught.value)
    assert there.read_text() == "mine"
    assert [each.name for each in tmp_path.iterdir()] == ["there.py"]


def test_the_command_says_what_it_refuses(tmp_path):
    (tmp_path / "there.py").touch()
    seen = CliRunner().invoke(app, ["problem", str(tmp_path / "there.py")])
    assert isinstance(seen.exception, UsageError)
    assert seen.exception.exit_code == 2


def test_the_problem_that_it_writes_passes_the_test_beside_it(written, tmp_path):
    code, said = run_pytest(tmp_path)
    assert code == 0, said
    assert "2 passed" in said


@pytest.mark.parametrize(
    ("right", "wrong", "failing"),
    [
        ("[...] = slope", "[...] = -slope", 2),
        ("[...] = slope", "[...] = 2 * slope", 2),
        ("return w - 1, c * (w - 1)", "return w + 1, c * (w + 1)", 1),  # of another function
    ],
)
def test_the_problems_test_fails_where_the_gradient_is_wrong(
    written, tmp_path, right, wrong, failing
):
    change(tmp_path / "my own.py", "def loss_and_grad", right, wrong)
    code, said = run_pytest(tmp_path)
    assert code == 1, said
    assert f"{failing} failed" in said


@pytest.fixture
def pair(tmp_path, monkeypatch):
    """The folder in which the command has written an optimizer and its test."""
    monkeypatch.chdir(tmp_path)
    seen = CliRunner().invoke(app, ["optimizer", "my own.py"])
    assert (seen.exit_code, seen.stdout) == (0, "my own.py\ntest_my own.py\n")
    assert seen.stderr.splitlines() == [
        "run it with: optbench run anisotropic -o 'my own.py:Tempered'",
        "check it with: optbench verify optimizer 'my own.py:Tempered'",
        "test it with: python -m pytest 'test_my own.py'",
    ]
    return tmp_path


def python(*arguments, cwd):
    """Run Python as a user would, with this optbench; return exit code and output."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


def run_pytest(folder):
    """Run the test that stands beside what the command has written."""
    return python("-m", "pytest", "-p", "no:cacheprovider", "test_my own.py", cwd=folder)


def change(file, start, right, wrong):
    """Replace what a file holds once after some text."""
    text = file.read_text(encoding="utf-8")
    body = text[text.index(start) :]
    assert body.count(right) == 1
    file.write_text(text.replace(body, body.replace(right, wrong)), encoding="utf-8")


def test_the_optimizer_that_it_writes_passes_the_test_beside_it(pair):
    code, said = run_pytest(pair)
    assert code == 0, said
    assert "2 passed" in said


@pytest.mark.parametrize(
    ("right", "wrong", "failing"),
    [
        ("w - lr * m", "w + lr * m", 2),
        ("(1 - beta) * g", "g", 1),
    ],
)
def test_the_test_that_it_writes_can_fail(pair, right, wrong, failing):
    change(pair / "my own.py", "def rule", right, wrong)
    code, said = run_pytest(pair)
    assert code == 1, said
    assert f"{failing} failed" in said


@pytest.mark.skipif(find_spec("ruff") is None, reason="ruff is not installed")
@pytest.mark.parametrize("kind", ["problem", "optimizer"])
def test_both_files_pass_ruff(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(app, [kind, "my own.py"]).exit_code == 0
    settings = ("--no-cache", "--config", str(ROOT / "pyproject.toml"), str(tmp_path))
    assert python("-m", "ruff", "check", *settings, cwd=ROOT)[0] == 0
    assert python("-m", "ruff", "format", "--check", *settings, cwd=ROOT)[0] == 0


def test_the_optimizer_commands_that_it_names_work(pair):
    seen = command.optbench("run", "anisotropic", "-o", "my own.py:Tempered", cwd=pair)
    assert seen.code == 0
    (path,) = (pair / "results").iterdir()
    assert command.lanes(path)[["optimizer", "label", "status"]].values.tolist() == [
        ["my own.py:Tempered", "Tempered", "done"]
    ]
    loss = command.trace(path)["loss"]
    assert loss.iloc[-1] < loss.iloc[0]
    assert command.optbench("verify", "optimizer", "my own.py:Tempered", cwd=pair).code == 0


def test_its_hyperparameters_can_be_set(pair):
    flags = ("--set", "Tempered.cap=0.5", "--grid", "Tempered.lr=0.1,0.2")
    path = command.run("anisotropic", "-o", "my own.py:Tempered", *flags, cwd=pair)
    assert command.lanes(path)[["hp_lr", "hp_beta", "hp_cap"]].values.tolist() == [
        [0.1, 0.9, 0.5],
        [0.2, 0.9, 0.5],
    ]


def test_a_step_is_no_longer_than_its_cap_allows(pair):
    made = get_optimizer("my own.py:Tempered")
    w, g, m = np.zeros((2, 3)), np.full((2, 3), 1e6), np.zeros((2, 3))
    after, _ = type(made).rule(w, g, m, lr=0.1, beta=0.5, cap=2.0, xp=np)
    np.testing.assert_allclose(after, -0.2, rtol=1e-6)
    assert (after >= -0.2).all()


def test_the_optimizer_is_short_and_says_what_it_is():
    assert len(OPTIMIZER.splitlines()) <= 40
    for text in (OPTIMIZER, OPTIMIZER_TEST, PROBLEM_TEST):
        assert max(len(line) for line in text.splitlines()) <= 88


@pytest.mark.parametrize("kind", ["problem", "optimizer"])
@pytest.mark.parametrize("there", ["mine.py", "test_mine.py"])
def test_a_pair_is_written_whole_or_not_at_all(tmp_path, there, kind):
    (tmp_path / there).write_text("mine")
    seen = CliRunner().invoke(app, [kind, str(tmp_path / "mine.py")])
    assert isinstance(seen.exception, UsageError)
    assert f"{there}' already exists; give another name" in str(seen.exception)
    assert [each.name for each in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "mine"


@pytest.mark.parametrize("kind", ["problem", "optimizer"])
@pytest.mark.parametrize("name", ["mine", "."])
def test_a_pair_is_written_only_where_it_can_be(tmp_path, monkeypatch, name, kind):
    monkeypatch.chdir(tmp_path)
    seen = CliRunner().invoke(app, [kind, name])
    assert isinstance(seen.exception, UsageError)
    assert list(tmp_path.iterdir()) == []


def test_nothing_half_written_stays(tmp_path):
    with pytest.raises(UsageError, match="cannot be written"):
        write_new_files({tmp_path / "one.py": "good", tmp_path / "two.py": "no text: \ud800"})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("flag", "text"), [("--torch", models.TORCH), ("--jax", models.JAX)])
def test_a_model_is_written_with_its_test(tmp_path, flag, text):
    file = tmp_path / "own.py"
    seen = CliRunner().invoke(app, ["problem", str(file), flag])
    library = flag.removeprefix("--")
    assert seen.exit_code == 0
    assert file.read_text("utf-8") == text
    assert f'f"{library}:{{FILE}}:rings"' in (tmp_path / "test_own.py").read_text("utf-8")
    assert f"optbench run --problem {library}:{file}:rings -o adam" in seen.stderr


def test_a_model_is_written_with_one_library(tmp_path):
    seen = command.optbench("new", "problem", "own.py", "--torch", "--jax", cwd=tmp_path)
    assert seen.code == 2
    assert "--torch and --jax exclude each other" in seen.err
    assert not (tmp_path / "own.py").exists()
