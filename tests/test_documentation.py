"""Every command, suite and script that the README and the pages show is run, in their order."""

import re
import runpy
import shlex
import subprocess
import sys
from glob import glob
from pathlib import Path

import pytest

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
