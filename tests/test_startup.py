"""What starting costs: which libraries the light commands leave alone."""

import subprocess
import sys

HEAVY = ("pandas", "pyarrow", "matplotlib", "cupy")

COMMANDS = (
    "--help",
    "run --help",
    "--version",
    "list suites",
    "list problems",
    "list optimizers",
    "list datasets",
    "list runs",
)

DRIVER = f"""
import sys
import optbench
from optbench.cli import main
for command in {COMMANDS!r}:
    sys.argv = ["optbench", *command.split()]
    try:
        main()
    except SystemExit as end:
        loaded = [name for name in {HEAVY!r} if name in sys.modules]
        print(command, end.code, *loaded, file=sys.stderr)
"""


def test_light_commands_load_no_heavy_library(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", DRIVER], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert done.stderr.splitlines() == [f"{command} 0" for command in COMMANDS]


def test_the_light_commands_would_be_caught(tmp_path):
    """The driver sees what a command loads."""
    driver = DRIVER.replace("import optbench\n", "import optbench, pandas\n")
    done = subprocess.run(
        [sys.executable, "-c", driver], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert done.stderr.startswith("--help 0 pandas")
