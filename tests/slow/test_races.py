"""Two processes of one command at once: what has exit code 0 left one of two files, and whole.

Folders and runs are those of :mod:`tests.slow.test_faults`.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from optbench.store.find import list_runs
from tests.cli.command import optbench
from tests.datasets.files import CONTENT
from tests.slow import assert_same_run
from tests.slow.faults import Ended, ended, start
from tests.slow.test_faults import (
    BASELINES,
    OPTIONS,
    content,
    desk,
    mirror,
    pytestmark,
    quick,
    saved,
)

__all__ = ["desk", "mirror", "pytestmark", "quick", "saved"]

ROUNDS = 25

Command = Sequence[object]


def races(
    first: Command, second: Command, make: Callable[[Path], None], cwd: Path
) -> Iterator[tuple[Path, list[Ended]]]:
    """Run two commands at once, again and again, each time in a new folder that ``make`` fills."""
    for number in range(ROUNDS):
        folder = cwd / str(number)
        folder.mkdir()
        make(folder)
        reading, writing = os.pipe()

        def wait(reading: int = reading, writing: int = writing) -> None:
            os.close(writing)
            os.read(reading, 1)  # until the other end is closed

        both = [start(None, 0, command, folder, folder, wait) for command in (first, second)]
        os.close(writing)
        seen = [ended(child) for child in both]
        os.close(reading)
        assert all("Traceback" not in one.err for one in seen), seen
        yield folder, seen
        shutil.rmtree(folder)


def codes(seen: Sequence[Ended]) -> list[int]:
    return sorted(one.code for one in seen)


@pytest.mark.parametrize("force", [True, False])
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_tables_are_exported(suffix, force, saved, tmp_path):
    def command(name: str) -> Command:
        output = ("export", saved / name, "--output", f"t.{suffix}")
        return (*output, "--force") if force else output

    alone = set()
    for name in ("before", "after"):
        for folder, _ in races(command(name), ("--version",), lambda folder: None, tmp_path):
            alone.add((folder / f"t.{suffix}").read_bytes())
            break
        shutil.rmtree(tmp_path / "0")
    assert len(alone) == 2
    both = command("before"), command("after")
    for folder, seen in races(*both, lambda folder: None, tmp_path):
        assert codes(seen) in ([[0, 0]] if force else [[0, 0], [0, 2]]), seen
        assert os.listdir(folder) == [f"t.{suffix}"]
        assert (folder / f"t.{suffix}").read_bytes() in alone


def test_figures_are_drawn(saved, tmp_path):
    def make(folder: Path) -> None:
        shutil.copytree(saved / "before", folder / "results/run")

    command = ("plot", "run", "--kind", "loss", "--problem", "anisotropic")
    figures = set()
    make(tmp_path)
    assert optbench(*command, cwd=tmp_path).code == 0, "this also loads what draws, for all forks"
    for folder, seen in races(command, command, make, tmp_path):
        assert codes(seen) == [0, 0], seen
        (file,) = (folder / "results/run/plots").iterdir()
        figures.add(file.read_bytes())
    assert len(figures) == 1


def test_baselines_are_saved(saved, tmp_path):
    def make(folder: Path) -> None:
        for name in ("before", "after"):
            shutil.copytree(saved / name, folder / "results" / name)

    names = ("before", "after")
    both = [("baseline", "save", name, "--name", "mine") for name in names]
    expected = {name: content(saved / "baselines" / name) for name in names}
    for folder, seen in races(*both, make, tmp_path):
        assert codes(seen) == [0, 2], seen
        winner, loser = sorted(seen, key=lambda one: one.code)
        assert "there is already a baseline 'mine'" in loser.err
        assert os.listdir(folder / BASELINES) == ["mine"]
        found = content(folder / BASELINES / "mine")
        assert found["trace"] == expected[names[seen.index(winner)]]["trace"]


@pytest.mark.parametrize("other", ["updates", "reads"])
def test_baselines_are_refreshed(other, saved, tmp_path):
    def make(folder: Path) -> None:
        for name in ("before", "after"):
            shutil.copytree(saved / name, folder / "results" / name)
        shutil.copytree(saved / "baselines/before", folder / BASELINES / "mine")

    first = ("check", "mine", "--run", "after", "--update", "-q")
    second = ("check", "--run", "before", "-q", *(["--update"] if other == "updates" else []))
    expected = [
        content(saved / "baselines" / name) | {"meta": None} for name in ("before", "after")
    ]
    for folder, seen in races(first, second, make, tmp_path):
        assert seen[0].code == 0, seen
        assert seen[1].code in ((0,) if other == "updates" else (0, 3)), seen
        assert os.listdir(folder / BASELINES) == ["mine"]
        assert content(folder / BASELINES / "mine") | {"meta": None} in expected


def test_runs_of_one_suite_do_not_meet(desk, tmp_path):
    command = ("run", "short.toml", *OPTIONS)
    for folder, seen in races(
        command, command, lambda folder: shutil.copy(desk / "short.toml", folder), tmp_path
    ):
        assert codes(seen) == [0, 0], seen
        runs = list_runs(folder / "results")
        assert len(runs) == len(list((folder / "results").iterdir())) == 2
        for path in runs:
            assert_same_run(path, desk / "whole")


def test_one_of_two_goes_on_with_a_run(desk, tmp_path):
    def make(folder: Path) -> None:
        shutil.copytree(desk / "cut", folder / "results" / "cut")

    command = ("run", "--resume", "cut", *OPTIONS)
    for folder, seen in races(command, command, make, tmp_path):
        assert codes(seen) == [0, 2], seen
        (told,) = [one.err for one in seen if one.code == 2]
        assert "by another process" in told or "another process has" in told or "has ended" in told
        assert_same_run(folder / "results/cut", desk / "whole")


def test_runs_are_deleted(saved, tmp_path):
    def make(folder: Path) -> None:
        for name in ("one", "two", "three"):
            shutil.copytree(saved / "before", folder / "results" / name)

    command = ("clean", "--yes")
    for folder, seen in races(command, command, make, tmp_path):
        assert codes(seen) == [0, 0], seen
        assert list((folder / "results").iterdir()) == []


def test_a_data_set_is_fetched(mirror, tmp_path):
    command = ("data", "fetch", "mnist", "--mirror", mirror, "--data-dir", "data")
    for folder, seen in races(command, command, lambda folder: None, tmp_path):
        assert codes(seen) == [0, 0], seen
        files = {file.name: file.read_bytes() for file in (folder / "data/mnist").glob("[!.]*")}
        assert files == CONTENT
