"""A queueing system that is two commands in a folder on the PATH."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from textwrap import dedent

import dask
import pytest
import yaml

HEAD = """
import os, signal, subprocess, sys, time
from contextlib import suppress
from pathlib import Path

here = Path(__file__).parent
"""

KEEP = """
number = os.getpid()
(here / "submitted" / f"{number}.sh").write_text(Path(sys.argv[-1]).read_text())
"""
"""How a script keeps the job script that it is given, under a number that no other has."""

ANSWER = 'print(f"Submitted batch job {number}")'

START = """
with open(here / f"{number}.log", "wb") as log:
    script = here / "submitted" / f"{number}.sh"
    job = subprocess.Popen(["/bin/sh", script], stdout=log, stderr=log, start_new_session=True)
number = job.pid
with open(here / "started", "a") as started:
    started.write(f"{number}\\n")
"""
"""How it starts the job, as the process group of that number."""

CANCEL = """
with open(here / "cancelled", "a") as cancelled:
    cancelled.write(sys.argv[-1] + "\\n")
"""

KILL = """
group = int(sys.argv[-1])
os.killpg(group, signal.SIGTERM)
with suppress(ProcessLookupError):
    for _ in range(600):
        os.killpg(group, 0)
        time.sleep(0.1)
"""
"""How a script ends a job that was started, and waits until all its processes are gone."""


class Queue:
    """A queueing system whose two commands are scripts in an empty folder.

    Parameters
    ----------
    folder
        To be made.
    submit, cancel
        The names of the commands.
    submitting, cancelling
        What they do, in Python; ``here`` is the folder.
    """

    def __init__(
        self,
        folder: Path,
        submit: str = "sbatch",
        cancel: str = "scancel",
        submitting: str = KEEP + ANSWER,
        cancelling: str = CANCEL,
    ) -> None:
        self.folder = folder
        (folder / "submitted").mkdir(parents=True)
        for name, body in ((submit, submitting), (cancel, cancelling)):
            command = folder / name
            command.write_text(f"#!{sys.executable} -IS\n{HEAD}{dedent(body)}")
            command.chmod(0o755)

    @property
    def submitted(self) -> list[str]:
        """The job scripts, in the order of the workers' names."""
        scripts = [path.read_text() for path in (self.folder / "submitted").iterdir()]
        return sorted(scripts, key=lambda script: script.partition("--name")[2])

    @property
    def numbers(self) -> list[str]:
        """The numbers of submitted jobs."""
        return sorted(path.stem for path in (self.folder / "submitted").iterdir())

    @property
    def started(self) -> list[str]:
        """The numbers of jobs that were started, in that order."""
        return self._kept("started")

    @property
    def cancelled(self) -> list[str]:
        """The numbers of cancelled jobs."""
        return sorted(self._kept("cancelled"))

    def _kept(self, name: str) -> list[str]:
        path = self.folder / name
        return path.read_text().split() if path.exists() else []


@contextmanager
def shipped_settings(folder: Path) -> Iterator[None]:
    """Let dask-jobqueue have the settings that it comes with, and none of the user's.

    When it is imported first, it writes a file into the folder of Dask's settings.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dask.config, "PATH", str(folder))
        import dask_jobqueue  # noqa: F401
    text = files("dask_jobqueue").joinpath("jobqueue.yaml").read_text()
    with dask.config.set(yaml.safe_load(text)):
        yield


def on_path(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let commands be looked for in a folder first."""
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
