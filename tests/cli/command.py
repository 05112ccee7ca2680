"""Runs the command line in this process, as a user would see it."""

import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from optbench.cli import invoke
from optbench.datasets import folders

SURROUNDINGS = ("OPTBENCH_DATA_DIR", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS")
"""Variables that would change what is seen."""


@dataclass(frozen=True)
class Seen:
    """What a command left."""

    code: int
    out: str
    err: str
    cwd: Path

    @property
    def paths(self) -> list[Path]:
        """The paths that it printed, one a line, with or without ``results:`` before them."""
        return [self.cwd / line.removeprefix("results: ") for line in self.out.splitlines()]

    @property
    def path(self) -> Path:
        """The only path that it printed."""
        (path,) = self.paths
        return path

    @property
    def message(self) -> str:
        """What it said was wrong: one line on stderr, nothing on stdout, exit code 2."""
        lines = self.err.splitlines()
        assert (self.code, self.out, len(lines)) == (2, "", 1), self
        assert lines[0].startswith("error: ")
        return lines[0].removeprefix("error: ")


def optbench(*arguments: object, cwd: Path, data_dir: Path | None = None) -> Seen:
    """Run ``optbench ARGUMENTS`` in a folder, on a machine without MNIST unless it is given."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        for name in SURROUNDINGS:
            patch.delenv(name, raising=False)
        if data_dir is not None:
            patch.setenv("OPTBENCH_DATA_DIR", str(data_dir))
        patch.setattr(folders, "cache_folder", lambda: cwd / "no-cache")
        patch.setattr(os, "fsync", lambda opened: None)  # most of the time of a small run
        patch.setattr(sys, "argv", ["optbench", *map(str, arguments)])
        patch.chdir(cwd)
        code = invoke()
    return Seen(int(code), out.getvalue(), err.getvalue(), cwd)


def run(*arguments: object, cwd: Path, code: int = 0) -> Path:
    """Run ``optbench run ARGUMENTS --quiet`` on one suite and return where the results are."""
    seen = optbench("run", *arguments, "--quiet", cwd=cwd)
    assert (seen.code, seen.err) == (code, ""), seen
    return seen.path


def in_terminal(
    *arguments: object, cwd: Path, answer: bytes = b"", piped: bool = False, **environment: str
) -> tuple[int, str, str]:
    """Run ``optbench ARGUMENTS`` in a terminal of its own.

    Return the exit code, what went to stdout if that is a pipe, and what the terminal showed.
    """
    pty = pytest.importorskip("pty")
    leader, follower = pty.openpty()
    surroundings = {name: os.environ[name] for name in os.environ.keys() - set(SURROUNDINGS)}
    process = subprocess.Popen(
        [sys.executable, "-m", "optbench", *map(str, arguments)],
        stdin=follower,
        stdout=subprocess.PIPE if piped else follower,
        stderr=follower,
        cwd=cwd,
        env=surroundings | environment,
    )
    os.close(follower)
    os.write(leader, answer)
    shown = b""
    while part := _read(leader):
        shown += part
    out, _ = process.communicate(timeout=60)
    os.close(leader)
    return process.returncode, (out or b"").decode(), shown.decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux says so when the other end is closed
        return b""


def lanes(path: Path) -> pd.DataFrame:
    return pd.read_parquet(path / "lanes.parquet")


def trace(path: Path) -> pd.DataFrame:
    return pd.read_parquet(path / "trace")


def meta(path: Path) -> dict[str, Any]:
    return dict(json.loads((path / "run.json").read_text(encoding="utf-8")))


def suite(cwd: Path, text: str, name: str = "mine") -> str:
    """Write a suite file and return its name."""
    (cwd / f"{name}.toml").write_text(text, encoding="utf-8")
    return f"{name}.toml"
