"""Every command, suite and script of the README and the pages is run, page by page and in order.

A ``console`` block holds commands, a ``text`` block after it what they print, a ``toml`` block a
suite under the name in its first line, and a ``python`` block a script, or a file if its first line
is a name. What takes too long, and what cannot run here, is named in :data:`SHORTER` and
:data:`NOT_RUN`.
"""

import ast
import io
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import redirect_stdout
from glob import glob
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from optbench.cli import COMMANDS, load_command, models, new
from optbench.optimizers import plugin as optimizers
from optbench.problems import plugin as problems
from tests.cli.command import optbench
from tests.forget import forget  # noqa: F401

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
LONG = {"ci.md", "functions.md", "recipes.md"}
"""Pages whose commands take about a minute."""

SHORTER = {
    "optbench run functions": "--iterations 20",
    "optbench run mnist-mlp": "--iterations 100",
    "optbench run mnist-mlp --seeds 8 --cluster local:2": "--iterations 20",
    "optbench run mnist-mlp -o adam -o adagrad --seeds 6 --iterations 100": "--iterations 20",
}
"""What tests add to commands that would take minutes: of two options the later one counts."""

NOT_RUN = {
    r"make \w+": "make is what runs these tests; its targets are looked for in the Makefile",
    r"optbench data fetch .+": "it needs the network",
    r"optbench verify optimizer .*\b(torch|optax):.+": "it needs a library, and runs where that is",
    r"optbench (?!verify).*\b(torch|optax|jax):.+": "it needs PyTorch, optax or JAX: planned where "
    "they are, and models are run there (tests/parity/test_models_page.py)",
    r"optbench export .*--to (tensorboard|wandb|mlflow).*": "it needs that tracker's library: what "
    "it writes is read back in tests/parity/test_trackers.py",
    r"pip install .+": "it needs the network",
    r".*dask (scheduler|worker) .+": "it goes on until it is ended (tests/cluster/test_guide.py)",
    r"optbench run .+ slurm\.toml --out .+": "it needs sbatch (tests/slow/test_jobs.py)",
    r"optbench .+ tcp://HOST:8786.*": "it needs a scheduler (tests/cluster/test_guide.py)",
    r"optbench run --resume .+": "it needs a run that was interrupted (tests/cli/test_resume.py)",
}
"""Commands that are shown and not run, with the reason. Their options are checked nevertheless."""

FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"-\d{8}T\d{6}Z-[0-9a-f]{8}|[-−+]?\d[\d.,]*(?:e[-+]?\d+)?")
"""A run's time and hash, or a number."""

LEFT_OUT = "…"
"""A line of a ``text`` block that stands for lines that are not shown."""


def blocks(page: Path) -> list[tuple[str, str]]:
    """Return the blocks of code of a page: language and text."""
    return FENCE.findall(page.read_text(encoding="utf-8"))


def commands(text: str) -> list[str]:
    """Return the commands of a console block, without their comments."""
    lines = [line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ ")]
    return [re.sub(r"\s+# .*", "", line).strip() for line in lines]


def exit_codes(text: str) -> list[int]:
    """Return what the commands of a console block exit with: 0, or what their comments say."""
    lines = [line for line in text.splitlines() if line.startswith("$ ")]
    return [int((re.findall(r"# exit code (\d+)$", line) or ["0"])[0]) for line in lines]


SHOWN = {
    page: [
        command
        for language, text in blocks(page)
        if language == "console"
        for command in commands(text)
    ]
    for page in PAGES
}
EVERY_COMMAND = [command for page in PAGES for command in SHOWN[page]]


def reason_not_to_run(command: str) -> str | None:
    libraries = re.findall(r"\b(torch|optax):", command)
    if command.startswith("optbench verify") and libraries and all(map(find_spec, libraries)):
        return None
    reasons = [reason for pattern, reason in NOT_RUN.items() if re.fullmatch(pattern, command)]
    return reasons[0] if reasons else None


def output_of(command: str, folder: Path, code: int) -> str:
    """Run optbench in this process, which saves a second each, and all else in another."""
    program, *arguments = shlex.split(f"{command} {SHORTER.get(command, '')}")
    arguments = [
        path for argument in arguments for path in glob(argument, root_dir=folder) or [argument]
    ]
    if program == "optbench":
        seen = optbench(*arguments, cwd=folder)
        assert seen.code == code, f"{command}\n{seen.out}\n{seen.err}"
        return seen.out + seen.err
    assert program == "python", f"add {command!r} to NOT_RUN, with the reason"
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def shapes(text: str) -> list[str]:
    """Return the lines of an output as they are on any machine: without numbers and spacing."""
    return [
        " ".join(re.sub("─+", "─", NUMBER.sub("#", line)).split()) for line in text.splitlines()
    ]


@pytest.mark.usefixtures("forget")
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=page.name, marks=pytest.mark.slow if page.name in LONG else ())
        for page in PAGES
    ],
)
def test_what_is_shown_runs_and_prints_that(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    printed: set[str] = {"", LEFT_OUT}
    for language, text in blocks(page):
        if language == "toml":
            name = re.match(r"# (\S+\.toml)\n", text)
            assert name is not None, "a suite that is shown begins with a comment naming its file"
            Path(name[1]).write_text(text, encoding="utf-8")
        elif language == "python" and (name := re.match(r"# (\S+\.py)\n", text)):
            Path(name[1]).write_text(text, encoding="utf-8")
        elif language == "python":
            Path("script.py").write_text(text, encoding="utf-8")
            with redirect_stdout(io.StringIO()) as out:
                runpy.run_path("script.py", run_name="__main__")
            printed |= set(shapes(out.getvalue()))
        elif language == "console":
            for command, code in zip(commands(text), exit_codes(text), strict=True):
                if reason_not_to_run(command) is None:
                    printed |= set(shapes(output_of(command, tmp_path, code)))
        elif language == "text":
            assert [line for line in shapes(text) if line not in printed] == []


def test_the_readme_shows_what_it_should() -> None:
    languages = {language for language, _ in blocks(README)}
    assert {"console", "text", "python"} <= languages


def test_nothing_is_named_that_no_page_shows() -> None:
    assert set(SHORTER) <= set(EVERY_COMMAND)
    for pattern in NOT_RUN:
        assert any(re.fullmatch(pattern, command) for command in EVERY_COMMAND), pattern


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_stand_in_blocks_that_are_run(page: Path) -> None:
    assert re.findall(r"^ +\$? ?(?:optbench|make|python) .*", prose(page), re.MULTILINE) == []


def subcommands(command: Any, *names: str) -> Iterator[tuple[tuple[str, ...], set[str]]]:
    """Yield the commands of the command line with the options that each of them has."""
    for name, one in getattr(command, "commands", {}).items():
        yield from subcommands(one, *names, name)
    yield names, {"--help", *(option for one in command.params for option in one.opts)}


KNOWN = {
    names: options for name in COMMANDS for names, options in subcommands(load_command(name), name)
}
ALL_OPTIONS = {"--install-completion", "--version"}.union(*KNOWN.values())


def wrong_with(command: str) -> str | None:
    """Say what there is not in a command of ``optbench`` or ``make``, as a page names it."""
    program, *words = command.split()
    if program == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M)
        return None if words[0] in targets else f"make has no target {words[0]}"
    is_group = any(len(names) > 1 and names[0] == words[0] for names in KNOWN)
    names = tuple(words[: 2 if is_group else 1])
    options = {re.sub("=.*", "", word) for word in words if re.match("--?[a-z]", word)}
    if words[0].startswith("-") or words[0].isupper():
        return None if options <= ALL_OPTIONS else f"unknown: {options - ALL_OPTIONS}"
    if names not in KNOWN:
        return f"there is no command {' '.join(names)}"
    return None if options <= KNOWN[names] else f"unknown: {options - KNOWN[names]}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_in_sentences_exist(page: Path) -> None:
    named = [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose(page))]
    written = [code for code in named if re.match(r"(?:optbench|make) \S", code)]
    written += [command for command in SHOWN[page] if reason_not_to_run(command)]
    written += re.findall(r"^\s+- run: (optbench .*)$", page.read_text("utf-8"), re.MULTILINE)
    checked = [command for command in written if re.match("optbench|make", command)]
    assert [wrong for wrong in map(wrong_with, checked) if wrong] == []
    options = {
        word for code in named if code.startswith("--") for word in re.findall("--[a-z-]+", code)
    }
    assert options <= ALL_OPTIONS


LINK = re.compile(r"\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)$", re.MULTILINE)


def links(page: Path) -> list[tuple[Path, str]]:
    """Return where a page's links into the repository lead: the file and the anchor there."""
    targets = [inline or reference for inline, reference in LINK.findall(prose(page))]
    inside = [target.partition("#") for target in targets if not re.match("[a-z]+:", target)]
    return [((page.parent / path).resolve() if path else page, name) for path, _, name in inside]


def anchors(page: Path) -> set[str]:
    """Return what a heading can be linked by: its words in small letters, joined by hyphens."""
    seen: dict[str, int] = {}
    for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        name = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        seen[name] = seen.get(name, -1) + 1
    return {
        name if not again else f"{name}-{again}"
        for name, n in seen.items()
        for again in range(n + 1)
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for path, anchor in links(page):
        assert path.exists(), path
        assert not anchor or anchor in anchors(path), f"{path}#{anchor}"


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, todo = set(), [README]
    while todo:
        page = todo.pop()
        reached.add(page)
        todo += [path for path, _ in links(page) if path in PAGES and path not in reached]
    assert set(PAGES) - reached == set()


def test_the_manual_names_every_room_and_at_most_eight_modules_are_loose() -> None:
    manual = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    package = ROOT / "optbench"
    rooms = [path.parent.name for path in package.glob("*/__init__.py")]
    modules = [path.stem for path in package.glob("*.py") if not path.stem.startswith("__")]
    assert len(modules) <= 8
    assert [name for name in (*rooms, *modules) if not re.search(rf"`{name}\b", manual)] == []


PUBLIC = (
    "optbench",
    "optbench.datasets",
    "optbench.jax",
    "optbench.optimizers",
    "optbench.problems",
    "optbench.torch",
)
"""Where a user's own file may import from."""

SNIPPETS = [text for page in PAGES for language, text in blocks(page) if language == "python"]


WRITTEN = [
    *(new.PROBLEM, new.PROBLEM_TEST, new.OPTIMIZER, new.OPTIMIZER_TEST),
    *(models.TORCH, models.JAX, models.test("torch")),
]


@pytest.mark.parametrize("text", [*SNIPPETS, *WRITTEN])
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


@pytest.mark.parametrize(
    "command",
    [
        command
        for command in EVERY_COMMAND
        if re.match(r"optbench (?!verify).*\b(torch|optax):", command)
        and not re.search("problem (torch|jax):", command)
    ],
)
def test_commands_that_need_a_library_can_be_planned(command: str, tmp_path: Path) -> None:
    pytest.importorskip(re.findall(r"(torch|optax):", command)[0])
    seen = optbench(*shlex.split(command)[1:], "--dry-run", cwd=tmp_path)
    assert seen.code == 0, seen


def test_packages_offer_what_the_pages_say() -> None:
    shown = re.findall(
        r"^    (\[project.*)\n    (.* = .*)$", "\n".join(map(prose, PAGES)), re.MULTILINE
    )
    tables = tomllib.loads("\n".join(f"{table}\n{entry}" for table, entry in shown))
    groups = [optimizers.ADOPTER.group, problems.ADOPTER.group]
    assert sorted(tables["project"]["entry-points"]) == groups
