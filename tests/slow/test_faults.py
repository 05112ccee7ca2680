"""Whatever ends a command at any step on its files: nothing reported is lost, nothing is twice.

Each command is run again and again with a fault at its first, second, third step and every third
one after them, until it comes to its end without one. What it leaves is read, and then it is run or
resumed to its end, which is that of a command that nothing disturbed.
"""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pandas as pd
import pytest

from optbench.datasets import COLLECTIONS
from optbench.engine import loop as engine
from optbench.gate import baseline as baselines
from optbench.problems.registry import PROBLEMS
from optbench.runs import pipeline, resume
from optbench.store import block_writer, lock
from optbench.store.find import list_runs
from optbench.store.reader import read_meta, read_run
from tests.cli.command import optbench, run, suite
from tests.datasets.files import CONTENT, GZIPPED, tiny_collection
from tests.datasets.mirror import serve
from tests.slow import assert_reported, assert_same_run, tables
from tests.slow.faults import FAULTS, Child, Ended, run_with
from tests.small import SmallNetwork

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="needs forks and limits of POSIX systems"),
]

SUITE = """
name = "short"
iterations = 8
evaluate_every = 8
seeds = 2

[[problem]]
name = "anisotropic"

[[problem]]
name = "small-network"

[[optimizer]]
name = "sgd"
"""
"""Two blocks of two chunks each, one of them with evaluations."""

MORE = (
    SUITE.replace('[[problem]]\nname = "anisotropic"\n', "")
    + """
[[optimizer]]
name = "adam"
"""
)
"""A block with the lanes of the second one of the other suite, and more."""

OPTIONS = ("--workers", 1, "--checkpoint-every", 0)

EVERY = 3
"""Steps from one fault to the next; with 1 they take three times as long."""


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Make chunks short; look at the machine once only."""
    environment, seconds = pipeline.describe_environment(), pipeline.calibration_seconds()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PROBLEMS, SmallNetwork.name, SmallNetwork)
        patch.setitem(COLLECTIONS, "mnist", tiny_collection())
        patch.setattr(engine, "CHUNK_ROWS", 6)
        patch.setattr(block_writer, "JOURNAL_SECONDS", 3600.0)  # it is written with each checkpoint
        patch.setattr(block_writer, "PIECE_BYTES", 100)  # of a block's file there are several
        for module in (pipeline, resume):
            patch.setattr(module, "describe_environment", lambda: environment)
        patch.setattr(pipeline, "calibration_seconds", lambda: seconds)
        yield


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two suites and their runs: "whole", "more", and "cut", which was killed."""
    folder, killed = tmp_path_factory.mktemp("desk"), count(20)
    for name, text in (("short", SUITE), ("more", MORE)):
        path = run(suite(folder, text, name), *OPTIONS, "--out", "made", cwd=folder)
        path.rename(folder / {"short": "whole"}.get(name, name))
    while not (folder / "cut/journal/block-00001/checkpoint.npz").exists():
        shutil.rmtree(folder / "cut", ignore_errors=True)
        at = next(killed)
        assert run_with(
            "kill", at, ("run", "short.toml", *OPTIONS), folder, folder / "results"
        ).killed
        (cut,) = (folder / "results").iterdir()
        cut.rename(folder / "cut")
    return folder


@pytest.fixture(autouse=True)
def short_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at locks for a moment only: nobody else does."""
    monkeypatch.setattr(lock, "LOOK_SECONDS", 0.02)


def each_step(
    fault: str, arguments: tuple[object, ...], make: Callable[[Path], None], cwd: Path, root: str
) -> Iterator[tuple[Path, Ended]]:
    """Run a command with faults, each in a new folder that ``make`` fills.

    After the first steps, each kind of fault has steps of its own.
    """
    remainder = list(FAULTS).index(fault) % EVERY
    for at in count(1):
        if at > EVERY and at % EVERY != remainder:
            continue
        folder = cwd / f"{fault}-{at}"
        folder.mkdir()
        make(folder)
        seen = run_with(fault, at, arguments, folder, folder / root)
        if not seen.reached:
            assert seen.code == 0, seen
            assert at > 1
            return
        assert_told(seen, fault)
        yield folder, seen
        shutil.rmtree(folder)


def assert_told(seen: Ended, fault: str) -> None:
    """One line says what is wrong, if anything is; there is never a traceback."""
    if fault in ("kill", "cut"):
        assert seen.code in (-signal.SIGKILL, -signal.SIGXFSZ, 0), seen
        return
    assert seen.code in {"interrupt": (130, 0)}.get(fault, (2, 0)), seen
    assert "Traceback" not in seen.err
    if seen.code == 2:
        assert sum(line.startswith("error: ") for line in seen.err.splitlines()) == 1, seen


def assert_goes_on(folder: Path, seen: Ended, whole: Path, same: Callable[..., None]) -> None:
    """What was reported of a run is there, and it comes to the end of an undisturbed one."""
    results = folder / "results"
    runs = list_runs(results)
    if not runs:
        assert seen.reported == []
        cleaned = optbench("clean", "--yes", cwd=folder)
        assert cleaned.code == 0, cleaned
        assert not results.exists() or list(results.iterdir()) == []
        return
    (path,) = runs
    assert_reported(seen.reported, path, whole)
    if read_meta(path)["status"] == "interrupted":
        again = optbench("run", "--resume", path.name, "-q", *OPTIONS, cwd=folder)
        assert again.code == 0, again
        same(path, whole)
    else:
        same(path, whole, left=(".lock", "journal", ".journal.gone"))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_run(fault, desk, tmp_path):
    def make(folder: Path) -> None:
        shutil.copy(desk / "short.toml", folder)

    arguments = ("run", "short.toml", *OPTIONS)
    for folder, seen in each_step(fault, arguments, make, tmp_path, "results"):
        assert_goes_on(folder, seen, desk / "whole", assert_same_run)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_run_that_is_resumed(fault, desk, tmp_path):
    def make(folder: Path) -> None:
        shutil.copytree(desk / "cut", folder / "results" / "cut")

    arguments = ("run", "--resume", "cut", *OPTIONS)
    for folder, seen in each_step(fault, arguments, make, tmp_path, "results"):
        assert_goes_on(folder, seen, desk / "whole", assert_same_run)


def assert_same_rows(path: Path, whole: Path, left: object = ()) -> None:
    """Compare all tables of two runs; lanes may stand in other blocks, and come from elsewhere."""
    read_run(path)
    ours, theirs = tables(path), tables(whole)
    assert ours.keys() == theirs.keys()
    for name, table in theirs.items():
        keys = [key for key in ("problem", "lane", "iteration", "split", "x", "y") if key in table]
        mine = ours[name].drop(columns=["reused_from", "block_lanes"], errors="ignore")
        pd.testing.assert_frame_equal(
            mine.sort_values(keys, ignore_index=True),
            table.drop(columns="block_lanes", errors="ignore").sort_values(keys, ignore_index=True),
            check_exact=True,
            obj=name,
        )


@pytest.mark.parametrize("fault", FAULTS)
def test_a_run_that_takes_lanes_over(fault, desk, tmp_path):
    def make(folder: Path) -> None:
        shutil.copy(desk / "more.toml", folder)
        shutil.copytree(desk / "whole", folder / "results" / "earlier")

    arguments = ("run", "more.toml", "--reuse", *OPTIONS)
    for folder, seen in each_step(fault, arguments, make, tmp_path, "results"):
        assert_same_run(folder / "results/earlier", desk / "whole")
        shutil.rmtree(folder / "results/earlier")
        assert_goes_on(folder, seen, desk / "more", assert_same_rows)


BASELINES = "results/baselines"


def content(folder: Path) -> dict[str, object]:
    """What a baseline holds, but for when it was saved and where its suite's file is from there."""
    found = baselines.load(folder)
    assert found.changed == ()
    assert Path(found.meta["suite"]["file"]).name == "short.toml"
    names = ("lanes", "trace", "tolerance")
    tables = {name: getattr(found, name).to_csv() for name in names}
    suite = {**found.meta["suite"], "file": ""}
    return {**tables, "meta": {**found.meta, "suite": suite, "saved": "", "checksums": ""}}


@pytest.fixture(scope="module")
def saved(desk: Path) -> Path:
    """Two runs of one suite, "before" and "after", and a baseline of each by its name."""
    for name, lr in (("before", 0.01), ("after", 0.02)):
        path = run("short.toml", "--set", f"sgd.lr={lr}", cwd=desk)
        path.rename(desk / "results" / name)
        assert optbench("baseline", "save", name, "--name", name, cwd=desk).code == 0
    return desk / "results"


@pytest.mark.parametrize("fault", FAULTS)
def test_a_baseline_is_saved(fault, saved, tmp_path):
    def make(folder: Path) -> None:
        shutil.copytree(saved / "before", folder / "results/run")

    arguments = ("baseline", "save", "run", "--name", "before")
    expected = content(saved / "baselines/before")
    for folder, _ in each_step(fault, arguments, make, tmp_path, BASELINES):
        again = optbench(*arguments, cwd=folder)
        assert again.code == 0 or "there is already a baseline 'before'" in again.message
        place = folder / BASELINES
        assert {path.name for path in place.iterdir()} - {".lock"} == {"before"}
        assert content(place / "before") == expected


@pytest.mark.parametrize("fault", FAULTS)
def test_a_baseline_is_refreshed(fault, saved, tmp_path):
    def make(folder: Path) -> None:
        shutil.copytree(saved / "after", folder / "results/run")
        shutil.copytree(saved / "baselines/before", folder / BASELINES / "mine")

    arguments = ("check", "mine", "--run", "run", "--update", "-q")
    then, now = (
        content(saved / "baselines" / name) | {"meta": None} for name in ("before", "after")
    )
    assert then["trace"] != now["trace"]
    for folder, seen in each_step(fault, arguments, make, tmp_path, BASELINES):
        place = folder / BASELINES
        assert baselines.find([], folder / "results") == [place / "mine"]
        found = content(place / "mine") | {"meta": None}
        assert found == now or (found == then and "refreshed" not in seen.err), seen
        again = optbench(*arguments, cwd=folder)
        assert again.code == 0, again
        assert content(place / "mine") | {"meta": None} == now
        assert {path.name for path in place.iterdir()} - {".lock"} == {"mine"}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_table_is_exported(fault, suffix, saved, tmp_path):
    def make(folder: Path) -> None:
        (folder / "tables").mkdir()
        (folder / "tables" / f"t.{suffix}").write_text("mine")

    arguments = ("export", saved / "before", "--output", f"tables/t.{suffix}", "--force")
    assert optbench(*arguments[:-1], cwd=saved.parent).code in (0, 2)
    for folder, seen in each_step(fault, arguments, make, tmp_path, "tables"):
        file = folder / "tables" / f"t.{suffix}"
        assert seen.code != 0 or file.read_bytes() != b"mine"
        if file.read_bytes() != b"mine":
            read = pd.read_csv if suffix == "csv" else pd.read_parquet
            assert len(read(file)) == len(read_run(saved / "before").trace)
        assert optbench(*arguments, cwd=folder).code == 0
        assert os.listdir(folder / "tables") == [file.name], "nothing is left of the other"


@pytest.mark.parametrize("fault", ["kill", "interrupt", "fail"])
def test_runs_are_deleted(fault, saved, tmp_path):
    def make(folder: Path) -> None:
        for name in ("one", "two"):
            shutil.copytree(saved / "before", folder / "results" / name)

    arguments = ("clean", "--yes")
    for folder, seen in each_step(fault, arguments, make, tmp_path, "results"):
        left = list_runs(folder / "results")
        for path in left:
            assert_same_run(path, saved / "before")
            assert path.name not in seen.out
        assert optbench(*arguments, cwd=folder).code == 0
        assert list((folder / "results").iterdir()) == []


@pytest.fixture(scope="module")
def mirror() -> Iterator[str]:
    """The address of a mirror that another process serves."""

    def action(child: Child) -> int:
        with serve(GZIPPED) as mirror:
            child.tell("url", mirror.url)
            signal.pause()
        return 0

    child = Child(action)
    _, url = child.first()
    yield url
    child.kill()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_data_set_is_fetched(fault, mirror, tmp_path):
    arguments = ("data", "fetch", "mnist", "--mirror", mirror, "--data-dir", "data")
    for folder, seen in each_step(fault, arguments, lambda folder: None, tmp_path, "data"):
        place = folder / "data/mnist"
        for file in place.glob("[!.]*"):
            assert file.read_bytes() == CONTENT[file.name]
        assert seen.code != 0 or len(list(place.glob("[!.]*"))) == len(CONTENT)
        assert optbench(*arguments, cwd=folder).code == 0
        assert {file.name for file in place.glob("[!.]*")} == {*CONTENT}
