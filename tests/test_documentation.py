"""Every command, suite and script that the README and the pages show is run, in their order."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

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
