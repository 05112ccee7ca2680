"""Every command, suite and script that the README and the pages show is run, in their order."""

import ast
import os
import re
import shlex
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from optbench.cli import new
from optbench.optimizers import plugin as optimizers
from optbench.problems import plugin as problems
from tests.cli.command import optbench

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[tuple[str, str]]:
    return FENCE.findall(page.read_text(encoding="utf-8"))


def commands(text: str) -> list[str]:
    """Return the commands of a console block; make is what runs these tests."""
    lines = [line.removeprefix("$ ").strip() for line in text.splitlines() if line.startswith("$ ")]
    return [line for line in lines if not line.startswith("make ")]


def shell(command: str, folder: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        shell=True,
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_everything_shown_runs(page: Path, tmp_path: Path) -> None:
    for language, text in blocks(page):
        if language == "toml":
            name = re.match(r"# (\S+\.toml)\n", text)
            assert name is not None, "a suite that is shown begins with a comment naming its file"
            (tmp_path / name[1]).write_text(text, encoding="utf-8")
        elif language == "python":
            script = tmp_path / "script.py"
            script.write_text(text, encoding="utf-8")
            shell(f"python {script}", tmp_path)
        elif language == "console":
            for command in commands(text):
                shell(command, tmp_path)


def test_the_readme_shows_what_it_should() -> None:
    languages = {language for language, _ in blocks(PAGES[0])}
    assert {"console", "toml", "python"} <= languages


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


PUBLIC = ("optbench", "optbench.optimizers", "optbench.problems")
"""Where a user's own file may import from."""

SNIPPETS = [text for page in PAGES for language, text in blocks(page) if language == "python"]


@pytest.mark.parametrize("text", [*SNIPPETS, new.PROBLEM, new.OPTIMIZER, new.OPTIMIZER_TEST])
def test_users_import_what_is_public_alone(text: str) -> None:
    for node in ast.walk(ast.parse(text)):
        names = [alias.name for alias in getattr(node, "names", ()) if hasattr(alias, "name")]
        if isinstance(node, ast.Import):
            assert [name for name in names if name.startswith("optbench.")] == []
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("optbench"):
            assert node.module in PUBLIC
            assert set(names) <= set(import_module(node.module).__all__)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_name_what_is_public_alone(page: Path) -> None:
    if page.name != "architecture.md":
        for path in re.findall(r"\boptbench\.\w+\.\w+", page.read_text(encoding="utf-8")):
            module, _, name = path.rpartition(".")
            assert module in PUBLIC, path
            assert name in import_module(module).__all__, path


def indented(pattern: str) -> list[str]:
    return [found for page in PAGES for found in re.findall(pattern, page.read_text("utf-8"), re.M)]


@pytest.mark.parametrize("command", indented(r"^    optbench (.*(?:torch|optax):.*)$"))
def test_commands_that_need_a_library_can_be_planned(command: str, tmp_path: Path) -> None:
    pytest.importorskip(re.findall(r"(\w+):", command)[0])
    seen = optbench(*shlex.split(command), "--dry-run", cwd=tmp_path)
    assert seen.code == 0, seen


def test_packages_offer_what_the_pages_say() -> None:
    shown = tomllib.loads(
        "".join(indented(r"^    (\[project.*\n    .* = .*\n)")).replace("    ", "")
    )
    groups = [optimizers.ADOPTER.group, problems.ADOPTER.group]
    assert sorted(shown["project"]["entry-points"]) == groups
