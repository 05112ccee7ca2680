"""Whole processes: the command line from start to end, and parts of the benchmark on their own."""

import importlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.speed.measure import interleave, timed

ROOT = Path(__file__).parents[2]
HELP, RUN = "optbench --help", "optbench run anisotropic"
COMMAND = "import sys; from optbench.cli import main; sys.exit(main())"
"""What the installed command runs."""

REPEATS = 3
"""Processes a round."""


def run(rounds: int, *, quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """Time both commands; return the seconds that a process took."""
    with tempfile.TemporaryDirectory() as folder:
        table = {
            HELP: {"process": lambda: timed(lambda: optbench("--help"), 1)},
            RUN: {
                "process": lambda: timed(lambda: optbench("run", "anisotropic", "--out", folder), 1)
            },
        }
        optbench("run", "anisotropic", "--out", folder)
        samples = interleave(table, rounds * (1 if quick else REPEATS))
    return {"seconds": {name: each["process"] for name, each in samples.items()}}


def optbench(*arguments: str) -> None:
    """Run a command in a process of its own, without what it prints."""
    subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments],
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def import_all() -> None:
    """Import what a run first imports while it goes on; pyarrow asks for pandas."""
    for module in ("pandas", "pyarrow.parquet", "rich.progress"):
        importlib.import_module(module)


def part(module: str, *arguments: str) -> dict[str, Any]:
    """Run a module of the benchmark as a process of its own and return the JSON it prints.

    Its stderr is a terminal where the system has pseudo-terminals, so that it shows what a user
    sees.
    """
    command = [sys.executable, "-m", f"benchmarks.speed.{module}", *arguments]
    environment = {**os.environ, "TERM": "xterm-256color"}
    if sys.platform == "win32":
        done = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
        return json.loads(done.stdout)
    ours, theirs = os.openpty()
    shown = threading.Thread(target=_drain, args=(ours,), daemon=True)
    shown.start()
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=theirs, check=True
        )
    finally:
        os.close(theirs)
        shown.join()
        os.close(ours)
    return json.loads(done.stdout)


def _drain(terminal: int) -> None:
    """Read a terminal until nobody has it open for writing."""
    try:
        while os.read(terminal, 65536):
            pass
    except OSError:  # how Linux says that the other side is closed
        return
