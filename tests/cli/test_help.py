"""What the help shows, and how."""

import re
from itertools import pairwise

import pytest

from optbench.cli import COMMANDS, load_command
from tests.cli.command import optbench

PANELS = re.compile(r"^╭─ (.+?) ─+╮$", re.MULTILINE)


def panels(text):
    """Return the lines of each panel by its title."""
    parts = PANELS.split(text)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def commands(command, path=()):
    """Yield a command and all below it, with their names."""
    yield (*path, command.name), command
    for below in getattr(command, "commands", {}).values():
        yield from commands(below, (*path, command.name))


def test_commands_stand_in_panels_in_the_order_of_use(tmp_path):
    found = panels(optbench("--help", cwd=tmp_path).out)
    listed = {title: re.findall(r"^│ ([a-z]+) ", text, re.M) for title, text in found.items()}
    assert listed["Train"] == ["run", "tune"]
    assert listed["Notice regressions"] == ["baseline", "check"]
    assert [name for names in listed.values() for name in names] == list(COMMANDS)


@pytest.mark.parametrize(
    ("command", "option", "panel"),
    [
        ("run", "--problem", "What to run"),
        ("run", "--set", "Hyperparameters"),
        ("run", "--iterations", "Length and evaluation"),
        ("run", "--out", "Output"),
        ("run", "--resume", "Resume and reuse"),
        ("tune", "--space", "Search"),
        ("tune", "--grid", "Hyperparameters"),
        ("plot", "--kind", "What to draw"),
        ("plot", "--ylim", "How it looks"),
        ("plot", "--save", "Where it goes"),
    ],
)
def test_options_stand_in_panels(tmp_path, command, option, panel):
    found = panels(optbench(command, "--help", cwd=tmp_path).out)
    row = re.compile(rf"^│ +{option} ", re.MULTILINE)
    assert [title for title, text in found.items() if row.search(text)] == [panel]
    assert [*found][:: len(found) - 1] == ["Arguments", "Other"]
    others = re.findall(r"^│ .*?(--[a-z-]+)", found["Other"], re.M)
    assert set(others) <= {"--debug", "--version", "--help"}


@pytest.mark.parametrize("name", COMMANDS)
def test_options_have_no_types_of_python_beside_them(tmp_path, name):
    for path, command in commands(load_command(name)):
        text = optbench(*path, "--help", cwd=tmp_path).out
        assert not re.search(r"<(bool|int|str|float|path|list|file)|\b(TEXT|INTEGER)\b", text)
        for parameter in command.params:
            is_option = parameter.param_type_name == "option"
            assert not is_option or parameter.metavar or parameter.is_bool_flag, parameter.name


@pytest.mark.parametrize("name", COMMANDS)
def test_paragraphs_of_the_help_are_as_wide_as_the_screen(tmp_path, name):
    for path, _ in commands(load_command(name)):
        prose = optbench(*path, "--help", cwd=tmp_path).out.split("╭─")[0]
        for paragraph in re.split(r"\n\s*\n", prose):
            lines = paragraph.strip().splitlines()
            for line, following in pairwise(lines):
                assert len(f" {line.strip()} {following.split()[0]}") > 78, (path, line)
