"""Every command, suite and script that the README and the pages show is run, in their order."""

import ast
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from glob import glob
from importlib import import_module
from pathlib import Path

import pytest

from optbench.cli import new
from optbench.optimizers import plugin as optimizers
from optbench.problems import plugin as problems
from tests.cli.command import optbench
from tests.forget import forget  # noqa: F401

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LONG = {"ci.md", "functions.md"}
"""Pages whose commands take about a minute."""

FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[tuple[str, str]]:
    return FENCE.findall(page.read_text(encoding="utf-8"))


def commands(text: str) -> list[str]:
    """Return the commands of a console block; make is what runs these tests."""
    lines = [line.removeprefix("$ ").strip() for line in text.splitlines() if line.startswith("$ ")]
    return [line for line in lines if not line.startswith("make ")]


def run_command(command: str, folder: Path) -> None:
    """Run optbench in this process, which saves a second each, and all else in another."""
    program, *arguments = shlex.split(command)
    arguments = [
        path for argument in arguments for path in glob(argument, root_dir=folder) or [argument]
    ]
    if program == "optbench":
        seen = optbench(*arguments, cwd=folder)
        assert seen.code == 0, f"{command}\n{seen.out}\n{seen.err}"
    else:
        assert program == "python", command
        done = subprocess.run(
            [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


@pytest.mark.usefixtures("forget")
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=page.name, marks=pytest.mark.slow if page.name in LONG else ())
        for page in PAGES
    ],
)
def test_everything_shown_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for language, text in blocks(page):
        if language == "toml":
            name = re.match(r"# (\S+\.toml)\n", text)
            assert name is not None, "a suite that is shown begins with a comment naming its file"
            Path(name[1]).write_text(text, encoding="utf-8")
        elif language == "python":
            Path("script.py").write_text(text, encoding="utf-8")
            runpy.run_path("script.py", run_name="__main__")
        elif language == "console":
            for command in commands(text):
                run_command(command, tmp_path)


def test_the_readme_shows_what_it_should() -> None:
    languages = {language for language, _ in blocks(PAGES[0])}
    assert {"console", "toml", "python"} <= languages


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.compile(r"\]\(([^)#:]+)\)|^\[\w+\]: ([^:\s]+)$", re.MULTILINE)
    for inline, reference in links.findall(page.read_text(encoding="utf-8")):
        target = inline or reference
        assert (page.parent / target).exists(), target


def test_the_manual_names_every_room_and_at_most_eight_modules_are_loose() -> None:
    manual = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    package = ROOT / "optbench"
    rooms = [path.parent.name for path in package.glob("*/__init__.py")]
    modules = [path.stem for path in package.glob("*.py") if not path.stem.startswith("__")]
    assert len(modules) <= 8
    assert [name for name in (*rooms, *modules) if not re.search(rf"`{name}\b", manual)] == []


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
