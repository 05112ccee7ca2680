"""Files of a run that are cut short, or in which a single bit is another one.

Whatever reads such a file works with the right numbers, or ends with exit code 2 and one line that
names the file. There is one gap, which the format leaves: JSON has no checksum, so a flipped digit
in run.json or in a block's result.json reads as another number. What is tested of these is that
nothing worse than a wrong description comes of it: no traceback, and no other exit code.
"""

import random
import shutil
from pathlib import Path

import pandas as pd
import pytest

from optbench.errors import ResultsError
from optbench.store.reader import read_run
from tests.cli.command import Seen, optbench, suite
from tests.cli.test_resume import SUITE, killed
from tests.slow import assert_same_run

SEED = 8

FILES = {
    "run.json": "run.json",
    "lanes": "lanes.parquet",
    "trace": "trace/*.parquet",
    "evaluation": "evaluation/*.parquet",
    "surface": "surface/*.parquet",
    "rows": "journal/*/rows-*.npz",
    "checkpoint": "journal/*/checkpoint.npz",
    "result": "journal/*/result.json",
}
"""A file of each kind that a run leaves when it is killed."""

JSON = ("run.json", "result")

SPARED = {("checkpoint", "show"), ("checkpoint", "plot"), ("surface", "resume")}
"""What does not read a kind of file: a surface is written anew when a run goes on."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run that ended and one that was killed in its last block."""
    folder = tmp_path_factory.mktemp("damage")
    suite(folder, SUITE.replace("[[optimizer]]", "[[problem]]\nname = 'booth'\n\n[[optimizer]]", 1))
    seen = optbench("run", "mine.toml", "-q", "--workers", 1, "--out", "whole", cwd=folder)
    assert seen.code == 0
    killed(28, "run", "mine.toml", "-q", cwd=folder)
    return folder


@pytest.fixture(scope="module")
def whole(place: Path) -> Path:
    return next((place / "whole").iterdir())


@pytest.fixture(scope="module")
def shown(place: Path) -> str:
    """What is shown of the run that was killed."""
    return optbench("show", "--format", "csv", cwd=place).out


def copy(place: Path, folder: Path) -> Path:
    (run,) = (place / "results").iterdir()
    return Path(shutil.copytree(run, folder / "results" / run.name))


def file_of(run: Path, kind: str) -> Path:
    return sorted(run.glob(FILES[kind]))[0]


def flip(content: bytes, bit: int) -> bytes:
    flipped = bytearray(content)
    flipped[bit // 8] ^= 1 << bit % 8
    return bytes(flipped)


def replace_by(file: Path, content: bytes) -> None:
    file.unlink()
    file.write_bytes(content)


def call(command: str, run: Path, cwd: Path) -> Seen:
    match command:
        case "show":
            return optbench("show", run.name, "--format", "csv", cwd=cwd)
        case "plot":
            return optbench("plot", run.name, "--kind", "loss", cwd=cwd)
        case _:
            return optbench("run", "--resume", run.name, "-q", "--workers", 1, cwd=cwd)


def test_a_killed_run_has_a_file_of_every_kind(place):
    (run,) = (place / "results").iterdir()
    assert all(list(run.glob(pattern)) for pattern in FILES.values())


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.0, 0.4, "all but one byte"])
@pytest.mark.parametrize("command", ["show", "plot", "resume"])
@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_is_cut_short_is_named(kind, command, share, place, whole, tmp_path):
    run = copy(place, tmp_path)
    file = file_of(run, kind)
    content = file.read_bytes()
    size = len(content) - 1 if isinstance(share, str) else int(share * len(content))
    if file.suffix == ".json" and isinstance(share, str):
        size -= 1  # its last byte ends a line and says nothing
    replace_by(file, content[:size])
    seen = call(command, run, tmp_path)
    if (kind, command) in SPARED:
        assert (seen.code, seen.err) == (0, "")
        if command == "resume":
            assert_same_run(run, whole)
    else:
        place_named = file.relative_to(tmp_path).as_posix()
        assert place_named in seen.message


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lanes", "trace", "evaluation", "surface"])
def test_a_flipped_bit_of_a_table_is_noticed_or_harmless(kind, whole, tmp_path):
    """Whatever is read is what was written, name by name and value by value."""
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    expected, file = read_run(run), file_of(run, kind)
    content = file.read_bytes()
    footer = 8 * (len(content) - 8 - int.from_bytes(content[-8:-4], "little"))
    drawn = random.Random(f"{SEED} {kind}")
    bits = [drawn.randrange(footer) for _ in range(20)]
    bits += [drawn.randrange(footer, 8 * len(content)) for _ in range(60)]
    noticed = []
    for bit in bits:
        replace_by(file, flip(content, bit))
        try:
            found = read_run(run)
        except ResultsError as error:
            noticed.append(str(error))
            continue
        for name in ("lanes", "trace", "evaluation", "surface"):
            table = getattr(found, name)
            pd.testing.assert_frame_equal(table, getattr(expected, name), check_exact=True)
    assert len(noticed) > 25
    assert all(str(file) in message for message in noticed)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("kind", [kind for kind in FILES if kind not in JSON])
def test_a_flipped_bit_is_named_or_changes_nothing(kind, number, place, whole, shown, tmp_path):
    run = copy(place, tmp_path)
    file = file_of(run, kind)
    content = file.read_bytes()
    bit = random.Random(f"{SEED} {kind} {number}").randrange(8 * len(content))
    replace_by(file, flip(content, bit))
    for command in ("show", "plot", "resume"):
        seen = call(command, run, tmp_path)
        if seen.code != 0:
            assert file.relative_to(tmp_path).as_posix() in seen.message, bit
        elif command == "show":
            assert seen.out == shown, bit
        elif command == "resume":
            assert_same_run(run, whole, left=("plots",))


@pytest.mark.slow
@pytest.mark.parametrize("number", range(30))
@pytest.mark.parametrize("kind", JSON)
def test_a_flipped_bit_of_json_ends_nothing_by_a_traceback(kind, number, place, tmp_path):
    """It may change what is told, even a number; see above."""
    run = copy(place, tmp_path)
    file = file_of(run, kind)
    content = file.read_bytes()
    bit = random.Random(f"{SEED} {kind} {number}").randrange(8 * len(content))
    replace_by(file, flip(content, bit))
    for command in ("show", "resume"):
        seen = call(command, run, tmp_path)
        if seen.code != 0:
            assert "\n" not in seen.message, bit
