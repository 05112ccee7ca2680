"""The models of docs/models.md run as the page says, and what ``new`` writes passes its test."""

import re
import runpy
import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.cli.command import optbench
from tests.forget import forget  # noqa: F401
from tests.test_documentation import ROOT, blocks, commands

pytestmark = pytest.mark.usefixtures("forget")

PAGE = blocks(ROOT / "docs" / "models.md")
COMMANDS = [
    command for language, text in PAGE if language == "console" for command in commands(text)
]
RUNS = [command for command in COMMANDS if command.startswith("optbench run")]


def needed(command: str) -> None:
    for library in set(re.findall(r"\b(torch|optax|jax):", command)):
        if find_spec(library) is None:
            pytest.skip(f"{library} is not installed")


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with the page's files."""
    monkeypatch.chdir(tmp_path)
    for _, text in PAGE:
        if name := re.match(r"# (\S+\.(?:py|toml))\n", text):
            Path(name[1]).write_text(text, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("command", [command for command in RUNS if "rings" not in command])
def test_an_example_of_the_page_runs(page: Path, command: str) -> None:
    needed(command)
    _, *arguments = shlex.split(command)
    seen = optbench(*arguments, "--iterations", "30", cwd=page)
    assert seen.code == 0, seen.err
    assert "validation loss" in seen.out


def test_the_suite_of_the_page_is_planned(page: Path) -> None:
    pytest.importorskip("torch")
    seen = optbench("run", "cnn.toml", "--dry-run", cwd=page)
    assert seen.code == 0, seen.err
    assert "10 lanes" in seen.out + seen.err


@pytest.mark.parametrize("library", ["torch", "jax"])
def test_what_new_writes_runs_and_passes_its_test(page: Path, library: str) -> None:
    pytest.importorskip(library)
    assert optbench("new", "problem", "rings.py", f"--{library}", cwd=page).code == 0
    names = [f"{library}:rings.py:rings"]
    seen = optbench("run", "--problem", *names, "-o", "sgd", "--iterations", "5", cwd=page)
    assert seen.code == 0, seen.err
    tests = runpy.run_path("test_rings.py")
    tests["test_lanes_share_nothing_and_the_gradient_is_that_of_the_loss"]()
    tests["test_it_is_learnt"](page)
