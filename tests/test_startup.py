"""What starting costs: which libraries and commands the light commands leave alone."""

import subprocess
import sys

from optbench.cli import COMMANDS

HEAVY = ("pandas", "pyarrow", "matplotlib", "scipy", "numba", "cupy")

LIGHT = ("list suites", "list problems", "list optimizers", "list datasets", "list runs")

DRIVER = """
import sys
import optbench
from optbench.cli import main
for command in {commands!r}:
    sys.argv = ["optbench", *command.split()]
    try:
        main()
    except SystemExit as end:
        loaded = [name for name in {names!r} if name in sys.modules]
        print(command, end.code, *loaded)
"""


def loaded(cwd, commands, names, driver=DRIVER):
    """Run commands in one process; return what each ended with and had loaded by then."""
    text = driver.format(commands=commands, names=names)
    done = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, cwd=cwd, check=True
    )
    return [line for line in done.stdout.splitlines() if line.startswith(commands)]


def test_help_and_version_load_no_command(tmp_path):
    modules = [f"optbench.cli.{target.split(':')[0]}" for target, _ in COMMANDS.values()]
    seen = loaded(tmp_path, ("--help", "--version", "rum"), (*HEAVY, "numpy", *modules))
    assert seen == ["--help 0", "--version 0", "rum 2"]


def test_a_command_loads_no_other(tmp_path):
    modules = [f"optbench.cli.{target.split(':')[0]}" for target, _ in COMMANDS.values()]
    assert loaded(tmp_path, ("data list",), modules) == ["data list 0 optbench.cli.data"]


def test_light_commands_load_no_heavy_library(tmp_path):
    assert loaded(tmp_path, LIGHT, HEAVY) == [f"{command} 0" for command in LIGHT]


def test_a_heavy_library_would_be_seen(tmp_path):
    driver = DRIVER.replace("import optbench\n", "import optbench, pandas\n")
    (seen, *_) = loaded(tmp_path, ("--help",), HEAVY, driver)
    assert seen.startswith("--help 0 pandas")
